//! Compares rollcast with its peers under the same load, in rounds: A B C, A B C, … Ratios are
//! computed within each round, so that a slow period of the machine affects all servers.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::measure::{self, Load, Measured, measure};
use crate::report::{Section, Table, figure, median, p99, slowest};
use crate::scenarios::{every, rate, seconds};
use crate::server::{Peer, Places};

#[derive(Debug, Args)]
pub struct Rounds {
    /// Rounds; figures are their medians
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// The servers to measure
    #[arg(long, value_delimiter = ',', default_values_t = Peer::BARE.map(Named))]
    pub peers: Vec<Named>,
}

/// A peer as a command line argument.
#[derive(Clone, Copy, Debug)]
pub struct Named(pub Peer);

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name())
    }
}

impl std::str::FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Named, String> {
        <Peer as clap::ValueEnum>::from_str(text, false)
            .map(Named)
            .map_err(|_| format!("expected one of {}", Peer::ALL.map(Peer::name).join(", ")))
    }
}

#[derive(Debug, Args)]
pub struct Fanout {
    /// Open streams
    #[arg(long, default_value_t = 2_000)]
    clients: usize,
    /// Rolls a second; a divisor of 1000
    #[arg(long, value_parser = rate, default_value_t = 10)]
    rate: u32,
    /// Time of each measurement
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    #[command(flatten)]
    rounds: Rounds,
}

#[derive(Debug, Args)]
pub struct Saturation {
    /// Open streams
    #[arg(long, default_value_t = 1_000)]
    clients: usize,
    /// Rolls a second; a divisor of 1000
    #[arg(long, value_parser = rate, default_value_t = 200)]
    rate: u32,
    /// Time of each measurement
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    #[command(flatten)]
    rounds: Rounds,
}

#[derive(Debug, Args)]
pub struct Memory {
    /// Open streams, idle
    #[arg(long, default_value_t = 5_000)]
    clients: usize,
    #[command(flatten)]
    rounds: Rounds,
}

#[derive(Debug, Args)]
pub struct Latency {
    /// Open streams
    #[arg(long, default_value_t = 5_000)]
    clients: usize,
    /// Rolls a second; a divisor of 1000
    #[arg(long, value_parser = rate, default_value_t = 4)]
    rate: u32,
    /// Time of each measurement; five rounds of the default have the 100 rolls that a p99 needs
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    #[command(flatten)]
    rounds: Rounds,
}

impl Fanout {
    pub fn run(&self, places: &Places) -> Result<Section> {
        let (clients, rate) = (self.clients, self.rate);
        let mut section = Section {
            name: "fanout",
            title: format!("CPU per delivery: {clients} clients, {rate} rolls/s"),
            how: "CPU time of the server's processes, as the kernel counts it, per event \
                  that clients received in the same seconds. Write calls are counted for one \
                  more second, in the first round."
                .to_string(),
            ..Section::default()
        };
        let load = Load {
            count_writes: true,
            ..Load::new(self.clients, every(self.rate), seconds(self.seconds)?)
        };
        let all = self.rounds.run(places, &load, &mut section, |measured| {
            format!("{} µs per delivery", figure(measured.cpu_us_per_delivery))
        })?;
        section.tables.push(table(
            &all,
            &[
                ("CPU, µs", |m| m.cpu_us_per_delivery),
                ("user, µs", |m| m.user_us_per_delivery),
                ("system, µs", |m| m.system_us_per_delivery),
                ("writes", |m| m.writes_per_delivery.unwrap_or(f64::NAN)),
                ("context switches", |m| m.switches_per_delivery),
                ("deliveries/s", |m| m.deliveries_per_s),
                ("connects/s", |m| m.connects_per_s),
            ],
            |m| m.cpu_us_per_delivery,
        ));
        Ok(section)
    }
}

