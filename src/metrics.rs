//! What is counted while the server runs, for Prometheus: the pump counts rolls, streams count
//! what they deliver, and a scrape adds up.
//!
//! Nothing is shared on the way of a roll to a client: each stream keeps its own counts, which
//! only a scrape reads. docs/metrics.md explains every metric to operators.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::roll::RollId;

/// A stream times one in so many of its rolls: reading the clock for each would cost more than
/// counting it.
const N_UNTIMED: i64 = 64;

/// The verdicts a stream can begin with, in the words of its `sync` event.
pub const VERDICTS: [&str; 5] = ["live", "resumed", "pruned", "unknown", "malformed"];
/// Why a stream is refused.
pub const REFUSALS: [&str; 3] = ["total", "address", "unreadable"];

/// A counter for each word of a fixed list.
type ByWord = Family<[(&'static str, &'static str); 1], Counter>;

/// All counts of one server; cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Shared>);

struct Shared {
    registry: Registry,
    rolls: Counter,
    append_seconds: Histogram,
    append_failures: Counter,
    pruned: Counter,
    prune_failures: Counter,
    oldest: Gauge,
    commit_to_write_seconds: Histogram,
    syncs: ByWord,
    rejected: ByWord,
    panics: Counter,
    scraped: Scraped,
    streams: Mutex<Streams>,
    fault: Mutex<Option<String>>,
}

/// What is only up to date after a scrape has set it.
#[derive(Default)]
struct Scraped {
    deliveries: Counter,
    replayed: Counter,
    streams_open: Gauge,
    slowest_lag: Gauge,
    database: Gauge,
    log: Gauge,
    disk_free: Gauge,
}

/// The counts of streams that are open, and the sums of those that were.
#[derive(Default)]
struct Streams {
    n_opened: u64,
    open: HashMap<u64, Arc<Progress>>,
    closed: Sums,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    n_deliveries: u64,
    n_replayed: u64,
}

/// How far a stream is. Written by its one task, read by scrapes.
#[derive(Default)]
struct Progress {
    n_deliveries: AtomicU64,
    n_replayed: AtomicU64,
    /// The last roll delivered, or the place to start after; below 0 until that is known.
    last: AtomicI64,
}

/// One stream's counts; added to the sums when dropped.
pub struct StreamCount {
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    number: u64,
    /// The newest roll when the stream began: those up to it are replayed.
    head: RollId,
}

/// What a scrape has to ask of others.
#[derive(Clone, Copy, Debug)]
pub struct Outside {
    /// The newest roll.
    pub head: RollId,
    /// The size of the database file.
    pub n_database_bytes: u64,
    /// The size of its write-ahead log.
    pub n_log_bytes: u64,
    /// What is left on its disk.
    pub n_free_bytes: u64,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("rollcast");
        let rolls = Counter::default();
        // 50 µs to 1.6 s; an fsync takes 100 µs to 20 ms.
        let append_seconds = Histogram::new(exponential_buckets(50e-6, 2.0, 16));
        let append_failures = Counter::default();
        let (pruned, prune_failures) = (Counter::default(), Counter::default());
        let oldest = Gauge::default();
        // 10 µs to 0.7 s: the first of many clients to the last.
        let commit_to_write_seconds = Histogram::new(exponential_buckets(10e-6, 2.0, 17));
        let (syncs, rejected) = (ByWord::default(), ByWord::default());
        // From the start, so that a rate is known before the first one.
        VERDICTS.iter().for_each(|word| drop(syncs.get_or_create(&[("verdict", word)])));
        REFUSALS.iter().for_each(|word| drop(rejected.get_or_create(&[("reason", word)])));
        let scraped = Scraped::default();

