//! The commands, and a server as an operator starts it.

use std::fs;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair};

use crate::common::{Instance, ROLLCAST, Server, free_port, http, run, wait_for};
use crate::configuration::copy_program;

/// Runs a command that must fail with this exit code, and returns its error.
pub fn refusal(command: &mut Command, exit_code: i32) -> String {
    let (code, stdout, stderr) = run(command);
    assert_eq!(code, exit_code, "stdout: {stdout}\nstderr: {stderr}");
    assert!(stderr.contains("rollcast: "), "{stderr}");
    stderr
}

#[test]
fn help_lists_commands_variables_and_exit_codes() {
    let instance = Instance::new("");
    let (code, help, _) = run(instance.command().arg("--help"));
    assert_eq!(code, 0);
    let commands = [
        "serve",
        "check",
        "backup",
        "stats",
        "doctor",
        "tail",
        "export",
        "verify",
        "monitor",
        "lab",
        "completions",
        "man",
    ];
    let rest = ["ROCKET_CONFIG", "ROCKET_PROFILE", "Exit codes", "--version"];
    for word in commands.into_iter().chain(rest) {
        assert!(help.contains(word), "expected {word} in {help}");
    }
    let (code, version, _) = run(instance.command().arg("--version"));
    assert_eq!((code, version.trim()), (0, concat!("rollcast ", env!("CARGO_PKG_VERSION"))));
    for command in commands {
        assert_eq!(run(instance.command().args([command, "--help"])).0, 0);
    }
    for (command, text) in [
        ("verify", "checks all rolls that the server keeps"),
        ("monitor", "The first run verifies"),
    ] {
        let (_, help, _) = run(instance.command().args([command, "--help"]));
        assert!(help.contains(text), "expected `{text}` in {help}");
    }
    let (code, _, stderr) = run(instance.command().arg("sevre"));
    assert_eq!(code, 2);
    assert!(stderr.contains("serve"), "expected the command that was meant in {stderr}");
}

