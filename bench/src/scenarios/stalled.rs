//! Clients that never read, together with healthy ones. They must not slow the healthy clients down,
//! and memory must stay constant.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::fleet::Fleet;
use crate::measure::{Latency, OPENING, latency};
use crate::procs;
use crate::report::{Section, Table, count, figure, median};
use crate::scenarios::{every, fill, rate, seconds};
use crate::server::{Peer, Places, Server, Setup};

#[derive(Debug, Args)]
pub struct Stalled {
    /// Healthy streams
    #[arg(long, default_value_t = 500)]
    clients: usize,
    /// Streams whose clients ask for the whole history and never read
    #[arg(long, default_value_t = 200)]
    stalled: usize,
    /// Rolls a second; a divisor of 1000
    #[arg(long, value_parser = rate, default_value_t = 20)]
    rate: u32,
    /// Time of each measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds, each without and with the stalled streams
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// Enough history to fill the kernel's buffers of a client that does not read.
const N_STORED: u64 = 200_000;

/// The timeout for the server to become idle.
const SETTLING: Duration = Duration::from_secs(60);

struct Found {
    latency: Latency,
    memory_kib_per_stalled: f64,
}

impl Stalled {
    pub fn run(&self, places: &Places) -> Result<Section> {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for i in 0..self.rounds {
            without.push(self.once(places, 0)?);
            with.push(self.once(places, self.stalled)?);
            eprintln!(
                "  round {}/{}  p99 {} ms without, {} ms with",
                i + 1,
                self.rounds,
                figure(without[i].latency.p99_ms),
                figure(with[i].latency.p99_ms)
            );
        }
        let mut table = Table::new(&[
            "clients that never read",
            "p50, ms",
            "p99, ms",
            "max, ms",
            "KiB per stalled client",
        ]);
        for (n, all) in [(0, &without), (self.stalled, &with)] {
            let of =
                |pick: fn(&Latency) -> f64| figure(median(all.iter().map(|f| pick(&f.latency))));
            let memory = median(all.iter().map(|found| found.memory_kib_per_stalled));
            table.row(vec![
                n.to_string(),
                of(|latency| latency.p50_ms),
                of(|latency| latency.p99_ms),
                of(|latency| latency.max_ms),
                figure(memory),
            ]);
        }
        let ratios: Vec<f64> = without
            .iter()
            .zip(&with)
            .map(|(without, with)| with.latency.p99_ms / without.latency.p99_ms)
            .collect();
        Ok(Section {
            name: "stalled",
            title: format!(
                "{} clients that never read, and {} healthy ones",
                self.stalled, self.clients
            ),
            how: format!(
                "Each stalled client requests {} missed rolls, more than the kernel queues, \
                 and reads nothing. When the server is idle again, the latency of the \
                 healthy clients is measured from the commit, at {} rolls/s. Memory per \
                 stalled client is the growth since before they connected, divided by their \
                 number. It includes the page caches of SQLite's connections, a few MB in \
                 total, so use many stalled clients.",
                count(N_STORED),
                self.rate
            ),
            notes: vec![format!(
                "p99 with them to p99 without, median of {} rounds: {}x.",
                ratios.len(),
                figure(median(ratios.iter().copied()))
            )],
            data: serde_json::json!({
                "without": without.iter().map(|found| &found.latency).collect::<Vec<_>>(),
                "with": with.iter().map(|found| &found.latency).collect::<Vec<_>>(),
                "memory_kib_per_stalled":
                    with.iter().map(|found| found.memory_kib_per_stalled).collect::<Vec<_>>(),
                "ratios": ratios,
            }),
            tables: vec![table],
            ..Section::default()
        })
    }

    fn once(&self, places: &Places, n_stalled: usize) -> Result<Found> {
        let mut setup = Setup::new(Peer::Rollcast, every(self.rate));
        setup.database = Some(fill::database(places, N_STORED)?);
        setup.commits = true;
        let server = Server::start(places, &setup)?;
        let mut healthy = Fleet::new(server.target.clone())?;
        healthy.open(self.clients, OPENING)?;
        healthy.run(Duration::from_millis(500))?;
        let usual = cpu_share(&mut healthy, &server)?;
        let before = procs::memory_kib(&server.pids())?;
        let n_sockets = procs::n_sockets(server.pid())?;
        let mut stalled = Fleet::new(server.target.clone())?;
        stalled.open_stalled(n_stalled, OPENING)?;
        // Waits until the kernel's buffers are full and the server is idle.
        let begin = Instant::now();
        while cpu_share(&mut healthy, &server)? > 1.5 * usual + 0.05 {
            if begin.elapsed() > SETTLING {
                bail!("the server still works for clients that never read, {SETTLING:?} later");
            }
        }
        let memory = procs::memory_kib(&server.pids())? as f64 - before as f64;
        healthy.reached = Some(Vec::new());
        healthy.run(seconds(self.seconds)?)?;
        let n_behind = healthy.drain(Duration::from_secs(10))?;
        let reached = healthy.reached.take().unwrap_or_default();
        // Connections that were reset show an error now. A clean end after unread data shows only at
        // the server.
        stalled.run(Duration::from_millis(100))?;
        let n_open =
            stalled.n_open().min(procs::n_sockets(server.pid())?.saturating_sub(n_sockets));
        let faults = [healthy.counts.n_missed, healthy.counts.n_repeats, healthy.counts.n_failures];
        if n_behind > 0 || faults.iter().any(|n| *n > 0) || n_open != n_stalled {
            bail!(
                "rollcast is at fault: {n_behind} healthy clients are behind, {} missed, {} \
                 repeated, {} failed ({}); {n_open} of {n_stalled} stalled ones are open ({})",
                faults[0],
                faults[1],
                faults[2],
                healthy.problems.join("; "),
                stalled.problems.join("; ")
            );
        }
        drop((healthy, stalled));
        let commits = server.stop()?;
        let latency = latency(&reached, &commits, Peer::Rollcast, self.clients);
        Ok(Found {
            latency: latency.context("no roll came whose commit was logged")?,
            memory_kib_per_stalled: memory / n_stalled as f64,
        })
    }
}

/// The share of a core that the server uses, measured over half a second.
fn cpu_share(healthy: &mut Fleet, server: &Server) -> Result<f64> {
    let (begin, before) = (Instant::now(), procs::usage(&server.pids())?);
    healthy.run(Duration::from_millis(500))?;
    let used = procs::usage(&server.pids())?.since(&before);
    Ok((used.user_us + used.system_us) / begin.elapsed().as_micros() as f64)
}
