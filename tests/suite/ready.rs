//! `rollcast check --ready`, the probe for containers and monitoring.

use std::fs;
use std::io::Write;
use std::net::TcpListener;

use crate::common::hand_server::HandServer;
use crate::common::{Instance, free_port, run, wait_for};

#[test]
fn the_probe_succeeds_once_the_server_is_ready_and_fails_when_it_is_gone() {
    let instance = Instance::new("every = '20ms'");
    let probe = || run(instance.command().args(["check", "--ready"]));
    let (code, _, stderr) = probe();
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("cannot reach"), "{stderr}");

    let mut server = instance.start();
    let (_, stdout, _) = wait_for("a ready server", || Some(probe()).filter(|probe| probe.0 == 0));
    assert!(stdout.starts_with("ready "), "{stdout}");
    // By its URL, without a configuration.
    let folder = tempfile::tempdir().unwrap();
    let mut command = instance.command();
    let url = server.url("/");
    let (code, _, stderr) = run(command.current_dir(&folder).args(["check", "--ready", &url]));
    assert_eq!(code, 0, "{stderr}");

    server.stop();
    assert_eq!(probe().0, 1);
}

#[test]
fn the_probe_fails_with_the_reasons_while_the_server_is_not_ready() {
    let instance = Instance::new("every = '20ms'\nreserve_mb = 1000000000");
    let _server = instance.start();
    let (code, stdout, stderr) = run(instance.command().args(["check", "--ready"]));
    assert_eq!((code, &*stdout), (1, ""), "{stderr}");
    assert!(stderr.contains("503 Service Unavailable: the database's disk is nearly"), "{stderr}");
}

#[test]
fn the_probe_fails_at_a_server_that_is_another_or_does_not_answer() {
    let instance = Instance::new("");
    // Accepts connections in its backlog only.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    assert_eq!(run(instance.command().args(["check", "--ready", &url])).0, 1);
    // Another program that answers 200 with JSON.
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    let other = HandServer::answering(|_, _, mut client| client.write_all(answer.as_bytes()));
    let (code, _, stderr) = run(instance.command().args(["check", "--ready", &other.url("/")]));
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("got another answer"), "{stderr}");
    let (code, _, stderr) = run(instance.command().args(["check", "--ready", "nonsense"]));
    assert_eq!(code, 2, "{stderr}");
    instance.configure("wrong = 1");
    assert_eq!(run(instance.command().args(["check", "--ready"])).0, 2);
}

#[test]
fn a_server_on_all_addresses_is_probed_on_loopback() {
    let instance = Instance::new("every = '20ms'");
    let toml = instance.path().join("Rocket.toml");
    let text = fs::read_to_string(&toml).unwrap();
    fs::write(&toml, text.replace("[default]", "[default]\naddress = '0.0.0.0'")).unwrap();
    let _server = instance.start();
    // A proxy of the container would not reach it.
    let proxy = format!("http://127.0.0.1:{}", free_port());
    let probe = || run(instance.command().args(["check", "--ready"]).env("HTTP_PROXY", &proxy));
    let (_, stdout, _) = wait_for("a ready server", || Some(probe()).filter(|probe| probe.0 == 0));
    assert!(stdout.contains("http://127.0.0.1:"), "{stdout}");
}
