//! All clients are disconnected and reconnect at once, each after the last roll that it received.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use crate::fleet::Fleet;
use crate::measure::OPENING;
use crate::procs;
use crate::report::{Section, Table, count, figure, median};
use crate::scenarios::{every, rate};
use crate::server::{Peer, Places, Server, Setup};

#[derive(Debug, Args)]
pub struct Reconnect {
    /// Open streams
    #[arg(long, default_value_t = 5_000)]
    clients: usize,
    /// Rolls a second; a divisor of 1000
    #[arg(long, value_parser = rate, default_value_t = 10)]
    rate: u32,
    /// Rounds; figures are their medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

#[derive(Debug, Serialize)]
struct Found {
    /// Until all are open.
    open_s: f64,
    /// Until all have received the rolls that they missed.
    resumed_s: f64,
    n_overflows: u64,
}

impl Reconnect {
    pub fn run(&self, places: &Places) -> Result<Section> {
        let mut rounds = Vec::new();
        for i in 0..self.rounds {
            let found = self.once(places)?;
            eprintln!(
                "  round {}/{}  {} s until all are resumed; {} found the queue full",
                i + 1,
                self.rounds,
                figure(found.resumed_s),
                found.n_overflows
            );
            rounds.push(found);
        }
        let mut table = Table::new(&[
            "clients",
            "all open, s",
            "all resumed, s",
            "connects/s",
            "found the queue full",
        ]);
        let open = median(rounds.iter().map(|found| found.open_s));
        table.row(vec![
            count(self.clients as u64),
            figure(open),
            figure(median(rounds.iter().map(|found| found.resumed_s))),
            figure(self.clients as f64 / open),
            figure(median(rounds.iter().map(|found| found.n_overflows as f64))),
        ]);
        Ok(Section {
            name: "reconnect",
            title: format!("{} clients reconnect at once", count(self.clients as u64)),
            how: format!(
                "All streams are cut and reopened in the same instant, each with its last \
                 event id, at {} rolls/s, until every client has every roll once. If the \
                 server's queue is full, the kernel retries the connection after 1 s, 3 s \
                 and 7 s.",
                self.rate
            ),
            data: serde_json::to_value(&rounds)?,
            tables: vec![table],
            ..Section::default()
        })
    }

    fn once(&self, places: &Places) -> Result<Found> {
        let server = Server::start(places, &Setup::new(Peer::Rollcast, every(self.rate)))?;
        let mut fleet = Fleet::new(server.target.clone())?;
        fleet.open(self.clients, OPENING)?;
        fleet.run(Duration::from_secs(1))?;
        if fleet.drain(Duration::from_secs(10))? > 0 {
            bail!("some clients got no roll at first: {}", fleet.problems.join("; "));
        }
        let (begin, overflows) = (Instant::now(), procs::listen_overflows()?);
        fleet.reopen_all();
        let n = self.clients;
        fleet.run_until(OPENING, |fleet| fleet.n_open() == n || fleet.counts.n_failures > 0)?;
        let open_s = begin.elapsed().as_secs_f64();
        let n_behind = fleet.drain(Duration::from_secs(10))?;
        let resumed_s = begin.elapsed().as_secs_f64();
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
        let n_overflows = procs::listen_overflows()? - overflows;
        drop(fleet);
        server.stop()?;
        Ok(Found { open_s, resumed_s, n_overflows })
    }
}
