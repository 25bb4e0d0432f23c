//! Measured figures beside those of a program without a log, and their budgets.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::report::{Table, figure, median};

/// What a figure may be.
#[derive(Clone, Copy)]
pub enum Budget {
    /// No budget.
    None,
    /// At most this.
    AtMost(f64),
    /// At most this more than without a log.
    More(f64),
}

/// A figure of each round.
struct Figure {
    name: String,
    ours: Vec<f64>,
    /// Those of a program without a log in the same rounds; empty without one.
    baseline: Vec<f64>,
    budget: Budget,
}

#[derive(Default)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// Adds a figure. `baseline` has as many rounds as `ours`, or none.
    pub fn add(&mut self, name: String, budget: Budget, ours: Vec<f64>, baseline: Vec<f64>) {
        let figure = Figure { name, ours, baseline, budget };
        eprintln!("  {}", figure.row().join(" | "));
        self.0.push(figure);
    }

    pub fn table(&self) -> Table {
        let mut table =
            Table::new(&["figure", "measured", "baseline", "ratio", "difference", "budget"]);
        self.0.iter().for_each(|figure| table.row(figure.row()));
        table
    }

    pub fn data(&self) -> serde_json::Value {
        let data = self.0.iter().map(|figure| {
            let Figure { name, ours, baseline, .. } = figure;
            (name.clone(), serde_json::json!({ "rounds": ours, "baseline": baseline }))
        });
        serde_json::Value::Object(data.collect())
    }
}

impl Figure {
    fn row(&self) -> Vec<String> {
        let Figure { name, ours, baseline, .. } = self;
        vec![
            name.clone(),
            figure(median(ours.iter().copied())),
            figure(median(baseline.iter().copied())),
            figure(self.of_pairs(|ours, baseline| ours / baseline)),
            signed(self.difference()),
            self.verdict(),
        ]
    }

    /// The median over the rounds; NaN without a baseline.
    fn of_pairs(&self, compare: impl Fn(f64, f64) -> f64) -> f64 {
        median(self.ours.iter().zip(&self.baseline).map(|(a, b)| compare(*a, *b)))
    }

    fn difference(&self) -> f64 {
        self.of_pairs(|ours, baseline| ours - baseline)
    }

    fn verdict(&self) -> String {
        let (text, max, value) = match self.budget {
            Budget::None => return "–".to_string(),
            Budget::AtMost(max) => (figure(max), max, median(self.ours.iter().copied())),
            Budget::More(max) => (format!("{} more", figure(max)), max, self.difference()),
        };
        let verdict = match value.partial_cmp(&max) {
            None => "not judged",
            Some(ordering) if ordering.is_gt() => "missed",
            Some(_) => "met",
        };
        format!("{text}: {verdict}")
    }
}

fn signed(value: f64) -> String {
    match value {
        negative if negative < 0.0 => format!("-{}", figure(-negative)),
        positive if positive > 0.0 => format!("+{}", figure(positive)),
        other => figure(other),
    }
}

/// The version of a program.
pub fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(budget: Budget, ours: &[f64], baseline: &[f64]) -> Vec<String> {
        let (ours, baseline) = (ours.to_vec(), baseline.to_vec());
        Figure { name: "µs".to_string(), ours, baseline, budget }.row()
    }

    #[test]
    fn a_difference_is_the_median_of_the_rounds_and_not_that_of_the_medians() {
        // The machine was slower in the second round, for both.
        let found = row(Budget::More(3.0), &[12.0, 42.0, 13.0], &[10.0, 40.0, 10.0]);
        assert_eq!(found, ["µs", "13.0", "10.0", "1.20", "+2.00", "3.00 more: met"]);
        let found = row(Budget::None, &[1_000.0], &[3_500.0]);
        assert_eq!(found[3..], ["0.29", "-2,500", "–"]);
    }

    #[test]
    fn a_budget_is_met_missed_or_not_judged() {
        let verdict = |budget, ours, baseline: &[f64]| row(budget, &[ours], baseline)[5].clone();
        assert_eq!(verdict(Budget::AtMost(30.0), 30.0, &[]), "30.0: met");
        assert_eq!(verdict(Budget::AtMost(30.0), 30.1, &[]), "30.0: missed");
        assert_eq!(verdict(Budget::More(2.0), 20.0, &[18.0]), "2.00 more: met");
        assert_eq!(verdict(Budget::More(2.0), 20.1, &[18.0]), "2.00 more: missed");
        assert_eq!(verdict(Budget::More(2.0), 20.0, &[]), "2.00 more: not judged");
    }
}
