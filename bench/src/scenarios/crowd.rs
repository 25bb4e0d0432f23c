//! As many open streams as a machine can have: each gets a roll now and then.

use anyhow::Result;
use clap::Args;

use crate::fleet::{SPARE_FILES, file_limit};
use crate::measure::{Load, measure};
use crate::report::{Section, Table, count, figure};
use crate::scenarios::compare::Named;
use crate::scenarios::seconds;
use crate::server::{Peer, Places};

#[derive(Debug, Args)]
pub struct Crowd {
    /// Open streams; fewer if the limit on open files is lower
    #[arg(long, default_value_t = 100_000)]
    clients: usize,
    /// Seconds between rolls
    #[arg(long, default_value_t = 10.0)]
    every_seconds: f64,
    /// Time of the measurement
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// The servers to measure
    #[arg(long, value_delimiter = ',', default_values_t = [Peer::Door].map(Named))]
    peers: Vec<Named>,
}

impl Crowd {
    pub fn run(&self, places: &Places) -> Result<Section> {
        let every = seconds(self.every_seconds)?;
        let mut section = Section {
            name: "crowd",
            title: format!(
                "{} open streams, a roll every {} s",
                count(self.clients as u64),
                figure(self.every_seconds)
            ),
            how:
                "Every client must get every roll once and in order. Latency is from the commit to \
                  each client, and to the last one."
                    .to_string(),
            ..Section::default()
        };
        // The clients and the server have the same limit.
        let allowed = file_limit()?
            .map_or(usize::MAX, |limit| limit.saturating_sub(2 * SPARE_FILES) as usize);
        let n_clients = self.clients.min(allowed);
        if n_clients < self.clients {
            section.notes.push(format!(
                "Only {} streams were opened, because this machine allows a process {} open files.",
                count(n_clients as u64),
                count(allowed as u64 + 2 * SPARE_FILES)
            ));
        }
        let peers: Vec<Peer> = self.peers.iter().map(|named| named.0).collect();
        let peers = section.leave_out(places, &peers);
        let load = Load { latency: true, ..Load::new(n_clients, every, seconds(self.seconds)?) };
        let mut table = Table::new(&[
            "server",
            "streams",
            "opened in, s",
            "KiB per client",
            "rolls",
            "CPU per delivery, µs",
            "p50, ms",
            "p99, ms",
            "last client, ms",
            "faults",
        ]);
        let mut all = Vec::new();
        for peer in peers {
            let measured = match measure(places, peer, &load) {
                Err(error) if !peer.is_product() => {
                    section.notes.push(format!("{error:#}."));
                    continue;
                }
                measured => measured?,
            };
            let of = |field: fn(&crate::measure::Latency) -> f64| {
                figure(measured.latency.as_ref().map_or(f64::NAN, field))
            };
            let faults = measured.faults();
            let rolls = measured.n_deliveries / n_clients.max(1) as u64;
            table.row(vec![
                peer.name().to_string(),
                count(n_clients as u64),
                figure(n_clients as f64 / measured.connects_per_s),
                figure(measured.memory_kib_per_client),
                count(rolls),
                figure(measured.cpu_us_per_delivery),
                of(|latency| latency.p50_ms),
                of(|latency| latency.p99_ms),
                of(|latency| latency.last_ms.iter().copied().fold(0.0, f64::max)),
                if faults.is_empty() { "none".to_string() } else { faults },
            ]);
            all.push(measured);
        }
        section.tables.push(table);
        section.data = serde_json::to_value(&all)?;
        Ok(section)
    }
}