impl Saturation {
    pub fn run(&self, places: &Places) -> Result<Section> {
        let (clients, rate) = (self.clients, self.rate);
        let mut section = Section {
            name: "saturation",
            title: format!("Saturation: {clients} clients, {rate} rolls/s"),
            how: format!(
                "Events that clients received per second; {} would be all of them. A server \
                 that cannot keep up lags or drops rolls.",
                figure(clients as f64 * f64::from(rate))
            ),
            ..Section::default()
        };
        let load = Load {
            count_writes: true,
            ..Load::new(self.clients, every(self.rate), seconds(self.seconds)?)
        };
        let all = self.rounds.run(places, &load, &mut section, |measured| {
            format!("{} deliveries/s", figure(measured.deliveries_per_s))
        })?;
        section.tables.push(table(
            &all,
            &[
                ("deliveries/s", |m| m.deliveries_per_s),
                ("rolls/s", |m| m.rolls_per_s),
                ("CPU per delivery, µs", |m| m.cpu_us_per_delivery),
                ("writes per delivery", |m| m.writes_per_delivery.unwrap_or(f64::NAN)),
                ("deliveries per read", |m| m.deliveries_per_read),
            ],
            |m| m.deliveries_per_s,
        ));
        Ok(section)
    }
}

impl Memory {
    pub fn run(&self, places: &Places) -> Result<Section> {
        let clients = self.clients;
        let mut section = Section {
            name: "memory",
            title: format!("Memory per client: {clients} idle streams"),
            how: "Growth of the proportional set size of the server's processes, from one \
                  client to all clients, in KiB per client. The kernel's memory for sockets \
                  is not included; it is the same for all servers."
                .to_string(),
            ..Section::default()
        };
        let (hour, moment) = (Duration::from_secs(3600), Duration::from_millis(500));
        let load = Load::new(self.clients, hour, moment);
        let all = self.rounds.run(places, &load, &mut section, |measured| {
            format!("{} KiB per client", figure(measured.memory_kib_per_client))
        })?;
        section.tables.push(table(
            &all,
            &[
                ("KiB per client", |m| m.memory_kib_per_client),
                ("before, MiB", |m| m.memory_kib_before as f64 / 1024.0),
                ("connects/s", |m| m.connects_per_s),
            ],
            |m| m.memory_kib_per_client,
        ));
        Ok(section)
    }
}

impl Latency {
    pub fn run(&self, places: &Places) -> Result<Section> {
        let (clients, rate) = (self.clients, self.rate);
        let mut section = Section {
            name: "latency",
            title: format!("From commit to client: {clients} clients, {rate} rolls/s"),
            how: "Milliseconds until the client reads the roll: from rollcast's commit, as \
                  logged, or from the time at which a peer publishes. The first table covers \
                  all deliveries of a round. The second covers the rolls of all rounds, each \
                  until its last client has it (a p99 needs at least 100 rolls). Both omit a \
                  roll that any client lost, which flatters a server that drops rolls. The \
                  clients' time to read is included, for all servers alike."
                .to_string(),
            ..Section::default()
        };
        let load = Load {
            latency: true,
            ..Load::new(self.clients, every(self.rate), seconds(self.seconds)?)
        };
        let all = self.rounds.run(places, &load, &mut section, |measured| {
            let p99 = measured.latency.as_ref().map_or(f64::NAN, |latency| latency.p99_ms);
            format!("p99 {} ms", figure(p99))
        })?;
        macro_rules! of {
            ($field:ident) => {
                |m: &Measured| m.latency.as_ref().map_or(f64::NAN, |latency| latency.$field)
            };
        }
        section.tables.push(table(
            &all,
            &[
                ("p50", of!(p50_ms)),
                ("p99", of!(p99_ms)),
                ("p99.9", of!(p999_ms)),
                ("max", of!(max_ms)),
            ],
            of!(p99_ms),
        ));
        section.tables.push(last_client(&all));
        Ok(section)
    }
}

