//! The fairness cards of the live page: a die's counts as bars, and the verdict in words.

use serde::Serialize;

use crate::dice::Die;
use crate::statistics::words::{decimal, grouped};
use crate::statistics::{Bin, DieReport, DieTally, Statistics, Verdict};
use crate::web::pages::links;
use crate::web::pages::stats::axis::{Tick, labels, percent, slot};
use crate::web::pages::stats::view::question;

/// The free space above the highest bar, as a fraction of its height.
const HEADROOM: f64 = 0.08;

/// The part `_fairness` of a page.
#[derive(Debug, Serialize)]
pub struct Fairness {
    /// The id of the newest counted roll.
    as_of: i64,
    /// The dice that are rolled now, in their order.
    cards: Vec<CardView>,
}

/// The card of one die.
#[derive(Debug, Serialize)]
pub struct CardView {
    /// The name of the die, such as `1D6`.
    die: String,
    /// The question above the card.
    question: String,
    href: String,
    verdict: &'static str,
    /// Shown only with an alarm.
    reason: String,
    has_alarm: bool,
    n_rolls: String,
    mean: String,
    fair_mean: String,
    /// The outline of the range of a fair die, as points of a polygon in a square of 100.
    band: String,
    /// The expected counts, as points of a line in the same square.
    expected: String,
    bars: Vec<CardBar>,
    labels: Vec<Tick>,
}

/// One bar and what is expected of it.
#[derive(Debug, Serialize)]
struct CardBar {
    from: u32,
    to: u32,
    n_rolls: u64,
    /// The range of a fair die and its middle, as parts of all rolls, for the script.
    low: f64,
    high: f64,
    expected: f64,
    x: String,
    y: String,
    width: String,
    height: String,
}

/// The cards of `dice`, the dice that are rolled now.
pub fn cards(statistics: &Statistics, dice: impl Iterator<Item = Die>) -> Fairness {
    let card = |die: Die| match statistics.of_die(die) {
        Some(report) => CardView::new(die, report),
        None => CardView::new(die, &DieReport::from(&DieTally::new(die))),
    };
    Fairness { as_of: statistics.as_of, cards: dice.map(card).collect() }
}

impl CardView {
    fn new(die: Die, report: &DieReport) -> CardView {
        let DieReport { mean, fairness, results, .. } = report;
        let verdict = fairness.verdict;
        CardView {
            question: question(die),
            href: links::die_statistics(die),
            verdict: verdict.text(),
            reason: fairness.reason.clone(),
            has_alarm: matches!(verdict, Verdict::Alarm | Verdict::EarlierAlarm),
            n_rolls: grouped(report.n_rolls),
            mean: mean.seen.map_or_else(|| "–".into(), |seen| decimal(seen, 2)),
            fair_mean: decimal(mean.expected, 1),
            band: band(results),
            expected: stairs(results, |bin| bin.expected).join(" "),
            bars: bars(results, report.n_rolls),
            labels: labels(results),
            die: report.die.clone(),
        }
    }
}

/// The count at the top of the card.
fn top(bins: &[Bin]) -> f64 {
    let most = bins.iter().map(|bin| bin.n_rolls.max(bin.high)).max().unwrap_or(0);
    most.max(1) as f64 * (1.0 + HEADROOM)
}

fn band(bins: &[Bin]) -> String {
    let upper = stairs(bins, |bin| bin.high as f64);
    let mut lower = stairs(bins, |bin| bin.low as f64);
    lower.reverse();
    [upper, lower].concat().join(" ")
}

/// A line that is level in the slot of each bin.
fn stairs(bins: &[Bin], count: impl Fn(&Bin) -> f64) -> Vec<String> {
    let top = top(bins);
    let points = bins.iter().enumerate().flat_map(|(index, bin)| {
        let (left, width) = slot(index, bins.len());
        let y = 100.0 - 100.0 * count(bin) / top;
        [left, left + width].map(|x| format!("{x:.2},{y:.2}"))
    });
    points.collect()
}

fn bars(bins: &[Bin], n_rolls: u64) -> Vec<CardBar> {
    let top = top(bins);
    let height = |n: f64| 100.0 * n / top;
    let part = |n: f64| n / n_rolls.max(1) as f64;
    let bar = |(index, bin): (usize, &Bin)| {
        let (left, width) = slot(index, bins.len());
        CardBar {
            from: bin.from,
            to: bin.to,
            n_rolls: bin.n_rolls,
            low: part(bin.low as f64),
            high: part(bin.high as f64),
            expected: part(bin.expected),
            x: percent(left + 0.06 * width),
            y: percent(100.0 - height(bin.n_rolls as f64)),
            width: percent(0.88 * width),
            height: percent(height(bin.n_rolls as f64)),
        }
    };
    bins.iter().enumerate().map(bar).collect()
}
