//! The report: the figures of a tally, compared with a fair die. The page, the API and the terminal
//! show the same figures.

use std::f64::consts::LN_10;

use serde::Serialize;
use statrs::distribution::{Binomial, DiscreteCDF};
use utoipa::ToSchema;

use crate::dice::{Dice, Die};
use crate::statistics::{Block, DieTally, N_BINS, N_BLOCK_ROLLS, Peak, Tallies, Verdict, verdict};

/// The maximum number of rows of results. Neighbouring results of larger dice share a row.
const MAX_BINS: usize = 60;
/// Streaks and droughts have expected values only for dice with at most this many results.
const MAX_RUN_RESULTS: usize = 1_000;
/// The probabilities of the lower end, the median and the upper end of a central 95 % interval.
const CENTRAL: [f64; 3] = [0.025, 0.5, 0.975];
/// Half the width of the same interval of a normal distribution, in standard deviations.
const TWO_SIDED_95: f64 = 1.959_963_984_540_054;

/// The statistics of all dice. The default is that before the first roll.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Statistics {
    /// The id of the newest counted roll; 0 before the first roll.
    pub as_of: i64,
    /// Every die that was ever rolled. The configured dice come first, in their order.
    pub dice: Vec<DieReport>,
}

/// The statistics of one die.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DieReport {
    /// The name of the die, such as `1D6`.
    pub die: String,
    /// The number of rolls of this die, pruned ones included.
    pub n_rolls: u64,
    /// The mean of the results.
    pub mean: Chance,
    /// The count of each result, lowest result first.
    pub results: Vec<Bin>,
    /// The longest streak: rolls in a row with the same result.
    pub longest_streak: Run,
    /// The longest drought: rolls in a row without one of the results. It may still go on.
    pub longest_drought: Run,
    /// The evidence against fairness. It stays valid however often you look.
    pub fairness: Fairness,
    /// The complete blocks of rolls. Each is tested once.
    pub blocks: BlockReport,
}

/// A measured value, and the range that contains it in 95 of 100 histories of a fair die with this
/// number of rolls.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Chance {
    /// The measured value; `null` before the first roll.
    pub seen: Option<f64>,
    /// The expected value of a fair die.
    pub expected: f64,
    /// The lower end of the range.
    pub low: f64,
    /// The upper end of the range.
    pub high: f64,
}

/// The count of one result. If a die has more than 60 results, neighbouring results share a row.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Bin {
    /// The lowest result of the row.
    pub from: u32,
    /// The highest result of the row.
    pub to: u32,
    /// The number of rolls with these results.
    pub n_rolls: u64,
    /// The expected number of a fair die.
    pub expected: f64,
    /// The lower end of the range: a fair die has fewer here in at most 2.5 of 100 histories.
    pub low: u64,
    /// The upper end of the range: a fair die has more here in at most 2.5 of 100 histories.
    pub high: u64,
    /// The number of rolls since the last one with these results, or since the first roll.
    pub n_since: u64,
    /// The longest drought of this result, in rolls; `null` if several results share the row.
    pub longest_drought: Option<u64>,
}

/// The longest streak or drought of a die.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Run {
    /// The result of the streak, or the missing one of the drought; `null` before the first roll.
    pub result: Option<u32>,
    /// The length in rolls.
    pub length: u64,
    /// The id of the last roll of the streak; `null` while it goes on, and for a drought.
    pub id: Option<i64>,
    /// The range of this length for a fair die; `null` before the first roll, and for dice with
    /// more than 1,000 results.
    pub expected: Option<Range>,
}

/// The range that contains a length in about 95 of 100 histories of a fair die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Range {
    /// The lower end of the range.
    pub low: u64,
    /// The median.
    pub median: u64,
    /// The upper end of the range.
    pub high: u64,
}