impl Rounds {
    /// Measures all servers in turn, round by round, and adds the measurements to the section.
    fn run(
        &self,
        places: &Places,
        load: &Load,
        section: &mut Section,
        progress: impl Fn(&Measured) -> String,
    ) -> Result<Vec<Vec<Measured>>> {
        let peers: Vec<Peer> = self.peers.iter().map(|named| named.0).collect();
        let peers = section.leave_out(places, &peers);
        let mut rounds = Vec::new();
        for i in 0..self.rounds {
            let mut round = Vec::new();
            for &peer in &peers {
                let count_writes = load.count_writes && counts_writes(&rounds, peer);
                let load = Load { count_writes, ..load.clone() };
                match measure(places, peer, &load) {
                    Ok(measured) => {
                        eprintln!(
                            "  round {}/{}  {:<9} {}  {}",
                            i + 1,
                            self.rounds,
                            peer.name(),
                            progress(&measured),
                            measured.faults()
                        );
                        round.push(measured);
                    }
                    Err(error) if peer.is_product() => return Err(error),
                    // The results name a peer that cannot handle the load.
                    Err(error) => {
                        eprintln!("  round {}/{}  {error:#}", i + 1, self.rounds);
                        section.notes.push(format!("Round {}: {error:#}.", i + 1));
                    }
                }
            }
            rounds.push(round);
        }
        section.data = serde_json::to_value(&rounds)?;
        if load.count_writes {
            let by = |peer: &Peer| {
                let own = rounds.iter().flatten().filter(|m| m.peer == peer.name());
                own.filter_map(|measured| measured.writes_by.as_deref()).next_back()
            };
            let by: BTreeSet<&str> = peers.iter().filter_map(by).collect();
            let by: Vec<&str> = by.into_iter().collect();
            section.notes.push(format!("Write calls are counted by: {}.", by.join("; ")));
        }
        Ok(rounds)
    }
}

/// Whether a round counts a peer's write calls. They hardly vary, so the first round counts them. The
/// second round repeats a count during which nothing was delivered.
fn counts_writes(rounds: &[Vec<Measured>], peer: Peer) -> bool {
    let mut own = rounds.iter().flatten().filter(|measured| measured.peer == peer.name());
    rounds.len() < 2 && own.all(|measured| measured.writes_per_delivery.is_none())
}

