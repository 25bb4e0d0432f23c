//! Signals to a running server.

use std::fs;
use std::process::Command;

use crate::common::{Instance, ROLLCAST, http, wait_for};

#[test]
fn a_signal_right_after_the_start_stops_the_server_in_order() {
    let instance = Instance::new("every = '1ms'");
    for _ in 0..20 {
        instance.start().stop();
    }
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
