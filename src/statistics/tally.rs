//! A tally: the totals of all rolls of one die so far. Adding a roll takes constant time.

use std::sync::Arc;

use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::dice::Die;
use crate::roll::RollId;
use crate::statistics::{Distribution, N_BLOCK_ROLLS, alarm};

/// The number of equal bins for p-values between 0 and 1.
pub const N_BINS: usize = 20;

/// The prior of the e-value: its model starts as if each equally likely result had already come
/// this many times. It detects deviations of about 1/√100 = 10 % fastest. The e-value is valid
/// for any prior.
pub const PRIOR: f64 = 100.0;

/// The totals of all rolls of a die.
#[derive(Clone, Debug)]
pub struct DieTally {
    pub die: Die,
    /// The distribution of its results if it is fair.
    pub fair: Arc<Distribution>,
    /// The last counted roll.
    pub last_id: RollId,
    /// The number of counted rolls.
    pub n_rolls: u64,
    /// The sum of all results.
    pub total: u64,
    /// The totals of each result, lowest first.
    pub results: Vec<ResultTally>,
    /// The streak that ends with the newest roll.
    pub streak: Streak,
    /// The longest streak. The first one if several are equally long.
    pub longest: Streak,
    /// The last roll of the longest streak.
    pub longest_id: RollId,
    /// The natural logarithm of the e-value against fairness.
    pub log_e: f64,
    /// The maximum of `log_e` so far.
    pub highest_log_e: f64,
    /// The highest e-value in consecutive ranges of rolls, oldest first. Each range has a quarter
    /// as many rolls as all ranges before it, so there are about 10 for each factor of 10 in the
    /// number of rolls. The last range may be incomplete.
    pub peaks: Vec<Peak>,
    /// The e-value at which the die is called unfair.
    pub alarm: f64,
    /// The roll at which the e-value first reached its alarm, which may have been lower then.
    /// `None` if the e-value never reached `alarm`.
    pub alarm_id: Option<RollId>,
    /// The number of rolls in each cell of the incomplete block.
    pub cells: Vec<u64>,
    /// The number of rolls in the incomplete block.
    pub n_block_rolls: u64,
    /// The number of complete blocks.
    pub n_blocks: u64,
    /// The last complete block.
    pub block: Option<Block>,
    /// The number of complete blocks in each p-value bin.
    pub p_values: [u64; N_BINS],
}

/// The totals of all rolls with one result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResultTally {
    /// The number of these rolls.
    pub n_rolls: u64,
    /// The last of these rolls, as a number among the die's own rolls, from 1. 0 before the first.
    pub last_n: u64,
    /// The longest run of other results that one of these rolls ended.
    pub longest_drought: u64,
}

/// The highest e-value in a range of rolls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// The last roll of the range, as a number among the die's own rolls, from 1.
    pub last_n: u64,
    /// The natural logarithm of the e-value.
    pub log_e: f64,
}

/// A run of equal results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streak {
    pub result: u32,
    /// The number of rolls.
    pub length: u64,
}

/// The chi-square test of one complete block of rolls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// The last roll of the block.
    pub id: RollId,
    /// Pearson's chi-square statistic.
    pub chi_square: f64,
    /// The probability that a block of a fair die has at least this statistic.
    pub p: f64,
}

impl DieTally {
    /// The tally before the first roll.
    pub fn new(die: Die) -> DieTally {
        let fair = Arc::new(Distribution::of(die));
        DieTally {
            die,
            last_id: RollId::BEFORE_FIRST,
            n_rolls: 0,
            total: 0,
            results: vec![ResultTally::default(); fair.chances().len()],
            streak: Streak::default(),
            longest: Streak::default(),
            longest_id: RollId::BEFORE_FIRST,
            log_e: 0.0,
            highest_log_e: 0.0,
            peaks: Vec::new(),
            alarm: alarm(1),
            alarm_id: None,
            cells: vec![0; fair.cell_chances().len()],
            n_block_rolls: 0,
            n_blocks: 0,
            block: None,
            p_values: [0; N_BINS],
            fair,
        }
    }

    /// The decimal logarithm of the current e-value.
    pub fn log10_e(&self) -> f64 {
        self.log_e / std::f64::consts::LN_10
    }

    /// Sets the e-value at which the die is called unfair. Forgets an alarm of a lower one.
    pub fn set_alarm(&mut self, alarm: f64) {
        self.alarm = alarm;
        if self.highest_log_e < alarm.ln() {
            self.alarm_id = None;
        }
    }