/// The evidence against fairness: an e-value, which stays valid however often you look.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Fairness {
    /// The answer in words.
    pub verdict: Verdict,
    /// The reason for the verdict, as one sentence. Empty before the first roll.
    pub reason: String,
    /// The smallest excess of a result that would probably have caused an alarm by now, as a
    /// fraction of the result's probability: 0.2 means 20 % too often. For a sum of dice, it is the
    /// excess of the most likely result. `null` before the first roll.
    pub detectable_excess: Option<f64>,
    /// The current e-value, at most the largest number of 64 bits (1.8e308).
    pub e: f64,
    /// The decimal logarithm of the current e-value, without this limit.
    pub log10_e: f64,
    /// The decimal logarithm of the highest e-value so far.
    pub highest_log10_e: f64,
    /// How the e-value changed over the rolls, oldest first: about 10 points for each factor of 10
    /// in the number of rolls. Empty before the first roll. If older rolls were pruned before this
    /// was recorded, it begins later.
    pub history: Vec<EvidencePoint>,
    /// The e-value at which the die is called unfair: 20 times the number of dice that were ever
    /// rolled. With fair dice, the probability that a server ever gives an alarm is at most 5 %, as
    /// long as it keeps its dice.
    pub alarm: f64,
    /// The id of the roll at which the e-value first reached its alarm; `null` if it never reached
    /// `alarm`. Each die that is added raises `alarm`, so the alarm may have been lower at that
    /// roll.
    pub alarm_id: Option<i64>,
}

/// The highest e-value in a range of rolls, which begins after the range of the point before.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct EvidencePoint {
    /// The number of rolls of this die up to the end of the range.
    pub n_rolls: u64,
    /// The decimal logarithm of the highest e-value in the range, rounded to four decimals.
    pub log10_e: f64,
}

/// The complete blocks of rolls.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BlockReport {
    /// The number of rolls in a block.
    pub size: u64,
    /// The number of complete blocks.
    pub n_blocks: u64,
    /// The number of rolls in the incomplete block.
    pub n_rolls_since: u64,
    /// The degrees of freedom of each block's chi-square test.
    pub degrees_of_freedom: u64,
    /// The id of the last roll of the last complete block.
    pub last_id: Option<i64>,
    /// The chi-square statistic of the last complete block.
    pub last_chi_square: Option<f64>,
    /// The p-value of the last complete block.
    pub last_p: Option<f64>,
    /// The number of complete blocks by p-value. With a fair die, all rows are equally likely.
    pub p_values: Vec<PValueBin>,
}

/// The number of complete blocks whose p-value lies in a range.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct PValueBin {
    /// The lowest p-value of the row.
    pub from: f64,
    /// The upper end of the row. It belongs to the next row, or to this one if it is 1.
    pub to: f64,
    /// The number of blocks.
    pub n_blocks: u64,
    /// The expected number of a fair die.
    pub expected: f64,
    /// The lower end of the range: a fair die has fewer here in at most 2.5 of 100 histories.
    pub low: u64,
    /// The upper end of the range: a fair die has more here in at most 2.5 of 100 histories.
    pub high: u64,
}

impl Chance {
    /// Whether the measured value lies outside the range.
    pub fn is_outside(&self) -> bool {
        self.seen.is_some_and(|seen| !(self.low..=self.high).contains(&seen))
    }
}

impl Bin {
    /// Whether the count lies outside the range.
    pub fn is_outside(&self) -> bool {
        !(self.low..=self.high).contains(&self.n_rolls)
    }
}

impl PValueBin {
    /// Whether the number of blocks lies outside the range.
    pub fn is_outside(&self) -> bool {
        !(self.low..=self.high).contains(&self.n_blocks)
    }
}

impl Run {
    /// Whether the length lies outside the range.
    pub fn is_outside(&self) -> bool {
        self.expected.is_some_and(|range| !(range.low..=range.high).contains(&self.length))
    }

    /// Whether the length says something about a die after `n_rolls`. A run of all rolls does not if
    /// at least half of all fair dice have one too: every die has one at the start, and a die with
    /// rare results has a drought of all rolls for long.
    pub fn is_telling(&self, n_rolls: u64) -> bool {
        let is_expected = self.expected.is_none_or(|range| range.median == n_rolls);
        self.length != n_rolls || !is_expected
    }
}

impl Statistics {
    /// All statistics. The `dice` that are rolled now come first, in their order.
    pub fn of(tallies: &Tallies, dice: &Dice) -> Statistics {
        let is_rolled = |tally: &&DieTally| dice.iter().any(|die| die == tally.die);
        let now = dice.iter().filter_map(|die| tallies.get(&die.to_string()));
        let before = tallies.iter().filter(|tally| !is_rolled(tally));
        let dice = now.chain(before).map(DieReport::from).collect();
        Statistics { as_of: tallies.last_id().0, dice }
    }

    /// The number of rolls of the die that was rolled most.
    pub fn n_rolls(&self) -> u64 {
        self.dice.iter().map(|report| report.n_rolls).max().unwrap_or(0)
    }

