//! The limit on the size of files is like a full disk: nothing ends, and somebody is told.

use std::fs;
use std::process::Command;

use crate::common::events::{Ask, Stream};
use crate::common::{Instance, Server, http, run, wait_for};
use crate::pages::get;

/// The same command under a soft limit of some KiB for each file.
fn limited(command: &Command, kib: u32) -> Command {
    let mut shell = Command::new("sh");
    // The unit is 512 bytes.
    shell.args(["-c", &format!("ulimit -S -f {}; exec \"$0\" \"$@\"", 2 * kib)]);
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.current_dir(command.get_current_dir().unwrap());
    shell
}

#[test]
fn at_the_limit_on_the_size_of_files_rolls_are_retried_and_the_limit_is_named() {
    let instance = Instance::new("every = '20ms'");
    // 2,000 rolls take some 130 KiB, so the database reaches the limit, and then its log does.
    instance.fill(2_000, 1);
    let kib = u32::try_from(fs::metadata(instance.database()).unwrap().len() >> 10).unwrap() + 40;
    let server: Server = instance.start_with(&mut limited(&instance.command(), kib));
    let mut stream = Stream::open(&instance.url("/stream/?after=2000"), Ask::default()).unwrap();
    let said = |text: &str| server.log().iter().any(|line| line.contains(text));
    wait_for("the log line of the limit", || said("no roll can be stored").then_some(()));
    assert!(said("the limit of") && said("ulimit -f"), "{:#?}", server.log());
    // Pages and streams work, and say it. A checkpoint may make room for some more rolls before.
    assert_eq!(http().get(instance.url("/")).call().unwrap().status(), 200);
    let ready = wait_for("the reason on /readyz", || {
        Some(get(&instance.url("/readyz"), &[])).filter(|ready| ready.status == 503)
    });
    assert!(ready.body.contains("the limit of"), "{}", ready.body);

    let raise = ["--pid", &server.pid().to_string(), "--fsize=unlimited"].map(str::to_string);
    assert!(Command::new("prlimit").args(raise).status().unwrap().success());
    wait_for("rolls again", || said("rolls are stored again").then_some(()));
    let n_stored = instance.stored().len();
    for (expected, (id, _)) in (2_001..).zip(stream.rolls(n_stored + 20 - 2_000)) {
        assert_eq!(id.split('-').next(), Some(&*expected.to_string()), "a gap or a repeat");
    }
}

#[test]
fn at_the_limit_on_the_size_of_files_a_command_fails_with_the_reason() {
    let instance = Instance::new("every = '1h'");
    instance.fill(5_000, 1);
    for args in [["export", "-o", "rolls.csv"].as_slice(), &["backup", "copy.db"]] {
        let (code, _, stderr) = run(&mut limited(instance.command().args(args), 40));
        assert_eq!(code, 1, "{args:?}: {stderr}");
        assert!(!stderr.is_empty(), "{args:?}");
    }
    assert!(
        !instance.path().join("rolls.csv").exists() && !instance.path().join("copy.db").exists()
    );
}
