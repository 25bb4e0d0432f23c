//! `make install`, with GNU make and with FreeBSD's make.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Instance, ROLLCAST, Server, free_port, http};
use crate::files::project;
use crate::program::{run, run_well};

/// The command `make TARGET` with a prefix below `folder`.
fn make(make: &str, target: &str, folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(make);
    command.current_dir(project()).arg(target).args(more);
    command.arg(format!("PREFIX={}", folder.join("usr/local").display()));
    command.arg(format!("STATEDIR={}", folder.join("var/rollcast").display()));
    command.arg(format!("PROGRAM={ROLLCAST}"));
    // Set if make runs the tests.
    command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    command
}

/// The relative paths of all files below a folder.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path).into_iter().map(|below| path.join(below)));
        } else {
            found.push(path);
        }
    }
    found = found.iter().map(|path| path.strip_prefix(folder).unwrap().to_path_buf()).collect();
    found.sort();
    found
}

/// The installed program, run from an unrelated folder.
fn installed(folder: &Path) -> Command {
    let mut command = Command::new(folder.join("usr/local/bin/rollcast"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ROCKET_")) {
        command.env_remove(name);
    }
    command.current_dir("/");
    command
}

#[test]
fn the_installed_program_runs_from_any_folder_and_uninstall_keeps_configuration_and_data() {
    for which in ["make", "bmake"] {
        let folder = tempfile::tempdir().unwrap();
        run_well(&mut make(which, "install", folder.path(), &[]));
        let prefix = folder.path().join("usr/local");
        let state = folder.path().join("var/rollcast");
        fs::create_dir_all(&state).unwrap();

        let config = prefix.join("etc/rollcast/Rocket.toml");
        let output = run_well(installed(folder.path()).arg("check"));
        for path in [config.canonicalize().unwrap(), state.join("rolls.db")] {
            assert!(output.contains(&*path.to_string_lossy()), "expected {path:?} in {output}");
        }
        let port = free_port();
        let mut command = installed(folder.path());
        command.env("ROCKET_PORT", port.to_string()).env("ROCKET_PROFILE", "release");
        let server = Instance::new("").start_with(&mut command);
        assert_eq!(http().get(server.url("/")).call().unwrap().status(), 200);
        assert_eq!(http().get(server.url("/static/favicon.svg")).call().unwrap().status(), 200);
        drop::<Server>(server);
        assert!(state.join("rolls.db").is_file());

        assert!(!prefix.join("share/rollcast").exists(), "expected all files in the program");

        fs::write(&config, "# mine\n").unwrap();
        run_well(&mut make(which, "uninstall", folder.path(), &[]));
        let left = tree(&prefix);
        assert_eq!(left, [Path::new("etc/rollcast/Rocket.toml")], "after {which} uninstall");
        assert_eq!(fs::read_to_string(&config).unwrap(), "# mine\n");
        assert!(state.join("rolls.db").is_file());
    }
}

#[test]
fn a_second_install_updates_unedited_files_and_keeps_an_edited_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let install = || run_well(&mut make("make", "install", folder.path(), &[]));
    install();
    let config = folder.path().join("usr/local/etc/rollcast/Rocket.toml");
    let sample = folder.path().join("usr/local/etc/rollcast/Rocket.toml.sample");
    let old_share = folder.path().join("usr/local/share/rollcast");
    let delivered = fs::read_to_string(&config).unwrap();

    // Files of an older release.
    fs::write(&config, "# old\n").unwrap();
    fs::write(&sample, "# old\n").unwrap();
    fs::create_dir_all(old_share.join("static/js")).unwrap();
    fs::write(old_share.join("static/js/gone.js"), "").unwrap();
    install();
    assert_eq!(fs::read_to_string(&config).unwrap(), delivered);
    assert!(!old_share.exists(), "files of release 0.1 remain");

    fs::write(&config, "# mine\n").unwrap();
    let output = install();
    assert_eq!(fs::read_to_string(&config).unwrap(), "# mine\n");
    assert_eq!(fs::read_to_string(&sample).unwrap(), delivered);
    assert!(output.contains("kept the edited"), "{output}");
    assert!(!output.contains("template_dir"), "{output}");

    // An edited configuration that still names the folders of release 0.1.
    let templates = old_share.join("templates");
    fs::write(&config, format!("[default]\ntemplate_dir = \"{}\"\n", templates.display())).unwrap();
    let output = install();
    assert!(output.contains("remove template_dir and static_dir from"), "{output}");
}

#[test]
fn installed_files_are_readable_by_all_users_even_under_a_strict_umask() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let install = make("make", "install", folder.path(), &[]);
    let mut strict = Command::new("sh");
    strict.current_dir(project()).args(["-c", "umask 077; exec \"$@\"", "sh"]);
    strict.arg(install.get_program()).args(install.get_args());
    run_well(strict.env_remove("MAKEFLAGS").env_remove("MAKELEVEL"));
    for path in tree(folder.path()) {
        let mode = fs::metadata(folder.path().join(&path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o444, 0o444, "{path:?} has mode {mode:o}");
    }
}

