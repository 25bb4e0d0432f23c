//! The metrics of the process, with the names that all Prometheus clients give them.
//!
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>

use std::fmt;
use std::fs;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::process::{Resource, getrlimit};

use crate::metrics::scrape::{bounded, encode};

/// Reads the metrics of the process for each scrape. The kernel answers at once, whatever the disk
/// does.
#[derive(Debug)]
pub struct ProcessMetrics {
    started: Timestamp,
}

impl ProcessMetrics {
    /// The metrics of a process that starts now.
    pub fn new() -> ProcessMetrics {
        ProcessMetrics { started: Timestamp::now() }
    }
}

impl Collector for ProcessMetrics {
    /// Leaves out what cannot be read, as outside Linux.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let started = ConstGauge::new(self.started.as_millisecond() as f64 / 1e3);
        let help = "Unix time of the start of the process.";
        encode(encoder, "process_start_time_seconds", help, None, started)?;
        for (name, help, value) in [
            ("process_open_fds", "Open files and connections. Linux only.", n_open_files()),
            (
                "process_max_fds",
                "Limit of open files and connections. Left out without a limit.",
                getrlimit(Resource::Nofile).current,
            ),
            (
                "process_resident_memory_bytes",
                "Memory that the process occupies. Linux only.",
                n_resident_bytes(),
            ),
        ] {
            if let Some(value) = value {
                encode(encoder, name, help, None, ConstGauge::new(bounded(value)))?;
            }
        }
        Ok(())
    }
}

/// The size of the folder since Linux 6.2. Before, its entries are counted, which takes 2.5 µs each.
fn n_open_files() -> Option<u64> {
    let folder = "/proc/self/fd";
    match fs::metadata(folder).ok()?.len() {
        // One of the entries is this reading.
        0 => Some((fs::read_dir(folder).ok()?.count() as u64).saturating_sub(1)),
        n_files => Some(n_files),
    }
}

fn n_resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}
