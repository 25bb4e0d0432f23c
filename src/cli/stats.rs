//! `rollcast stats`: prints the statistics of all dice as text.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anyhow::Context;

use crate::app;
use crate::cli::{ALARM, Failure};
use crate::config::Config;
use crate::statistics::words::{between, decimal, grouped, power_of_ten, span};
use crate::statistics::{DieReport, Range, Run, Statistics};
use crate::store::Store;

/// The length of the longest bar, in columns.
const BAR_COLUMNS: f64 = 40.0;
/// Blocks of one to eight eighths of a column.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// Prints the statistics of the configured database to standard output.
///
/// # Errors
///
/// The statistics show an alarm: exit code 4. The database cannot be read, or standard output cannot
/// be written: exit code 1.
pub fn stats(config: Config) -> Result<(), Failure> {
    let tallies = app::run(&config, Store::tallies_of(&config.store))?;
    let tallies = tallies.map_err(anyhow::Error::new)?;
    let statistics = Statistics::of(&tallies, &config.roller.dice);
    let text = text(&statistics);
    // Do not use `print!`, which panics if the reader has closed standard output.
    io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")?;
    let alarms = statistics.dice.iter().filter(|report| report.fairness.alarm_id.is_some());
    let alarms: Vec<&str> = alarms.map(|report| &*report.die).collect();
    match alarms.len() {
        0 => Ok(()),
        _ => {
            let dice = alarms.join(", ");
            let error = anyhow::anyhow!("the evidence against fair dice reached its alarm: {dice}");
            Err(Failure { error, exit_code: ALARM })
        }
    }
}

fn text(statistics: &Statistics) -> String {
    if statistics.dice.is_empty() {
        return "no rolls yet\n".into();
    }
    let dice: Vec<String> = statistics.dice.iter().map(of_die).collect();
    dice.join("\n")
}

fn of_die(report: &DieReport) -> String {
    let DieReport { mean, fairness, blocks, .. } = report;
    let mut out = String::new();
    let mut line = |name: &str, text: String| {
        // Ignore the result: writing to a `String` cannot fail.
        let _ = writeln!(out, "{name:<16}{text}");
    };
    line(&report.die, format!("{} rolls", grouped(report.n_rolls)));
    line("verdict", format!("{}. {}", fairness.verdict.text(), fairness.reason));
    let seen = mean.seen.map_or_else(|| "–".into(), |seen| decimal(seen, 4));
    let range = format!("{} to {}", decimal(mean.low, 4), decimal(mean.high, 4));
    line("mean", format!("{seen} (fair: {range}){}", mark(mean.is_outside())));
    for (name, longest) in
        [("longest streak", &report.longest_streak), ("longest drought", &report.longest_drought)]
    {
        if longest.is_telling(report.n_rolls) {
            line(name, format!("{}{}", run(longest), mark(longest.is_outside())));
        }
    }
    let (now, highest) = (power_of_ten(fairness.log10_e), power_of_ten(fairness.highest_log10_e));
    let alarm = grouped(fairness.alarm as u64);
    line("evidence", format!("{now}, at its highest {highest} (alarm at {alarm})"));
    line(
        "blocks",
        match (blocks.last_chi_square, blocks.last_p) {
            (Some(chi_square), Some(p)) => format!(
                "{} of {} rolls; the last: chi-square {chi_square:.2}, p {p:.4}",
                grouped(blocks.n_blocks),
                grouped(blocks.size)
            ),
            _ => format!("none of {} rolls is complete yet", grouped(blocks.size)),
        },
    );
    let most = report.results.iter().map(|bin| bin.n_rolls).max().unwrap_or(0).max(1);
    for bin in &report.results {
        let _ = writeln!(
            out,
            "{:>11}  {:>11}  {:<40}  fair: {}{}",
            span(bin.from, bin.to),
            grouped(bin.n_rolls),
            bar(bin.n_rolls as f64 / most as f64),
            between(bin.low, bin.high),
            mark(bin.is_outside())
        );
    }
    out
}

/// Marks a value outside its range.
fn mark(is_outside: bool) -> &'static str {
    if is_outside { "  outside" } else { "" }
}

fn run(run: &Run) -> String {
    let seen = match run.result {
        Some(result) => format!("{} rolls (of {result})", grouped(run.length)),
        None => "–".into(),
    };
    match run.expected {
        Some(Range { low, median, high }) => {
            format!("{seen} (fair: {}, mostly {})", grouped(median), between(low, high))
        }
        None => seen,
    }
}

fn bar(share: f64) -> String {
    let n_eighths = (share * BAR_COLUMNS * 8.0).round() as usize;
    let mut bar = "█".repeat(n_eighths / 8);
    if !n_eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[n_eighths % 8 - 1]);
    }
    bar
}
