//! Static checks of scripts, and of files that refer to each other.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::files::{Files, project};
use crate::program::{run, run_well};

/// The output of shellcheck for a script, without checks that need FreeBSD's rc.subr.
fn complaints(script: &Path) -> String {
    run(Command::new("shellcheck")
        .args(["--shell=sh", "--exclude=SC1090,SC1091,SC2034"])
        .arg(script))
    .1
}

#[test]
fn shellcheck_finds_no_fault_in_our_scripts() {
    let scripts = [
        "deploy/freebsd/rollcast",
        "deploy/backup/410.rollcast",
        "deploy/backup/rollcast-backup",
        "deploy/debian/build.sh",
        "deploy/debian/postinst",
        "deploy/debian/prerm",
        "deploy/debian/postrm",
        "tests/setup.sh",
        "tests/deploy/machine.sh",
        "tests/deploy/freebsd/rc.subr",
    ];
    for script in scripts.map(|name| project().join(name)) {
        run_well(Command::new("sh").arg("-n").arg(&script));
        assert_eq!(complaints(&script), "");
    }
    let folder = tempfile::tempdir().unwrap();
    let control = folder.path().join("control");
    fs::write(&control, "rm $1\n").unwrap();
    assert!(complaints(&control).contains("SC2086"));
}

#[test]
fn newsyslog_rotates_the_log_that_the_script_writes() {
    let read =
        |name: &str| fs::read_to_string(project().join("deploy/freebsd").join(name)).unwrap();
    let (script, newsyslog) = (read("rollcast"), read("newsyslog.conf"));
    let entry = newsyslog.lines().find(|line| !line.starts_with('#')).unwrap();
    let fields: Vec<&str> = entry.split_whitespace().collect();
    let [log, owner, mode, _, _, _, flags, pid_file] = fields[..] else {
        panic!("expected eight fields in {entry}")
    };
    assert!(script.contains(&format!("\nlog={log}\n")), "{log}");
    assert!(script.contains(&format!("\npidfile={pid_file}\n")), "{pid_file}");
    assert_eq!((owner, mode, flags), ("rollcast:rollcast", "640", "JC"));
    // supervisord rotates its own logs.
    let supervised = fs::read_to_string(project().join("deploy/supervisor/rollcast.conf")).unwrap();
    assert!(!supervised.contains(log), "both rotate {log}");
}

/// Runs FreeBSD's nightly backup with a `su -m` that uses root's csh.
fn run_backup_under_csh(edit: impl FnOnce(&mut Files)) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut files = Files::read("backup");
    let bin = folder.path().display().to_string();
    files.replace("410.rollcast", "PATH=/usr/local/bin:", &format!("PATH={bin}:"));
    edit(&mut files);
    files.write_one("410.rollcast", path("410.rollcast"));
    // csh takes an assignment before a command as the command's name.
    let su = "#!/bin/sh\nset -- $4\ncase $1 in *=*) echo \"$1: Command not found.\"; exit 1 ;; esac\n\
              exec sh -c \"$*\"\n";
    fs::write(path("su"), su).unwrap();
    fs::write(path("rollcast-backup"), "#!/bin/sh\necho \"$ROCKET_CONFIG $*\"\n").unwrap();
    fs::write(path("periodic.conf"), "source_periodic_confs() { daily_rollcast_enable=YES; }\n")
        .unwrap();
    run_well(Command::new("chmod").arg("0755").args([path("su"), path("rollcast-backup")]));
    let mut script = Command::new("sh");
    script.arg(path("410.rollcast")).env("PATH", format!("{bin}:/usr/bin:/bin"));
    run(script.env("defaults", path("periodic.conf")))
}

#[test]
fn the_nightly_backup_on_freebsd_works_in_roots_csh() {
    let (code, output) = run_backup_under_csh(|_| {});
    assert_eq!(code, 1, "{output}"); // 1 means that a backup was written
    let expected = "/usr/local/etc/rollcast/Rocket.toml /var/backups/rollcast 14";
    assert!(output.contains(expected), "{output}");

    let (code, output) =
        run_backup_under_csh(|files| files.replace("410.rollcast", "env PATH", "PATH"));
    assert!(code == 3 && output.contains("Command not found"), "{code}: {output}");
}
