//! How the cost per delivery moves as clients, or rolls, become more.

use anyhow::Result;
use clap::Args;

use crate::measure::{Load, Measured, measure};
use crate::plot::{Axis, Line, Plot};
use crate::report::{Section, Table, count, figure};
use crate::scenarios::compare::Named;
use crate::scenarios::{every, rate, seconds};
use crate::server::{Peer, Places};

#[derive(Debug, Args)]
pub struct Scale {
    /// Open streams, at 5 rolls a second
    #[arg(long, value_delimiter = ',', default_values_t = [100, 300, 1_000, 3_000, 10_000])]
    clients: Vec<usize>,
    /// Rolls a second, for 200 streams; divisors of 1000
    #[arg(long, value_delimiter = ',', value_parser = rate, default_values_t = [1, 10, 100, 1_000])]
    rates: Vec<u32>,
    /// Time of each measurement, at least
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Who takes part
    #[arg(long, value_delimiter = ',', default_values_t = [Peer::Rollcast, Peer::Nchan, Peer::Axum].map(Named))]
    peers: Vec<Named>,
}

/// Rolls a second while clients become more, and clients while rolls do.
const RATE: u32 = 5;
const N_CLIENTS: usize = 200;
/// The fewest rolls of a measurement. At low rates it takes longer, because few rolls say little.
const N_ROLLS: u32 = 10;

impl Scale {
    pub fn run(&self, places: &Places) -> Result<Section> {
        let mut section = Section {
            name: "scale",
            title: "Cost by number of clients and by rate".to_string(),
            how: format!(
                "CPU per delivery at {RATE} rolls/s for a growing number of clients, and \
                 for {N_CLIENTS} clients at a growing rate; each over at least {N_ROLLS} \
                 rolls."
            ),
            ..Section::default()
        };
        let peers: Vec<Peer> = self.peers.iter().map(|named| named.0).collect();
        let peers = section.leave_out(places, &peers);
        let clients: Vec<(usize, u32)> = self.clients.iter().map(|n| (*n, RATE)).collect();
        let rates: Vec<(usize, u32)> = self.rates.iter().map(|rate| (N_CLIENTS, *rate)).collect();
        let by_clients = self.sweep(places, &peers, &clients, &mut section)?;
        let by_rate = self.sweep(places, &peers, &rates, &mut section)?;
        section.plots = vec![
            Plot {
                name: "scale-clients".to_string(),
                title: "CPU per delivery, by clients".to_string(),
                x: Axis { label: "open streams", log: true },
                y: Axis { label: "µs", log: false },
                lines: lines(&by_clients, |m| (m.n_clients as f64, m.cpu_us_per_delivery)),
            },
            Plot {
                name: "scale-rates".to_string(),
                title: format!("CPU per delivery, by rolls a second to {N_CLIENTS} clients"),
                x: Axis { label: "rolls/s", log: true },
                y: Axis { label: "µs", log: false },
                lines: lines(&by_rate, |m| (m.rolls_per_s, m.cpu_us_per_delivery)),
            },
            Plot {
                name: "scale-deliveries".to_string(),
                title: format!("Deliveries a second, of rolls to {N_CLIENTS} clients"),
                x: Axis { label: "rolls/s that were asked for", log: true },
                y: Axis { label: "deliveries/s", log: true },
                lines: lines(&by_rate, |m| (m.rolls_asked_per_s, m.deliveries_per_s)),
            },
        ];
        section.data = serde_json::json!({ "clients": by_clients, "rates": by_rate });
        Ok(section)
    }

    /// Measures each peer at each point, and adds a table.
    fn sweep(
        &self,
        places: &Places,
        peers: &[Peer],
        points: &[(usize, u32)],
        section: &mut Section,
    ) -> Result<Vec<Measured>> {
        let mut table = Table::new(&[
            "server",
            "clients",
            "rolls/s",
            "CPU per delivery, µs",
            "deliveries/s",
            "faults",
        ]);
        let mut all = Vec::new();
        for &(n_clients, rate) in points {
            let time = seconds(self.seconds)?.max(every(rate) * N_ROLLS);
            let load = Load::new(n_clients, every(rate), time);
            for &peer in peers {
                let measured = match measure(places, peer, &load) {
                    Ok(measured) => measured,
                    Err(error) if peer == Peer::Rollcast => return Err(error),
                    Err(error) => {
                        eprintln!("  {error:#}");
                        section.notes.push(format!("{error:#}."));
                        continue;
                    }
                };
                let cpu = figure(measured.cpu_us_per_delivery);
                let faults = measured.faults();
                eprintln!(
                    "  {:<9} {n_clients} clients, {rate} rolls/s: {cpu} µs per delivery  {faults}",
                    peer.name()
                );
                table.row(vec![
                    measured.peer.to_string(),
                    count(n_clients as u64),
                    figure(measured.rolls_per_s),
                    cpu,
                    figure(measured.deliveries_per_s),
                    if faults.is_empty() { "none".to_string() } else { faults },
                ]);
                all.push(measured);
            }
        }
        table.rows.sort_by_key(|row| peers.iter().position(|peer| peer.name() == row[0]));
        section.tables.push(table);
        Ok(all)
    }
}

/// A line for each server that took part.
fn lines(all: &[Measured], point: fn(&Measured) -> (f64, f64)) -> Vec<Line> {
    let line = |peer: Peer| {
        let own = all.iter().filter(|measured| measured.peer == peer.name());
        Line { name: peer.name().to_string(), points: own.map(point).collect() }
    };
    Peer::ALL.map(line).into_iter().filter(|line| !line.points.is_empty()).collect()
}
