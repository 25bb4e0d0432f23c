//! Static checks of the systemd unit, without a running systemd.

use std::path::Path;
use std::process::Command;

use crate::common::ROLLCAST;
use crate::files::Files;
use crate::program::run;

const UNIT: &str = "rollcast.service";

/// Writes the unit for the program under test, after `edit`, into a folder. Returns its path.
fn unit(folder: &Path, edit: impl FnOnce(&mut Files)) -> String {
    let mut files = Files::read("systemd");
    files.replace(UNIT, "/usr/local/bin/rollcast", ROLLCAST);
    edit(&mut files);
    files.write(folder);
    folder.join(UNIT).display().to_string()
}

/// The output of `systemd-analyze verify`, which is empty for a correct unit. The exit code is 0 even
/// for unknown keys.
fn complaints(unit: &str) -> String {
    run(Command::new("systemd-analyze").args(["verify", "--man=no", unit])).1
}

#[test]
fn systemd_finds_no_fault_in_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(complaints(&unit(folder.path(), |_| {})), "");
    let control = unit(folder.path(), |files| files.replace(UNIT, "UMask=", "Umask="));
    assert!(complaints(&control).contains("Umask"), "{}", complaints(&control));
}

#[test]
fn the_service_has_a_low_exposure_score() {
    let folder = tempfile::tempdir().unwrap();
    // The threshold is in tenths: at most 1.5.
    let analyze = |unit: &str| {
        let args = ["security", "--offline=true", "--no-pager", "--threshold=15", unit];
        run(Command::new("systemd-analyze").args(args))
    };
    let (code, output) = analyze(&unit(folder.path(), |_| {}));
    assert_eq!(code, 0, "{output}");
    println!("{}", output.lines().last().unwrap_or_default());
    let control = unit(folder.path(), |files| {
        files.replace(UNIT, "SystemCallFilter=@system-service\n", "");
        files.replace(UNIT, "SystemCallFilter=~@privileged @resources\n", "");
    });
    let (code, output) = analyze(&control);
    assert_ne!(code, 0, "{output}");
}
