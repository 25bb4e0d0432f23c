//! Errors of the disk: the k-th read, write, sync or open of the server's files fails, once or
//! from then on, and a listener and a pager look on. Whatever happens, what was seen is stored,
//! and the server either goes on or ends with a reason, and goes on when it is started again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, park_timeout};
use std::time::{Duration, Instant};

use crate::common::events::{Ask, Stream};
use crate::common::{House, PATIENCE, Server, http};
use crate::report::{Recovered, Row, is_late, times};
use crate::shim::{Calls, Failure, Fault, Shim};

/// Servers at once: they wait for most of the time.
const N_AT_ONCE: usize = 10;
/// How often a fault that lasts has to strike before it ends.
const N_STRIKES: u32 = 8;

/// How a fault ends that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was only one call.
    Itself,
    /// The disk is well again under the running server.
    Mended,
    /// The server is killed first.
    Killed,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    fault: Fault,
    end: End,
}

/// What became of a server.
#[derive(Debug)]
struct Course {
    n_injected: u32,
    /// The time from the fault's end to the next roll; `None` where the server ended.
    recovered: Option<Duration>,
}

/// Follows the stream over all servers that come.
struct Listener {
    seen: Arc<Mutex<Vec<(String, String)>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Listener {
    fn start(house: &House) -> Listener {
        let (url, seen) = (house.url("/stream/?after=0"), Arc::new(Mutex::new(Vec::new())));
        let stop = Arc::new(AtomicBool::new(false));
        let (rolls, ended) = (seen.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let mut last = None::<String>;
            while !ended.load(Ordering::Relaxed) {
                let ask = Ask { last_event_id: last.as_deref(), ..Ask::default() };
                let Ok(stream) = Stream::open(&url, ask) else {
                    park_timeout(Duration::from_millis(5));
                    continue;
                };
                for (id, dice) in stream.filter_map(|frame| frame.roll()) {
                    last = Some(id.clone());
                    rolls.lock().unwrap().push((id, dice));
                }
            }
        });
        Listener { seen, stop, thread }
    }

    fn n_seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// What was seen, once no server is left.
    fn stop(self) -> Vec<(String, String)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        Arc::try_unwrap(self.seen).unwrap().into_inner().unwrap()
    }
}

/// What holds at the end, whatever happened: all complaints.
fn complaints(house: &House, seen: &[(String, String)]) -> Vec<String> {
    let mut complaints = Vec::new();
    let read = || {
        let connection = house.sqlite();
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
        complaints.push(format!("{n_counted} dice are counted of {} rolls", stored.len()));
    }
    for (n, (id, ..)) in (1..).zip(&stored) {
        if n != *id {
            complaints.push(format!("roll {id} is number {n}"));
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
            complaints.push(format!("{cursor} was seen {n} rolls after the first, stored is {id}"));
            break;
        }
    }
    complaints
}

/// Looks until `look` sees something or the server has ended: `Ok(None)`.
fn watch<T>(
    server: &mut Server,
    meanwhile: impl Fn(),
    mut look: impl FnMut() -> Option<T>,
) -> Result<Option<T>, String> {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return Ok(Some(seen));
        }
        if server.has_ended() {
            return Ok(None);
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("nothing within {PATIENCE:?}: {:#?}", server.log()));
        }
        meanwhile();
        park_timeout(Duration::from_millis(5));
    }
}

/// A server's whole life under a fault, and what is wrong with it.
fn run(plan: Plan) -> Result<Course, String> {
    // Dice that do not come up twice the same.
    let house = House::new("every = '2ms'\ndice = ['1D1000', '1D999']");
    let shim = Shim::new();
    shim.inject(plan.fault);
    let mut server = Server::spawn(&mut shim.command(&house));
    let listener = Listener::start(&house);
    // Otherwise there is little that a server reads.
    let pager = || {
        if plan.fault.calls == Calls::Read {
            let _ = http().get(house.url("/api/rolls?after=0&limit=50")).call();
        }
    };
    let n_strikes = if plan.end == End::Itself { 1 } else { N_STRIKES };
    // Some calls are not made that often: then there is no fault.
    let struck = watch(&mut server, pager, || {
        let n_enough = listener.n_seen() >= 40 + plan.fault.first.min(500) as usize;
        // Once it struck a reader may not ask again for what failed.
        let n_injected = shim.n_injected();
        (n_injected >= n_strikes || n_enough).then_some(())
    })?;
    let n_injected = shim.n_injected();
    if plan.end == End::Killed {
        server.kill();
    }
    shim.clear_fault();
    let mended = Instant::now();
    let n_before = listener.n_seen();
    let next = || (listener.n_seen() > n_before + 2).then(|| mended.elapsed());
    let recovered = match (struck, plan.end) {
        (Some(()), End::Itself | End::Mended) => watch(&mut server, pager, next)?,
        _ => None,
    };
    if recovered.is_some_and(is_late) {
        return Err(format!("the next rolls came after {recovered:?}"));
    }
    if recovered.is_none() {
        if plan.end != End::Killed || struck.is_none() {
            let status = server.wait();
            let log = server.log();
            let reason = log.last().is_some_and(|line| line.starts_with("rollcast: "));
            if plan.end != End::Killed && (status.code() != Some(1) || !reason) {
                return Err(format!("it ended with {status}: {log:#?}"));
            }
        }
        // It goes on where there is no fault.
        let started = Instant::now();
        let mut command = house.command();
        server = Server::spawn(&mut command);
        let n_before = listener.n_seen();
        let next = || (listener.n_seen() > n_before + 2).then(|| started.elapsed());
        let Some(recovered) = watch(&mut server, pager, next)? else {
            return Err(format!("a start without the fault ended, too: {:#?}", server.log()));
        };
        if is_late(recovered) {
            return Err(format!("{recovered:?} after the start without it came the next rolls"));
        }
    }
    server.signal("TERM");
    let status = server.wait();
    let log = server.log();
    if !status.success() || log.iter().any(|line| line.contains("panicked")) {
        return Err(format!("it stopped with {status}: {log:#?}"));
    }
    match complaints(&house, &listener.stop()) {
        complaints if complaints.is_empty() => Ok(Course { n_injected, recovered }),
        complaints => Err(format!("{complaints:?}")),
    }
}

