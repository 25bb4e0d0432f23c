//! The program as an operator uses it: commands, configuration, profiles, errors, signals.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::common::{Instance, ROLLCAST, Server, copy_folder, free_port, http, run, wait_for};

/// Runs a command that must fail with this exit code, and returns its error.
fn refusal(command: &mut Command, exit_code: i32) -> String {
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
    let commands =
        ["serve", "check", "backup", "stats", "doctor", "tail", "export", "completions", "man"];
    let rest = ["ROCKET_CONFIG", "ROCKET_PROFILE", "Exit codes", "--version"];
    for word in commands.into_iter().chain(rest) {
        assert!(help.contains(word), "expected {word} in {help}");
    }
    let (code, version, _) = run(instance.command().arg("--version"));
    assert_eq!((code, version.trim()), (0, concat!("rollcast ", env!("CARGO_PKG_VERSION"))));
    for command in commands {
        assert_eq!(run(instance.command().args([command, "--help"])).0, 0);
    }
    let (code, _, stderr) = run(instance.command().arg("sevre"));
    assert_eq!(code, 2);
    assert!(stderr.contains("serve"), "expected the command that was meant in {stderr}");
}

#[test]
fn a_password_is_in_no_error() {
    let instance = Instance::new("");
    let table: [&[&str]; 7] = [
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
    assert!(before == (files(), fs::read(instance.database()).unwrap()), "check changed something");
}

#[test]
fn a_mistake_in_the_configuration_stops_the_start_and_names_key_value_and_source() {
    let table = [
        ("every = '0s'", "rollcast.every", "got `0s`"),
        ("evry = '1s'", "evry", "expected"),
        ("dice = ['1D6', 'W6']", "rollcast.dice", "got `W6`"),
        ("page_size = 1000", "rollcast.page_size", "got `1000`"),
        ("[default.shutdown]\ngrase = 1", "shutdown.grase", "grace"),
        ("[release]\nprot = 1", "release.prot", "expected one of address, port"),
        ("[release]\ntls = 1", "release.tls", "proxy"),
        ("every =", "", "every ="),
    ];
    for (lines, key, text) in table {
        let instance = Instance::new(lines);
        for command in ["serve", "check"] {
            let error = refusal(instance.command().arg(command), 2);
            assert!(error.contains(key) && error.contains(text), "{lines}: {error}");
            assert!(error.contains("Rocket.toml"), "{lines}: no source in {error}");
        }
        assert!(!instance.database().exists(), "{lines}: refused, but made a database");
    }
}

#[test]
fn the_environment_overrides_the_file_and_is_checked_as_strictly() {
    let instance = Instance::new("every = '1h'\npage_size = 7");
    let check = |name: &str, value: &str| run(instance.command().arg("check").env(name, value));
    let (code, stdout, _) = check("ROCKET_PORT", "5999");
    assert_eq!(code, 0);
    assert!(stdout.contains("http://127.0.0.1:5999"), "{stdout}");
    let (code, stdout, _) = check("ROCKET_ROLLCAST", r#"{every="250ms"}"#);
    assert_eq!(code, 0);
    assert!(stdout.contains("1D6 and 1D20 every 250ms"), "{stdout}");
    let refused = [
        ("ROCKET_PROT", "1", "prot"),
        ("ROCKET_PORT", "http", "port"),
        ("ROCKET_WORKERS", "0", "expected 1 or more threads"),
        ("ROCKET_ADDRESS", "localhost", "address"),
        ("ROCKET_ROLLCAST", r#"{every="2h"}"#, "got `2h`"),
        ("ROCKET_ROLLCAST", "{every='200ms'}", "put texts between double quotes"),
        ("ROCKET_ROLLCAST", "every=\"200ms\"", "expected a table such as `{key="),
        ("ROCKET_ROLLCAST_EVERY", "1s", "ROCKET_ROLLCAST='{every=…}'"),
        ("ROCKET_SHUTDOWN_GRACE", "3", "ROCKET_SHUTDOWN='{grace=…}'"),
        ("ROCKET_LOG_LEVEL", "off", "RUST_LOG"),
        ("ROCKET_PROFILE", "relase", "got `relase` from ROCKET_PROFILE"),
        ("RUST_LOG", "=!", "got `=!`"),
    ];
    for (name, value, text) in refused {
        let error = refusal(instance.command().env(name, value), 2);
        let lower = error.to_lowercase();
        assert!(error.contains(text) || lower.contains(text), "{name}={value}: {error}");
    }
}

#[test]
fn a_variable_or_folder_that_is_not_utf_8_is_used_or_refused_and_never_ignored() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let instance = Instance::new("every = '1h'");
    let odd = OsStr::from_bytes(b"odd\xff");
    let folder = instance.path().join(odd);
    fs::create_dir(&folder).unwrap();
    let table = [
        ("ROCKET_CONFIG", "cannot find the configuration file"),
        ("ROCKET_PROFILE", "ROCKET_PROFILE, got `odd\u{fffd}`"),
        ("ROCKET_ROLLCAST", "ROCKET_ROLLCAST, got `odd\u{fffd}`"),
        ("ROCKET_IDENT", "ROCKET_IDENT, got `odd\u{fffd}`"),
    ];
    for (name, text) in table {
        // In this folder, the first one is no path.
        let mut check = instance.command();
        let error = refusal(check.arg("check").current_dir("/").env(name, odd), 2);
        assert!(error.contains(text), "{name}: {error}");
    }
    let mut server = Server::spawn(instance.command().env("RUST_LOG", odd));
    assert_eq!(server.wait().code(), Some(2));
    let log = server.log().join("\n");
    assert!(log.contains("RUST_LOG, got `odd\u{fffd}`"), "{log}");

    let mut server = instance.start();
    wait_for("a roll", || (!instance.stored().is_empty()).then_some(()));
    server.stop();
    for name in ["Rocket.toml", "rolls.db"] {
        fs::rename(instance.path().join(name), folder.join(name)).unwrap();
    }
    let mut by_variable = instance.command();
    by_variable.current_dir("/").env("ROCKET_CONFIG", folder.join("Rocket.toml"));
    let mut by_folder = instance.command();
    by_folder.current_dir(&folder);
    for command in [&mut by_variable, &mut by_folder] {
        let (code, stdout, stderr) = run(command.arg("check").env_remove("ROCKET_TEMPLATE_DIR"));
        assert_eq!(code, 0, "{stderr}");
        assert!(stdout.contains("rolls kept: 1"), "{stdout}");
    }
    let error = refusal(by_folder.env("ROCKET_TEMPLATE_DIR", "pages"), 2);
    assert!(error.contains("whose path is UTF-8") && !error.contains("src/"), "{error}");
}

/// Copies the program in another process. A file that is open for writing cannot be executed, and
/// a process that another test starts meanwhile would inherit a file that this one has open.
fn copy_program(to: &Path) {
    let status = Command::new("cp").arg(ROLLCAST).arg(to).status().unwrap();
    assert!(status.success(), "cp ended with {status}");
}

#[test]
fn the_configuration_is_found_from_any_folder() {
    let instance = Instance::new("every = '1h'");
    let elsewhere = tempfile::tempdir().unwrap();

    // A folder below the one that has Rocket.toml.
    let below = instance.path().join("some/where");
    fs::create_dir_all(&below).unwrap();
    let mut server = instance.start_with(instance.command().current_dir(&below));
    assert_eq!(http().get(server.url("/")).call().unwrap().status(), 200);
    server.stop();
    assert!(instance.database().exists(), "the database is beside Rocket.toml");

    // Another folder, with the file in ROCKET_CONFIG.
    let file = instance.path().join("Rocket.toml");
    let mut command = instance.command();
    command.current_dir(elsewhere.path()).env("ROCKET_CONFIG", &file);
    let mut server = instance.start_with(&mut command);
    assert_eq!(http().get(server.url("/")).call().unwrap().status(), 200);
    server.stop();

    // Another folder, with the program below the file.
    let bin = instance.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let program = bin.join("rollcast");
    copy_program(&program);
    let mut check = Command::new(&program);
    let (code, stdout, _) = run(check.arg("check").current_dir(elsewhere.path()));
    assert_eq!(code, 0);
    assert!(stdout.contains(&*file.canonicalize().unwrap().to_string_lossy()), "{stdout}");

    // Another folder, with program and file where `make install` puts them, also if that folder
    // has another Rocket.toml.
    let prefix = elsewhere.path().join("prefix");
    fs::create_dir_all(prefix.join("bin")).unwrap();
    fs::create_dir_all(prefix.join("etc/rollcast")).unwrap();
    let installed = prefix.join("etc/rollcast/Rocket.toml");
    fs::copy(&file, &installed).unwrap();
    let program = prefix.join("bin/rollcast");
    copy_program(&program);
    for folder in [Path::new("/"), instance.path()] {
        let mut check = Command::new(&program);
        let (code, stdout, _) = run(check.arg("check").current_dir(folder));
        assert_eq!(code, 0);
        assert!(stdout.contains(&*installed.canonicalize().unwrap().to_string_lossy()), "{stdout}");
    }

    // A path from the environment is relative to the file as well, not to the working folder.
    std::os::unix::fs::symlink(
        concat!(env!("CARGO_MANIFEST_DIR"), "/templates"),
        instance.path().join("pages"),
    )
    .unwrap();
    let mut command = instance.command();
    command.current_dir(elsewhere.path()).env("ROCKET_CONFIG", &file);
    command.env("ROCKET_TEMPLATE_DIR", "pages");
    let mut server = instance.start_with(&mut command);
    assert_eq!(http().get(server.url("/")).call().unwrap().status(), 200);
    server.stop();

    // Nowhere to be found: the defaults hold, and paths start at the working folder.
    let lost = elsewhere.path().join("rollcast");
    copy_program(&lost);
    let (code, stdout, _) = run(Command::new(&lost).arg("check").current_dir(elsewhere.path()));
    assert_eq!(code, 0);
    let database = elsewhere.path().canonicalize().unwrap().join("var/rolls.db");
    for text in ["no configuration file, built-in defaults", &*database.to_string_lossy()] {
        assert!(stdout.contains(text), "expected {text} in {stdout}");
    }
    let mut named = Command::new(&lost);
    let error = refusal(named.env("ROCKET_CONFIG", "/no/such.toml"), 2);
    assert!(error.contains("/no/such.toml"), "{error}");
}

#[test]
fn relative_paths_start_beside_a_link_to_the_file_however_it_was_found() {
    let (folder, target) = (tempfile::tempdir().unwrap(), Instance::new("every = '1h'"));
    let link = folder.path().join("Rocket.toml");
    std::os::unix::fs::symlink(target.path().join("Rocket.toml"), &link).unwrap();
    let found = target.command().arg("check").current_dir(folder.path()).output().unwrap();
    let mut named = target.command();
    let named = named.arg("check").current_dir("/").env("ROCKET_CONFIG", &link).output().unwrap();
    let database = format!("database       {}", folder.path().join("rolls.db").display());
    for output in [found, named] {
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(stdout.contains(&database), "expected {database} in {stdout}");
    }
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
fn the_profile_decides_and_the_log_names_it() {
    // The project's own Rocket.toml.
    let instance = Instance::new("");
    let toml = concat!(env!("CARGO_MANIFEST_DIR"), "/Rocket.toml");
    let start = |profile: &str| {
        let rollcast = format!("{{database=\"{}\"}}", instance.database().display());
        let mut command = instance.command();
        command
            .env("ROCKET_CONFIG", toml)
            .env("ROCKET_PORT", "0")
            .env("ROCKET_ROLLCAST", rollcast)
            .env("ROCKET_PROFILE", profile);
        let mut server = Server::spawn(&mut command);
        let line = wait_for("the announcement", || {
            server.log().into_iter().find(|line| line.contains("listening on"))
        });
        // A connection from loopback with the header that a proxy sends.
        let address = line.split("http://").nth(1).unwrap().split(',').next().unwrap();
        let page = format!("http://{address}/rolls");
        http().get(page).header("X-Real-IP", "192.0.2.1").call().unwrap();
        server.stop();
        let log = server.log();
        let access = log.iter().find(|line| line.contains("GET /rolls"));
        (line, access.expect("an access line").clone())
    };
    let (debug, access) = start("debug");
    assert!(access.contains("client 127.0.0.1"), "debug trusts no proxy: {access}");
    assert!(serde_json::from_str::<Value>(&debug).is_err(), "debug logs are for people: {debug}");
    let (release, access) = start("release");
    assert!(access.contains("client 192.0.2.1"), "release trusts loopback: {access}");
    let release: Value = serde_json::from_str(&release).expect("release logs are JSON");
    for (profile, text) in [("debug", &debug), ("release", &release.to_string())] {
        let database = instance.database().canonicalize().unwrap();
        let parts = [
            format!("profile {profile}"),
            "listening on http://127.0.0.1:".into(),
            "1D6 and 1D20 every 1s".into(),
            database.display().to_string(),
        ];
        for part in parts {
            assert!(text.contains(&part), "expected {part} in {text}");
        }
    }
    assert_eq!(release["profile"], "release");
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
    for path in ["/", "/rolls", "/stats", "/api", "/static/favicon.svg", "/static/js/live.js"] {
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

/// Runs `serve` and `check`, which must both refuse the folder that a variable names, and gives back
/// both texts.
fn folder_refusals(instance: &Instance, variable: &str, value: &str) -> [String; 2] {
    let texts = ["serve", "check"]
        .map(|command| refusal(instance.command().arg(command).env(variable, value), 2));
    assert!(!instance.database().exists(), "refused, but made a database");
    texts
}

#[test]
fn an_unusable_folder_of_templates_stops_the_start_and_check() {
    let instance = Instance::new("every = '1h'");
    let folder = instance.path().join("templates");
    let expect = |texts: &[&str]| {
        for error in folder_refusals(&instance, "ROCKET_TEMPLATE_DIR", folder.to_str().unwrap()) {
            for text in texts.iter().chain(&["key `template_dir`", folder.to_str().unwrap()]) {
                assert!(error.contains(text), "expected {text} in {error}");
            }
        }
    };
    expect(&["cannot read", "No such file"]);
    fs::create_dir(&folder).unwrap();
    expect(&[
        "expected the file `api.html.tera`, which rollcast needs",
        "add it, or remove the key",
    ]);
    fs::remove_dir(&folder).unwrap();
    copy_folder("templates", &folder);
    fs::remove_file(folder.join("_die.html.tera")).unwrap();
    expect(&["`_die.html.tera`, which the template `_roll` needs"]);
    fs::write(folder.join("_die.html.tera"), "{% for roll in %}").unwrap();
    expect(&["_die", "expected"]);
}

#[test]
fn an_unusable_folder_of_static_files_stops_the_start_and_check() {
    let instance = Instance::new("every = '1h'");
    let folder = instance.path().join("static");
    let value = format!("{{static_dir={:?}}}", folder.to_str().unwrap());
    let expect = |texts: &[&str]| {
        for error in folder_refusals(&instance, "ROCKET_ROLLCAST", &value) {
            let place = ["key `rollcast.static_dir`", folder.to_str().unwrap()];
            for text in texts.iter().chain(&place) {
                assert!(error.contains(text), "expected {text} in {error}");
            }
        }
    };
    expect(&["cannot read", "No such file"]);
    fs::create_dir(&folder).unwrap();
    expect(&["expected the file `", "which the template `", "add it, or remove the key"]);
    fs::remove_dir(&folder).unwrap();
    copy_folder("static", &folder);
    let file = |name: &str| folder.join(name);
    // Linked by a template, and imported by a script that one links.
    for (name, used_by) in [("js/live.js", "template `index`"), ("js/state.js", "script `js/")] {
        let content = fs::read(file(name)).unwrap();
        fs::remove_file(file(name)).unwrap();
        expect(&[&format!("`{name}`, which the {used_by}")]);
        fs::write(file(name), content).unwrap();
    }
    fs::rename(file("js"), instance.path().join("js")).unwrap();
    std::os::unix::fs::symlink(instance.path().join("js"), file("js")).unwrap();
    expect(&["the symbolic link `", "static/js`", "copy"]);
}

#[test]
fn a_signal_right_after_the_start_stops_the_server_in_order() {
    let instance = Instance::new("every = '1ms'");
    for _ in 0..20 {
        instance.start().stop();
    }
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
fn term_int_and_hup_stop_a_server_with_open_streams_in_order() {
    use crate::common::events::{Ask, Stream};

    for signal in ["TERM", "INT", "HUP"] {
        let instance = Instance::new("every = '5ms'");
        let mut server = instance.start();
        let mut stream = Stream::open(&instance.url("/stream/?after=0"), Ask::default()).unwrap();
        let seen = stream.rolls(20);
        server.signal(signal);
        let status = server.wait();
        assert_eq!(status.code(), Some(0), "{signal}: {:#?}", server.log());
        let stored = instance.stored();
        assert!(stored.len() >= seen.len(), "{signal}: a roll was seen that is not stored");
        let wal = instance.path().join("rolls.db-wal");
        let wal_bytes = fs::metadata(wal).map(|metadata| metadata.len()).unwrap_or(0);
        assert_eq!(wal_bytes, 0, "{signal}: the log was not moved into the database");
    }
}

#[test]
fn usr1_and_usr2_are_logged_and_otherwise_ignored() {
    let instance = Instance::new("every = '20ms'");
    let mut server = instance.start();
    for signal in ["USR1", "USR2", "USR1"] {
        let n_ignored = server.log().len();
        server.signal(signal);
        wait_for(signal, || {
            assert!(!server.has_ended(), "{signal}: {:#?}", server.log());
            let log = server.log();
            let mut lines = log[n_ignored..].iter();
            lines.any(|line| line.contains(&format!("ignored SIG{signal}"))).then_some(())
        });
    }
    server.stop();

    // An operator can make it stop the server.
    let toml = instance.path().join("Rocket.toml");
    let text = fs::read_to_string(&toml).unwrap();
    fs::write(&toml, format!("{text}[default.shutdown]\nsignals = ['usr1']\n")).unwrap();
    let mut server = instance.start();
    assert_eq!(http().get(instance.url("/healthz")).call().unwrap().status(), 200);
    server.signal("USR1");
    assert!(server.wait().success(), "{:#?}", server.log());
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

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    use crate::common::tail::Tail;

    // As `nohup` and a shell's `&` start a program.
    let ignoring = |instance: &Instance, command: &str| {
        let mut shell = Command::new("sh");
        let script = format!("trap '' HUP INT; exec \"$0\" {command}");
        shell.args(["-c", &script, ROLLCAST]).current_dir(instance.path());
        shell
    };
    let instance = Instance::new("every = '20ms'");
    let mut server = instance.start_with(&mut ignoring(&instance, "serve"));
    let mut tail = Tail::spawn(&mut ignoring(&instance, "tail -n 1"));
    tail.wait_for_lines(1);
    for signal in ["HUP", "INT"] {
        server.signal(signal);
        tail.signal(signal);
    }
    // Both signals were delivered before these rolls were made.
    let n_lines = tail.lines().len();
    tail.wait_for_lines(n_lines + 50);
    assert!(!server.has_ended(), "{:#?}", server.log());
    server.stop();
    tail.signal("TERM");
    assert_eq!(tail.wait(), 0, "{}", tail.stderr());
}
