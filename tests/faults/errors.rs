//! Disk errors: the k-th read, write, sync or open of the server's files fails, once or from then
//! on, while a listener and a pager read. Every seen roll must be stored. The server must either
//! continue, or exit with the reason and continue after a restart.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, park_timeout};
use std::time::{Duration, Instant};

use crate::common::events::{Ask, Stream};
use crate::common::{Instance, Server, TIMEOUT, http};
use crate::report::{Recovered, Row, is_late, times};
use crate::shim::{Calls, Failure, Fault, Shim};

/// How many servers run at the same time. They wait most of the time.
const N_CONCURRENT: usize = 10;
/// How many calls a lasting fault must fail before it ends.
const N_FAILED_CALLS: u32 = 8;

/// How a fault ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Only one call fails.
    Single,
    /// The disk works again while the server runs.
    Cleared,
    /// The server is killed before the disk works again.
    Killed,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    fault: Fault,
    end: End,
}

/// The result of one server's run.
#[derive(Debug)]
struct Outcome {
    n_injected: u32,
    /// The time from the end of the fault to the next roll; `None` if the server exited.
    recovered: Option<Duration>,
}

/// Follows the stream across restarts.
struct Listener {
    seen: Arc<Mutex<Vec<(String, String)>>>,
    /// How many rolls it had seen when it opened each stream.
    opened: Arc<Mutex<Vec<usize>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Listener {
    fn start(instance: &Instance) -> Listener {
        let (url, seen) = (instance.url("/stream/?after=0"), Arc::new(Mutex::new(Vec::new())));
        let (opened, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (rolls, ended) = (seen.clone(), stop.clone());
        let streams: Arc<Mutex<Vec<usize>>> = Arc::clone(&opened);
        let thread = thread::spawn(move || {
            let mut last = None::<String>;
            while !ended.load(Ordering::Relaxed) {
                let ask = Ask { last_event_id: last.as_deref(), ..Ask::default() };
                let Ok(stream) = Stream::open(&url, ask) else {
                    park_timeout(Duration::from_millis(5));
                    continue;
                };
                streams.lock().unwrap().push(rolls.lock().unwrap().len());
                for (id, dice) in stream.filter_map(|frame| frame.roll()) {
                    last = Some(id.clone());
                    rolls.lock().unwrap().push((id, dice));
                }
            }
        });
        Listener { seen, opened, stop, thread }
    }

    fn n_seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// How many streams it has opened.
    fn n_streams(&self) -> usize {
        self.opened.lock().unwrap().len()
    }

    /// Whether it has seen 3 rolls in a stream after the first `n_streams`. Rolls of a killed server
    /// can still arrive after the next start.
    fn has_seen_rolls_after(&self, n_streams: usize) -> bool {
        let opened = self.opened.lock().unwrap();
        opened.get(n_streams).is_some_and(|n_before| self.n_seen() > n_before + 2)
    }

    /// Stops after the last server and returns all seen rolls.
    fn stop(self) -> Vec<(String, String)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        Arc::try_unwrap(self.seen).unwrap().into_inner().unwrap()
    }
}

/// How many rolls are stored so far; 0 if there is no table yet.
fn n_stored(instance: &Instance) -> usize {
    let count = "select count(*) from rolls";
    instance.sqlite().query_row(count, [], |row| row.get::<_, i64>(0)).unwrap_or(0) as usize
}

/// Checks the database and the seen rolls at the end. Returns all errors.
fn complaints(instance: &Instance, seen: &[(String, String)]) -> Vec<String> {
    let mut complaints = Vec::new();
    let read = || {
        let connection = instance.sqlite();
        let check: String = connection.query_row("pragma integrity_check", [], |row| row.get(0))?;
        let mut statement =
            connection.prepare("select id, rolled_at, dice from rolls order by id")?;
        let rolls = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let rolls = rolls.collect::<rusqlite::Result<Vec<(i64, String, String)>>>()?;
        let n_counted: i64 = connection.query_row(
            "select coalesce(sum(n_rolls), 0) from die_statistics",
            [],
            |r| r.get(0),
        )?;
        Ok((check, rolls, n_counted))
    };
    let (check, stored, n_counted) = match read() {
        Ok(read) => read,
        Err::<_, rusqlite::Error>(error) => return vec![error.to_string()],
    };
    if check != "ok" {
        complaints.push(check);
    }
    if n_counted as usize != 2 * stored.len() {
        complaints.push(format!("the statistics have {n_counted} dice of {} rolls", stored.len()));
    }
    for (n, (id, ..)) in (1..).zip(&stored) {
        if n != *id {
            complaints.push(format!("expected id {n}, got {id}"));
            break;
        }
    }
    for pair in stored.windows(2) {
        if (&pair[0].1, &pair[0].2) == (&pair[1].1, &pair[1].2) {
            complaints.push(format!("roll {} is stored twice", pair[0].0));
        }
    }
    for (n, (cursor, dice)) in seen.iter().enumerate() {
        let Some((id, rolled_at, kept)) = stored.get(n) else {
            complaints.push(format!("{} rolls were seen, {} are stored", seen.len(), stored.len()));
            break;
        };
        let at: jiff::Timestamp = rolled_at.parse().unwrap();
        if (format!("{id}-{}", at.as_millisecond()), kept) != (cursor.clone(), dice) {
            complaints
                .push(format!("seen roll {n}, from 0, is {cursor}, but the stored one is {id}"));
            break;
        }
    }
    complaints
}

/// Polls `poll` until it returns a value. Returns `Ok(None)` if the server exits first.
///
/// # Errors
/// Neither happened in time.
fn watch<T>(
    server: &mut Server,
    meanwhile: impl Fn(),
    mut poll: impl FnMut() -> Option<T>,
) -> Result<Option<T>, String> {
    let start = Instant::now();
    loop {
        if let Some(seen) = poll() {
            return Ok(Some(seen));
        }
        if server.has_ended() {
            return Ok(None);
        }
        if start.elapsed() > TIMEOUT {
            return Err(format!("nothing within {TIMEOUT:?}: {:#?}", server.log()));
        }
        meanwhile();
        park_timeout(Duration::from_millis(5));
    }
}

/// Runs a server under a fault, and restarts it if needed.
///
/// # Errors
/// Says what went wrong.
fn run(plan: Plan) -> Result<Outcome, String> {
    // Dice with so many faces that no two rolls are equal.
    let instance = Instance::new("every = '2ms'\ndice = ['1D1000', '1D999']");
    let shim = Shim::new();
    shim.inject(plan.fault);
    let mut server = Server::spawn(&mut shim.command(&instance));
    let listener = Listener::start(&instance);
    // The pager makes the server read.
    let pager = || {
        if plan.fault.calls == Calls::Read {
            let _ = http().get(instance.url("/api/rolls?after=0&limit=50")).call();
        }
    };
    let n_failed_calls = if plan.end == End::Single { 1 } else { N_FAILED_CALLS };
    // Some calls are not made that often. Then no call fails. The control's syncs always come. All
    // rolls after the first false one are lost, so the control waits until one of them was seen.
    let mut n_synced = None;
    let failed = watch(&mut server, pager, || {
        // After a failure the server may not repeat the failed call.
        let n_injected = shim.n_injected();
        let is_done = if plan.fault.lies {
            let n_synced =
                (n_injected > 0).then(|| *n_synced.get_or_insert_with(|| n_stored(&instance)));
            n_injected >= n_failed_calls && n_synced.is_some_and(|n| listener.n_seen() > n)
        } else {
            let n_enough = listener.n_seen() >= 40 + plan.fault.first.min(500) as usize;
            n_injected >= n_failed_calls || n_enough
        };
        is_done.then_some(())
    })?;
    let n_injected = shim.n_injected();
    if plan.end == End::Killed {
        server.kill();
    }
    shim.clear_fault();
    let cleared = Instant::now();
    let n_before = listener.n_seen();
    let next = || (listener.n_seen() > n_before + 2).then(|| cleared.elapsed());
    let recovered = match (failed, plan.end) {
        (Some(()), End::Single | End::Cleared) => watch(&mut server, pager, next)?,
        _ => None,
    };
    if recovered.is_some_and(is_late) {
        return Err(format!("the next rolls came after {recovered:?}"));
    }
    if recovered.is_none() {
        if plan.end != End::Killed || failed.is_none() {
            let status = server.wait();
            let log = server.log();
            let reason = log.last().is_some_and(|line| line.starts_with("rollcast: "));
            if plan.end != End::Killed && (status.code() != Some(1) || !reason) {
                return Err(format!("it ended with {status}: {log:#?}"));
            }
        }
        // A start without the fault continues.
        let (started, n_streams) = (Instant::now(), listener.n_streams());
        let mut command = instance.command();
        server = Server::spawn(&mut command);
        let next = || listener.has_seen_rolls_after(n_streams).then(|| started.elapsed());
        let Some(recovered) = watch(&mut server, pager, next)? else {
            return Err(format!("a start without the fault failed too: {:#?}", server.log()));
        };
        if is_late(recovered) {
            return Err(format!(
                "the next rolls came {recovered:?} after the start without the fault"
            ));
        }
    }
    server.signal("TERM");
    let status = server.wait();
    let log = server.log();
    if !status.success() || log.iter().any(|line| line.contains("panicked")) {
        return Err(format!("it stopped with {status}: {log:#?}"));
    }
    match complaints(&instance, &listener.stop()) {
        complaints if complaints.is_empty() => Ok(Outcome { n_injected, recovered }),
        complaints => Err(format!("{complaints:?}")),
    }
}

/// Runs all plans, several at a time. Returns each plan with its outcome.
fn run_all(plans: Vec<Plan>) -> Vec<(Plan, Result<Outcome, String>)> {
    let (plans, done) = (Mutex::new(plans.into_iter()), Mutex::new(Vec::new()));
    let n_plans = plans.lock().unwrap().len();
    thread::scope(|scope| {
        for _ in 0..N_CONCURRENT {
            scope.spawn(|| {
                loop {
                    let Some(plan) = plans.lock().unwrap().next() else { break };
                    let outcome = run(plan);
                    if let Err(complaint) = &outcome {
                        println!("{plan:?}: {complaint}");
                    }
                    let mut done = done.lock().unwrap();
                    done.push((plan, outcome));
                    if done.len() % 200 == 0 {
                        println!("{} of {n_plans} servers", done.len());
                    }
                }
            });
        }
    });
    done.into_inner().unwrap()
}

/// The calls to fail, in ascending order: all of the first `n_early`, then `n_late` up to `last`,
/// with growing distance.
fn firsts(n_early: u32, n_late: u32, last: u32) -> Vec<u32> {
    let late = (1..=n_late).map(|n| {
        let part = (f64::from(n) / f64::from(n_late)).powi(3);
        n_early + n.max((f64::from(last - n_early) * part) as u32)
    });
    (1..=n_early).chain(late).collect()
}

#[test]
fn all_early_calls_are_chosen_and_no_call_twice() {
    for (n_early, n_late, last) in [(400, 30, 2_000), (140, 45, 400), (1, 3, 8), (40, 0, 40)] {
        let firsts = firsts(n_early, n_late, last);
        assert!(firsts.iter().copied().take(n_early as usize).eq(1..=n_early), "{firsts:?}");
        assert!(firsts.windows(2).all(|pair| pair[0] < pair[1]), "{firsts:?}");
        assert_eq!((firsts.len() as u32, firsts.last()), (n_early + n_late, Some(&last)));
    }
}

#[test]
fn whatever_call_fails_seen_rolls_are_stored_and_rolls_continue() {
    let mut plans = Vec::new();
    // The numbers of early and late calls, and the last call, which is part of a checkpoint. The
    // whole campaign fails 2,088 calls, each once and from then on.
    for (calls, failure, drops, n_early, n_late, last) in [
        (Calls::Read, Failure::Broken, false, 400, 30, 2_000),
        (Calls::Read, Failure::Short, false, 140, 45, 2_000),
        (Calls::Write, Failure::Broken, false, 400, 30, 4_000),
        (Calls::Write, Failure::Full, false, 140, 45, 4_000),
        (Calls::Write, Failure::Short, false, 140, 45, 4_000),
        (Calls::Sync, Failure::Broken, true, 400, 0, 400),
        (Calls::Sync, Failure::Broken, false, 140, 45, 400),
        (Calls::SyncFolder, Failure::Broken, false, 8, 0, 8),
        (Calls::Open, Failure::Broken, false, 40, 0, 40),
        (Calls::Open, Failure::TooMany, false, 40, 0, 40),
    ] {
        let (n_early, n_late) = (times(1, n_early), times(3, n_late));
        let firsts = firsts(n_early as u32, n_late as u32, last);
        for (n, first) in firsts.into_iter().enumerate() {
            let once = Fault { first, step: None, drops, ..Fault::for_ever(calls, failure) };
            let for_ever = Fault { step: Some(1), ..once };
            // In pairs, because calls may alternate, for example between a page and its header.
            let end = if n / 2 % 2 == 0 { End::Cleared } else { End::Killed };
            plans.push(Plan { fault: once, end: End::Single });
            plans.push(Plan { fault: for_ever, end });
        }
    }
    // Mixes plans that use much CPU with plans that wait for a server to retry.
    plans.sort_by_key(|plan| plan.fault.first);
    let outcomes = run_all(plans);
    let failed: Vec<_> = outcomes.iter().filter(|(_, outcome)| outcome.is_err()).collect();
    assert!(failed.is_empty(), "{} of {}: {failed:#?}", failed.len(), outcomes.len());
    let outcomes: Vec<Outcome> =
        outcomes.into_iter().filter_map(|(_, outcome)| outcome.ok()).collect();
    let n_injected = outcomes.iter().filter(|outcome| outcome.n_injected > 0).count();
    assert!(n_injected > outcomes.len() / 2, "only {n_injected} of {} faults", outcomes.len());
    let recovered = outcomes.iter().filter_map(|outcome| outcome.recovered).max();
    let recovered = recovered.expect("some servers continued");

    // Control: on a disk that reports a sync without writing, the same checks must detect lost rolls.
    let lying = |first| Fault {
        first,
        drops: true,
        lies: true,
        ..Fault::for_ever(Calls::Sync, Failure::Broken)
    };
    let plan = |first| Plan { fault: lying(first), end: End::Killed };
    let control = run_all(vec![plan(20), plan(25), plan(30)]);
    let n_detected = control.iter().filter(|(_, outcome)| outcome.is_err()).count();
    assert_eq!(n_detected, control.len(), "the check detects nothing: {control:#?}");
    Row {
        fault: "the k-th read, write, sync or open fails (EIO, ENOSPC, EMFILE, short), once or from then on",
        n_injected,
        n_lost: 0,
        n_repeated: 0,
        recovered: Recovered::In(recovered),
        control: format!("a disk that reports success instead: {n_detected} of {n_detected} servers lost rolls"),
        test: "errors::whatever_call_fails",
    }
    .write();
}
