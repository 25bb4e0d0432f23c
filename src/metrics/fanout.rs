//! What the fan-out door counts. Without a door, these metrics are left out.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::metrics::scrape::encode;

/// Why the door closes a connection.
pub const CUTS: [&str; 5] = ["connections", "proxy_protocol", "handshake", "head", "send"];

/// The counts of the door.
#[derive(Debug, Default)]
pub struct FanoutCounts {
    /// Whether there is a door.
    exists: AtomicBool,
    n_connections: AtomicI64,
    cut: [AtomicU64; CUTS.len()],
}

impl FanoutCounts {
    /// Shows the counts from now on.
    pub fn start(&self) {
        self.exists.store(true, Ordering::Relaxed);
    }

    /// Counts a connection that opens (1) or closes (-1).
    pub fn connection(&self, change: i64) {
        self.n_connections.fetch_add(change, Ordering::Relaxed);
    }

    /// Counts a connection that the door closed for one of the [`CUTS`].
    pub fn cut(&self, reason: &'static str) {
        if let Some(place) = CUTS.iter().position(|word| *word == reason) {
            self.cut[place].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Encodes the metrics of the door, if there is one.
pub fn encode_fanout(encoder: &mut DescriptorEncoder<'_>, counts: &FanoutCounts) -> fmt::Result {
    if !counts.exists.load(Ordering::Relaxed) {
        return Ok(());
    }
    let help = "Open connections of the fan-out door. Most of them are streams.";
    let connections = ConstGauge::new(counts.n_connections.load(Ordering::Relaxed));
    encode(encoder, "fanout_connections", help, None, connections)?;
    let help = "Connections that the fan-out door closed, by reason: connections (max_streams and \
                1024 more are open), proxy_protocol (no PROXY header from a trusted proxy), handshake \
                (no TLS handshake), head (no request within head_timeout), send (the client read \
                nothing for send_timeout).";
    let mut cut = encoder.encode_descriptor("fanout_cut", help, None, MetricType::Counter)?;
    for (reason, n) in CUTS.iter().zip(&counts.cut) {
        let counter = ConstCounter::new(n.load(Ordering::Relaxed));
        counter.encode(cut.encode_family(&[("reason", *reason)])?)?;
    }
    Ok(())
}