    /// Adds a roll. Returns the index of its result. Returns `None`, and counts nothing, if the die
    /// does not have this result.
    pub fn add(&mut self, id: RollId, result: u32) -> Option<usize> {
        let index = self.fair.index(result)?;
        self.last_id = id;
        if self.peaks.is_empty() && self.n_rolls > 0 {
            // The database was migrated, and only the highest e-value of all its rolls is known.
            self.peaks.push(Peak { last_n: self.n_rolls, log_e: self.highest_log_e });
        }
        self.log_e += self.log_bet(index);
        if self.log_e > self.highest_log_e {
            self.highest_log_e = self.log_e;
            if self.alarm_id.is_none() && self.log_e >= self.alarm.ln() {
                self.alarm_id = Some(id);
            }
        }
        self.note_peak();
        self.n_rolls += 1;
        self.total += u64::from(result);
        let of_result = &mut self.results[index];
        let drought = self.n_rolls - of_result.last_n - 1;
        of_result.longest_drought = of_result.longest_drought.max(drought);
        of_result.last_n = self.n_rolls;
        of_result.n_rolls += 1;
        if self.streak.result != result {
            self.streak = Streak { result, length: 0 };
        }
        self.streak.length += 1;
        if self.streak.length > self.longest.length {
            (self.longest, self.longest_id) = (self.streak, id);
        }
        self.cells[self.fair.cell(index)] += 1;
        self.n_block_rolls += 1;
        if self.n_block_rolls == N_BLOCK_ROLLS {
            self.complete_block(id);
        }
        Some(index)
    }

    /// The logarithm of the e-value's factor for a result. The factor is the probability of the
    /// result in a model that learns from the previous rolls, divided by that of a fair die.
    ///
    /// For k equally likely results, prior a, and a result that came c times in n rolls, the factor
    /// is k(a + c)/(ka + n).
    /// Lindon and Malek, "Anytime-Valid Inference for Multinomial Count Data" (2022),
    /// <https://arxiv.org/abs/2011.03567>. The product is a martingale if the die is fair.
    /// So the probability that it ever reaches x is at most 1/x, however often it is checked
    /// (Ville's inequality).
    fn log_bet(&self, index: usize) -> f64 {
        let chance = self.fair.chances()[index];
        let prior = PRIOR * self.fair.chances().len() as f64;
        let seen = self.results[index].n_rolls as f64;
        ((prior * chance + seen) / (prior + self.n_rolls as f64) / chance).ln()
    }

    /// Adds the current e-value to the range of the next roll.
    fn note_peak(&mut self) {
        let (log_e, n_before) = (self.log_e, self.n_rolls);
        match self.peaks.last_mut() {
            Some(peak) if n_before < peak.last_n => peak.log_e = peak.log_e.max(log_e),
            _ => self.peaks.push(Peak { last_n: n_before + (n_before / 4).max(1), log_e }),
        }
    }

    fn complete_block(&mut self, id: RollId) {
        let n_rolls = N_BLOCK_ROLLS as f64;
        let cells = self.cells.iter().zip(self.fair.cell_chances());
        let chi_square: f64 = cells
            .map(|(n, chance)| (*n as f64 - n_rolls * chance).powi(2) / (n_rolls * chance))
            .sum();
        let p = p_value(chi_square, self.degrees_of_freedom());
        self.block = Some(Block { id, chi_square, p });
        self.p_values[((p * N_BINS as f64) as usize).min(N_BINS - 1)] += 1;
        self.cells.fill(0);
        self.n_block_rolls = 0;
        self.n_blocks += 1;
    }

    /// The degrees of freedom of a block's chi-square statistic.
    pub fn degrees_of_freedom(&self) -> u64 {
        self.cells.len() as u64 - 1
    }
}

fn p_value(chi_square: f64, degrees_of_freedom: u64) -> f64 {
    ChiSquared::new(degrees_of_freedom as f64).map_or(1.0, |fair| fair.sf(chi_square))
}

#[cfg(test)]
mod tests {
    use super::*;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    const N_RUNS: u64 = 400;
    const N_ROLLS: i64 = 20_000;

    fn die(name: &str) -> DieTally {
        DieTally::new(name.parse().expect("a die"))
    }

    #[test]
    fn streaks_and_droughts_are_those_of_the_rolls() {
        let mut tally = die("1D6");
        for (id, result) in (1..).zip([3, 3, 1, 6, 6, 6, 3, 9]) {
            let counted = tally.add(RollId(id), result).is_some();
            assert_eq!(counted, result <= 6);
        }
        assert_eq!((tally.n_rolls, tally.total), (7, 28));
        assert_eq!(tally.longest, Streak { result: 6, length: 3 });
        assert_eq!((tally.longest_id, tally.last_id), (RollId(6), RollId(7)));
        assert_eq!(tally.streak, Streak { result: 3, length: 1 });
        let three = ResultTally { n_rolls: 3, last_n: 7, longest_drought: 4 };
        assert_eq!(tally.results[2], three);
        assert_eq!(tally.results[5].longest_drought, 3);
        assert_eq!(tally.results[1], ResultTally::default());
    }

