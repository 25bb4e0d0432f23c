//! The log of verifiable rolls: what it costs, how fast it answers, and how fast it is verified.
//!
//! `existing` takes a large history into the log, `cost` measures each roll, `requests` reads
//! proofs and tiles, `verify` runs `rollcast verify`, and `figures` compares all with the budgets.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use crate::report::{Section, count};
use crate::scenarios::log::figures::Figures;
use crate::scenarios::log::requests::Requests;
use crate::scenarios::{rate, seconds};
use crate::server::Places;

mod cost;
mod existing;
mod figures;
mod requests;
mod verify;

#[derive(Debug, Args)]
pub struct Log {
    /// Rolls without seeds that are taken into the log; the database is made once and kept
    #[arg(long, default_value_t = 10_000_000)]
    rolls: u64,
    /// Rolls with seeds to verify. The server rolls them once, 1,000 a second, and they are kept
    #[arg(long, default_value_t = 200_000)]
    proven: u64,
    /// A rollcast from before there was a log, to compare with
    #[arg(long, value_name = "PROGRAM")]
    baseline: Option<PathBuf>,
    /// Rolls a second while the cost of a roll is measured; a divisor of 1000
    #[arg(long, value_parser = rate, default_value_t = 1_000)]
    rate: u32,
    /// Time of each measurement of the cost of a roll
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The folder of the database meanwhile. In memory, the disk does not disturb the measurement
    #[arg(long, default_value = "/dev/shm")]
    folder: PathBuf,
    /// Rounds; figures are their medians
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Requests for each row, one after another
    #[arg(long, default_value_t = 500)]
    requests: usize,
}

impl Log {
    pub fn run(&self, places: &Places) -> Result<Section> {
        // The tables need a full tile.
        ensure!(self.rolls > 256 && self.proven > 256, "expected more than 256 rolls");
        let mut figures = Figures::default();
        let mut requests = Requests::new(self.requests);
        self.existing(places, &mut figures, &mut requests)?;
        self.cost(places, seconds(self.seconds)?, &mut figures)?;
        self.verify(places, &mut figures, &mut requests)?;
        let mut notes = vec![format!(
            "A roll was measured with its database in {}. In addition, the seeds of each block of \
             1,048,576 rolls are computed once, ahead, in about 0.15 s of CPU.",
            self.folder.display()
        )];
        match &self.baseline {
            Some(program) => {
                notes.push(format!(
                    "Baseline: {}, in the same rounds; ratio and difference are medians of the \
                     rounds.",
                    figures::version(program)?
                ));
            }
            None => notes.push(
                "Without --baseline, a rollcast that has no log, budgets of what a log may cost \
                 more are not judged."
                    .to_string(),
            ),
        }
        Ok(Section {
            name: "log",
            title: "The log of verifiable rolls".to_string(),
            how: format!(
                "The first start with a log takes {} rolls into it; then the start and its memory, \
                 as in \"Start\". The cost of a roll is that of a new server without clients, at \
                 {} rolls/s. `rollcast verify` checks rolls that the server rolled at {} rolls/s. \
                 Proofs and tiles are requested {} times for each row, one after another on one \
                 connection, from a server with rolls without seeds and one with rolls with seeds.",
                count(self.rolls),
                count(self.rate.into()),
                count(verify::RATE.into()),
                self.requests
            ),
            data: serde_json::json!({ "figures": figures.data(), "requests": requests.data() }),
            tables: vec![figures.table(), requests.table()],
            notes,
            ..Section::default()
        })
    }
}
