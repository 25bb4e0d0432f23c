//! What each open stream counts, and the sums over all streams.
//!
//! A roll on its way to a client touches only memory of its own stream. A scrape adds up.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use crate::metrics::Shared;
use crate::roll::RollId;

/// One in this many live rolls of a stream is timed, since reading the clock costs more than
/// counting.
const TIMED_INTERVAL: i64 = 64;
/// In place of a stream's last roll, while it is not known where the stream starts.
const NOT_STARTED: i64 = -1;

/// The counts of open streams, and the sums of closed ones.
#[derive(Default)]
pub struct Streams {
    n_opened: u64,
    open: HashMap<u64, Arc<Progress>>,
    closed: Sums,
}

/// What all streams did since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub n_deliveries: u64,
    pub n_replayed: u64,
}

/// How far a stream is. Its one task writes it, scrapes read it.
struct Progress {
    n_deliveries: AtomicU64,
    n_replayed: AtomicU64,
    /// The last delivered roll, or the one to start after, or [`NOT_STARTED`].
    last: AtomicI64,
}

/// One stream's counts. Dropping it closes the stream; its counts are kept in the sums.
pub struct StreamCount {
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    number: u64,
    /// The newest roll when the stream began: those up to it are replayed.
    head: RollId,
}

impl Streams {
    pub fn n_open(&self) -> usize {
        self.open.len()
    }

    /// The sums over all streams, open and closed.
    pub fn sums(&self) -> Sums {
        let mut sums = self.closed;
        self.open.values().for_each(|progress| sums.add(progress));
        sums
    }

    /// How many rolls the slowest open stream is behind `head`.
    pub fn max_lag(&self, head: RollId) -> i64 {
        let last = self.open.values().map(|progress| progress.last.load(Ordering::Relaxed));
        let slowest = last.filter(|last| *last != NOT_STARTED).min();
        slowest.map_or(0, |last| (head.0 - last).max(0))
    }
}

impl Sums {
    fn add(&mut self, progress: &Progress) {
        self.n_deliveries += progress.n_deliveries.load(Ordering::Relaxed);
        self.n_replayed += progress.n_replayed.load(Ordering::Relaxed);
    }
}

impl StreamCount {
    /// Opens a stream.
    pub(super) fn open(shared: &Arc<Shared>) -> StreamCount {
        let progress = Arc::new(Progress {
            n_deliveries: AtomicU64::new(0),
            n_replayed: AtomicU64::new(0),
            last: AtomicI64::new(NOT_STARTED),
        });
        let mut streams = shared.streams();
        streams.n_opened += 1;
        let number = streams.n_opened;
        streams.open.insert(number, progress.clone());
        let head = RollId::BEFORE_FIRST;
        StreamCount { shared: shared.clone(), progress, number, head }
    }

    /// Counts a `sync` event with one of the [`VERDICTS`](crate::metrics::VERDICTS). The stream
    /// continues after `start`; `head` is the newest roll.
    pub fn sync(&mut self, verdict: &'static str, start: RollId, head: RollId) {
        self.head = head;
        self.progress.last.store(start.0, Ordering::Relaxed);
        self.shared.syncs.get_or_create(&[("verdict", verdict)]).inc();
    }

    /// Counts a roll that is sent. `committed` is when it was stored, if this server stored it.
    ///
    /// Costs a few plain stores to this stream's own memory, and for one in 64 rolls a reading of
    /// the clock.
    pub fn delivered(&self, id: RollId, committed: Option<Instant>) {
        let progress = &self.progress;
        // Not a read-modify-write: only this task writes here.
        let n_deliveries = progress.n_deliveries.load(Ordering::Relaxed) + 1;
        progress.n_deliveries.store(n_deliveries, Ordering::Relaxed);
        progress.last.store(id.0, Ordering::Relaxed);
        if id <= self.head {
            let n_replayed = progress.n_replayed.load(Ordering::Relaxed) + 1;
            progress.n_replayed.store(n_replayed, Ordering::Relaxed);
        } else if let Some(committed) = committed
            // Other rolls on each stream, so that every roll is timed on some.
            && (id.0 + self.number as i64) % TIMED_INTERVAL == 0
        {
            self.shared.commit_to_write_seconds.observe(committed.elapsed().as_secs_f64());
        }
    }

    /// How many rolls were sent so far.
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

    use crate::metrics::Metrics;

    fn deliver(stream: &StreamCount, ids: impl IntoIterator<Item = i64>) {
        ids.into_iter().for_each(|id| stream.delivered(RollId(id), Some(Instant::now())));
    }

    #[test]
    fn counts_of_closed_streams_remain() {
        let metrics = Metrics::default();
        let mut first = metrics.stream();
        first.sync("resumed", RollId(3), RollId(5));
        let mut second = metrics.stream();
        second.sync("live", RollId(5), RollId(5));
        deliver(&first, 4..=7);
        deliver(&second, [6]);
        let counts = || {
            let streams = metrics.0.streams();
            let Sums { n_deliveries, n_replayed } = streams.sums();
            (n_deliveries, n_replayed, streams.n_open())
        };
        assert_eq!(counts(), (5, 2, 2));
        drop(second);
        assert_eq!(counts(), (5, 2, 1));
        drop(first);
        assert_eq!(counts(), (5, 2, 0));
    }

    #[test]
    fn the_lag_is_that_of_the_slowest_open_stream_that_has_started() {
        let metrics = Metrics::default();
        let lag = |head| metrics.0.streams().max_lag(RollId(head));
        assert_eq!(lag(9), 0, "without a stream");
        let _not_started = metrics.stream();
        assert_eq!(lag(9), 0, "without a stream that has started");
        let (mut slow, mut fast) = (metrics.stream(), metrics.stream());
        slow.sync("resumed", RollId(0), RollId(9));
        fast.sync("live", RollId(9), RollId(9));
        assert_eq!(lag(9), 9);
        deliver(&slow, 1..=3);
        assert_eq!(lag(9), 6);
        drop(slow);
        assert_eq!(lag(9), 0);
        deliver(&fast, [10]);
        assert_eq!(lag(9), 0, "the head was read before the roll");
    }

    #[test]
    fn one_live_roll_in_sixty_four_is_timed_and_no_replayed_one() {
        let metrics = Metrics::default();
        let mut stream = metrics.stream();
        stream.sync("resumed", RollId(0), RollId(6_400));
        deliver(&stream, 1..=12_800);
        let text = metrics.scrape(crate::metrics::Readings::default());
        let line = "rollcast_commit_to_write_seconds_count 100";
        assert!(text.lines().any(|seen| seen == line), "expected `{line}` in {text}");
    }
}
