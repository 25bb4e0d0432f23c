//! Values of `[rollcast.fleet]` that are refused, and those that are taken.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::nodes::{Node, Settings, new_secret};

/// A node with these lines in its fleet table, whose servers are never reached.
fn node(every: &str, servers: &[&str], fleet: &str) -> Node {
    let settings = Settings {
        every: every.into(),
        rollcast: String::new(),
        servers: servers.iter().map(|server| (*server).into()).collect(),
        fleet: fleet.into(),
    };
    Node::new(&new_secret(), settings)
}

/// A server on which nothing listens.
const NOBODY: &str = "nats://127.0.0.1:1";

#[test]
fn rolls_faster_than_100_ms_are_refused_in_a_fleet_and_only_there() {
    for (every, code) in [("50ms", 2), ("99ms", 2), ("100ms", 1), ("1s", 1)] {
        let node = node(every, &[NOBODY], "");
        let (actual, stdout, stderr) = node.run(&["check"]);
        assert_eq!(actual, code, "{every}: {stdout}{stderr}");
        if code == 2 {
            assert!(stderr.contains(every) && stderr.contains("100ms"), "{stderr}");
            let (code, _, stderr) = node.run(&["fleet", "create"]);
            assert!(code == 2 && stderr.contains(every), "{code}: {stderr}");
        }
    }
    // Control: a single machine.
    let node = node("50ms", &[NOBODY], "");
    node.instance.configure("every = '50ms'");
    let (code, stdout, stderr) = node.run(&["check"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
}

#[test]
fn servers_that_are_no_nats_urls_are_refused_with_the_value() {
    let ten = [NOBODY; 10];
    for (servers, expected) in [
        (&[][..], "servers"),
        (&ten[..], "servers"),
        (&["127.0.0.1:4222"], "127.0.0.1:4222"),
        (&["http://127.0.0.1:4222"], "http://127.0.0.1:4222"),
        (&["nats://"], "nats://"),
        (&["nats://host:99999"], "99999"),
        (&["nats://host:4222/path"], "path"),
        (&[NOBODY, ""], "server"),
    ] {
        let (code, stdout, stderr) = node("1s", servers, "").run(&["check"]);
        assert_eq!(code, 2, "{servers:?}: {stdout}{stderr}");
        assert!(stderr.contains(expected), "{servers:?}: {stderr}");
    }
    // Credentials are refused, and the error does not show them.
    let (code, stdout, stderr) =
        node("1s", &["nats://me:hidden@127.0.0.1:4222"], "").run(&["check"]);
    assert_eq!(code, 2, "{stdout}{stderr}");
    assert!(stderr.contains("password") && !stderr.contains("hidden"), "{stderr}");
    // Control: nine servers of both schemes, with and without a port.
    let mut nine = vec![NOBODY; 7];
    nine.extend(["nats://127.0.0.1", "tls://[::1]:1"]);
    let (code, stdout, stderr) = node("1s", &nine, "").run(&["check"]);
    assert_eq!(code, 1, "{stdout}{stderr}");
}

#[test]
fn unknown_keys_names_that_are_no_streams_and_half_a_login_are_refused() {
    for (lines, expected) in [
        ("leader = true", "leader"),
        ("user = 'rollcast'", "password_file"),
        ("password_file = 'nats.password'", "user"),
    ] {
        let (code, stdout, stderr) = node("1s", &[NOBODY], lines).run(&["check"]);
        assert_eq!(code, 2, "{lines}: {stdout}{stderr}");
        assert!(stderr.contains(expected), "{lines}: {stderr}");
    }
    for stream in ["", "A.B", "rolls of dice", "*", &"X".repeat(33)] {
        let node = node("1s", &[NOBODY], "");
        let path = node.instance.path().join("Rocket.toml");
        let text = fs::read_to_string(&path).unwrap();
        let other = text.replace("stream = 'ROLLS'", &format!("stream = '{stream}'"));
        assert_ne!(text, other);
        fs::write(&path, other).unwrap();
        let (code, stdout, stderr) = node.run(&["check"]);
        assert!(code == 2 && stderr.contains("stream"), "`{stream}`: {stdout}{stderr}");
    }
}

#[test]
fn a_password_that_others_may_read_is_refused() {
    let node = node("1s", &[NOBODY], "user = 'rollcast'\npassword_file = 'nats.password'");
    let path = node.instance.path().join("nats.password");
    let output = || {
        let (code, stdout, stderr) = node.run(&["check"]);
        assert_ne!(code, 0, "{stdout}{stderr}");
        assert!(!format!("{stdout}{stderr}").contains("hidden"), "{stdout}{stderr}");
        stdout + &stderr
    };
    let missing = output();
    assert!(missing.contains("nats.password"), "{missing}");
    fs::write(&path, "hidden\n").unwrap();
    for mode in [0o644, 0o640, 0o604] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let refused = output();
        assert!(refused.contains("nats.password") && refused.contains("chmod 600"), "{refused}");
    }
    // Control: a private file, with which only the servers are missing.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let private = output();
    assert!(!private.contains("chmod 600"), "{private}");
}
