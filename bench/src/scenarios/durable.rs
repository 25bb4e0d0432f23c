//! Durable rolls per second, compared with the disk.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::fleet::Fleet;
use crate::measure::OPENING;
use crate::report::{Section, Table, figure, median};
use crate::scenarios::seconds;
use crate::server::{Peer, Places, Server, Setup};

#[derive(Debug, Args)]
pub struct Durable {
    /// Time of each measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds; figures are their medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// The number of clients that receive the rolls.
const N_CLIENTS: usize = 10;
/// The size of a SQLite page.
const BLOCK_BYTES: usize = 4096;

impl Durable {
    pub fn run(&self, places: &Places) -> Result<Section> {
        let mut rounds = Vec::new();
        for i in 0..self.rounds {
            let syncs = self.disk(places)?;
            let rolls = self.rollcast(places)?;
            eprintln!(
                "  round {}/{}  disk {} syncs/s, rollcast {} rolls/s",
                i + 1,
                self.rounds,
                figure(syncs),
                figure(rolls)
            );
            rounds.push((syncs, rolls));
        }
        let mut table = Table::new(&["disk, syncs/s", "rollcast, rolls/s", "rolls/s to syncs/s"]);
        table.row(vec![
            figure(median(rounds.iter().map(|round| round.0))),
            figure(median(rounds.iter().map(|round| round.1))),
            figure(median(rounds.iter().map(|round| round.1 / round.0))),
        ]);
        Ok(Section {
            name: "durable",
            title: "Durable rolls per second".to_string(),
            how: format!(
                "rollcast at `every = \"1ms\"`, the highest rate that can be configured, as \
                 {N_CLIENTS} clients receive the rolls. For comparison, a loop in the same \
                 folder writes 4 KiB and calls fdatasync."
            ),
            data: serde_json::json!({ "syncs_rolls_per_s": rounds }),
            tables: vec![table],
            ..Section::default()
        })
    }

    fn disk(&self, places: &Places) -> Result<f64> {
        let path = places.work.join("sync-test");
        let mut file = File::create(&path)?;
        let block = [0x5a; BLOCK_BYTES];
        // Overwrites the file from the start, as SQLite does with a write-ahead log.
        for _ in 0..1_000 {
            file.write_all(&block)?;
        }
        file.sync_all()?;
        let (begin, mut n) = (Instant::now(), 0_u64);
        while begin.elapsed().as_secs_f64() < self.seconds {
            if n.is_multiple_of(1_000) {
                file.seek(SeekFrom::Start(0))?;
            }
            file.write_all(&block)?;
            file.sync_data()?;
            n += 1;
        }
        let syncs_per_s = n as f64 / begin.elapsed().as_secs_f64();
        fs::remove_file(&path)?;
        Ok(syncs_per_s)
    }

    fn rollcast(&self, places: &Places) -> Result<f64> {
        let server = Server::start(places, &Setup::new(Peer::Rollcast, Duration::from_millis(1)))?;
        let mut fleet = Fleet::new(server.target.clone())?;
        fleet.open(N_CLIENTS, OPENING)?;
        fleet.run(Duration::from_millis(500))?;
        let (begin, head) = (Instant::now(), fleet.head);
        fleet.run(seconds(self.seconds)?)?;
        let rolls_per_s = (fleet.head - head) as f64 / begin.elapsed().as_secs_f64();
        let n_behind = fleet.drain(Duration::from_secs(10))?;
        let counts = fleet.counts;
        if n_behind > 0 || counts.n_missed + counts.n_repeats + counts.n_failures > 0 {
            bail!("rollcast is at fault at speed: {}", fleet.problems.join("; "));
        }
        drop(fleet);
        server.stop()?;
        Ok(rolls_per_s)
    }
}
