//! Metrics that are not counted on the way but read for each scrape.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::dice::Die;
use crate::metrics::fanout::{FanoutCounts, encode_fanout};
use crate::metrics::fleet::{FleetCounts, FleetReadings, encode_fleet};
use crate::metrics::streams::{Streams, Sums};
use crate::roll::RollId;

/// What a scrape reads from other modules.
#[derive(Debug, Default)]
pub struct Readings {
    /// Whether rolls are being stored.
    pub ready: bool,
    /// The newest roll.
    pub head: RollId,
    /// When it was rolled, in Unix milliseconds; `None` before the first roll.
    pub head_millis: Option<i64>,
    /// The time of the last commit since the start.
    pub last_commit: Option<Timestamp>,
    pub limits: Limits,
    pub evidence: Vec<Evidence>,
    /// `None` if the disk cannot be read.
    pub disk: Option<DiskReadings>,
    /// `None` on a single machine.
    pub fleet: Option<FleetReadings>,
}

/// The configured values that alerts compare with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// The time between two rolls.
    pub every: Duration,
    pub max_streams: usize,
    /// The free disk space below which the server is not ready.
    pub n_reserve_bytes: u64,
}

/// The evidence against the fairness of a die.
#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    pub die: Die,
    /// The decimal logarithm of the current e-value.
    pub log10_e: f64,
    /// Whether it ever reached the alarm.
    pub alarm: bool,
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
#[derive(Clone, Debug)]
pub struct Scraped {
    values: Arc<Mutex<Values>>,
    fanout: Arc<FanoutCounts>,
    fleet: Arc<FleetCounts>,
}

#[derive(Debug, Default)]
struct Values {
    readings: Readings,
    sums: Sums,
    n_open: usize,
    max_lag: i64,
}

impl Scraped {
    /// Values of scrapes, with what the fan-out door and a node of a fleet count.
    pub fn new(fanout: Arc<FanoutCounts>, fleet: Arc<FleetCounts>) -> Scraped {
        Scraped { values: Arc::default(), fanout, fleet }
    }

    /// Takes the values of a scrape.
    pub fn set(&self, readings: Readings, streams: &Streams) {
        *self.values.lock().unwrap_or_else(PoisonError::into_inner) = Values {
            sums: streams.sums(),
            n_open: streams.n_open(),
            max_lag: streams.max_lag(readings.head),
            readings,
        };
    }
}

impl Collector for Scraped {
    /// Leaves out gauges that could not be read.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let Readings { limits, evidence, disk, fleet, .. } = &values.readings;
        encode_state(&mut encoder, &values.readings)?;
        encode_limits(&mut encoder, limits)?;
        encode_evidence(&mut encoder, evidence)?;
        encode_streams(&mut encoder, &values)?;
        encode_fanout(&mut encoder, &self.fanout)?;
        if let Some(fleet) = fleet {
            encode_fleet(&mut encoder, fleet, &self.fleet)?;
        }
        disk.map_or(Ok(()), |disk| encode_disk(&mut encoder, &disk))
    }
}

fn encode_state(encoder: &mut DescriptorEncoder<'_>, readings: &Readings) -> fmt::Result {
    let help = "The running version, as a label. The value is always 1.";
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    encode_by(encoder, "build_info", help, [(version, 1.0)])?;
    let help = "1 if /readyz answers that rolls are being stored, otherwise 0.";
    encode(encoder, "ready", help, None, ConstGauge::new(i64::from(readings.ready)))?;
    let last_commit = readings.last_commit.map(Timestamp::as_millisecond);
    for (name, help, unix_millis) in [
        (
            "newest_roll_timestamp",
            "Unix time of the newest roll, which may be older than the start. Left out before the \
             first one.",
            readings.head_millis,
        ),
        (
            "last_commit_timestamp",
            "Unix time of the last commit since the start. Left out before the first one.",
            last_commit,
        ),
    ] {
        if let Some(unix_millis) = unix_millis {
            let seconds = ConstGauge::new(unix_millis as f64 / 1e3);
            encode(encoder, name, help, Some(&Unit::Seconds), seconds)?;
        }
    }
    Ok(())
}

fn encode_limits(encoder: &mut DescriptorEncoder<'_>, limits: &Limits) -> fmt::Result {
    let every = ConstGauge::new(limits.every.as_secs_f64());
    let help = "Time between two rolls (every).";
    encode(encoder, "roll_interval", help, Some(&Unit::Seconds), every)?;
    let max_streams = ConstGauge::new(bounded(limits.max_streams as u64));
    encode(encoder, "streams_limit", "Limit of open streams (max_streams).", None, max_streams)?;
    let n_reserve_bytes = ConstGauge::new(bounded(limits.n_reserve_bytes));
    let help = "Free disk space below which the server is not ready (reserve_mb).";
    encode(encoder, "disk_reserve", help, Some(&Unit::Bytes), n_reserve_bytes)
}

fn encode_evidence(encoder: &mut DescriptorEncoder<'_>, evidence: &[Evidence]) -> fmt::Result {
    let by_die = |value: fn(&Evidence) -> f64| {
        evidence.iter().map(move |of| ([("die", of.die.to_string())], value(of)))
    };
    let help = "Decimal logarithm of the evidence against fairness (e-value), by die. The alarm is \
                at the logarithm of 20 times the number of dice: at 1.3 with one die, at 1.6 with \
                two.";
    encode_by(encoder, "evidence_log10", help, by_die(|of| of.log10_e))?;
    let help = "1 if the evidence against fairness ever reached the alarm, otherwise 0, by die.";
    encode_by(encoder, "evidence_alarm", help, by_die(|of| f64::from(of.alarm)))
}

fn encode_streams(encoder: &mut DescriptorEncoder<'_>, values: &Values) -> fmt::Result {
    let Values { sums, n_open, max_lag, .. } = values;
    let n_open = ConstGauge::new(bounded(*n_open as u64));
    encode(encoder, "streams_open", "Open streams.", None, n_open)?;
    let n_deliveries = ConstCounter::new(sums.n_deliveries);
    encode(encoder, "deliveries", "Rolls sent to streams.", None, n_deliveries)?;
    let help = "Rolls sent that are older than their stream: those that returning clients missed.";
    encode(encoder, "replayed", help, None, ConstCounter::new(sums.n_replayed))?;
    let help = "Rolls that the slowest open stream still has to send.";
    encode(encoder, "slowest_lag_rolls", help, None, ConstGauge::new(*max_lag))
}

fn encode_disk(encoder: &mut DescriptorEncoder<'_>, disk: &DiskReadings) -> fmt::Result {
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

/// Encodes a gauge with a value for each label.
fn encode_by<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (L, f64)>,
) -> fmt::Result {
    let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (label, value) in values {
        gauge.encode_family(&label)?.encode_gauge(&value)?;
    }
    Ok(())
}

pub fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    metric: impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
}

/// The value, at most the largest that a gauge holds.
pub fn bounded(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::metrics::Metrics;

    /// The metrics of a scrape, without those that are counted on the way.
    fn scraped(readings: Readings) -> Vec<String> {
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
        let of = |disk, last_commit| {
            scraped(Readings { head, disk, last_commit, ..Readings::default() })
        };
        assert_eq!(scraped(Readings::default()), [""; 0]);
        assert_eq!(of(disk, None), disk_lines);
        assert_eq!(of(None, last_commit), [commit_line]);
        let all = of(disk, last_commit);
        assert_eq!(all, [[commit_line].as_slice(), &disk_lines].concat());
    }
}
