//! `Rocket.toml`, its profiles and the `ROCKET_…` variables.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::commands::refusal;
use crate::common::{Instance, ROLLCAST, Server, copy_folder, http, run, wait_for};

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
pub fn copy_program(to: &Path) {
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
        "expected the file `about.html.tera`, which rollcast needs",
        "add it, or remove the key",
    ]);
    fs::remove_dir(&folder).unwrap();
    copy_folder("templates", &folder);
    fs::remove_file(folder.join("_die.html.tera")).unwrap();
    expect(&["`_die.html.tera`, which the template `_show` needs"]);
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
    for (name, used_by) in [("js/live.js", "template `index`"), ("js/state.js", "file `js/")] {
        let content = fs::read(file(name)).unwrap();
        fs::remove_file(file(name)).unwrap();
        expect(&[&format!("`{name}`, which the {used_by}")]);
        fs::write(file(name), content).unwrap();
    }
    fs::rename(file("js"), instance.path().join("js")).unwrap();
    std::os::unix::fs::symlink(instance.path().join("js"), file("js")).unwrap();
    expect(&["the symbolic link `", "static/js`", "copy"]);
}