/// Runs all plans, a few at once, and gives back each with what became of it.
fn run_all(plans: Vec<Plan>) -> Vec<(Plan, Result<Course, String>)> {
    let (plans, done) = (Mutex::new(plans.into_iter()), Mutex::new(Vec::new()));
    let n_plans = plans.lock().unwrap().len();
    thread::scope(|scope| {
        for _ in 0..N_AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(plan) = plans.lock().unwrap().next() else { break };
                    let course = run(plan);
                    if let Err(complaint) = &course {
                        println!("{plan:?}: {complaint}");
                    }
                    let mut done = done.lock().unwrap();
                    done.push((plan, course));
                    if done.len() % 200 == 0 {
                        println!("{} of {n_plans} servers", done.len());
                    }
                }
            });
        }
    });
    done.into_inner().unwrap()
}

/// The calls to fail: all of the first ones, and a spread of later ones up to the last, far between
/// at the end, where one roll is much like another. None twice.
fn firsts(n_early: u32, n_late: u32, last: u32) -> Vec<u32> {
    let late = (1..=n_late).map(|n| {
        let part = (f64::from(n) / f64::from(n_late)).powi(3);
        n_early + n.max((f64::from(last - n_early) * part) as u32)
    });
    (1..=n_early).chain(late).collect()
}

#[test]
fn each_of_the_first_calls_fails_and_no_later_one_twice() {
    for (n_early, n_late, last) in [(400, 30, 2_000), (140, 45, 400), (1, 3, 8), (40, 0, 40)] {
        let firsts = firsts(n_early, n_late, last);
        assert!(firsts.iter().copied().take(n_early as usize).eq(1..=n_early), "{firsts:?}");
        assert!(firsts.windows(2).all(|pair| pair[0] < pair[1]), "{firsts:?}");
        assert_eq!((firsts.len() as u32, firsts.last()), (n_early + n_late, Some(&last)));
    }
}

#[test]
fn whatever_call_fails_what_was_seen_is_stored_and_rolls_go_on() {
    let mut plans = Vec::new();
    // So many of the first calls and of later ones, up to the last, which is in a checkpoint: in
    // the whole campaign 2,088, each once and for ever.
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
            // In pairs: calls may alternate, too, say between a page and what comes before it.
            let end = if n / 2 % 2 == 0 { End::Mended } else { End::Killed };
            plans.push(Plan { fault: once, end: End::Itself });
            plans.push(Plan { fault: for_ever, end });
        }
    }
    // Those that take the processor among those that wait for a server to try again.
    plans.sort_by_key(|plan| plan.fault.first);
    let courses = run_all(plans);
    let failed: Vec<_> = courses.iter().filter(|(_, course)| course.is_err()).collect();
    assert!(failed.is_empty(), "{} of {}: {failed:#?}", failed.len(), courses.len());
    let courses: Vec<Course> = courses.into_iter().filter_map(|(_, course)| course.ok()).collect();
    let n_injected = courses.iter().filter(|course| course.n_injected > 0).count();
    assert!(n_injected > courses.len() / 2, "only {n_injected} of {} struck", courses.len());
    let recovered = courses.iter().filter_map(|course| course.recovered).max();
    let recovered = recovered.expect("some servers went on");

    // A disk that says it synced and did not: the same eyes must see that rolls are gone.
    let lying = |first| Fault {
        first,
        drops: true,
        lies: true,
        ..Fault::for_ever(Calls::Sync, Failure::Broken)
    };
    let plan = |first| Plan { fault: lying(first), end: End::Killed };
    let control = run_all(vec![plan(30), plan(40), plan(50)]);
    let n_unwell = control.iter().filter(|(_, course)| course.is_err()).count();
    assert_eq!(n_unwell, control.len(), "the check is blind: {control:#?}");
    Row {
        fault: "the k-th read, write, sync or open fails (EIO, ENOSPC, EMFILE, short), once or on and on",
        n_injected,
        n_lost: 0,
        n_repeated: 0,
        recovered: Recovered::In(recovered),
        control: format!("a disk that says it synced: {n_unwell} of {n_unwell} servers lost rolls"),
        test: "errors::whatever_call_fails",
    }
    .write();
}