type Column = (&'static str, fn(&Measured) -> f64);

/// A row for each server: the median of each column, and of the ratios of rollcast and of its fan-out
/// door to it within a round.
fn table(rounds: &[Vec<Measured>], columns: &[Column], headline: fn(&Measured) -> f64) -> Table {
    let mut names = vec!["server"];
    names.extend(columns.iter().map(|column| column.0));
    let products = ["rollcast", "door"].map(|name| (name, format!("{name} to it")));
    let is_measured = |name: &str| rounds.iter().flatten().any(|measured| measured.peer == name);
    let products: Vec<_> = products.iter().filter(|(name, _)| is_measured(name)).collect();
    names.extend(products.iter().map(|(_, column)| column.as_str()));
    names.push("faults");
    let mut table = Table::new(&names);
    for peer in Peer::ALL.map(Peer::name) {
        let of = |round: &Vec<Measured>, name: &str| -> Option<Measured> {
            round.iter().find(|measured| measured.peer == name).cloned()
        };
        let own: Vec<Measured> = rounds.iter().filter_map(|round| of(round, peer)).collect();
        if own.is_empty() {
            continue;
        }
        let mut row = vec![peer.to_string()];
        row.extend(columns.iter().map(|column| {
            let values = own.iter().map(column.1).filter(|value| value.is_finite());
            figure(median(values))
        }));
        row.extend(products.iter().map(|(product, _)| {
            let ratios = rounds.iter().filter_map(|round| {
                Some(headline(&of(round, product)?) / headline(&of(round, peer)?))
            });
            times(median(ratios))
        }));
        let faults = rounds.iter().enumerate().filter_map(|(i, round)| {
            let faults = of(round, peer)?.faults();
            (!faults.is_empty()).then(|| format!("round {}: {faults}", i + 1))
        });
        let faults: Vec<String> = faults.collect();
        row.push(if faults.is_empty() { "none".to_string() } else { faults.join("; ") });
        table.row(row);
    }
    table
}

/// A ratio as text.
fn times(ratio: f64) -> String {
    if ratio.is_finite() { format!("{}x", figure(ratio)) } else { figure(ratio) }
}

/// A row for each server: the latency of rolls to their last client, over all rounds.
fn last_client(rounds: &[Vec<Measured>]) -> Table {
    let of = |peer: Peer| -> Vec<&measure::Latency> {
        let own = rounds.iter().flatten().filter(|measured| measured.peer == peer.name());
        own.filter_map(|measured| measured.latency.as_ref()).collect()
    };
    let last_ms =
        |peer: Peer| of(peer).into_iter().flat_map(|latency| latency.last_ms.iter().copied());
    let names = [
        "server",
        "rolls",
        "left out",
        "last client p50",
        "p99",
        "slowest",
        "rollcast's p99 to it",
    ];
    let mut table = Table::new(&names);
    for peer in Peer::ALL.into_iter().filter(|peer| !of(*peer).is_empty()) {
        let n_left_out: usize = of(peer).iter().map(|latency| latency.n_left_out).sum();
        table.row(vec![
            peer.name().to_string(),
            last_ms(peer).count().to_string(),
            n_left_out.to_string(),
            figure(median(last_ms(peer))),
            figure(p99(last_ms(peer))),
            figure(slowest(last_ms(peer))),
            times(p99(last_ms(Peer::Rollcast)) / p99(last_ms(peer))),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(peer: Peer) -> Measured {
        Measured { peer: peer.name(), ..Measured::default() }
    }

    #[test]
    fn the_table_lists_the_faults_of_every_round() {
        let faulty = |n_missed| Measured { n_missed, ..measured(Peer::Axum) };
        let rounds = [vec![faulty(3)], vec![faulty(0)], vec![faulty(5)]];
        let table = table(&rounds, &[], |m| m.rolls_per_s);
        assert_eq!(table.rows[0].last().unwrap(), "round 1: 3 missed; round 3: 5 missed");
        let sound = super::table(&rounds[1..2], &[], |m| m.rolls_per_s);
        assert_eq!(sound.rows[0].last().unwrap(), "none");
    }

    #[test]
    fn write_calls_are_counted_once_and_tried_twice() {
        let counted = Measured { writes_per_delivery: Some(1.0), ..measured(Peer::Nchan) };
        let failed = measured(Peer::Axum);
        assert!(counts_writes(&[], Peer::Axum));
        let rounds = [vec![counted, failed.clone()], vec![failed]];
        assert!(!counts_writes(&rounds[..1], Peer::Nchan));
        assert!(counts_writes(&rounds[..1], Peer::Axum));
        assert!(!counts_writes(&rounds, Peer::Axum));
    }

    #[test]
    fn waits_for_the_last_client_are_taken_over_all_rounds() {
        let round = |peer, first: u32, n_left_out| {
            let last_ms = (first..first + 60).map(f64::from).collect();
            let latency = measure::Latency {
                p50_ms: 0.0,
                p99_ms: 0.0,
                p999_ms: 0.0,
                max_ms: 0.0,
                last_ms,
                n_left_out,
            };
            Measured { latency: Some(latency), ..measured(peer) }
        };
        let rounds = [1, 61].map(|first| {
            vec![
                round(Peer::Rollcast, first, 0),
                round(Peer::Axum, first, 2),
                measured(Peer::Flask),
            ]
        });
        let table = last_client(&rounds);
        assert_eq!(table.rows[0], ["rollcast", "120", "0", "60.5", "119", "120", "1.00x"]);
        assert_eq!(table.rows[1][..3], ["axum", "120", "4"]);
        assert_eq!(table.rows.len(), 2);
        // Too few values for a p99.
        assert_eq!(last_client(&rounds[..1]).rows[0][4..], ["–", "60.0", "–"]);
    }
}
