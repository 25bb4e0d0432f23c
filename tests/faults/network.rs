//! A hostile network between client and server. Whatever it does to connections, each client gets
//! every roll once and in order.

use std::io::{Read, Write};
use std::time::Duration;

use crate::chaos::{Chaos, End, Fault, Pace};
use crate::common::listener::{Behaviour, Listener, ResumeWith};
use crate::common::tail::Tail;
use crate::common::{Door, Instance, TIMEOUT, at_each_door, wait_for};
use crate::kills::{Moments, head};
use crate::oracle::{Log, Stored, log_of, roll_of_line};
use crate::report::{Recovered, Row, times};

at_each_door!(
    a_stream_that_is_cut_at_any_byte_continues_without_gap_or_repeat,
    tail_continues_without_gap_or_repeat_when_it_is_cut_at_any_byte,
    latency_trickles_black_holes_and_resets_lose_no_roll,
);

/// The size in bytes of a response up to the end of its third roll, with status, headers, chunks,
/// `retry`, `sync` and the rolls.
fn n_bytes_of_three_rolls(instance: &Instance) -> usize {
    let mut socket = instance.connect();
    socket.write_all(b"GET /stream/?after=0 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let (mut answer, mut byte) = (Vec::new(), [0]);
    let n_rolls = |answer: &[u8]| answer.windows(5).filter(|part| part == b"\ndata").count();
    // `sync` has a data line too.
    while n_rolls(&answer) < 4 || !answer.ends_with(b"}\n\n") {
        socket.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    answer.len()
}

/// Cuts a response after `n_bytes`.
fn cut(n_bytes: usize, end: End) -> Option<Fault> {
    Some(Fault { pace: Pace::AtOnce, n_bytes, end })
}

/// Waits until `client` made `n_connections`, of which only the last is not cut, and has seen all
/// rolls stored by then. Returns the time from the last cut or silence to the next roll.
fn wait_until_caught_up(
    instance: &Instance,
    client: &str,
    chaos: &Chaos,
    n_connections: usize,
    last: impl Fn() -> i64,
) -> Duration {
    let mut n_seen = 0;
    while n_seen < n_connections {
        // Each reconnect has the whole timeout.
        n_seen = wait_for(&format!("{client} to reconnect after connection {n_seen}"), || {
            let n = chaos.n_connections();
            (n > n_seen).then_some(n)
        });
    }
    let newest = head(instance);
    wait_for(&format!("{client} to catch up"), || (last() >= newest).then_some(()));
    chaos.recovered().expect("a roll came after the last fault")
}

/// Runs two listeners at a door. Their responses are cut after each number of bytes in turn, `n_rounds`
/// times, one by FIN and one by RST. Returns their logs, the number of cuts, and the longest recovery.
fn cut_everywhere(
    door: Door,
    n_rounds: usize,
    resume_with: ResumeWith,
) -> (Vec<Log>, usize, Duration) {
    let instance = door.instance("every = '2ms'");
    let mut server = instance.start();
    let n_bytes = n_bytes_of_three_rolls(&instance);
    // In a quick run, each door has half of the places.
    let n_skipped = if door == Door::Rocket { 0 } else { times(1, 0) };
    let places: Vec<usize> = (0..n_bytes).skip(n_skipped).step_by(times(2, 1)).collect();
    let n_cuts = n_rounds * places.len();
    let listeners = [End::Close, End::Reset].map(|end| {
        let places = places.clone();
        let plan = move |n| if n < n_cuts { cut(places[n % places.len()], end) } else { None };
        let chaos = Chaos::start(&instance, plan);
        let behaviour = match resume_with {
            ResumeWith::Nothing => Behaviour { start: None, ..Behaviour::EAGER.with(resume_with) },
            resume_with => Behaviour::EAGER.with(resume_with),
        };
        let listener = Listener::start(chaos.url("/stream/"), behaviour);
        (chaos, listener)
    });
    let mut recovered = Duration::ZERO;
    for (chaos, listener) in &listeners {
        let last = || listener.received().last();
        let took = wait_until_caught_up(&instance, "a listener", chaos, n_cuts + 1, last);
        recovered = recovered.max(took);
    }
    let mut logs: Vec<Log> =
        listeners.into_iter().map(|(_chaos, listener)| log_of(&listener.stop(), 0)).collect();
    server.stop();
    let stored = Stored::read(&instance);
    logs.iter_mut().for_each(|log| log.settle(&stored));
    println!("{n_bytes} bytes, {} rolls, {resume_with:?}", stored.len());
    (logs, 2 * n_cuts, recovered)
}

fn a_stream_that_is_cut_at_any_byte_continues_without_gap_or_repeat(door: Door) {
    let [nothing, unfinished] =
        [ResumeWith::Nothing, ResumeWith::UnfinishedEvents].map(|resume_with| {
            let (logs, ..) = cut_everywhere(door, 1, resume_with);
            assert!(logs.iter().all(|log| log.n_faults() > 0), "{resume_with:?} was not detected");
            logs
        });
    let n_lost: usize = nothing.iter().map(|log| log.n_lost).sum();
    let n_wrong: usize = unfinished.iter().map(Log::n_faults).sum();

    let (logs, n_injected, recovered) = cut_everywhere(door, times(1, 10), ResumeWith::LastEventId);
    for log in &logs {
        log.assert_is_whole("a listener");
    }
    Row {
        fault: "a stream cut at each byte, by FIN and by RST",
        n_injected,
        n_lost: logs.iter().map(|log| log.n_lost).sum(),
        n_repeated: logs.iter().map(|log| log.n_repeated).sum(),
        recovered: Recovered::In(recovered),
        control: format!(
            "without a cursor {n_lost} rolls are lost; with truncated events {n_wrong} are \
             wrong, lost or repeated"
        ),
        test: "network::a_stream_that_is_cut",
    }
    .write_at(door);
}

/// Starts `rollcast tail` through a proxy.
fn tail_through(instance: &Instance, chaos: &Chaos, options: &[&str]) -> Tail {
    let url = chaos.url("/");
    Tail::spawn(instance.command().args(["tail", "--json", "--after", "0", &url]).args(options))
}

/// The log of a tail so far.
fn log_of_tail(tail: &Tail) -> Log {
    let mut log = Log::after(0);
    for line in tail.lines() {
        let (id, text) = roll_of_line(&line).unwrap();
        log.see(id, text);
    }
    log
}

/// Control: runs three tails in turn without a cursor. Returns how many rolls they miss in between.
fn n_lost_between_tails(instance: &Instance) -> usize {
    let mut log = Log::default();
    let url = instance.url("/stream/");
    let url = url.trim_end_matches("stream/");
    for _ in 0..3 {
        let arguments = ["tail", "--json", "--rolls", "0", url];
        let mut tail = Tail::spawn(instance.command().args(arguments));
        tail.wait_for_lines(3);
        assert_eq!(tail.interrupt(), 0, "{}", tail.stderr());
        for line in tail.lines() {
            let (id, text) = roll_of_line(&line).unwrap();
            log.see(id, text);
        }
    }
    log.n_lost
}

fn last_of_tail(tail: &Tail) -> i64 {
    tail.last_line().map_or(0, |line| roll_of_line(&line).unwrap().0)
}

fn tail_continues_without_gap_or_repeat_when_it_is_cut_at_any_byte(door: Door) {
    const N_TAILS: usize = 40;
    let instance = door.instance("every = '5ms'");
    let mut server = instance.start();
    let n_missed = n_lost_between_tails(&instance);
    assert!(n_missed > 0, "tails without a cursor missed nothing");
    let n_bytes = n_bytes_of_three_rolls(&instance);
    let n_rounds = times(1, 2);
    let tails: Vec<(Chaos, Tail, usize)> = (0..N_TAILS)
        .map(|tail| {
            // This tail's share of all places. A tail gives up if its first connection fails, and
            // backs off after repeated failures. So a complete stream precedes each cut.
            let places: Vec<usize> = (tail..n_bytes).step_by(N_TAILS).collect();
            let places = places.repeat(n_rounds);
            let n_cuts = 2 * places.len();
            let plan = move |n: usize| match n {
                n if n % 2 == 0 && n < n_cuts => cut(n_bytes, End::Close),
                n if n % 4 == 1 => cut(*places.get(n / 2)?, End::Reset),
                n => cut(*places.get(n / 2)?, End::Close),
            };
            let chaos = Chaos::start_with_short_retry(&instance, plan);
            let tail = tail_through(&instance, &chaos, &[]);
            (chaos, tail, n_cuts)
        })
        .collect();
    let mut recovered = Duration::ZERO;
    for (chaos, tail, n_cuts) in &tails {
        let last = || last_of_tail(tail);
        let took = wait_until_caught_up(&instance, "a tail", chaos, n_cuts + 1, last);
        recovered = recovered.max(took);
    }
    let mut logs = Vec::new();
    let n_injected = tails.iter().map(|(.., n_cuts)| n_cuts).sum();
    for (_chaos, mut tail, _) in tails {
        assert_eq!(tail.interrupt(), 0, "tail reports missing rolls: {}", tail.stderr());
        logs.push(log_of_tail(&tail));
    }
    server.stop();
    let stored = Stored::read(&instance);
    for log in &mut logs {
        log.settle(&stored);
        log.assert_is_whole("tail");
    }
    println!("{n_bytes} bytes, {} rolls, {} in the shortest log", stored.len(), {
        logs.iter().map(Log::last).min().unwrap()
    });
    Row {
        fault: "`rollcast tail` cut at each byte, by FIN and by RST in turn",
        n_injected,
        n_lost: logs.iter().map(|log| log.n_lost).sum(),
        n_repeated: logs.iter().map(|log| log.n_repeated).sum(),
        recovered: Recovered::In(recovered),
        control: format!("three tails in turn, without a cursor, miss {n_missed} rolls"),
        test: "network::tail_continues",
    }
    .write_at(door);
}

/// A random network fault.
fn any_fault(moments: &mut Moments, silence: Duration) -> Fault {
    let millis = Duration::from_millis;
    let pace = match moments.next_below(3) {
        0 => Pace::AtOnce,
        1 => Pace::Late(millis(1 + moments.next_below(40))),
        _ => Pace::Trickle,
    };
    let (n_bytes, end) = match moments.next_below(5) {
        0 => (0, End::Silence(silence)),
        1 => (moments.next_below(4_000), End::Silence(silence)),
        2 => (moments.next_below(4_000), End::Reset),
        _ => (moments.next_below(4_000), End::Close),
    };
    Fault { pace, n_bytes: n_bytes as usize, end }
}

fn latency_trickles_black_holes_and_resets_lose_no_roll(door: Door) {
    const N_LISTENERS: usize = 8;
    const N_TAILS: usize = 8;
    let instance = door.instance("every = '5ms'");
    let mut server = instance.start();
    let mut moments = Moments::new();
    let mut plan = |n_faults: usize, silence: Duration| {
        let faults: Vec<Fault> = (0..n_faults).map(|_| any_fault(&mut moments, silence)).collect();
        move |n: usize| faults.get(n).copied()
    };
    let n_faults = times(20, 500);
    let listeners: Vec<(Chaos, Listener)> = (0..N_LISTENERS)
        .map(|_| {
            let chaos = Chaos::start(&instance, plan(n_faults, Duration::from_millis(150)));
            let listener = Listener::start(chaos.url("/stream/"), Behaviour::EAGER);
            (chaos, listener)
        })
        .collect();
    // Control: a listener without a cursor.
    let chaos = Chaos::start(&instance, plan(n_faults, Duration::from_millis(150)));
    let behaviour = Behaviour { start: None, ..Behaviour::EAGER.with(ResumeWith::Nothing) };
    let without_cursor = (Listener::start(chaos.url("/stream/"), behaviour), chaos);
    // Silences longer than the tail's timeout, which the tail must detect.
    let n_tail_faults = times(4, 60);
    let tails: Vec<(Chaos, Tail)> = (0..N_TAILS)
        .map(|_| {
            let plan = plan(n_tail_faults, TIMEOUT);
            // The first and the last fault are silences within a stream. A tail backs off after
            // failed attempts, and this back-off must not count as recovery time.
            let in_stream = cut(4_000, End::Silence(TIMEOUT));
            let chaos = Chaos::start_with_short_retry(&instance, move |n| match n {
                0 => in_stream,
                n if n == n_tail_faults + 1 => in_stream,
                n => plan(n - 1),
            });
            let tail = tail_through(&instance, &chaos, &["--silence", "300ms"]);
            (chaos, tail)
        })
        .collect();
    let mut recovered = Duration::ZERO;
    for (chaos, listener) in &listeners {
        let last = || listener.received().last();
        let took = wait_until_caught_up(&instance, "a listener", chaos, n_faults + 1, last);
        recovered = recovered.max(took);
    }
    for (chaos, tail) in &tails {
        let last = || last_of_tail(tail);
        let took = wait_until_caught_up(&instance, "a tail", chaos, n_tail_faults + 3, last);
        recovered = recovered.max(took);
    }
    let (without_cursor, chaos) = without_cursor;
    let last = || without_cursor.received().last();
    wait_until_caught_up(&instance, "the control", &chaos, n_faults + 1, last);
    let n_missed = log_of(&without_cursor.stop(), 0).n_lost;
    assert!(n_missed > 0, "a listener without a cursor missed nothing");
    let mut logs = Vec::new();
    for (_chaos, mut tail) in tails {
        assert_eq!(tail.interrupt(), 0, "tail reports missing rolls: {}", tail.stderr());
        logs.push(log_of_tail(&tail));
    }
    logs.extend(listeners.into_iter().map(|(_chaos, listener)| log_of(&listener.stop(), 0)));
    server.stop();
    let stored = Stored::read(&instance);
    for log in &mut logs {
        log.settle(&stored);
        log.assert_is_whole("a client");
    }
    Row {
        fault: "latency, single bytes, black holes, silence, resets and cuts at random",
        n_injected: N_LISTENERS * n_faults + N_TAILS * (n_tail_faults + 2),
        n_lost: logs.iter().map(|log| log.n_lost).sum(),
        n_repeated: logs.iter().map(|log| log.n_repeated).sum(),
        recovered: Recovered::In(recovered),
        control: format!("a listener without a cursor misses {n_missed} rolls"),
        test: "network::latency",
    }
    .write_at(door);
}
