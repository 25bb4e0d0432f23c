//! All clients are cut off and come back at once, each behind the roll that it had last.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::fleet::Fleet;
use crate::measure::OPENING;
use crate::report::{Section, Table, count, figure, median};
use crate::scenarios::every;
use crate::server::{Peer, Places, Server, Setup};

#[derive(Debug, Args)]
pub struct Reconnect {
    /// Open streams
    #[arg(long, default_value_t = 5_000)]
    clients: usize,
    /// Rolls a second; a divisor of 1000
    #[arg(long, default_value_t = 10)]
    rate: u32,
    /// Rounds; figures are their medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

impl Reconnect {
    pub fn run(&self, places: &Places) -> Result<Section> {
        let mut rounds = Vec::new();
        for i in 0..self.rounds {
            let (open, resumed) = self.once(places)?;
            eprintln!("  round {}/{}  {:.2} s until all are resumed", i + 1, self.rounds, resumed);
            rounds.push((open, resumed));
        }
        let mut table = Table::new(&["clients", "all open, s", "all resumed, s", "connects/s"]);
        let open = median(rounds.iter().map(|round| round.0));
        table.row(vec![
            count(self.clients as u64),
            figure(open),
            figure(median(rounds.iter().map(|round| round.1))),
            figure(self.clients as f64 / open),
        ]);
        Ok(Section {
            name: "reconnect",
            title: format!("{} clients come back at once", count(self.clients as u64)),
            how: format!(
                "All streams are cut and asked for again in the same instant, each with its last \
                 event id, at {} rolls/s, until every client has every roll; no gap, no repeat.",
                self.rate
            ),
            data: serde_json::json!({ "open_resumed_s": rounds }),
            tables: vec![table],
            ..Section::default()
        })
    }

    /// Seconds until all are open, and until all have what they missed.
    fn once(&self, places: &Places) -> Result<(f64, f64)> {
        let server = Server::start(places, &Setup::new(Peer::Rollcast, every(self.rate)?))?;
        let mut fleet = Fleet::new(server.target)?;
        fleet.open(self.clients, OPENING)?;
        fleet.run(Duration::from_secs(1))?;
        if fleet.drain(Duration::from_secs(10))? > 0 {
            bail!("some clients got no roll at first: {}", fleet.problems.join("; "));
        }
        let begin = Instant::now();
        fleet.reopen_all();
        let n = self.clients;
        fleet.run_until(OPENING, |fleet| fleet.n_open() == n || fleet.counts.n_failures > 0)?;
        let open = begin.elapsed().as_secs_f64();
        let n_behind = fleet.drain(Duration::from_secs(10))?;
        let resumed = begin.elapsed().as_secs_f64();
        let counts = fleet.counts;
        if fleet.n_open() < n || n_behind > 0 || counts.n_missed + counts.n_repeats > 0 {
            bail!(
                "rollcast is at fault: {} of {n} came back, {n_behind} are behind, {} missed, {} \
                 repeated ({})",
                fleet.n_open(),
                counts.n_missed,
                counts.n_repeats,
                fleet.problems.join("; ")
            );
        }
        Ok((open, resumed))
    }
}
