//! Time to resume after so many missed rolls, out of a database of any size.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::measure::histogram;
use crate::plot::{Axis, Line, Plot};
use crate::report::{Section, Table, count, figure};
use crate::scenarios::fill;
use crate::server::Places;
use crate::web::resume;

#[derive(Debug, Args)]
pub struct Replay {
    /// Rolls that are stored; the database is made once and kept
    #[arg(long, default_value_t = 10_000_000)]
    rolls: u64,
    /// Missed rolls
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1_000, 10_000, 100_000])]
    missed: Vec<u64>,
}

/// Rolls read for each point, so that short resumes are many and long ones few.
const N_READ: u64 = 300_000;

impl Replay {
    pub fn run(&self, places: &Places) -> Result<Section> {
        let database = fill::database(places, self.rolls)?;
        let (server, head) = fill::start_still(places, &database)?;
        let mut table =
            Table::new(&["missed rolls", "resumes", "p50, ms", "p99, ms", "max, ms", "rolls/s"]);
        let mut points = Vec::new();
        for &n_missed in &self.missed {
            let after = head.saturating_sub(n_missed);
            let n_resumes = (N_READ / n_missed.max(1)).clamp(5, 300);
            // Once for the caches: what is measured is the usual resume.
            resume(server.target, after, head)?;
            let (mut times, mut total) = (histogram(), Duration::ZERO);
            for _ in 0..n_resumes {
                let time = resume(server.target, after, head)?;
                times.saturating_record(u64::try_from(time.as_micros())?);
                total += time;
            }
            let ms = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
            let rolls_per_s = (n_missed * n_resumes) as f64 / total.as_secs_f64();
            eprintln!("  {n_missed} missed: p50 {} ms, p99 {} ms", ms(0.5), ms(0.99));
            table.row(vec![
                count(n_missed),
                n_resumes.to_string(),
                figure(ms(0.5)),
                figure(ms(0.99)),
                figure(ms(1.0)),
                figure(rolls_per_s),
            ]);
            points.push((n_missed as f64, ms(0.5), ms(0.99)));
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
            lines: vec![line("p99", |point| point.2), line("p50", |point| point.1)],
        };
        Ok(Section {
            name: "replay",
            title: format!("Resume out of {} stored rolls", count(self.rolls)),
            how: "From before the connection is made to the last missed roll, one client after \
                  another, each checked for gaps."
                .to_string(),
            data: serde_json::json!({ "missed_p50_p99_ms": points }),
            tables: vec![table],
            plots: vec![plot],
            ..Section::default()
        })
    }
}