    /// The statistics of a die.
    pub fn of_die(&self, die: Die) -> Option<&DieReport> {
        let name = die.to_string();
        self.dice.iter().find(|report| report.die == name)
    }
}

impl From<&DieTally> for DieReport {
    fn from(tally: &DieTally) -> DieReport {
        DieReport {
            die: tally.die.to_string(),
            n_rolls: tally.n_rolls,
            mean: mean(tally),
            results: bins(tally),
            longest_streak: longest_streak(tally),
            longest_drought: longest_drought(tally),
            fairness: Fairness {
                verdict: Verdict::of(tally),
                reason: verdict::reason(tally),
                detectable_excess: verdict::detectable_excess(tally),
                e: tally.log_e.min(f64::MAX.ln()).exp(),
                log10_e: tally.log10_e(),
                highest_log10_e: tally.highest_log_e / LN_10,
                history: history(tally),
                alarm: tally.alarm,
                alarm_id: tally.alarm_id.map(|id| id.0),
            },
            blocks: blocks(tally),
        }
    }
}

fn history(tally: &DieTally) -> Vec<EvidencePoint> {
    let point = |peak: &Peak| EvidencePoint {
        n_rolls: peak.last_n.min(tally.n_rolls),
        log10_e: (peak.log_e / LN_10 * 1e4).round() / 1e4,
    };
    tally.peaks.iter().map(point).collect()
}

fn mean(tally: &DieTally) -> Chance {
    let (expected, deviation) = tally.fair.moments();
    let n_rolls = tally.n_rolls as f64;
    // The mean of few rolls is not normally distributed. Then the lowest and the highest result
    // limit the interval.
    let reach = TWO_SIDED_95 * deviation / n_rolls.max(1.0).sqrt();
    let lowest = f64::from(tally.fair.result(0));
    let highest = f64::from(tally.fair.result(tally.results.len() - 1));
    Chance {
        seen: (tally.n_rolls > 0).then(|| tally.total as f64 / n_rolls),
        expected,
        low: (expected - reach).max(lowest),
        high: (expected + reach).min(highest),
    }
}

fn bins(tally: &DieTally) -> Vec<Bin> {
    let width = tally.results.len().div_ceil(MAX_BINS);
    let chunks = tally.results.chunks(width).zip(tally.fair.chances().chunks(width));
    let bin = |(i, (results, chances)): (usize, (&[_], &[f64]))| {
        let results: &[crate::statistics::ResultTally] = results;
        let chance = chances.iter().sum::<f64>().min(1.0);
        let [low, high] = binomial(tally.n_rolls, chance);
        let from = tally.fair.result(i * width);
        let n_since = results.iter().map(|result| tally.n_rolls - result.last_n).min();
        let n_since = n_since.unwrap_or(0);
        Bin {
            from,
            to: from + results.len() as u32 - 1,
            n_rolls: results.iter().map(|result| result.n_rolls).sum(),
            expected: tally.n_rolls as f64 * chance,
            low,
            high,
            n_since,
            longest_drought: (width == 1).then(|| results[0].longest_drought.max(n_since)),
        }
    };
    chunks.enumerate().map(bin).collect()
}

fn longest_streak(tally: &DieTally) -> Run {
    let seen = tally.longest;
    let is_current = seen.length == tally.streak.length && seen.result == tally.streak.result;
    Run {
        result: (tally.n_rolls > 0).then_some(seen.result),
        length: seen.length,
        id: (!is_current).then_some(tally.longest_id.0),
        expected: has_expected_runs(tally).then(|| {
            let [low, median, high] = tally.fair.longest_streak(tally.n_rolls, CENTRAL);
            Range { low, median, high }
        }),
    }
}

fn longest_drought(tally: &DieTally) -> Run {
    let lengths = tally.results.iter().map(|result| {
        let n_since = tally.n_rolls - result.last_n;
        result.longest_drought.max(n_since)
    });
    let longest = lengths.enumerate().max_by_key(|(index, length)| {
        // If several are equally long, take the lowest result.
        (*length, std::cmp::Reverse(*index))
    });
    let (index, length) = longest.unwrap_or((0, 0));
    Run {
        result: (tally.n_rolls > 0).then(|| tally.fair.result(index)),
        length,
        id: None,
        expected: has_expected_runs(tally).then(|| {
            let [low, median, high] = tally.fair.longest_drought(tally.n_rolls, CENTRAL);
            Range { low, median, high }
        }),
    }
}

