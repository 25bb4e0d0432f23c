//! Pruning under faults: a kill during a prune loses nothing, and a prune does not pause the feed.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, park_timeout};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::common::events::{Ask, Stream};
use crate::common::{Instance, Server, wait_for};
use crate::kills::Moments;
use crate::report::{Recovered, Row, times};

/// How a reader reconnects after a kill.
#[derive(Clone, Copy, PartialEq)]
pub enum ResumeWith {
    LastEventId,
    /// Broken on purpose: without a cursor.
    None,
}

/// What a reader received.
#[derive(Clone)]
pub struct Log {
    /// The reader requested all rolls after this id.
    after: i64,
    /// Each roll's arrival time, id and dice.
    rolls: Vec<(Instant, i64, String)>,
    /// The ids that `sync` reported as lost.
    reported_lost: Vec<RangeInclusive<i64>>,
}

/// A reader that reconnects whenever its stream ends.
pub struct Reader {
    log: Arc<Mutex<Log>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Reader {
    pub fn start(instance: &Instance, resume_with: ResumeWith, after: i64) -> Reader {
        let url = instance.url("/stream/");
        let (log, stop) =
            (Arc::new(Mutex::new(Log::after(after))), Arc::new(AtomicBool::new(false)));
        let (kept, stopped) = (log.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let last = kept.lock().unwrap().rolls.last().map_or(after, |roll| roll.1);
                let last_event_id = last.to_string();
                let last_event_id =
                    (resume_with == ResumeWith::LastEventId).then_some(last_event_id.as_str());
                let Ok(stream) = Stream::open(&url, Ask { last_event_id, post: false }) else {
                    // The broken reader also reconnects late, so that it misses rolls.
                    let wait = if resume_with == ResumeWith::None { 300 } else { 2 };
                    park_timeout(Duration::from_millis(wait));
                    continue;
                };
                for frame in stream {
                    let mut log = kept.lock().unwrap();
                    if let Some(sync) = frame.sync().filter(|sync| sync["reason"] == "pruned") {
                        let last = log.rolls.last().map_or(after, |roll| roll.1);
                        log.reported_lost.push(last + 1..=last + sync["lost"].as_i64().unwrap());
                    }
                    if let Some((id, dice)) = frame.roll() {
                        let id = id.split('-').next().unwrap().parse().unwrap();
                        log.rolls.push((Instant::now(), id, dice));
                    }
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        });
        Reader { log, stop, thread }
    }

    pub fn last(&self) -> i64 {
        self.log.lock().unwrap().rolls.last().map_or(0, |roll| roll.1)
    }

    pub fn stop(self) -> Log {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let log = self.log.lock().unwrap();
        log.clone()
    }
}

impl Log {
    fn after(after: i64) -> Log {
        Log { after, rolls: Vec::new(), reported_lost: Vec::new() }
    }

    /// The number of missing rolls that were not reported as lost, and of repeated rolls.
    pub fn judge(&self) -> (usize, usize) {
        let ids: Vec<i64> =
            [self.after].into_iter().chain(self.rolls.iter().map(|roll| roll.1)).collect();
        let mut n_lost = 0;
        for pair in ids.windows(2).filter(|pair| pair[1] > pair[0] + 1) {
            let is_reported = |id: &i64| self.reported_lost.iter().any(|range| range.contains(id));
            n_lost += (pair[0] + 1..pair[1]).filter(|id| !is_reported(id)).count();
        }
        (n_lost, ids.windows(2).filter(|pair| pair[1] <= pair[0]).count())
    }

