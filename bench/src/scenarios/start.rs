//! The time from the start of the process to the first page, and the memory used by then.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::procs;
use crate::report::{Section, Table, count, figure, median};
use crate::scenarios::fill;
use crate::server::{Peer, Places, Server, Setup};
use crate::web::Pages;

#[derive(Debug, Args)]
pub struct Start {
    /// Rolls that are stored; the database is made once and kept
    #[arg(long, default_value_t = 10_000_000)]
    rolls: u64,
    /// Starts; figures are their medians
    #[arg(long, default_value_t = 9)]
    rounds: usize,
}

impl Start {
    pub fn run(&self, places: &Places) -> Result<Section> {
        let database = fill::database(places, self.rolls)?;
        let mut table =
            Table::new(&["stored rolls", "first page, ms", "slowest, ms", "resident, MiB"]);
        let mut data = Vec::new();
        for (n_rolls, database) in [(0, None), (self.rolls, Some(database))] {
            let (mut times, mut memory) = (Vec::new(), Vec::new());
            for _ in 0..self.rounds {
                let mut setup = Setup::new(Peer::Rollcast, Duration::from_secs(1));
                setup.database = database.clone();
                let (first_page, resident) = first_page(places, &setup)?;
                times.push(first_page);
                memory.push(resident);
            }
            let (time, resident) = (median(times.clone()), median(memory.clone()));
            eprintln!("  {n_rolls} stored: {time:.0} ms, {resident:.1} MiB");
            table.row(vec![
                count(n_rolls),
                figure(time),
                figure(times.iter().copied().fold(0.0, f64::max)),
                figure(resident),
            ]);
            data.push(serde_json::json!({
                "stored": n_rolls, "first_page_ms": times, "resident_mib": memory,
            }));
        }
        Ok(Section {
            name: "start",
            title: "Start".to_string(),
            how: "Time from the start of the process to the last byte of `/`, which is \
                  requested as soon as the server listens, and the resident memory 0.3 s \
                  later. The files are in the kernel's cache."
                .to_string(),
            tables: vec![table],
            data: data.into(),
            ..Section::default()
        })
    }
}

/// Starts a server once. Returns the milliseconds from the start of the process to the first page,
/// and the resident MiB 0.3 s later.
pub fn first_page(places: &Places, setup: &Setup) -> Result<(f64, f64)> {
    let server = Server::start(places, setup)?;
    Pages::connect(server.target.address)?.get("/")?;
    let time = server.started.elapsed().as_secs_f64() * 1e3;
    std::thread::sleep(Duration::from_millis(300));
    let resident = procs::resident_kib(server.pid())? as f64 / 1024.0;
    server.stop()?;
    Ok((time, resident))
}
