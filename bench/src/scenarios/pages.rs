//! Pages: the first page with open streams, the history at any depth, statistics, the API and
//! downloads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::fleet::Fleet;
use crate::measure::{OPENING, histogram};
use crate::procs;
use crate::report::{Section, Table, count, figure};
use crate::scenarios::{every, fill, rate};
use crate::server::{Peer, Places, Server, Setup};
use crate::web::Pages as Connection;

#[derive(Debug, Args)]
pub struct Pages {
    /// Rolls that are stored; the database is made once and kept
    #[arg(long, default_value_t = 10_000_000)]
    rolls: u64,
    /// Open streams beside the pages
    #[arg(long, default_value_t = 2_000)]
    clients: usize,
    /// Rolls a second meanwhile; a divisor of 1000
    #[arg(long, value_parser = rate, default_value_t = 10)]
    rate: u32,
    /// Requests for each row, one after another
    #[arg(long, default_value_t = 500)]
    requests: usize,
}

impl Pages {
    pub fn run(&self, places: &Places) -> Result<Section> {
        let database = fill::database(places, self.rolls)?;
        let mut table = Table::new(&["page", "open streams", "p50, ms", "p99, ms", "max, ms"]);
        let mut data = serde_json::Map::new();
        let mut add = |page: &str, n_streams: usize, times: Histogram<u64>| {
            let ms = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
            eprintln!("  {page}, {n_streams} streams: p50 {} ms, p99 {} ms", ms(0.5), ms(0.99));
            table.row(vec![
                page.to_string(),
                count(n_streams as u64),
                figure(ms(0.5)),
                figure(ms(0.99)),
                figure(ms(1.0)),
            ]);
            let values =
                serde_json::json!({ "p50_ms": ms(0.5), "p99_ms": ms(0.99), "max_ms": ms(1.0) });
            data.insert(format!("{page} beside {n_streams}"), values);
        };

        let mut setup = Setup::new(Peer::Rollcast, every(self.rate));
        setup.database = Some(database.clone());
        let server = Server::start(places, &setup)?;
        for n_streams in [0, self.clients] {
            let mut fleet = Fleet::new(server.target.clone())?;
            fleet.open(n_streams, OPENING)?;
            let asked = AtomicBool::new(false);
            let times = thread::scope(|scope| {
                let asking = scope.spawn(|| {
                    let times = self.ask(&server, |_| "/".to_string());
                    asked.store(true, Ordering::Relaxed);
                    times
                });
                let timeout = Duration::from_secs(120);
                let read = fleet.run_until(timeout, |_| asked.load(Ordering::Relaxed));
                let times = asking.join();
                read.map(|_| times)
            })?;
            let Ok(times) = times else { bail!("the pages' client broke down") };
            let n_behind = fleet.drain(Duration::from_secs(10))?;
            let counts = fleet.counts;
            if n_behind > 0 || counts.n_missed + counts.n_repeats + counts.n_failures > 0 {
                bail!("rollcast is at fault beside its pages: {}", fleet.problems.join("; "));
            }
            add("/", n_streams, times?);
        }
        server.stop()?;

        let (server, head) = fill::start_still(places, &database)?;
        let mut rng = StdRng::seed_from_u64(1);
        for (depth, before) in [
            ("/rolls?before=, newest", head + 1),
            ("/rolls?before=, 1 % deep", head - head / 100),
            ("/rolls?before=, 50 % deep", head / 2),
            ("/rolls?before=, 99 % deep", head / 100 + 1),
        ] {
            add(depth, 0, self.ask(&server, |i| format!("/rolls?before={}", before - i % 50))?);
        }
        let mut random = || rng.random_range(100..=head);
        add(
            "/rolls?before=, anywhere",
            0,
            self.ask(&server, |_| format!("/rolls?before={}", random()))?,
        );
        add("/rolls/<id>, anywhere", 0, self.ask(&server, |_| format!("/rolls/{}", random()))?);
        // Statistics are computed for every request. The second search finds nothing within the rolls
        // that one request may read.
        for (name, path) in [
            ("/rolls?die=1D20&result=20", "/rolls?die=1D20&result=20"),
            ("/rolls?die=1D8&result=8, never rolled", "/rolls?die=1D8&result=8"),
            ("/stats", "/stats"),
            ("/api/stats", "/api/stats"),
        ] {
            add(name, 0, self.ask(&server, |_| path.to_string())?);
        }
        for limit in [100, 1000] {
            let times = self.ask(&server, |_| {
                format!("/api/rolls?limit={limit}&before={}", random().max(limit))
            })?;
            add(&format!("/api/rolls?limit={limit}, anywhere"), 0, times);
        }
        let (files, files_data) = whole_files(&server, head)?;
        data.insert("whole files".into(), files_data);
        server.stop()?;
        Ok(Section {
            name: "pages",
            title: format!("Pages, {} stored rolls", count(self.rolls)),
            how: format!(
                "{} sequential requests on one connection, from the request to the last \
                 byte of the page, with open streams at {} rolls/s. A file is the whole \
                 history, downloaded once.",
                self.requests, self.rate
            ),
            tables: vec![table, files],
            data: data.into(),
            ..Section::default()
        })
    }

    fn ask(&self, server: &Server, path: impl FnMut(u64) -> String) -> Result<Histogram<u64>> {
        ask(server, self.requests, path)
    }
}

/// The times of a number of requests, one after another on one connection. `path` gets the number
/// of the request, from 0.
pub fn ask(
    server: &Server,
    n_requests: usize,
    mut path: impl FnMut(u64) -> String,
) -> Result<Histogram<u64>> {
    let mut connection = Connection::connect(server.target.address)?;
    let mut times = histogram();
    for i in 0..n_requests as u64 {
        let time = connection.get(&path(i))?;
        times.saturating_record(u64::try_from(time.as_micros())?);
    }
    Ok(times)
}

/// Downloads the whole history in each format. The memory is the server's peak since its start.
fn whole_files(server: &Server, n_rolls: u64) -> Result<(Table, serde_json::Value)> {
    let mut table = Table::new(&["file", "MiB", "s", "rolls/s", "server's peak, MiB"]);
    let mut data = serde_json::Map::new();
    for path in ["/api/rolls.csv", "/api/rolls.ndjson"] {
        let (time, n_bytes) = Connection::connect(server.target.address)?.fetch(path)?;
        let (seconds, mib) = (time.as_secs_f64(), n_bytes as f64 / f64::from(1 << 20));
        let peak = procs::peak_kib(server.pid())? as f64 / 1024.0;
        let per_second = n_rolls as f64 / seconds;
        eprintln!("  {path}: {mib:.0} MiB in {seconds:.1} s, peak {peak:.1} MiB");
        let per_second_text = count(per_second as u64);
        table.row(vec![
            path.to_string(),
            figure(mib),
            figure(seconds),
            per_second_text,
            figure(peak),
        ]);
        data.insert(path.to_string(), serde_json::json!({ "s": seconds, "peak_mib": peak }));
    }
    Ok((table, data.into()))
}
