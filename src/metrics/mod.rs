//! What the server counts, for Prometheus. docs/metrics.md explains every metric to operators.
//!
//! The pump and the pruner count rolls, each stream counts its deliveries, and a scrape adds them
//! up.

mod fanout;
mod fleet;
mod process;
mod scrape;
mod streams;
mod text_format;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::roll::RollId;

use self::fanout::FanoutCounts;
use self::fleet::FleetCounts;
use self::process::ProcessMetrics;
use self::scrape::Scraped;
use self::streams::Streams;

pub use self::fanout::CUTS;
pub use self::fleet::{FleetReadings, OUTCOMES};
pub use self::scrape::{DiskReadings, Evidence, Limits, Readings};
pub use self::streams::StreamCount;
pub use self::text_format::from_open_metrics;

/// How a stream continues, in the words of its `sync` event.
pub const VERDICTS: [&str; 6] = ["live", "resumed", "pruned", "unreadable", "unknown", "malformed"];
/// Why a stream is rejected.
pub const REJECTIONS: [&str; 4] = ["total", "address", "behind", "unreadable"];

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
    syncs: ByWord,
    rejected: ByWord,
    panics: Counter,
    commit_to_write_seconds: Histogram,
    scraped: Scraped,
    fanout: Arc<FanoutCounts>,
    fleet: Arc<FleetCounts>,
    streams: Mutex<Streams>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::default();
        let fanout = Arc::<FanoutCounts>::default();
        let fleet = Arc::<FleetCounts>::default();
        let shared = Shared {
            rolls: Counter::default(),
            // 50 µs to 1.6 s: an fsync takes 100 µs to 20 ms.
            append_seconds: Histogram::new(exponential_buckets(50e-6, 2.0, 16)),
            append_failures: Counter::default(),
            pruned: Counter::default(),
            prune_failures: Counter::default(),
            oldest: Gauge::default(),
            syncs: ByWord::default(),
            rejected: ByWord::default(),
            panics: Counter::default(),
            // 10 µs to 0.7 s: the first of many clients to the last.
            commit_to_write_seconds: Histogram::new(exponential_buckets(10e-6, 2.0, 17)),
            scraped: Scraped::new(fanout.clone(), fleet.clone()),
            fanout,
            fleet,
            streams: Mutex::default(),
            registry: Registry::default(),
        };
        shared.register(registry.sub_registry_with_prefix("rollcast"));
        registry.register_collector(Box::new(ProcessMetrics::new()));
        Metrics(Arc::new(Shared { registry, ..shared }))
    }
}

impl Shared {
    /// Registers all metrics. The registry ends each help text with a period.
    fn register(&self, registry: &mut Registry) {
        // Present from the start, so that a rate is known before the first event.
        VERDICTS.iter().for_each(|word| drop(self.syncs.get_or_create(&[("verdict", word)])));
        REJECTIONS.iter().for_each(|word| drop(self.rejected.get_or_create(&[("reason", word)])));

        let r = registry;
        r.register("rolls", "Rolls stored since the start", self.rolls.clone());
        r.register_with_unit(
            "append",
            "Duration of a commit, fsync included. One commit stores all rolls that came due during \
             the previous one, at most 64",
            Unit::Seconds,
            self.append_seconds.clone(),
        );
        r.register(
            "append_failures",
            "Failed attempts to store a roll. The same roll is tried again",
            self.append_failures.clone(),
        );
        r.register(
            "pruned",
            "Old rolls deleted since the start because of the setting keep",
            self.pruned.clone(),
        );
        r.register(
            "prune_failures",
            "Failed attempts to delete old rolls. They are repeated after at most 60 s, and new \
             rolls are stored meanwhile",
            self.prune_failures.clone(),
        );
        r.register("oldest_roll_id", "Id of the oldest stored roll", self.oldest.clone());
        r.register(
            "syncs",
            "Stream starts, by verdict: live, resumed, or why the stream was reset (pruned, \
             unreadable, unknown, malformed). A stream counts again when it has to skip rolls",
            self.syncs.clone(),
        );
        r.register(
            "rejected",
            "Rejected streams, by reason: total (max_streams), address \
             (max_streams_per_address), behind (this node of a fleet does not have the client's \
             newest roll yet), unreadable (the history cannot be read)",
            self.rejected.clone(),
        );
        r.register(
            "panics",
            "Requests, streams and other tasks that a bug in rollcast ended. The log names the \
             place; please report it",
            self.panics.clone(),
        );
        r.register_with_unit(
            "commit_to_write",
            "Time from a roll's commit to just before its write to a stream. Each stream measures \
             one live roll in 64, and no replayed roll",
            Unit::Seconds,
            self.commit_to_write_seconds.clone(),
        );
        r.register_collector(Box::new(self.scraped.clone()));
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metrics {
    /// Counts rolls that one commit stored, which took `duration`.
    pub fn appended(&self, n_rolls: usize, duration: Duration) {
        self.0.rolls.inc_by(n_rolls as u64);
        self.0.append_seconds.observe(duration.as_secs_f64());
    }

    /// Counts a failed attempt to store a roll.
    pub fn append_failed(&self) {
        self.0.append_failures.inc();
    }

    /// Counts deleted old rolls; `oldest` is the oldest one that is left.
    pub fn pruned(&self, n_rolls: u64, oldest: RollId) {
        self.0.pruned.inc_by(n_rolls);
        self.0.oldest.set(oldest.0);
    }

    /// Counts a failed attempt to delete old rolls.
    pub fn prune_failed(&self) {
        self.0.prune_failures.inc();
    }

    /// Counts a stream that is rejected for one of the [`REJECTIONS`].
    pub fn rejected(&self, reason: &'static str) {
        self.0.rejected.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts a panic.
    pub fn panicked(&self) {
        self.0.panics.inc();
    }

    /// The counts of the fan-out door.
    pub fn fanout(&self) -> &FanoutCounts {
        &self.0.fanout
    }

    /// The counts of a node of a fleet.
    pub fn fleet(&self) -> &FleetCounts {
        &self.0.fleet
    }

    /// Counts a stream as open until the returned value is dropped.
    pub fn stream(&self) -> StreamCount {
        StreamCount::open(&self.0)
    }

    /// All metrics as text, in the format
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
    pub fn scrape(&self, readings: Readings) -> String {
        let mut encoded = String::with_capacity(8 << 10);
        // Locked to the end: of two scrapes at once, neither shows a count that went back.
        let streams = self.0.streams();
        self.0.scraped.set(readings, &streams);
        text::encode(&mut encoded, &self.0.registry).expect("writing to a string does not fail");
        encoded
    }
}
