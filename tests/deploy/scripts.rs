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
        "deploy/certbot/rollcast-fanout",
        "deploy/debian/build.sh",
        "deploy/nats/as-operator.sh",
        "deploy/nats/certificates.sh",
        "crates/lab/adapters/setup.sh",
        "deploy/debian/postinst",
        "deploy/debian/prerm",
        "deploy/debian/postrm",
        "tests/setup.sh",
        "tests/run.sh",
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

/// The end of the output of `tests/run.sh` with other scripts instead of `tests/setup.sh` and cargo,
/// and its exit code.
fn summary(setup: &str, cargo: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("tests")).unwrap();
    fs::copy(project().join("tests/run.sh"), path("tests/run.sh")).unwrap();
    for (name, script) in [("tests/setup.sh", setup), ("cargo", cargo)] {
        fs::write(path(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        run_well(Command::new("chmod").arg("0755").arg(path(name)));
    }
    let mut script = Command::new(path("tests/run.sh"));
    script.env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()));
    let (code, output) = run(&mut script);
    (code, output.split_once("Summary\n").expect("a summary").1.to_owned())
}

#[test]
fn a_test_run_ends_with_a_summary_and_the_exit_code_of_cargo() {
    let setup =
        "echo 'setup: SKIPPED: the suite `browser` needs chromium' >&2; echo clients,doctor";
    let cargo = r#"test "$*" = 'test --locked --workspace --no-fail-fast --features clients,doctor' || exit 9
        suite() { echo "     Running $1 (target/debug/deps/$2-0123456789abcdef)" >&2; }
        suite 'unittests src/lib.rs' rollcast
        echo 'test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s'
        suite tests/suite/main.rs suite
        echo 'test api::a_page ... ok'
        echo 'test feed::a_gap ... FAILED'
        echo 'test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s'
        suite tests/doctor/main.rs doctor
        echo 'Caused by: process did not exit successfully (signal: 9, SIGKILL: kill)' >&2
        exit 101"#;
    let (code, output) = summary(setup, cargo);
    assert_eq!(code, 101, "{output}");
    let expected = [
        "  passed   unittests src/lib.rs (rollcast): 12 passed; 0 failed",
        "  FAILED   tests/suite/main.rs (suite): 1 passed; 1 failed",
        "             feed::a_gap",
        "  FAILED   tests/doctor/main.rs (doctor): did not finish",
        "  skipped  `browser` needs chromium",
        "1 passed, 2 failed, 1 skipped",
    ];
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);

    // A run without faults, one that cannot be built, and one for which setup finds no compiler.
    let passes = "echo '     Running tests/a.rs (deps/a-0f)'\n\
                  echo 'test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out'";
    let (code, output) = summary("echo clients", passes);
    assert!(code == 0 && output.ends_with("\n1 passed, 0 failed, 0 skipped\n"), "{code}: {output}");
    let nothing = "  no suite ran\n0 passed, 0 failed, 0 skipped\n";
    assert_eq!(summary("echo clients", "exit 101"), (101, nothing.to_owned()));
    assert_eq!(summary("exit 1", passes), (1, nothing.to_owned()));
}
