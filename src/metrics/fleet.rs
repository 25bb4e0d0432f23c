//! What a node of a fleet counts. Without a fleet, these metrics are left out.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::metrics::scrape::{bounded, encode};

/// How a proposal can end.
pub const OUTCOMES: [&str; 3] = ["won", "lost", "unknown"];

/// The counts of one node.
#[derive(Debug, Default)]
pub struct FleetCounts {
    proposals: [AtomicU64; OUTCOMES.len()],
    returned: AtomicU64,
    skew_seconds: Mutex<Option<f64>>,
}

impl FleetCounts {
    /// Counts a proposal that ended in one of the [`OUTCOMES`].
    pub fn proposed(&self, outcome: &'static str) {
        if let Some(place) = OUTCOMES.iter().position(|word| *word == outcome) {
            self.proposals[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a roll that was given back to the log.
    pub fn returned(&self) {
        self.returned.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes by how many seconds the clock of the node that made the newest roll is ahead.
    pub fn skew(&self, seconds: f64) {
        *self.skew_seconds.lock().unwrap_or_else(PoisonError::into_inner) = Some(seconds);
    }
}

/// What a scrape reads about the fleet.
#[derive(Clone, Copy, Debug, Default)]
pub struct FleetReadings {
    /// Whether this node has all rolls of the fleet.
    pub is_following: bool,
    /// The rolls that it still needs, as far as it knows.
    pub n_behind: u64,
}

/// Encodes the metrics of a node.
pub fn encode_fleet(
    encoder: &mut DescriptorEncoder<'_>,
    readings: &FleetReadings,
    counts: &FleetCounts,
) -> fmt::Result {
    let help = "1 if this node has all rolls of the fleet, otherwise 0; /readyz has the reason.";
    let following = ConstGauge::new(i64::from(readings.is_following));
    encode(encoder, "fleet_following", help, None, following)?;
    let help = "Rolls of the fleet that this node does not have yet, as far as it knows.";
    let behind = ConstGauge::new(bounded(readings.n_behind));
    encode(encoder, "fleet_behind", help, None, behind)?;
    let help = "Rolls that this node proposed, by outcome: won, lost (another node was first), or \
                unknown (no answer; the same roll is proposed again).";
    let mut proposals =
        encoder.encode_descriptor("fleet_proposals", help, None, MetricType::Counter)?;
    for (outcome, n) in OUTCOMES.iter().zip(&counts.proposals) {
        let counter = ConstCounter::new(n.load(Ordering::Relaxed));
        counter.encode(proposals.encode_family(&[("outcome", *outcome)])?)?;
    }
    let help = "Rolls that this node gave back to the log, because the log had lost them. Look at \
                the disks of the NATS servers.";
    let returned = ConstCounter::new(counts.returned.load(Ordering::Relaxed));
    encode(encoder, "fleet_returned", help, None, returned)?;
    let skew = *counts.skew_seconds.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(skew) = skew else { return Ok(()) };
    let help = "Timestamp of the newest roll from another node, minus this node's clock when it \
                arrived. Left out before the first one.";
    encode(encoder, "fleet_clock_skew", help, Some(&Unit::Seconds), ConstGauge::new(skew))
}