        let r = &mut registry;
        r.register("rolls", "Rolls stored since the start", rolls.clone());
        r.register_with_unit(
            "append",
            "Time to store the rolls of one commit, fsync included",
            Unit::Seconds,
            append_seconds.clone(),
        );
        r.register(
            "append_failures",
            "Attempts to store a roll that failed and are made again",
            append_failures.clone(),
        );
        r.register("pruned", "Old rolls deleted since the start, as `keep` says", pruned.clone());
        r.register(
            "prune_failures",
            "Attempts to delete old rolls that failed and are made again",
            prune_failures.clone(),
        );
        r.register("oldest_roll_id", "The oldest roll that is kept", oldest.clone());
        r.register("streams_open", "Streams that are open", scraped.streams_open.clone());
        r.register(
            "syncs",
            "Streams that began, by how they join what their client has",
            syncs.clone(),
        );
        r.register("rejected", "Streams that were refused, by reason", rejected.clone());
        let panics = Counter::default();
        r.register(
            "panics",
            "Requests, streams and other parts that ended by a fault of rollcast itself",
            panics.clone(),
        );
        r.register("deliveries", "Rolls handed to streams", scraped.deliveries.clone());
        r.register(
            "replayed",
            "Of the deliveries, rolls older than the stream they were sent on",
            scraped.replayed.clone(),
        );
        r.register_with_unit(
            "commit_to_write",
            "Time from a roll's commit to its write to a stream, of one delivery in 64",
            Unit::Seconds,
            commit_to_write_seconds.clone(),
        );
        r.register(
            "slowest_lag_rolls",
            "Rolls that the open stream furthest behind has still to get",
            scraped.slowest_lag.clone(),
        );
        r.register_with_unit(
            "database",
            "Size of the database file",
            Unit::Bytes,
            scraped.database.clone(),
        );
        r.register_with_unit(
            "log",
            "Size of the database's write-ahead log",
            Unit::Bytes,
            scraped.log.clone(),
        );
        r.register_with_unit(
            "disk_free",
            "Space left for the database on its disk",
            Unit::Bytes,
            scraped.disk_free.clone(),
        );
        let (streams, fault) = (Mutex::default(), Mutex::default());
        Metrics(Arc::new(Shared {
            registry,
            rolls,
            append_seconds,
            append_failures,
            pruned,
            prune_failures,
            oldest,
            commit_to_write_seconds,
            syncs,
            rejected,
            panics,
            scraped,
            streams,
            fault,
        }))
    }
}

impl Metrics {
    /// Rolls are stored, in one commit that took so long.
    pub fn appended(&self, n_rolls: usize, took: Duration) {
        self.0.rolls.inc_by(n_rolls as u64);
        self.0.append_seconds.observe(took.as_secs_f64());
        *self.0.fault() = None;
    }

    /// A roll could not be stored, for this `fault`.
    pub fn append_failed(&self, fault: String) {
        self.0.append_failures.inc();
        *self.0.fault() = Some(fault);
    }

    /// Old rolls are gone, and `oldest` is the first that is kept.
    pub fn pruned(&self, n_rolls: u64, oldest: RollId) {
        self.0.pruned.inc_by(n_rolls);
        self.0.oldest.set(oldest.0);
    }

    /// Old rolls could not be deleted.
    pub fn prune_failed(&self) {
        self.0.prune_failures.inc();
    }

    /// Why the last attempt to store a roll failed, if it did.
    pub fn fault(&self) -> Option<String> {
        self.0.fault().clone()
    }

    /// A stream is refused for one of the [`REFUSALS`].
    pub fn rejected(&self, reason: &'static str) {
        self.0.rejected.get_or_create(&[("reason", reason)]).inc();
    }

    /// Something panicked.
    pub fn panicked(&self) {
        self.0.panics.inc();
    }

    /// A stream is open, which will count what it delivers.
    pub fn stream(&self) -> StreamCount {
        let progress = Arc::new(Progress { last: AtomicI64::new(-1), ..Progress::default() });
        let mut streams = self.0.streams();
        streams.n_opened += 1;
        let number = streams.n_opened;
        streams.open.insert(number, progress.clone());
        let head = RollId::BEFORE_FIRST;
        StreamCount { shared: self.0.clone(), progress, number, head }
    }

    /// All metrics as text, in the format
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
    ///
    /// # Errors
    ///
    /// None that a text in memory can have.
    pub fn scrape(&self, outside: Outside) -> Result<String, fmt::Error> {
        let scraped = &self.0.scraped;
        let mut encoded = String::with_capacity(8 << 10);
        // Held to the end, so that of two scrapes at once neither shows a count that went back.
        let streams = self.0.streams();
        let mut sums = streams.closed;
        let mut furthest_behind = None;
        for progress in streams.open.values() {
            sums.add(progress);
            let last = progress.last.load(Ordering::Relaxed);
            if last >= 0 {
                furthest_behind = Some(furthest_behind.map_or(last, |other: i64| other.min(last)));
            }
        }
        let lag = furthest_behind.map_or(0, |last| (outside.head.0 - last).max(0));
        for (counter, count) in
            [(&scraped.deliveries, sums.n_deliveries), (&scraped.replayed, sums.n_replayed)]
        {
            counter.inner().store(count, Ordering::Relaxed);
        }
        let bytes = |n_bytes: u64| i64::try_from(n_bytes).unwrap_or(i64::MAX);
        scraped.streams_open.set(streams.open.len() as i64);
        scraped.slowest_lag.set(lag);
        scraped.database.set(bytes(outside.n_database_bytes));
        scraped.log.set(bytes(outside.n_log_bytes));
        scraped.disk_free.set(bytes(outside.n_free_bytes));
        text::encode(&mut encoded, &self.0.registry)?;
        Ok(encoded)
    }
}

