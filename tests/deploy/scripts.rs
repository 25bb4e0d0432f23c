//! Scripts and files that name each other, as far as reading them shows.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::files::project;
use crate::program::{run, run_well};

/// What shellcheck says of a script; rc.subr is not here, and reads what a script sets for it.
fn complaints(script: &Path) -> String {
    run(Command::new("shellcheck")
        .args(["--shell=sh", "--exclude=SC1090,SC1091,SC2034"])
        .arg(script))
    .1
}

#[test]
fn shells_find_nothing_wrong_with_our_scripts() {
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
}