    /// The longest time between two rolls.
    pub fn longest_gap(&self) -> Duration {
        let gaps = self.rolls.windows(2).map(|pair| pair[1].0 - pair[0].0);
        gaps.max().unwrap_or_default()
    }
}

fn number(instance: &Instance, sql: &str) -> i64 {
    instance.sqlite().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn rolls_missing_before_the_first_received_one_count_as_lost() {
    let mut log = Log::after(10);
    let roll = |id| (Instant::now(), id, String::new());
    log.rolls = vec![roll(13), roll(14), roll(14)];
    assert_eq!(log.judge(), (2, 1));
    log.reported_lost.push(11..=11);
    assert_eq!(log.judge(), (1, 1));
}

/// Kills the server `n_kills` times while it prunes. Returns a reader's log, and the longest time
/// from a start to the next roll.
fn kill_while_pruning(
    instance: &Instance,
    n_kills: usize,
    resume_with: ResumeWith,
) -> (Log, Duration) {
    // Save the statistics, so that the first starts do not count all rolls again.
    instance.start().stop();
    let n_filled = number(instance, "select max(id) from rolls");
    let mut moments = Moments::new();
    let reader = Reader::start(instance, resume_with, n_filled);
    let mut recovered = Duration::ZERO;
    for n in 0..n_kills {
        let (started, seen) = (Instant::now(), reader.last());
        let mut server = Server::spawn(&mut instance.command());
        // Kills every other server during its start, which prunes at once.
        if n % 2 == 1 {
            wait_for("a roll", || (reader.last() > seen).then_some(()));
            recovered = recovered.max(started.elapsed());
        }
        let moment = Duration::from_millis(moments.next_below(150));
        let start = Instant::now();
        while start.elapsed() < moment {
            park_timeout(moment.saturating_sub(start.elapsed()));
        }
        server.kill();
    }
    let seen = reader.last();
    let mut server = instance.start();
    wait_for("the last server's rolls", || (reader.last() > seen + 100).then_some(()));
    server.stop();
    (reader.stop(), recovered)
}

#[test]
fn a_kill_during_a_prune_loses_no_roll_within_the_retention() {
    let n_kills = times(8, 200);
    let instance = Instance::new("every = '1ms'\nkeep = 20_000");
    instance.fill(times(60_000, 500_000) as i64, 1);
    let (log, recovered) = kill_while_pruning(&instance, n_kills, ResumeWith::LastEventId);
    // Completes the prune.
    let mut server = instance.start();
    wait_for("the prune", || {
        (number(&instance, "select count(*) from rolls") < 25_000).then_some(())
    });
    server.stop();

    let check: String =
        instance.sqlite().query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let stored = instance.stored();
    let (oldest, head) = (stored[0].0, stored.last().unwrap().0);
    assert!(stored.iter().map(|roll| roll.0).eq(oldest..=head), "ids have gaps");
    assert!(stored.len() >= 20_000, "only {} rolls are left", stored.len());
    for sql in [
        "select seq from sqlite_sequence where name = 'rolls'",
        "select sum(n_rolls) from tallies where die = '1D6'",
        "select n_rolls from die_statistics where die = '1D20'",
        "select sum(n_rolls) from result_statistics where die = '1D20'",
    ] {
        assert_eq!(number(&instance, sql), head, "{sql}");
    }
    let (mut n_lost, n_repeated) = log.judge();
    for (_, id, dice) in log.rolls.iter().filter(|roll| roll.1 >= oldest) {
        let stored = usize::try_from(id - oldest).ok().and_then(|index| stored.get(index));
        n_lost += usize::from(stored.is_none_or(|stored| stored.2 != *dice));
    }
    assert_eq!((n_lost, n_repeated), (0, 0), "{:?}", log.reported_lost);
    assert!(log.rolls.len() > 200, "the reader saw only {} rolls", log.rolls.len());

    let instance = Instance::new("every = '1ms'\nkeep = 20_000");
    instance.fill(40_000, 1);
    let (control, _) = kill_while_pruning(&instance, 4, ResumeWith::None);
    let (missed, _) = control.judge();
    assert!(missed > 0, "a reader without a cursor missed nothing");
    Row {
        fault: "`kill -9` while old rolls are pruned",
        n_injected: n_kills,
        n_lost,
        n_repeated,
        recovered: Recovered::In(recovered),
        control: format!("a reader that does not resume misses {missed} rolls"),
        test: "retention::a_kill_during_a_prune",
    }
    .write();
}

/// The maximum pause that a prune may cause, also on a slow machine.
const MAX_PAUSE: Duration = Duration::from_secs(2);

#[test]
fn a_large_prune_does_not_pause_the_feed() {
    let n_filled = times(60_000, 1_000_000) as i64;
    let instance = Instance::new("every = '5ms'\nkeep = 1_000");
    instance.fill(n_filled, 1);
    let mut server = instance.start();
    let reader = Reader::start(&instance, ResumeWith::LastEventId, n_filled);
    let mut max_log_bytes = 0;
    let begun = Instant::now();
    wait_for_long("the prune", || {
        let log = std::fs::metadata(instance.path().join("rolls.db-wal"));
        max_log_bytes = max_log_bytes.max(log.map_or(0, |log| log.len()));
        (number(&instance, "select count(*) from rolls") < 3_000).then_some(())
    });
    let took = begun.elapsed();
    let seen = reader.last();
    wait_for("rolls after it", || (reader.last() > seen + 20).then_some(()));
    let log = reader.stop();
    let (gap, (n_lost, n_repeated)) = (log.longest_gap(), log.judge());
    println!(
        "{n_filled} rolls pruned in {:.1} s; longest gap {gap:?} of {} rolls; log up to {} MB",
        took.as_secs_f64(),
        log.rolls.len(),
        max_log_bytes >> 20
    );
    assert_eq!((n_lost, n_repeated), (0, 0));
    assert!(gap < MAX_PAUSE, "no roll for {gap:?}");
    assert!(max_log_bytes < 32 << 20, "the write-ahead log grew to {max_log_bytes} bytes");
    server.stop();

    // Control: a prune in a single transaction, kept open as long as one of many more rolls takes.
    instance.configure("every = '5ms'");
    let _server = instance.start();
    let reader = Reader::start(&instance, ResumeWith::LastEventId, seen);
    wait_for("rolls", || (reader.last() > seen).then_some(()));
    let mut outside = Connection::open(instance.database()).unwrap();
    let delete = outside.transaction().unwrap();
    delete.execute("delete from rolls where id < (select max(id) from rolls)", []).unwrap();
    let begun = Instant::now();
    wait_for("a while", || (begun.elapsed() > 2 * MAX_PAUSE).then_some(()));
    delete.commit().unwrap();
    let head = reader.last();
    wait_for("rolls after it", || (reader.last() > head + 5).then_some(()));
    let control = reader.stop().longest_gap();
    assert!(control > MAX_PAUSE, "the control paused only {control:?}");
    Row {
        fault: "a prune of nearly all rolls while new rolls are stored",
        n_injected: 1,
        n_lost,
        n_repeated,
        recovered: Recovered::Words(format!("longest pause {} ms", gap.as_millis())),
        control: format!(
            "a prune in a single transaction: a pause of {:.1} s",
            control.as_secs_f64()
        ),
        test: "retention::a_large_prune",
    }
    .write();
}

/// Waits up to 10 minutes, for the prune of the whole campaign.
fn wait_for_long(what: &str, mut poll: impl FnMut() -> Option<()>) {
    let start = Instant::now();
    while poll().is_none() {
        assert!(start.elapsed() < Duration::from_secs(600), "waited for {what}");
        park_timeout(Duration::from_millis(20));
    }
}
