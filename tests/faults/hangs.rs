//! A disk that does not answer: its calls neither succeed nor fail. The server stops in time all
//! the same, and only the work that needs the hanging call waits for it.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use crate::common::events::{Ask, Stream};
use crate::common::listener::{Listener, Manner};
use crate::common::{House, http, wait_for};
use crate::kills::head;
use crate::oracle::{Stored, log_of};
use crate::report::{Recovered, Row};
use crate::shim::{Calls, Failure, Fault, Shim};
use crate::stop::{order, stop_wait};

const SYNCS_HANG: Fault = Fault {
    calls: Calls::Sync,
    failure: Failure::Hang,
    first: 1,
    step: Some(1),
    drops: false,
    lies: false,
};

#[test]
fn it_stops_in_a_commit_whose_sync_never_returns_and_no_roll_is_lost() {
    let (house, shim) = (House::new("every = '20ms'"), Shim::new());
    let listener = Listener::start(house.url("/stream/"), Manner::EAGER);
    let mut server = house.start_with(&mut shim.command(&house));
    wait_for("rolls", || (listener.story().last() > 3).then_some(()));
    shim.inject(SYNCS_HANG);
    wait_for("a sync that hangs", || (shim.n_injected() > 0).then_some(()));
    let (status, took) = order(&mut server, &["TERM"]);
    assert!(took < stop_wait(), "ended after {took:?}");
    let log = server.log();
    assert_eq!(status.code(), Some(1), "{log:#?}");
    let said = log.last().unwrap();
    assert!(said.contains("rollcast: the database's disk does not answer"), "{log:#?}");
    shim.mend();

    let n_seen = listener.story().last();
    let started = Instant::now();
    let mut server = house.start();
    wait_for("a roll", || (listener.story().last() > n_seen).then_some(()));
    let recovered = started.elapsed();
    server.stop();
    let mut log = log_of(&listener.stop(), 0);
    log.settle(&Stored::read(&house));
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
        control: "none of its own".into(),
        test: "hangs::it_stops_in_a_commit",
    }
    .write();
}

#[test]
fn it_stops_in_order_where_only_the_last_checkpoint_hangs() {
    let (house, shim) = (House::new("every = '1h'"), Shim::new());
    let mut server = house.start_with(&mut shim.command(&house));
    wait_for("the roll", || (head(&house) == 1).then_some(()));
    shim.inject(SYNCS_HANG);
    let (status, took) = order(&mut server, &["TERM"]);
    assert!(shim.n_injected() > 0, "nothing hung");
    assert!(took < stop_wait(), "ended after {took:?}");
    let log = server.log();
    assert_eq!(status.code(), Some(0), "{log:#?}");
    let warned = log.iter().any(|line| {
        line.contains("the write-ahead log stays beside the database: its disk did not answer")
    });
    assert!(warned, "{log:#?}");
    assert_eq!(house.stored().len(), 1);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second, number) in [("TERM", "INT", 2), ("INT", "INT", 2), ("HUP", "TERM", 15)] {
        let (house, shim) = (House::new("every = '20ms'"), Shim::new());
        let mut server = house.start_with(&mut shim.command(&house));
        wait_for("rolls", || (head(&house) > 3).then_some(()));
        shim.inject(SYNCS_HANG);
        wait_for("a sync that hangs", || (shim.n_injected() > 0).then_some(()));
        server.signal(first);
        let stopping = format!("received SIG{first}, stopping");
        wait_for("the first signal", || {
            server.log().iter().any(|line| line.contains(&stopping)).then_some(())
        });
        // A second one in the same breath belongs to the first. One that comes later does not.
        let asked = Instant::now();
        wait_for("the end", || {
            server.signal(second);
            server.has_ended().then_some(())
        });
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(2), "{first}, {second}: ended after {took:?}");
        assert_eq!(server.wait().signal(), Some(number), "{first}, {second}");
    }
}

/// Asserts that a server goes on making rolls, and stops in time, while `fault` holds its only
/// thread for blocking work. A request of `path` makes the call that hangs.
fn assert_rolls_go_on(fault: Fault, path: &str) {
    let (house, shim) = (House::new("every = '1s'"), Shim::new());
    house.fill(20_000, 1);
    let mut command = shim.command(&house);
    let mut server = house.start_with(command.env("ROCKET_MAX_BLOCKING", "1"));
    let mut stream = Stream::open(&house.url("/stream/"), Ask::default()).unwrap();
    // Just after a roll, the writer does nothing for the rest of the interval.
    stream.rolls(2);
    shim.inject(fault);
    let url = house.url(path);
    let client = std::thread::spawn(move || drop(http().get(url).call()));
    wait_for("a call that hangs", || (shim.n_injected() == 1).then_some(()));
    assert_eq!(stream.rolls(3).len(), 3);
    // Control: the thread is held, so the disk cannot be probed.
    let mut answer = http().get(house.url("/readyz")).call().unwrap();
    let reason = answer.body_mut().read_to_string().unwrap();
    assert!(answer.status() == 503 && reason.contains("does not answer"), "{path}: {reason}");
    let (status, took) = order(&mut server, &["TERM"]);
    assert_eq!(status.code(), Some(0), "{path}: {:#?}", server.log());
    assert!(took < stop_wait(), "{path}: ended after {took:?}");
    client.join().unwrap();
}

#[test]
fn rolls_go_on_while_a_disk_probe_hangs_on_the_only_blocking_thread() {
    let probe = Fault { step: None, ..Fault::for_ever(Calls::Look, Failure::Hang) };
    assert_rolls_go_on(probe, "/readyz");
}

#[test]
fn rolls_go_on_while_a_read_hangs_on_the_only_blocking_thread() {
    let read = Fault { step: None, ..Fault::for_ever(Calls::Read, Failure::Hang) };
    assert_rolls_go_on(read, "/rolls?before=10000");
}

#[test]
fn metrics_are_answered_in_time_while_disk_probes_hang() {
    let (house, shim) = (House::new("every = '1h'"), Shim::new());
    let _server = house.start_with(&mut shim.command(&house));
    let metrics = || {
        let asked = Instant::now();
        let mut answer = http().get(house.url("/metrics")).call().unwrap();
        let took = asked.elapsed();
        assert!(answer.status() == 200 && took < Duration::from_secs(2), "{took:?}: {answer:?}");
        answer.body_mut().read_to_string().unwrap()
    };
    wait_for("a roll", || metrics().contains("\nrollcast_rolls_total 1\n").then_some(()));
    assert!(metrics().contains("\nrollcast_disk_free_bytes "));
    shim.inject(Fault::for_ever(Calls::Look, Failure::Hang));
    let hanging = metrics();
    assert!(shim.n_injected() > 0, "nothing hangs");
    assert!(!hanging.contains("rollcast_disk_free_bytes"), "{hanging}");
    assert!(hanging.contains("\nrollcast_rolls_total 1\n"), "{hanging}");
    shim.mend();
    wait_for("the gauges", || metrics().contains("\nrollcast_disk_free_bytes ").then_some(()));
}