/// Whether runs have expected values. Computing them is slow for dice with many results.
fn has_expected_runs(tally: &DieTally) -> bool {
    tally.n_rolls > 0 && tally.results.len() <= MAX_RUN_RESULTS
}

fn blocks(tally: &DieTally) -> BlockReport {
    let [low, high] = binomial(tally.n_blocks, 1.0 / N_BINS as f64);
    let bin = |(i, n_blocks): (usize, &u64)| PValueBin {
        from: i as f64 / N_BINS as f64,
        to: (i + 1) as f64 / N_BINS as f64,
        n_blocks: *n_blocks,
        expected: tally.n_blocks as f64 / N_BINS as f64,
        low,
        high,
    };
    let last: Option<Block> = tally.block;
    BlockReport {
        size: N_BLOCK_ROLLS,
        n_blocks: tally.n_blocks,
        n_rolls_since: tally.n_block_rolls,
        degrees_of_freedom: tally.degrees_of_freedom(),
        last_id: last.map(|block| block.id.0),
        last_chi_square: last.map(|block| block.chi_square),
        last_p: last.map(|block| block.p),
        p_values: tally.p_values.iter().enumerate().map(bin).collect(),
    }
}

/// The central 95 % interval of a binomial distribution: its 2.5 % and 97.5 % quantiles.
fn binomial(n: u64, chance: f64) -> [u64; 2] {
    let Ok(hits) = Binomial::new(chance, n) else { return [0, n] };
    let mean = n as f64 * chance;
    // At most 1/6.4² = 2.4 % are further from the mean than 6.4 deviations (Chebyshev). So both
    // quantiles are within, and the search need not begin with all numbers.
    let reach = 6.4 * (mean * (1.0 - chance)).sqrt() + 1.0;
    let (lowest, highest) = ((mean - reach).max(0.0) as u64, ((mean + reach) as u64 + 1).min(n));
    [CENTRAL[0], CENTRAL[2]].map(|p| {
        let (mut low, mut high) = (lowest, highest);
        while low < high {
            let middle = low + (high - low) / 2;
            if hits.cdf(middle) >= p { high = middle } else { low = middle + 1 }
        }
        low
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of this length with the range of a fair die, if it is known.
    fn run(length: u64, range: Option<[u64; 3]>) -> Run {
        let expected = range.map(|[low, median, high]| Range { low, median, high });
        Run { result: Some(1), length, id: None, expected }
    }

    #[test]
    fn a_run_of_all_rolls_that_a_fair_die_has_too_tells_nothing() {
        for (run, n_rolls, is_telling) in [
            // The longest drought of 100D2, whose rarest results never come.
            (run(200_002, Some([200_002; 3])), 200_002, false),
            (run(1, Some([0, 1, 1])), 1, false),
            (run(5, None), 5, false),
            (run(4, None), 5, true),
            (run(30, Some([10, 15, 30])), 30, true),
            // Fair dice rarely have all results by then.
            (run(29, Some([30; 3])), 30, true),
        ] {
            assert_eq!(run.is_telling(n_rolls), is_telling, "{run:?} of {n_rolls}");
        }
    }

    #[test]
    fn the_ends_of_a_range_are_the_quantiles_of_all_numbers() {
        for (n, chance) in
            [(0, 0.5), (1, 0.05), (7, 1e-9), (100, 0.5), (5_000, 0.999), (40_000, 0.05)]
        {
            let hits = Binomial::new(chance, n).expect("a distribution");
            let quantile = |p: f64| (0..=n).find(|k| hits.cdf(*k) >= p).unwrap_or(n);
            let expected = [quantile(CENTRAL[0]), quantile(CENTRAL[2])];
            assert_eq!(binomial(n, chance), expected, "{n} with {chance}");
        }
    }

    #[test]
    fn a_value_is_outside_beyond_either_end_of_its_range() {
        let chance = |seen| Chance { seen, expected: 3.5, low: 3.4, high: 3.6 };
        let means = [None, Some(3.39), Some(3.4), Some(3.6), Some(3.61)];
        let outside = means.map(|seen| chance(seen).is_outside());
        assert_eq!(outside, [false, true, false, false, true]);
        let range = Some([2, 3, 4]);
        assert_eq!([1, 2, 4, 5].map(|n| run(n, range).is_outside()), [true, false, false, true]);
        assert!(!run(9, None).is_outside());
    }
}