    #[test]
    fn a_block_is_judged_when_it_is_complete_and_not_before() {
        let mut tally = die("1D6");
        for id in 1..=N_BLOCK_ROLLS as i64 {
            assert_eq!(tally.block, None);
            tally.add(RollId(id), 1 + (id % 6) as u32);
        }
        let even = Block { id: RollId(3_600), chi_square: 0.0, p: 1.0 };
        assert_eq!((tally.block, tally.n_blocks, tally.p_values[19]), (Some(even), 1, 1));
        for id in 3_601..=7_200 {
            tally.add(RollId(id), if id % 100 == 0 { 6 } else { 1 + (id % 6) as u32 });
        }
        let block = tally.block.expect("a block");
        // The bounds are loose: 36 of the 3,600 rolls were changed to a six.
        assert!(block.chi_square > 1.0 && block.p < 1.0, "{block:?}");
        assert_eq!(tally.p_values.iter().sum::<u64>(), 2);
    }

    /// Simulates histories of a D6 whose six is `load` times as likely as on a fair die. Returns
    /// the roll of each history's first alarm.
    fn alarms(load: f64, alarm: impl Fn(&DieTally) -> bool) -> Vec<Option<i64>> {
        let six = load / 6.0;
        let runs = (0..N_RUNS).map(|seed| {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut tally = die("1D6");
            (1..=N_ROLLS).find(|id| {
                let loaded = rng.random::<f64>() < six;
                let result = if loaded { 6 } else { rng.random_range(1..=5) };
                tally.add(RollId(*id), result);
                alarm(&tally)
            })
        });
        runs.collect()
    }

    #[test]
    fn a_fair_die_is_called_unfair_in_at_most_one_of_twenty_histories_however_often_one_looks() {
        let caught = alarms(1.0, |tally| tally.alarm_id.is_some());
        let n_alarms = caught.iter().flatten().count();
        // At most 20 of 400 are expected. 33 or more would come once in 300 tests.
        println!("{n_alarms} false alarms in {N_RUNS} fair histories of {N_ROLLS} rolls");
        assert!((4..33).contains(&n_alarms), "{n_alarms} of {N_RUNS}");
    }

    /// The control: the false alarms that the e-value avoids.
    #[test]
    fn a_chi_square_watched_live_calls_most_fair_dice_unfair() {
        let caught = alarms(1.0, |tally| {
            let expected = tally.n_rolls as f64 / 6.0;
            let off = |n: u64| (n as f64 - expected).powi(2) / expected;
            let chi_square: f64 = tally.results.iter().map(|result| off(result.n_rolls)).sum();
            // The quantile of p = 0.05 at 5 degrees of freedom.
            tally.n_rolls >= 30 && chi_square > 11.07
        });
        let n_alarms = caught.iter().flatten().count();
        println!("{n_alarms} false alarms of a naive chi-square in {N_RUNS} fair histories");
        assert!(n_alarms as u64 > N_RUNS / 2, "{n_alarms} of {N_RUNS}");
    }

    /// How many of 400 servers with these fair dice ever have an alarm: at 20 times the number of
    /// dice, and at 20 for each die alone.
    fn servers_with_an_alarm(dice: &[&str], n_rolls: i64) -> (u64, u64) {
        let at = alarm(dice.len());
        let (mut n_alarms, mut n_alone) = (0, 0);
        for seed in 0..N_RUNS {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut tallies: Vec<DieTally> = dice.iter().map(|name| die(name)).collect();
            tallies.iter_mut().for_each(|tally| tally.set_alarm(at));
            for id in 1..=n_rolls {
                for tally in &mut tallies {
                    let (n_dice, n_sides) = (tally.die.n_dice(), u32::from(tally.die.n_sides()));
                    let sum = (0..n_dice).map(|_| rng.random_range(1..=n_sides)).sum();
                    tally.add(RollId(id), sum);
                }
            }
            let alone = |tally: &DieTally| tally.highest_log_e >= alarm(1).ln();
            n_alarms += u64::from(tallies.iter().any(|tally| tally.alarm_id.is_some()));
            n_alone += u64::from(tallies.iter().any(alone));
        }
        println!("{n_alarms} of {N_RUNS} fair servers with {} dice, {n_alone} at 20", dice.len());
        (n_alarms, n_alone)
    }

