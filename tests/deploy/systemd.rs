//! Static checks of the systemd units, without a running systemd.

use std::path::Path;
use std::process::Command;

use crate::common::ROLLCAST;
use crate::files::{Files, project};
use crate::program::run;

const UNIT: &str = "rollcast.service";
const BACKUP: &str = "rollcast-backup.service";
const TIMER: &str = "rollcast-backup.timer";
const NATS: &str = "nats-server.service";
const FLEET: &str = "fleet.conf";

/// Writes the units for the programs of the source tree, after `edit`, into a folder. Returns the
/// path of one of them.
fn unit(name: &str, folder: &Path, edit: impl FnOnce(&mut Files)) -> String {
    let mut files = Files::read("systemd");
    let script = project().join("deploy/backup/rollcast-backup").display().to_string();
    files.replace(BACKUP, "/usr/local/bin/rollcast-backup", &script);
    files.replace(UNIT, "/usr/local/bin/rollcast", ROLLCAST);
    edit(&mut files);
    files.write(folder);
    folder.join(name).display().to_string()
}

/// The same for the unit of nats-server, which need not be installed.
fn nats_unit(folder: &Path, edit: impl FnOnce(&mut Files)) -> String {
    let mut files = Files::read("nats");
    files.replace(NATS, "ExecStart=nats-server ", "ExecStart=true ");
    edit(&mut files);
    files.write(folder);
    folder.join(NATS).display().to_string()
}

/// The output of `systemd-analyze verify`, which is empty for a correct unit. The exit code is 0 even
/// for unknown keys.
fn complaints(unit: &str) -> String {
    run(Command::new("systemd-analyze").args(["verify", "--man=no", unit])).1
}

#[test]
fn systemd_finds_no_fault_in_the_units() {
    let folder = tempfile::tempdir().unwrap();
    for name in [UNIT, BACKUP, TIMER] {
        assert_eq!(complaints(&unit(name, folder.path(), |_| {})), "");
    }
    let wrong_keys = [
        (UNIT, "UMask=", "Umask="),
        (BACKUP, "Nice=", "nice="),
        (TIMER, "OnCalendar=", "onCalendar="),
    ];
    for (name, right, wrong) in wrong_keys {
        let control = unit(name, folder.path(), |files| files.replace(name, right, wrong));
        let key = wrong.trim_end_matches('=');
        assert!(complaints(&control).contains(key), "{}", complaints(&control));
    }
}

#[test]
fn systemd_finds_no_fault_in_the_units_of_a_fleet() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(complaints(&nats_unit(folder.path(), |_| {})), "");
    let control = nats_unit(folder.path(), |files| files.replace(NATS, "UMask=", "Umask="));
    assert!(complaints(&control).contains("Umask"), "{}", complaints(&control));

    let folder = tempfile::tempdir().unwrap();
    let with_fleet = |edit: &dyn Fn(&mut Files)| {
        let unit = unit(UNIT, folder.path(), |_| {});
        let mut files = Files::read("nats");
        edit(&mut files);
        files.write_one(FLEET, folder.path().join(format!("{UNIT}.d")).join(FLEET));
        complaints(&unit)
    };
    assert_eq!(with_fleet(&|_| {}), "");
    let control = with_fleet(&|files| files.replace(FLEET, "IPAddressAllow=", "IpAddressAllow="));
    assert!(control.contains("IpAddressAllow"), "{control}");
}

#[test]
fn the_services_have_a_low_exposure_score() {
    let folder = tempfile::tempdir().unwrap();
    // The threshold is in tenths: at most 1.5.
    let analyze = |unit: &str| {
        let args = ["security", "--offline=true", "--no-pager", "--threshold=15", unit];
        run(Command::new("systemd-analyze").args(args))
    };
    for name in [UNIT, BACKUP] {
        let (code, output) = analyze(&unit(name, folder.path(), |_| {}));
        assert_eq!(code, 0, "{output}");
        println!("{}", output.lines().last().unwrap_or_default());
    }
    let (code, output) = analyze(&nats_unit(folder.path(), |_| {}));
    assert_eq!(code, 0, "{output}");
    let control = unit(UNIT, folder.path(), |files| {
        files.replace(UNIT, "SystemCallFilter=@system-service\n", "");
        files.replace(UNIT, "SystemCallFilter=~@privileged @resources\n", "");
    });
    let (code, output) = analyze(&control);
    assert_ne!(code, 0, "{output}");
}
