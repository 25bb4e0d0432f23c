//! Stop signals at bad moments. The server exits with code 0 within its supervisor's stop timeout,
//! and no roll is lost.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::events::{Ask, Frame, Stream};
use crate::common::listener::{Behaviour, Listener};
use crate::common::{Instance, Server, http, wait_for};
use crate::kills::{Moments, head};
use crate::oracle::{Log, Stored, log_of, roll_of_line};
use crate::report::{Recovered, Row, assert_in_time, times};

/// How long supervisord waits after the stop signal before it sends SIGKILL.
pub fn stop_wait() -> Duration {
    let program = include_str!("../../deploy/supervisor/rollcast.conf");
    let seconds = program.lines().find_map(|line| line.strip_prefix("stopwaitsecs=")).unwrap();
    Duration::from_secs(seconds.split(' ').next().unwrap().parse().unwrap())
}

/// Sends all signals at once and waits for the exit. Returns the exit status and the time it took.
pub fn signal_and_wait(server: &mut Server, signals: &[&str]) -> (ExitStatus, Duration) {
    let kill = |signal: &&str| format!("kill -s {signal} {} 2>&1 || true", server.pid());
    let line = signals.iter().map(kill).collect::<Vec<_>>().join("; ");
    let sent = Instant::now();
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    (server.wait(), sent.elapsed())
}

/// Stops a server and asserts a clean exit in time. Returns the time it took.
fn stop(server: &mut Server, signals: &[&str]) -> Duration {
    let (status, took) = signal_and_wait(server, signals);
    assert_eq!(status.code(), Some(0), "{signals:?}: {:#?}", server.log());
    assert!(took < stop_wait(), "{signals:?}: stopped after {took:?}");
    took
}

/// Control: asserts that the server does not stop in time, so that a supervisor would kill it.
fn assert_is_killed(server: &mut Server) {
    server.signal("TERM");
    let sent = Instant::now();
    while sent.elapsed() < stop_wait() {
        std::thread::park_timeout(stop_wait().saturating_sub(sent.elapsed()));
    }
    server.kill();
    assert_eq!(server.wait().code(), None, "the server stopped in time");
}

#[test]
fn signals_alone_and_combined_stop_the_server_cleanly_and_no_roll_is_lost() {
    let combinations: [&[&str]; 7] = [
        &["TERM"],
        &["INT"],
        &["HUP"],
        &["TERM", "TERM"],
        &["INT", "INT"],
        &["HUP", "TERM"],
        &["TERM", "INT", "HUP", "TERM"],
    ];
    let instance = Instance::new("every = '1ms'");
    let mut moments = Moments::new();
    let listener = Listener::start(instance.url("/stream/"), Behaviour::EAGER);
    let (mut slowest, mut recovered, mut n_injected) = (Duration::ZERO, Duration::ZERO, 0);
    for _ in 0..times(1, 15) {
        for signals in combinations {
            let (started, n_seen) = (Instant::now(), listener.received().last());
            let mut server = instance.start();
            wait_for("a roll", || (listener.received().last() > n_seen).then_some(()));
            recovered = recovered.max(started.elapsed());
            let moment = Instant::now();
            let wait = Duration::from_millis(moments.next_below(100));
            while moment.elapsed() < wait {
                std::thread::park_timeout(wait.saturating_sub(moment.elapsed()));
            }
            slowest = slowest.max(stop(&mut server, signals));
            n_injected += 1;
            assert_eq!(n_log_bytes(&instance), 0, "{signals:?}: the write-ahead log is not empty");
        }
    }
    // Control: SIGKILL leaves a write-ahead log and no exit code.
    let mut server = instance.start();
    wait_for("a write-ahead log", || (n_log_bytes(&instance) > 0).then_some(()));
    let (status, _) = signal_and_wait(&mut server, &["KILL"]);
    assert!(status.code().is_none() && n_log_bytes(&instance) > 0, "{status}");

    instance.start().stop();
    let mut log = log_of(&listener.stop(), 0);
    log.settle(&Stored::read(&instance));
    log.assert_is_whole("the listener");
    println!("the slowest stop took {slowest:?}");
    Row {
        fault: "SIGTERM, SIGINT and SIGHUP, alone and combined",
        n_injected,
        n_lost: log.n_lost,
        n_repeated: log.n_repeated,
        recovered: stopped(slowest, recovered),
        control: "SIGKILL leaves a write-ahead log and no exit code".into(),
        test: "stop::signals",
    }
    .write();
}