impl Shared {
    fn fault(&self) -> MutexGuard<'_, Option<String>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sums {
    fn add(&mut self, progress: &Progress) {
        self.n_deliveries += progress.n_deliveries.load(Ordering::Relaxed);
        self.n_replayed += progress.n_replayed.load(Ordering::Relaxed);
    }
}

impl StreamCount {
    /// The stream begins, or goes on, after `start` with one of the [`VERDICTS`].
    pub fn sync(&mut self, verdict: &'static str, start: RollId, head: RollId) {
        self.head = head;
        self.progress.last.store(start.0, Ordering::Relaxed);
        self.shared.syncs.get_or_create(&[("verdict", verdict)]).inc();
    }

    /// A roll is handed on; `committed` is when it was stored, if that was while the server ran.
    ///
    /// Costs a few plain stores to memory of this stream's own, and now and then a look at the
    /// clock.
    pub fn delivered(&self, id: RollId, committed: Option<Instant>) {
        let progress = &self.progress;
        // Without a read-modify-write: nobody else writes here.
        let n_deliveries = progress.n_deliveries.load(Ordering::Relaxed) + 1;
        progress.n_deliveries.store(n_deliveries, Ordering::Relaxed);
        progress.last.store(id.0, Ordering::Relaxed);
        if id <= self.head {
            let n_replayed = progress.n_replayed.load(Ordering::Relaxed) + 1;
            progress.n_replayed.store(n_replayed, Ordering::Relaxed);
        } else if let Some(committed) = committed
            // Each stream other rolls, so that every roll is timed on some.
            && (id.0 + self.number as i64) % N_UNTIMED == 0
        {
            self.shared.commit_to_write_seconds.observe(committed.elapsed().as_secs_f64());
        }
    }

    /// How many rolls were delivered so far.
    pub fn n_deliveries(&self) -> u64 {
        self.progress.n_deliveries.load(Ordering::Relaxed)
    }
}

impl Drop for StreamCount {
    fn drop(&mut self) {
        let mut streams = self.shared.streams();
        if let Some(progress) = streams.open.remove(&self.number) {
            streams.closed.add(&progress);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(metrics: &Metrics, head: i64) -> String {
        let head = RollId(head);
        let outside = Outside { head, n_database_bytes: 1, n_log_bytes: 2, n_free_bytes: 3 };
        metrics.scrape(outside).expect("text")
    }

    #[test]
    fn what_streams_counted_stays_counted_when_they_close() {
        let metrics = Metrics::default();
        let mut first = metrics.stream();
        first.sync("resumed", RollId(3), RollId(5));
        let mut second = metrics.stream();
        second.sync("live", RollId(5), RollId(5));
        for id in 4..=7 {
            first.delivered(RollId(id), None);
        }
        second.delivered(RollId(6), None);
        let open = scrape(&metrics, 9);
        for line in [
            "rollcast_deliveries_total 5",
            "rollcast_replayed_total 2",
            "rollcast_streams_open 2",
            "rollcast_slowest_lag_rolls 3",
            "rollcast_syncs_total{verdict=\"resumed\"} 1",
            "rollcast_rejected_total{reason=\"address\"} 0",
        ] {
            assert!(open.lines().any(|seen| seen == line), "expected `{line}` in {open}");
        }
        drop(second);
        drop(first);
        let closed = scrape(&metrics, 9);
        for line in ["rollcast_deliveries_total 5", "rollcast_streams_open 0"] {
            assert!(closed.lines().any(|seen| seen == line), "expected `{line}` in {closed}");
        }
    }

    #[test]
    fn one_live_delivery_in_sixty_four_is_timed_and_no_replayed_one() {
        let metrics = Metrics::default();
        let mut stream = metrics.stream();
        stream.sync("resumed", RollId(0), RollId(6_400));
        for id in 1..=12_800 {
            stream.delivered(RollId(id), Some(Instant::now()));
        }
        let seen = scrape(&metrics, 12_800);
        let line = "rollcast_commit_to_write_seconds_count 100";
        assert!(seen.lines().any(|seen| seen == line), "expected `{line}` in {seen}");
    }
}
