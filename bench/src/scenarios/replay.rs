//! The time to resume after a number of missed rolls, from a database of any size.

use anyhow::Result;
use clap::Args;

use crate::plot::{Axis, Line, Plot};
use crate::report::{Section, Table, count, figure, median, p99, slowest};
use crate::scenarios::fill;
use crate::server::Places;
use crate::web::resume;

#[derive(Debug, Args)]
pub struct Replay {
    /// Rolls that are stored; the database is made once and kept
    #[arg(long, default_value_t = 10_000_000)]
    rolls: u64,
    /// Missed rolls
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1_000, 2_000, 10_000, 100_000])]
    missed: Vec<u64>,
}

/// Rolls to read for each point: many short resumes, or few long ones.
const N_READ: u64 = 300_000;

impl Replay {
    pub fn run(&self, places: &Places) -> Result<Section> {
        let database = fill::database(places, self.rolls)?;
        let (server, head) = fill::start_still(places, &database)?;
        let mut table = Table::new(&[
            "missed rolls",
            "resumes",
            "p50, ms",
            "p99, ms",
            "slowest, ms",
            "rolls/s",
        ]);
        let mut points = Vec::new();
        for &n_missed in &self.missed {
            let after = head.saturating_sub(n_missed);
            let n_resumes = (N_READ / n_missed.max(1)).clamp(5, 300);
            // One resume fills the caches and is not measured.
            resume(server.target.clone(), after, head)?;
            let mut ms = Vec::new();
            for _ in 0..n_resumes {
                ms.push(resume(server.target.clone(), after, head)?.as_secs_f64() * 1e3);
            }
            let seconds = ms.iter().sum::<f64>() / 1e3;
            let [p50, p99, slowest] = [median(ms.clone()), p99(ms.clone()), slowest(ms)];
            eprintln!(
                "  {n_missed} missed: p50 {} ms, slowest of {n_resumes} {} ms",
                figure(p50),
                figure(slowest)
            );
            table.row(vec![
                count(n_missed),
                n_resumes.to_string(),
                figure(p50),
                figure(p99),
                figure(slowest),
                figure((n_missed * n_resumes) as f64 / seconds),
            ]);
            points.push((n_missed as f64, p50, slowest));
        }
        server.stop()?;
        let line = |name: &str, pick: fn(&(f64, f64, f64)) -> f64| Line {
            name: name.to_string(),
            points: points.iter().map(|point| (point.0, pick(point))).collect(),
        };
        let plot = Plot {
            name: "replay".to_string(),
            title: "Time to resume".to_string(),
            x: Axis { label: "missed rolls", log: true },
            y: Axis { label: "ms", log: true },
            lines: vec![line("slowest", |point| point.2), line("p50", |point| point.1)],
        };
        Ok(Section {
            name: "replay",
            title: format!("Resume with {} stored rolls", count(self.rolls)),
            how: "Time from before the connection opens to the last missed roll, one client \
                  after another, each checked for gaps. The newest 1,024 rolls come from \
                  memory, older ones from the store. A p99 needs at least 100 resumes."
                .to_string(),
            data: serde_json::json!({ "missed_p50_slowest_ms": points }),
            tables: vec![table],
            plots: vec![plot],
            ..Section::default()
        })
    }
}
