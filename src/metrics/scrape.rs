//! Metrics that are not counted on the way but read for each scrape.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::metrics::streams::{Streams, Sums};
use crate::roll::RollId;

/// What a scrape reads from other modules.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readings {
    /// The newest roll.
    pub head: RollId,
    /// The time of the last commit since the start.
    pub last_commit: Option<Timestamp>,
    /// `None` if the disk cannot be read.
    pub disk: Option<DiskReadings>,
}

/// The disk space of the database, and the free space on its disk, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct DiskReadings {
    /// The size of the database file.
    pub n_database_bytes: u64,
    /// The size of its write-ahead log.
    pub n_log_bytes: u64,
    /// The space left.
    pub n_free_bytes: u64,
}

/// Holds the values of one scrape while it is encoded. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Scraped(Arc<Mutex<Values>>);

#[derive(Clone, Copy, Debug, Default)]
struct Values {
    readings: Readings,
    sums: Sums,
    n_open: usize,
    max_lag: i64,
}

impl Scraped {
    /// Takes the values of a scrape.
    pub fn set(&self, readings: &Readings, streams: &Streams) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Values {
            readings: *readings,
            sums: streams.sums(),
            n_open: streams.n_open(),
            max_lag: streams.max_lag(readings.head),
        };
    }
}

impl Collector for Scraped {
    /// Leaves out gauges that could not be read.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let values = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Values { readings, sums, n_open, max_lag } = values;
        let n_open = ConstGauge::new(bounded(n_open as u64));
        encode(encoder, "streams_open", "Open streams.", None, n_open)?;
        let n_deliveries = ConstCounter::new(sums.n_deliveries);
        encode(encoder, "deliveries", "Rolls sent to streams.", None, n_deliveries)?;
        let help =
            "Rolls sent that are older than their stream: those that returning clients missed.";
        encode(encoder, "replayed", help, None, ConstCounter::new(sums.n_replayed))?;
        let help = "Rolls that the slowest open stream still has to send.";
        encode(encoder, "slowest_lag_rolls", help, None, ConstGauge::new(max_lag))?;
        if let Some(last_commit) = readings.last_commit {
            let help = "Unix time of the last commit. Left out before the first one.";
            let seconds = ConstGauge::new(last_commit.as_millisecond() as f64 / 1e3);
            encode(encoder, "last_commit_timestamp", help, Some(&Unit::Seconds), seconds)?;
        }
        let Some(disk) = readings.disk else { return Ok(()) };
        for (name, help, n_bytes) in [
            (
                "database",
                "Size of the database file. Left out if the disk cannot be read.",
                disk.n_database_bytes,
            ),
            (
                "log",
                "Size of the write-ahead log, which grows while another program keeps a read \
                 transaction open. Left out if the disk cannot be read.",
                disk.n_log_bytes,
            ),
            (
                "disk_free",
                "Space left for the database on its disk. Left out if the disk cannot be read.",
                disk.n_free_bytes,
            ),
        ] {
            encode(encoder, name, help, Some(&Unit::Bytes), ConstGauge::new(bounded(n_bytes)))?;
        }
        Ok(())
    }
}

fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    metric: impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
}

fn bounded(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::metrics::Metrics;

    /// The metrics of a scrape, without those that are counted on the way.
    fn scraped(readings: &Readings) -> Vec<String> {
        let text = Metrics::default().scrape(readings);
        assert!(text.ends_with("# EOF\n"), "{text}");
        let names = ["last_commit", "database", "log", "disk_free"];
        let wanted =
            |line: &&str| names.iter().any(|name| line.starts_with(&format!("rollcast_{name}_")));
        text.lines().filter(wanted).map(String::from).collect()
    }

    #[test]
    fn gauges_that_cannot_be_read_are_left_out_and_the_others_are_not() {
        let head = RollId(9);
        let disk = Some(DiskReadings { n_database_bytes: 1, n_log_bytes: 2, n_free_bytes: 3 });
        let last_commit = Some(Timestamp::new(1_795_397_860, 123_000_000).expect("a timestamp"));
        let disk_lines =
            ["rollcast_database_bytes 1", "rollcast_log_bytes 2", "rollcast_disk_free_bytes 3"];
        let commit_line = "rollcast_last_commit_timestamp_seconds 1795397860.123";
        assert_eq!(scraped(&Readings::default()), [""; 0]);
        assert_eq!(scraped(&Readings { head, disk, last_commit: None }), disk_lines);
        assert_eq!(scraped(&Readings { head, disk: None, last_commit }), [commit_line]);
        let all = scraped(&Readings { head, disk, last_commit });
        assert_eq!(all, [[commit_line].as_slice(), &disk_lines].concat());
    }
}