    #[test]
    fn at_most_one_of_twenty_fair_servers_ever_has_an_alarm_however_many_dice_it_rolls() {
        let five = ["1D2", "1D4", "1D6", "2D6", "1D8"];
        let twelve =
            ["1D2", "1D3", "1D4", "1D5", "1D6", "1D7", "1D8", "2D2", "2D3", "2D4", "2D5", "2D6"];
        for (dice, n_rolls) in [(&five[..], 2_000), (&twelve[..], 800)] {
            let (n_alarms, n_alone) = servers_with_an_alarm(dice, n_rolls);
            // At most 20 of 400 are expected. 33 or more would come once in 300 tests.
            assert!(n_alarms < 33, "{n_alarms} of {N_RUNS}");
            // Control: an alarm at 20 for each die breaks the promise.
            assert!(n_alone > 40, "control: {n_alone} of {N_RUNS}");
        }
    }

    #[test]
    fn an_alarm_below_a_raised_threshold_is_forgotten_and_may_come_again() {
        let mut tally = die("1D6");
        let mut id = 0;
        let mut roll_sixes_to = |tally: &mut DieTally, e: f64| {
            while tally.log_e < e.ln() {
                id += 1;
                tally.add(RollId(id), 6);
            }
            id
        };
        let first = roll_sixes_to(&mut tally, 20.0);
        assert_eq!(tally.alarm_id, Some(RollId(first)));
        tally.set_alarm(40.0);
        assert_eq!(tally.alarm_id, None);
        let second = roll_sixes_to(&mut tally, 40.0);
        assert!(second > first);
        assert_eq!(tally.alarm_id, Some(RollId(second)));
        tally.set_alarm(40.0);
        assert_eq!(tally.alarm_id, Some(RollId(second)), "the same threshold changes nothing");
    }

    #[test]
    fn peaks_are_the_highest_evidence_of_ranges_that_grow_with_the_history() {
        let mut tally = die("1D6");
        let mut rng = StdRng::seed_from_u64(1);
        let mut evidence = Vec::new();
        for id in 1..=100_000 {
            tally.add(RollId(id), rng.random_range(1..=6));
            evidence.push(tally.log_e);
        }
        let (mut after, mut n_peaks) = (0, 0);
        for peak in &tally.peaks {
            let to = (peak.last_n as usize).min(evidence.len());
            let highest = evidence[after..to].iter().copied().fold(f64::MIN, f64::max);
            assert_eq!(peak.log_e.to_bits(), highest.to_bits(), "rolls {after} to {to}");
            (after, n_peaks) = (to, n_peaks + 1);
        }
        assert_eq!(after, evidence.len(), "every roll is in a range");
        assert!((40..60).contains(&n_peaks), "{n_peaks} for 100,000 rolls");
        let ends: Vec<u64> = tally.peaks.iter().take(9).map(|peak| peak.last_n).collect();
        assert_eq!(ends, [1, 2, 3, 4, 5, 6, 7, 8, 10]);
    }

    #[test]
    fn a_loaded_die_is_caught() {
        for (load, at_most) in [(1.1, 8_000), (1.2, 2_500), (1.5, 700)] {
            let caught = alarms(load, |tally| tally.alarm_id.is_some());
            let mut rolls: Vec<i64> = caught.into_iter().flatten().collect();
            rolls.sort_unstable();
            let median = rolls[rolls.len() / 2];
            println!("six {load} times as likely: {} caught, median {median} rolls", rolls.len());
            assert!(rolls.len() as u64 > N_RUNS * 9 / 10, "{load}: {} caught", rolls.len());
            assert!(median < at_most, "{load}: half are caught within {median} rolls");
        }
    }

    #[test]
    fn the_p_values_of_fair_blocks_are_flat() {
        for name in ["1D6", "2D6", "1D1000"] {
            let mut rng = StdRng::seed_from_u64(7);
            let mut tally = die(name);
            let (n_dice, n_sides) = (tally.die.n_dice(), u32::from(tally.die.n_sides()));
            for id in 1..=(400 * N_BLOCK_ROLLS) as i64 {
                let sum = (0..n_dice).map(|_| rng.random_range(1..=n_sides)).sum();
                tally.add(RollId(id), sum);
            }
            // 20 of 400 blocks are expected in each of the 20 bins. The chi-square statistic with
            // 19 degrees of freedom exceeds 43.8 once in 1,000 tests.
            let off = tally.p_values.iter().map(|n| (*n as f64 - 20.0).powi(2) / 20.0).sum::<f64>();
            assert!(off < 43.8, "{name}: {:?}", tally.p_values);
            assert_eq!(tally.n_blocks, 400);
        }
    }
}
