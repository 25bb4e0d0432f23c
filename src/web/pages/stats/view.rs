//! One die on the pages of statistics, with formatted numbers. js/stats.js formats the same figures of
//! `/api/stats` when they change.

use serde::Serialize;

use crate::dice::Die;
use crate::roll::RollId;
use crate::statistics::words::{between, decimal, grouped, power_of_ten, span};
use crate::statistics::{BlockReport, DieReport, Range, Run};
use crate::web::pages::stats::deviations::Deviations;
use crate::web::pages::stats::evidence::Evidence;
use crate::web::pages::{links, words};

/// One die.
#[derive(Serialize)]
pub struct DieView {
    /// The name of the die, such as `1D6`.
    die: String,
    /// Its name in a sentence, such as `d6`.
    label: String,
    question: String,
    href: String,
    verdict: &'static str,
    reason: String,
    /// The address of the roll that caused the alarm.
    alarm_roll: Option<String>,
    n_rolls: String,
    mean: String,
    fair_mean: String,
    mean_range: String,
    mean_outside: bool,
    e: String,
    highest_e: String,
    alarm: String,
    deviations: Deviations,
    evidence: Evidence,
}

/// The figures of one die that few people read.
#[derive(Serialize)]
pub struct Details {
    results: Vec<ResultRow>,
    /// Whether each row shows a single result, so that it has a longest drought.
    single: bool,
    streak: RunView,
    drought: RunView,
    blocks: BlocksView,
}

#[derive(Serialize)]
struct ResultRow {
    result: String,
    n_rolls: String,
    outside: bool,
    expected: String,
    range: String,
    n_since: String,
    longest_drought: String,
}

#[derive(Serialize)]
struct RunView {
    seen: String,
    fair: String,
    outside: bool,
}

#[derive(Serialize)]
struct BlocksView {
    size: String,
    n_blocks: String,
    n_to_go: String,
    last: String,
    rows: Vec<PValueRow>,
}

#[derive(Serialize)]
struct PValueRow {
    range: String,
    n_blocks: String,
    outside: bool,
    expected: String,
    between: String,
}

impl DieView {
    /// The view of a report. `None` if the report names a die that does not exist.
    pub fn parse(report: &DieReport) -> Option<DieView> {
        Some(DieView::new(report.die.parse().ok()?, report))
    }

    pub fn new(die: Die, report: &DieReport) -> DieView {
        let DieReport { mean, fairness, results, .. } = report;
        let alarm_roll = fairness.alarm_id.map(|id| links::roll(RollId(id)));
        DieView {
            label: words::die_in_text(die),
            question: question(die),
            href: links::die_statistics(die),
            verdict: fairness.verdict.text(),
            reason: fairness.reason.clone(),
            alarm_roll,
            n_rolls: grouped(report.n_rolls),
            mean: mean.seen.map_or_else(|| "–".into(), |seen| decimal(seen, 4)),
            fair_mean: decimal(mean.expected, 1),
            mean_range: format!("{} to {}", decimal(mean.low, 4), decimal(mean.high, 4)),
            mean_outside: mean.is_outside(),
            e: power_of_ten(fairness.log10_e),
            highest_e: power_of_ten(fairness.highest_log10_e),
            alarm: grouped(fairness.alarm as u64),
            deviations: Deviations::of(results),
            evidence: Evidence::of(report),
            die: report.die.clone(),
        }
    }
}

impl From<&DieReport> for Details {
    fn from(report: &DieReport) -> Details {
        let row = report.results.iter().map(|bin| ResultRow {
            result: span(bin.from, bin.to),
            n_rolls: grouped(bin.n_rolls),
            outside: bin.is_outside(),
            expected: decimal(bin.expected, 1),
            range: between(bin.low, bin.high),
            n_since: grouped(bin.n_since),
            longest_drought: bin.longest_drought.map_or_else(|| "–".into(), grouped),
        });
        Details {
            results: row.collect(),
            single: report.results.iter().all(|bin| bin.from == bin.to),
            streak: RunView::from(&report.longest_streak),
            drought: RunView::from(&report.longest_drought),
            blocks: BlocksView::from(&report.blocks),
        }
    }
}

impl From<&Run> for RunView {
    fn from(run: &Run) -> RunView {
        RunView {
            seen: match run.result {
                Some(result) => format!("{} ({})", grouped(run.length), grouped(result.into())),
                None => "–".into(),
            },
            fair: match run.expected {
                Some(Range { low, median, high }) => {
                    format!("{}, mostly {}", grouped(median), between(low, high))
                }
                None => "–".into(),
            },
            outside: run.is_outside(),
        }
    }
}

impl From<&BlockReport> for BlocksView {
    fn from(blocks: &BlockReport) -> BlocksView {
        let last = blocks.last_id.zip(blocks.last_chi_square).zip(blocks.last_p);
        let rows = blocks.p_values.iter().map(|bin| PValueRow {
            range: format!("{:.2} to {:.2}", bin.from, bin.to),
            n_blocks: grouped(bin.n_blocks),
            outside: bin.is_outside(),
            expected: decimal(bin.expected, 2),
            between: between(bin.low, bin.high),
        });
        BlocksView {
            size: grouped(blocks.size),
            n_blocks: grouped(blocks.n_blocks),
            n_to_go: grouped(blocks.size - blocks.n_rolls_since),
            last: last.map_or_else(
                || "–".into(),
                |((id, chi_square), p)| {
                    format!(
                        "ended at roll {}: chi-square {} with {} degrees of freedom, p {}",
                        grouped(id as u64),
                        decimal(chi_square, 2),
                        grouped(blocks.degrees_of_freedom),
                        decimal(p, 4)
                    )
                },
            ),
            rows: rows.collect(),
        }
    }
}

/// The question that the verdict answers.
pub fn question(die: Die) -> String {
    let verb = if die.n_dice() == 1 { "Is" } else { "Are" };
    format!("{verb} the {} fair?", words::die_in_text(die))
}
