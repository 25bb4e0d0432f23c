//! The unit, as far as it can be judged without a running systemd.

use std::path::Path;
use std::process::Command;

use crate::common::ROLLCAST;
use crate::files::Files;
use crate::program::run;

const UNIT: &str = "rollcast.service";

/// The unit for the program under test, edited, in a folder.
fn unit(folder: &Path, edit: impl FnOnce(&mut Files)) -> String {
    let mut files = Files::read("systemd");
    files.replace(UNIT, "/usr/local/bin/rollcast", ROLLCAST);
    edit(&mut files);
    files.write(folder);
    folder.join(UNIT).display().to_string()
}

/// What systemd has to say about it, which is nothing if all is well: it exits with 0 also over
/// keys that it does not know.
fn complaints(unit: &str) -> String {
    run(Command::new("systemd-analyze").args(["verify", "--man=no", unit])).1
}

#[test]
fn systemd_finds_nothing_to_complain_about() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(complaints(&unit(folder.path(), |_| {})), "");
    let control = unit(folder.path(), |files| files.replace(UNIT, "UMask=", "Umask="));
    assert!(complaints(&control).contains("Umask"), "{}", complaints(&control));
}

#[test]
fn the_service_is_exposed_to_little() {
    let folder = tempfile::tempdir().unwrap();
    // In tenths: at most 1.5.
    let judged = |unit: &str| {
        let args = ["security", "--offline=true", "--no-pager", "--threshold=15", unit];
        run(Command::new("systemd-analyze").args(args))
    };
    let (code, said) = judged(&unit(folder.path(), |_| {}));
    assert_eq!(code, 0, "{said}");
    println!("{}", said.lines().last().unwrap_or_default());
    let control = unit(folder.path(), |files| {
        files.replace(UNIT, "SystemCallFilter=@system-service\n", "");
        files.replace(UNIT, "SystemCallFilter=~@privileged @resources\n", "");
    });
    let (code, said) = judged(&control);
    assert_ne!(code, 0, "{said}");
}