fn stopped(slowest: Duration, recovered: Duration) -> Recovered {
    assert_in_time("stopped and started again", recovered);
    let (slowest, recovered) = (slowest.as_secs_f64(), recovered.as_secs_f64());
    Recovered::Words(format!(
        "stops within {slowest:.1} s; rolls {recovered:.1} s after the next start"
    ))
}

/// The size of the write-ahead log.
fn n_log_bytes(instance: &Instance) -> u64 {
    let log = instance.path().join("rolls.db-wal");
    std::fs::metadata(log).map_or(0, |metadata| metadata.len())
}

#[test]
fn the_server_stops_while_an_outside_writer_blocks_commits() {
    let instance = Instance::new("every = '5ms'");
    let listener = Listener::start(instance.url("/stream/"), Behaviour::EAGER);
    let (mut slowest, mut recovered) = (Duration::ZERO, Duration::ZERO);
    let n_times = times(2, 20);
    for _ in 0..n_times {
        let mut server = instance.start();
        let n_seen = listener.received().last();
        wait_for("a roll", || (listener.received().last() > n_seen).then_some(()));
        let writer = Connection::open(instance.database()).unwrap();
        // The writer gets the lock between two of the server's commits.
        wait_for("the lock", || writer.execute_batch("begin immediate").ok());
        // From here on the server retries, and waits for the lock nearly all the time.
        wait_for("the commit to fail", || {
            let log = server.log();
            log.iter().any(|line| line.contains("no roll can be stored")).then_some(())
        });
        let n_stored = head(&instance);
        slowest = slowest.max(stop(&mut server, &["TERM"]));
        assert_eq!(head(&instance), n_stored, "the lock did not hold");
        drop(writer);
        let freed = Instant::now();
        let mut server = instance.start();
        wait_for("a roll", || (listener.received().last() > n_stored).then_some(()));
        recovered = recovered.max(freed.elapsed());
        server.stop();
    }
    let mut log = log_of(&listener.stop(), 0);
    log.settle(&Stored::read(&instance));
    log.assert_is_whole("the listener");
    println!("the slowest stop took {slowest:?}");
    Row {
        fault: "SIGTERM while an outside writer blocks all commits",
        n_injected: n_times,
        n_lost: log.n_lost,
        n_repeated: log.n_repeated,
        recovered: stopped(slowest, recovered),
        control: "none".into(),
        test: "stop::the_server_stops_while_an_outside_writer",
    }
    .write();
}

