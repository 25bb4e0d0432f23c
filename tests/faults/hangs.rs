//! A disk that does not answer: its calls neither succeed nor fail. The server stops in time all
//! the same, and only the work that needs the hanging call waits for it.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use crate::common::events::{Ask, Stream};
use crate::common::listener::{Behaviour, Listener};
use crate::common::{Instance, http, wait_for};
use crate::kills::head;
use crate::oracle::{Stored, log_of};
use crate::report::{Recovered, Row};
use crate::shim::{Calls, Failure, Fault, Shim};
use crate::stop::{signal_and_wait, stop_wait};

const SYNCS_HANG: Fault = Fault {
    calls: Calls::Sync,
    failure: Failure::Hang,
    first: 1,
    step: Some(1),
    drops: false,
    lies: false,
};

#[test]
fn the_server_stops_while_a_sync_never_returns_and_no_roll_is_lost() {
    let (instance, shim) = (Instance::new("every = '20ms'"), Shim::new());
    let listener = Listener::start(instance.url("/stream/"), Behaviour::EAGER);
    let mut server = instance.start_with(&mut shim.command(&instance));
    wait_for("rolls", || (listener.received().last() > 3).then_some(()));
    shim.inject(SYNCS_HANG);
    wait_for("a sync that hangs", || (shim.n_injected() > 0).then_some(()));
    let (status, took) = signal_and_wait(&mut server, &["TERM"]);
    assert!(took < stop_wait(), "ended after {took:?}");
    let log = server.log();
    assert_eq!(status.code(), Some(1), "{log:#?}");
    let message = log.last().unwrap();
    assert!(message.contains("rollcast: the database's disk does not answer"), "{log:#?}");
    shim.clear_fault();

    let n_seen = listener.received().last();
    let started = Instant::now();
    let mut server = instance.start();
    wait_for("a roll", || (listener.received().last() > n_seen).then_some(()));
    let recovered = started.elapsed();
    server.stop();
    let mut log = log_of(&listener.stop(), 0);
    log.settle(&Stored::read(&instance));
    log.assert_is_whole("the listener");
    Row {
        fault: "SIGTERM while a sync never returns",
        n_injected: 1,
        n_lost: log.n_lost,
        n_repeated: log.n_repeated,
        recovered: Recovered::Words(format!(
            "stops within {:.1} s, with the reason; {:.1} s after the next start",
            took.as_secs_f64(),
            recovered.as_secs_f64()
        )),
        control: "none".into(),
        test: "hangs::the_server_stops_while_a_sync",
    }
    .write();
}

#[test]
fn the_server_stops_cleanly_when_only_the_last_checkpoint_hangs() {
    let (instance, shim) = (Instance::new("every = '1h'"), Shim::new());
    let mut server = instance.start_with(&mut shim.command(&instance));
    wait_for("the roll", || (head(&instance) == 1).then_some(()));
    shim.inject(SYNCS_HANG);
    let (status, took) = signal_and_wait(&mut server, &["TERM"]);
    assert!(shim.n_injected() > 0, "nothing hung");
    assert!(took < stop_wait(), "ended after {took:?}");
    let log = server.log();
    assert_eq!(status.code(), Some(0), "{log:#?}");
    let warned = log.iter().any(|line| {
        line.contains("the write-ahead log stays beside the database: its disk did not answer")
    });
    assert!(warned, "{log:#?}");
    assert_eq!(instance.stored().len(), 1);
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    for (first, second, number) in [("TERM", "INT", 2), ("INT", "INT", 2), ("HUP", "TERM", 15)] {
        let (instance, shim) = (Instance::new("every = '20ms'"), Shim::new());
        let mut server = instance.start_with(&mut shim.command(&instance));
        wait_for("rolls", || (head(&instance) > 3).then_some(()));
        shim.inject(SYNCS_HANG);
        wait_for("a sync that hangs", || (shim.n_injected() > 0).then_some(()));
        server.signal(first);
        let stopping = format!("received SIG{first}, stopping");
        wait_for("the first signal", || {
            server.log().iter().any(|line| line.contains(&stopping)).then_some(())
        });
        // A signal sent together with the first counts as one. A later one does not.
        let sent = Instant::now();
        wait_for("the end", || {
            server.signal(second);
            server.has_ended().then_some(())
        });
        let took = sent.elapsed();
        assert!(took < Duration::from_secs(2), "{first}, {second}: ended after {took:?}");
        assert_eq!(server.wait().signal(), Some(number), "{first}, {second}");
    }
}