#[test]
fn each_platform_gets_its_files_with_its_paths() {
    let stage = tempfile::tempdir().unwrap();
    let install = |os: &str, prefix: &str, name: &str| {
        let root = stage.path().join(name);
        run_well(
            Command::new("bmake")
                .current_dir(project())
                .args(["install", &format!("OS={os}"), &format!("PREFIX={prefix}")])
                .args([format!("DESTDIR={}", root.display()), format!("PROGRAM={ROLLCAST}")]),
        );
        let read = move |path: &str| fs::read_to_string(root.join(path)).unwrap();
        (tree(&stage.path().join(name)), read)
    };
    let has = |tree: &[PathBuf], path: &str| tree.iter().any(|found| found == Path::new(path));

    let everywhere = [
        "man/man1/rollcast.1",
        "man/man1/rollcast-backup.1",
        "bash-completion/completions/rollcast",
        "examples/rollcast/prometheus/rollcast.rules.yml",
        "examples/rollcast/nats/nats-server.conf",
        "examples/rollcast/nats/fleet.conf",
    ];

    let (tree, read) = install("FreeBSD", "/usr/local", "freebsd");
    for path in everywhere.iter().chain(&["zsh/site-functions/_rollcast"]) {
        assert!(has(&tree, &format!("usr/local/share/{path}")), "{path}: {tree:#?}");
    }
    assert!(has(&tree, "usr/local/etc/newsyslog.conf.d/rollcast.conf"), "{tree:#?}");
    assert!(!tree.iter().any(|path| path.to_string_lossy().contains("systemd")), "{tree:#?}");
    assert!(read("usr/local/etc/rc.d/rollcast").contains("/usr/local/bin/rollcast"));
    let config = read("usr/local/etc/rollcast/Rocket.toml");
    assert!(config.contains("\"/var/db/rollcast/rolls.db\""), "{config}");
    let main = read("usr/local/share/examples/rollcast/supervisor/supervisord.conf");
    assert!(main.contains("/var/run/supervisor/supervisor.sock"), "{main}");
    let cron = read("usr/local/share/examples/rollcast/backup/rollcast.cron");
    assert!(cron.contains("ROCKET_CONFIG=/usr/local/etc/rollcast/Rocket.toml"), "{cron}");

    let (tree, read) = install("Linux", "/usr", "debian");
    for path in everywhere.iter().chain(&["zsh/vendor-completions/_rollcast"]) {
        assert!(has(&tree, &format!("usr/share/{path}")), "{path}: {tree:#?}");
    }
    let fish = read("usr/share/fish/vendor_completions.d/rollcast.fish");
    assert!(fish.contains("complete -c rollcast"), "{fish}");
    let backup = read("usr/lib/systemd/system/rollcast-backup.service");
    assert!(backup.contains("ExecStart=/usr/bin/rollcast-backup "), "{backup}");
    assert!(has(&tree, "usr/lib/systemd/system/rollcast-backup.timer"), "{tree:#?}");
    assert!(!tree.iter().any(|path| path.to_string_lossy().contains("rc.d")), "{tree:#?}");
    let config = read("etc/rollcast/Rocket.toml");
    assert!(config.contains("\"/var/lib/rollcast/rolls.db\""), "{config}");
    let cron = read("usr/share/examples/rollcast/backup/rollcast.cron");
    assert!(cron.contains("ROCKET_CONFIG=/etc/rollcast/Rocket.toml"), "{cron}");
    for file in [
        read("usr/lib/systemd/system/rollcast.service"),
        read("usr/share/examples/rollcast/supervisor/rollcast.conf"),
    ] {
        assert!(file.contains("/usr/bin/rollcast serve"), "{file}");
        assert!(file.contains("/var/lib/rollcast"), "{file}");
        assert!(!file.contains("/usr/local") && !file.contains("/var/db"), "{file}");
    }

    // A prefix that starts with the default one.
    let (_, read) = install("Linux", "/usr/local/rollcast", "below");
    let unit = read("usr/local/rollcast/lib/systemd/system/rollcast.service");
    assert!(unit.contains("ExecStart=/usr/local/rollcast/bin/rollcast serve"), "{unit}");
}

#[test]
fn without_a_built_program_make_install_names_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = make("make", "install", folder.path(), &[]);
    let (code, output) = run(command.arg("PROGRAM=no/such/program"));
    assert_ne!(code, 0);
    assert!(output.contains("make build"), "{output}");
    assert_eq!(tree(folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn the_port_lists_what_make_install_puts_outside_share() {
    let stage = tempfile::tempdir().unwrap();
    run_well(
        Command::new("bmake")
            .current_dir(project())
            .args(["install", "OS=FreeBSD", &format!("PROGRAM={ROLLCAST}")])
            .arg(format!("DESTDIR={}", stage.path().display())),
    );
    let list = fs::read_to_string(project().join("deploy/freebsd/port/pkg-plist")).unwrap();
    let listed = list.lines().filter(|line| !line.starts_with("@dir"));
    let listed = listed.map(|line| line.strip_prefix("@sample ").unwrap_or(line).into());
    let mut listed: Vec<PathBuf> = listed.collect();
    listed.sort();
    let mut installed = tree(&stage.path().join("usr/local"));
    // The port lists all files below share/ itself, and pkg copies the configuration from its sample.
    installed.retain(|path| !path.starts_with("share"));
    installed.retain(|path| path != Path::new("etc/rollcast/Rocket.toml"));
    assert_eq!(listed, installed);
}