#[test]
fn the_server_stops_during_a_start_that_counts_many_rolls_and_the_next_start_continues() {
    // The next start also takes them into the log.
    const N_FILLED: i64 = 200_000;
    let instance = Instance::new("every = '1h'");
    instance.fill(N_FILLED, 1);
    let n_counted = || -> i64 {
        let sql = "select coalesce(max(last_id), 0) from die_statistics";
        instance.sqlite().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let mut server = Server::spawn(&mut instance.command());
    wait_for("some rolls to be counted", || (n_counted() > 0).then_some(()));
    let took = stop(&mut server, &["TERM"]);
    let log = server.log();
    assert!(
        log.iter().any(|line| line.contains("stopped before the start was complete")),
        "{log:#?}"
    );
    assert!(!log.iter().any(|line| line.contains("listening on")), "{log:#?}");

    let started = Instant::now();
    let mut server = instance.start();
    // Its statistics are saved up to 20 s later, or at the stop.
    let newest = || -> i64 {
        instance.sqlite().query_row("select max(id) from rolls", [], |row| row.get(0)).unwrap()
    };
    wait_for("a roll", || (newest() == N_FILLED + 1).then_some(()));
    let recovered = started.elapsed();
    server.stop();
    let sql = "select n_rolls from die_statistics where die = '1D6'";
    let n_rolls: i64 = instance.sqlite().query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(n_rolls, N_FILLED + 1, "some rolls were counted twice, or not at all");
    Row {
        fault: "SIGTERM during a start that counts many rolls",
        n_injected: 1,
        n_lost: 0,
        n_repeated: 0,
        recovered: stopped(took, recovered),
        control: "none".into(),
        test: "stop::the_server_stops_during_a_start",
    }
    .write();
}

#[cfg(target_os = "linux")]
#[test]
fn the_server_stops_during_queries_on_a_slow_disk() {
    use crate::shim::{Calls, Failure, Fault, Shim};

    let (instance, shim) = (Instance::new("every = '20ms'"), Shim::new());
    instance.fill(20_000, 1);
    // Searches that take longer than the stop timeout, and more than may run at once.
    let search = || {
        shim.inject(Fault::for_ever(Calls::Read, Failure::Slow));
        let clients: Vec<_> = (2..10)
            .map(|n| {
                let path = format!("/rolls?die=1D20&result=20&before={}", 2_000 * n);
                let url = instance.url(&path);
                std::thread::spawn(move || http().get(url).call().is_err())
            })
            .collect();
        wait_for("slow reads", || (shim.n_injected() >= 4).then_some(()));
        clients
    };
    let (mut slowest, mut recovered, mut n_cut) = (Duration::ZERO, Duration::ZERO, 0);
    let mut log = Log::after(20_000);
    let n_times = times(1, 10);
    for _ in 0..n_times {
        let started = Instant::now();
        let mut server = instance.start_with(&mut shim.command(&instance));
        let url = instance.url(&format!("/stream/?after={}", log.last()));
        let mut stream = Stream::open(&url, Ask::default()).unwrap();
        let mut see = |(id, dice): (String, String)| {
            log.see(id.split('-').next().unwrap().parse().unwrap(), format!("{id} {dice}"));
        };
        stream.rolls(3).into_iter().for_each(&mut see);
        recovered = recovered.max(started.elapsed());
        let clients = search();
        slowest = slowest.max(stop(&mut server, &["TERM"]));
        shim.clear_fault();
        stream.filter_map(|frame| frame.roll()).for_each(&mut see);
        let n_now = clients.into_iter().filter_map(|client| client.join().ok());
        let n_now = n_now.filter(|is_cut| *is_cut).count();
        assert!(n_now > 0, "no query was interrupted");
        n_cut += n_now;
    }
    log.settle(&Stored::read(&instance));
    log.assert_is_whole("the listener");

    // Control: a server that waits for such queries would be killed.
    let mut command = shim.command(&instance);
    let mut waiting = instance.start_with(command.env("ROCKET_SHUTDOWN", "{grace=60}"));
    let clients = search();
    assert_is_killed(&mut waiting);
    clients.into_iter().for_each(|client| drop(client.join()));
    println!("the slowest took {slowest:?}; {n_cut} queries were interrupted");
    Row {
        fault: "SIGTERM during queries on a slow disk",
        n_injected: n_times,
        n_lost: log.n_lost,
        n_repeated: log.n_repeated,
        recovered: stopped(slowest, recovered),
        control: format!(
            "with `grace = 60` it still runs after {} s, the stop timeout",
            stop_wait().as_secs()
        ),
        test: "stop::the_server_stops_during_queries",
    }
    .write();
}

/// Opens a download of the rolls after an id. Returns the id of its last roll and the unread body.
fn download(instance: &Instance, after: i64) -> (i64, BufReader<ureq::BodyReader<'static>>) {
    let url = instance.url(&format!("/api/rolls.ndjson?after={after}"));
    let answer = http().get(url).call().unwrap();
    let end = answer.headers()["rollcast-last"].to_str().unwrap().parse().unwrap();
    (end, BufReader::new(answer.into_body().into_reader()))
}

/// Reads up to `n` rolls of a download into `log`. Ignores a line that was cut off.
fn read(lines: &mut impl BufRead, n: usize, log: &mut Log) {
    let mut line = String::new();
    for _ in 0..n {
        line.clear();
        if !matches!(lines.read_line(&mut line), Ok(1..)) || !line.ends_with('\n') {
            return;
        }
        let (id, text) = roll_of_line(line.trim_end()).unwrap();
        log.see(id, text);
    }
}

#[test]
fn the_server_stops_during_downloads_and_long_queries_and_the_rest_can_be_fetched() {
    let instance = Instance::new("every = '5ms'");
    // More than the kernel's buffers hold.
    instance.fill(250_000, 1);
    // The first start counts their statistics.
    instance.start().stop();
    let mut log = Log::after(0);
    let (mut slowest, mut recovered, mut n_cut) = (Duration::ZERO, Duration::ZERO, 0);
    let n_times = times(1, 5);
    for _ in 0..n_times {
        let start = Instant::now();
        let mut server = instance.start();
        recovered = recovered.max(start.elapsed());
        log.continue_after(0);
        let (end, mut lines) = download(&instance, log.last());
        read(&mut lines, 2_000, &mut log);
        // Queries that read many rolls, and a client that never reads.
        let busy: Vec<TcpStream> = ["/stats", "/rolls?die=1D20&result=20", "/api/rolls.csv"]
            .iter()
            .map(|path| {
                let mut socket = instance.connect();
                write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                socket
            })
            .collect();
        slowest = slowest.max(stop(&mut server, &["TERM"]));
        read(&mut lines, usize::MAX, &mut log);
        assert!(log.last() < end, "nothing was cut off");
        n_cut += 1;
        drop(busy);
    }
    // Control: a server that waits for such clients would be killed.
    let mut waiting = instance.start_with(instance.command().env("ROCKET_SHUTDOWN", "{grace=60}"));
    let (_, mut lines) = download(&instance, 0);
    read(&mut lines, 1, &mut Log::after(0));
    assert_is_killed(&mut waiting);

    let mut server = instance.start();
    let (end, mut lines) = download(&instance, log.last());
    read(&mut lines, usize::MAX, &mut log);
    assert_eq!(log.last(), end, "the rest did not arrive");
    server.stop();
    log.settle(&Stored::read(&instance));
    log.assert_is_whole("the download");
    println!("the slowest stop took {slowest:?}");
    Row {
        fault: "SIGTERM during downloads and long queries",
        n_injected: n_cut,
        n_lost: log.n_lost,
        n_repeated: log.n_repeated,
        recovered: stopped(slowest, recovered),
        control: format!(
            "with `grace = 60` it still runs after {} s, the stop timeout",
            stop_wait().as_secs()
        ),
        test: "stop::the_server_stops_during_downloads",
    }
    .write();
}

/// Checks that reconnect times, in milliseconds, are spread evenly over 1 to 5 s.
///
/// # Errors
/// Names the first second whose share is outside 18 to 32 %.
fn are_spread_out(retries: &[u64]) -> Result<(), String> {
    let n = retries.len();
    // Of a thousand, 250 are expected in each second, with a standard deviation of 14. The bounds
    // are five standard deviations away.
    let (min, max) = (n * 18 / 100, n * 32 / 100);
    for second in 1..5_u64 {
        let is_in_second = |retry: &&u64| (second * 1_000..(second + 1) * 1_000).contains(*retry);
        let n_in = retries.iter().filter(is_in_second).count();
        if !(min..=max).contains(&n_in) {
            return Err(format!("{n_in} of {n} reconnect in second {second}"));
        }
    }
    Ok(())
}

#[test]
fn a_thousand_streams_end_cleanly_with_reconnect_times_spread_out() {
    const N_STREAMS: usize = 1_000;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let instance = Instance::new("every = '250ms'");
    let mut server = instance.start();
    let mut streams: Vec<Stream> = (0..N_STREAMS)
        .map(|_| {
            let ask = Ask { last_event_id: Some("0"), ..Ask::default() };
            Stream::open(&instance.url("/stream/"), ask).unwrap()
        })
        .collect();
    for stream in &mut streams {
        stream.rolls(1);
    }
    let took = stop(&mut server, &["TERM"]);
    println!("{N_STREAMS} streams ended, and the server stopped after {took:?}");
    let stored = Stored::read(&instance);
    let (mut retries, mut n_lost, mut n_repeated) = (Vec::new(), 0, 0);
    for stream in streams {
        let mut log = Log::after(1);
        let (mut retry, mut last) = (None, None);
        for frame in stream {
            if let Frame::Retry(millis) = frame {
                retry = Some(millis);
            }
            if let Some((id, dice)) = frame.roll() {
                log.see(id.split('-').next().unwrap().parse().unwrap(), format!("{id} {dice}"));
            }
            last = Some(frame);
        }
        let reason = last.as_ref().and_then(Frame::closing);
        assert_eq!(reason.as_deref(), Some("shutdown"), "the end of the stream: {last:?}");
        retries.push(retry.unwrap());
        log.settle(&stored);
        log.assert_is_whole("a stream");
        (n_lost, n_repeated) = (n_lost + log.n_lost, n_repeated + log.n_repeated);
    }
    are_spread_out(&retries).unwrap();
    let control = are_spread_out(&[3_000; N_STREAMS]).unwrap_err();
    let latest = retries.iter().max().unwrap();
    Row {
        fault: "SIGTERM with 1,000 open streams",
        n_injected: N_STREAMS,
        n_lost,
        n_repeated,
        recovered: Recovered::Words(format!(
            "stops within {:.1} s; reconnect times up to {:.1} s",
            took.as_secs_f64(),
            *latest as f64 / 1e3
        )),
        control: format!("the same `retry:` for all: {control}"),
        test: "stop::a_thousand",
    }
    .write();
}