/// Asserts that a server keeps storing rolls, answers every request, and stops in time, while
/// `fault` blocks its only thread for blocking work. A request for `path` makes the call that hangs.
fn assert_rolls_continue(fault: Fault, path: &str) {
    let (instance, shim) = (Instance::new("every = '1s'"), Shim::new());
    instance.fill(20_000, 1);
    let mut command = shim.command(&instance);
    let mut server = instance.start_with(command.env("ROCKET_MAX_BLOCKING", "1"));
    let mut stream = Stream::open(&instance.url("/stream/"), Ask::default()).unwrap();
    // Just after a roll, the writer does nothing for the rest of the interval.
    stream.rolls(2);
    shim.inject(fault);
    let get = |path: &str| {
        let url = instance.url(path);
        std::thread::spawn(move || http().get(url).call().map(|answer| answer.status().as_u16()))
    };
    let hanging = get(path);
    wait_for("a call that hangs", || (shim.n_injected() == 1).then_some(()));
    assert_eq!(stream.rolls(3).len(), 3);
    // Control: the thread is blocked, so the disk cannot be probed.
    let mut answer = http().get(instance.url("/readyz")).call().unwrap();
    let reason = answer.body_mut().read_to_string().unwrap();
    assert!(answer.status() == 503 && reason.contains("does not answer"), "{path}: {reason}");
    let waiting = get("/rolls");
    for request in [hanging, waiting] {
        assert_eq!(request.join().unwrap().unwrap(), 503, "{path}");
    }
    let (status, took) = signal_and_wait(&mut server, &["TERM"]);
    assert_eq!(status.code(), Some(0), "{path}: {:#?}", server.log());
    assert!(took < stop_wait(), "{path}: ended after {took:?}");
}

#[test]
fn rolls_continue_while_a_disk_probe_hangs_on_the_only_blocking_thread() {
    let probe = Fault { step: None, ..Fault::for_ever(Calls::Stat, Failure::Hang) };
    assert_rolls_continue(probe, "/readyz");
}

#[test]
fn rolls_continue_while_a_read_hangs_on_the_only_blocking_thread() {
    let read = Fault { step: None, ..Fault::for_ever(Calls::Read, Failure::Hang) };
    assert_rolls_continue(read, "/rolls?before=10000");
}

#[test]
fn metrics_are_answered_in_time_while_disk_probes_hang() {
    let (instance, shim) = (Instance::new("every = '1h'"), Shim::new());
    let _server = instance.start_with(&mut shim.command(&instance));
    let metrics = || {
        let asked = Instant::now();
        let mut answer = http().get(instance.url("/metrics")).call().unwrap();
        let took = asked.elapsed();
        assert!(answer.status() == 200 && took < Duration::from_secs(2), "{took:?}: {answer:?}");
        answer.body_mut().read_to_string().unwrap()
    };
    wait_for("a roll", || metrics().contains("\nrollcast_rolls_total 1\n").then_some(()));
    assert!(metrics().contains("\nrollcast_disk_free_bytes "));
    shim.inject(Fault::for_ever(Calls::Stat, Failure::Hang));
    let hanging = metrics();
    assert!(shim.n_injected() > 0, "nothing hangs");
    assert!(!hanging.contains("rollcast_disk_free_bytes"), "{hanging}");
    assert!(hanging.contains("\nrollcast_ready 0\n"), "{hanging}");
    assert!(hanging.contains("\nrollcast_rolls_total 1\n"), "{hanging}");
    shim.clear_fault();
    wait_for("the gauges", || metrics().contains("\nrollcast_disk_free_bytes ").then_some(()));
}