#[test]
fn a_password_is_in_no_error() {
    let instance = Instance::new("");
    let table: [&[&str]; 10] = [
        &["verify", "me:secret@a.example"],
        &["verify", "htps://me:secret@a.example/"],
        &["monitor", "http://me:secret@127.0.0.1:1/"],
        &["tail", "htps://me:secret@a.example/"],
        &["export", "me:secret@a.example"],
        &["doctor", "http://me:secret@/"],
        &["doctor", "http://a.example/", "--stream", "x://me:secret@a.example"],
        &["tail", "http://a.example", "http://me:secret@a.example"],
        &["tail", "-n", "0", "http://me:secret@127.0.0.1:1/"],
        &["doctor", "http://me:secret@127.0.0.1:1/"],
    ];
    for arguments in table {
        let (code, stdout, stderr) = run(instance.command().args(arguments));
        assert_ne!(code, 0, "{arguments:?}");
        assert!(stderr.contains("***@"), "{arguments:?}: {stderr}");
        assert!(!format!("{stdout}{stderr}").contains("secret"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn check_prints_the_configuration_and_changes_nothing() {
    let instance = Instance::new("dice = ['2D6']\nevery = '1h'");
    let files = || {
        let mut names: Vec<_> = fs::read_dir(instance.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let check = || run(instance.command().arg("check").env("ROCKET_PROFILE", "debug"));
    let (code, stdout, stderr) = check();
    assert_eq!(code, 0, "{stderr}");
    for text in ["Rocket.toml", "debug", &instance.url(""), "2D6", "rolls.db", "none yet"] {
        assert!(stdout.contains(text), "expected {text} in {stdout}");
    }
    assert_eq!(files(), ["Rocket.toml"], "check changed something");

    let mut server = instance.start();
    wait_for("a roll", || (!instance.stored().is_empty()).then_some(()));
    let (code, stdout, _) = check();
    assert_eq!(code, 0);
    assert!(stdout.contains("a server is running on it"), "{stdout}");
    server.stop();
    let before = (files(), fs::read(instance.database()).unwrap());
    let (code, stdout, _) = check();
    assert_eq!(code, 0);
    assert!(stdout.contains("rolls kept: 1") && !stdout.contains("is running"), "{stdout}");
    assert!(stdout.contains("log            rolls, hashes and secret agree"), "{stdout}");
    assert!(before == (files(), fs::read(instance.database()).unwrap()), "check changed something");
}

#[test]
fn check_names_the_fan_out_door_and_reads_its_certificate() {
    let instance = Instance::new("");
    let check = |fanout: &str| {
        instance.configure(&format!("fanout = {{ {fanout} }}"));
        run(instance.command().arg("check"))
    };
    let (code, stdout, stderr) = check("port = 5001");
    assert_eq!(code, 0, "{stderr}");
    let lines = "\nfan-out door   http://127.0.0.1:5001\n               \
                 pages open their streams at /stream/\n";
    assert!(stdout.contains(lines), "expected {lines} in {stdout}");

    let pem = |name: &str| instance.path().join(name);
    for name in ["one", "other"] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["dice.example.org".into()]).unwrap();
        fs::write(pem(&format!("{name}.crt")), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(pem(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    let with = |certs: &str, key: &str| {
        check(&format!(
            "address = '::', port = 8443, tls = {{ certs = '{certs}', key = '{key}' }}, \
             proxy_protocol = true, public_url = 'https://dice.example.org:8443'"
        ))
    };
    let (code, stdout, stderr) = with("one.crt", "one.key");
    assert_eq!(code, 0, "{stderr}");
    for text in [
        "fan-out door   https://[::]:8443, PROXY protocol\n",
        "one.crt` and key are readable\n",
        "pages open their streams at https://dice.example.org:8443/stream/\n",
    ] {
        assert!(stdout.contains(text), "expected {text} in {stdout}");
    }
    for (certs, key, error) in [
        ("none.crt", "one.key", "none.crt` (rollcast.fanout.tls.certs)"),
        ("one.key", "one.key", "expected certificates in `"),
        ("one.crt", "one.crt", "one.crt` (rollcast.fanout.tls.key)"),
        ("one.crt", "other.key", "cannot use the key `"),
    ] {
        let (code, stdout, stderr) = with(certs, key);
        assert!(code == 2 && stderr.contains(error), "{code}: {stderr}\n{stdout}");
    }
    // Without the table there is no door.
    instance.configure("");
    let (_, stdout, _) = run(instance.command().arg("check"));
    assert!(!stdout.contains("fan-out door"), "{stdout}");
}

#[test]
fn a_database_in_a_read_only_folder_is_read_or_refused_with_a_remedy() {
    let instance = Instance::new("every = '1h'");
    instance.fill(10, 1);
    let program = instance.path().join("rollcast");
    copy_program(&program);
    let chmod = |mode: u32| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(instance.path(), mode).unwrap();
    };
    // Root may write to every folder. Another user in the server's group may read the database.
    let is_root = rustix::process::geteuid().is_root();
    let command = |arguments: &[&str]| {
        let mut command = Command::new(if is_root { "setpriv" } else { "env" });
        if is_root {
            command.args(["--reuid=65534", "--clear-groups"]);
        }
        command.arg(&program).args(arguments).current_dir(instance.path());
        command
    };
    chmod(0o555);
    let copies = tempfile::tempdir().unwrap();
    fs::set_permissions(copies.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .unwrap();
    let copy = copies.path().join("copy.db");
    let copy = copy.to_str().unwrap();
    let commands: [&[&str]; 4] = [&["check"], &["stats"], &["export"], &["backup", copy]];
    for arguments in commands {
        let error = refusal(&mut command(arguments), 1);
        assert!(error.contains("its folder is read-only"), "{arguments:?}: {error}");
        assert!(error.contains("as the server's user"), "{arguments:?}: {error}");
    }
    // A running server has created those files. A copy made by `backup` needs none.
    chmod(0o755);
    let mut server = instance.start();
    chmod(0o555);
    for arguments in commands {
        let (code, _, stderr) = run(&mut command(arguments));
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
    }
    chmod(0o755);
    server.stop();
    fs::rename(copy, instance.database()).unwrap();
    chmod(0o555);
    for arguments in &commands[..3] {
        let (code, _, stderr) = run(&mut command(arguments));
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
    }
    chmod(0o755);
}

#[test]
fn a_taken_port_is_named_with_a_remedy_and_no_roll_is_made() {
    let instance = Instance::new("every = '1ms'");
    let _taken = std::net::TcpListener::bind(("127.0.0.1", instance.port())).unwrap();
    let error = refusal(&mut instance.command(), 1);
    assert!(error.contains(&format!("127.0.0.1:{}", instance.port())), "{error}");
    assert!(error.contains("ROCKET_PORT"), "expected a remedy in {error}");
    assert_eq!(instance.stored(), [], "rolled without listening");
}

#[test]
fn an_address_of_another_machine_is_refused_with_its_own_remedy() {
    let instance = Instance::new("every = '1h'");
    let error = refusal(instance.command().env("ROCKET_ADDRESS", "192.0.2.1"), 1);
    assert!(error.contains("this machine has no such address"), "{error}");
    assert!(!error.contains("stop the program"), "{error}");
}

#[test]
fn the_program_alone_serves_from_an_empty_folder() {
    let bin = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = bin.path().join("rollcast");
    copy_program(&program);
    let port = free_port().to_string();
    let command = |name: &str| {
        let mut command = Command::new(&program);
        let instance = Instance::new("");
        for (name, value) in instance.command().get_envs() {
            assert!(value.is_none());
            command.env_remove(name);
        }
        command.arg(name).current_dir(folder.path()).env("ROCKET_PORT", &port);
        command
    };
    let (code, stdout, stderr) = run(&mut command("check"));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("no configuration file, built-in defaults"), "{stdout}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "check changed something");

    let mut serve = command("serve");
    serve.env("ROCKET_ROLLCAST", "{log_format=\"json\"}");
    let mut server = Instance::new("").start_with(&mut serve);
    for path in
        ["/", "/rolls", "/stats", "/developers", "/static/favicon.svg", "/static/js/live.js"]
    {
        assert_eq!(http().get(server.url(path)).call().unwrap().status(), 200, "{path}");
    }
    server.stop();
    let database = folder.path().canonicalize().unwrap().join("var/rolls.db");
    assert!(database.is_file());
    let log = server.log().join("\n");
    let announced = format!(
        "found no Rocket.toml, using built-in defaults; rolls are stored in {}",
        database.display()
    );
    assert!(log.contains(&announced), "expected {announced} in {log}");

    let unknown = refusal(command("serve").env("ROCKET_PROFILE", "mine"), 2);
    assert!(unknown.contains("`mine`") && unknown.contains("debug, release"), "{unknown}");
}

#[test]
fn a_server_without_logs_runs_and_stops() {
    let instance = Instance::new("every = '20ms'");
    let mut server = Server::spawn(instance.command().env("RUST_LOG", "off"));
    // A server that ended at once would have stored one or two rolls.
    wait_for("twenty rolls", || {
        let http = http().get(instance.url("/")).call().ok();
        (http.is_some() && instance.stored().len() >= 20).then_some(())
    });
    server.stop();
}

#[test]
fn a_start_with_more_streams_than_open_files_logs_a_warning() {
    let instance = Instance::new("every = '1h'\nmax_streams = 1000000");
    // The limit of this process, and a lower one. Both are too low for a million streams.
    for limit in ["true", "ulimit -n 512"] {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("{limit}; exec \"$0\""), ROLLCAST]);
        command.current_dir(instance.path());
        let server = instance.start_with(&mut command);
        let log = server.log().join("\n");
        assert!(log.contains("rollcast.max_streams is 1000000"), "{limit}: {log}");
        assert!(limit == "true" || log.contains("enough for 384 streams"), "{log}");
    }
    instance.configure("max_streams = 100");
    let server = instance.start();
    assert!(!server.log().join("\n").contains("open files"), "{:#?}", server.log());
}

#[test]
fn only_the_server_may_write_to_its_files_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt;

    for (umask, expected) in [("000", 0o640), ("022", 0o640), ("077", 0o600)] {
        let instance = Instance::new("every = '20ms'");
        let umask = format!("umask {umask}; exec \"$0\" \"$@\"");
        let with_umask = |arguments: &[&str]| {
            let mut shell = Command::new("sh");
            shell.args(["-c", &umask, ROLLCAST]).args(arguments).current_dir(instance.path());
            shell
        };
        let server = instance.start_with(&mut with_umask(&["serve"]));
        wait_for("a roll", || (!instance.stored().is_empty()).then_some(()));
        assert_eq!(run(&mut with_umask(&["backup", "copy.db"])).0, 0);
        for name in ["rolls.db", "rolls.db-wal", "rolls.db-shm", "rolls.db-lock", "copy.db"] {
            let mode = fs::metadata(instance.path().join(name)).unwrap().permissions().mode();
            assert_eq!(format!("{:o}", mode & 0o777), format!("{expected:o}"), "{umask}: {name}");
        }
        drop(server);
    }
}
