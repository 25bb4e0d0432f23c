//! The statistics of fair dice: the exact distribution of their sum, and the approximate
//! distribution of their longest runs.

use crate::dice::Die;
use crate::statistics::N_BLOCK_ROLLS;

/// The minimum number of expected rolls in a cell of a block. Below 5, the chi-square distribution
/// is a poor approximation of the statistic (Cochran 1954).
const MIN_EXPECTED: f64 = 5.0;

/// The distribution of a fair die's result, or of the sum of several dice.
#[derive(Clone, Debug)]
pub struct Distribution {
    lowest: u32,
    /// The probability of each result, lowest first. The sum is 1.
    chances: Vec<f64>,
    /// The index of each result's cell.
    cells: Vec<usize>,
    /// The probability of each cell.
    cell_chances: Vec<f64>,
}

impl Distribution {
    /// Computes the distribution by convolution, one die at a time.
    pub fn of(die: Die) -> Distribution {
        let n_sides = usize::from(die.n_sides());
        let mut chances = vec![1.0];
        for _ in 0..die.n_dice() {
            chances = with_another_die(&chances, n_sides);
        }
        let (cells, cell_chances) = cells(&chances);
        Distribution { lowest: u32::from(die.n_dice()), chances, cells, cell_chances }
    }

    /// The index of a result, from 0 for the lowest. `None` if these dice do not have this result.
    pub fn index(&self, result: u32) -> Option<usize> {
        let index = usize::try_from(result.checked_sub(self.lowest)?).ok()?;
        (index < self.chances.len()).then_some(index)
    }

    /// The result at an index.
    pub fn result(&self, index: usize) -> u32 {
        self.lowest + index as u32
    }

    /// The probability of each result, lowest first.
    pub fn chances(&self) -> &[f64] {
        &self.chances
    }

    /// The index of the cell of the result at `index`. Rare neighbouring results share a cell, so
    /// at least 5 rolls of a complete block are expected in each cell.
    pub fn cell(&self, index: usize) -> usize {
        self.cells[index]
    }

    /// The probability of each cell.
    pub fn cell_chances(&self) -> &[f64] {
        &self.cell_chances
    }

    /// The mean and the standard deviation of one result.
    pub fn moments(&self) -> (f64, f64) {
        let results = || self.chances.iter().enumerate();
        let mean = results().map(|(i, chance)| f64::from(self.result(i)) * chance).sum::<f64>();
        let variance = results()
            .map(|(i, chance)| (f64::from(self.result(i)) - mean).powi(2) * chance)
            .sum::<f64>();
        (mean, variance.sqrt())
    }

    /// Quantiles of the length of the longest streak of any result in `n_rolls`. `at` contains the
    /// probabilities.
    pub fn longest_streak<const N: usize>(&self, n_rolls: u64, at: [f64; N]) -> [u64; N] {
        let groups = self.groups();
        at.map(|p| longest(n_rolls, p, |length| log_none(&groups, n_rolls, length, |c| c)))
    }

    /// Quantiles of the length of the longest drought of any result in `n_rolls`. `at` contains the
    /// probabilities.
    pub fn longest_drought<const N: usize>(&self, n_rolls: u64, at: [f64; N]) -> [u64; N] {
        let groups = self.groups();
        at.map(|p| longest(n_rolls, p, |length| log_none(&groups, n_rolls, length, |c| 1.0 - c)))
    }

    /// The distinct probabilities, and the number of results with each. A single die has only one.
    fn groups(&self) -> Vec<(f64, f64)> {
        let mut sorted = self.chances.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut groups: Vec<(f64, f64)> = Vec::new();
        for chance in sorted {
            match groups.last_mut() {
                // Ignore differences that are only rounding errors.
                Some((same, n_results)) if chance - *same <= 1e-12 * chance => *n_results += 1.0,
                _ => groups.push((chance, 1.0)),
            }
        }
        groups
    }
}

/// The logarithm of the probability that `n_rolls` contain no run of `length`. `chance_in_run` maps
/// a result's probability to the probability that a roll belongs to a run of this result: a streak
/// of the result itself, or a drought of all others.
///
/// Runs of at least `length` start almost independently of each other, so their number is almost
/// Poisson distributed. A run can start at the first roll, or after a roll that does not belong
/// to it.
/// Arratia, Goldstein and Gordon, "Poisson approximation and the Chen-Stein method" (1990),
/// <https://doi.org/10.1214/ss/1177012015>. Results are treated as independent of each other.
fn log_none(
    groups: &[(f64, f64)],
    n_rolls: u64,
    length: u64,
    chance_in_run: impl Fn(f64) -> f64,
) -> f64 {
    let later = (n_rolls - length) as f64;
    let of_one_result = |chance: f64| {
        let inside = chance_in_run(chance);
        let run = (length as f64 * inside.ln()).exp();
        (-run).ln_1p() - later * (1.0 - inside) * run
    };
    groups.iter().map(|(chance, n_results)| n_results * of_one_result(*chance)).sum()
}

/// The shortest length that the longest run does not exceed with a probability of at least `p`.
fn longest(n_rolls: u64, p: f64, log_none: impl Fn(u64) -> f64) -> u64 {
    // Each roll is a run of 1. The longest run is at most `middle` if there is no run of `middle + 1`.
    let (mut low, mut high) = (n_rolls.min(1), n_rolls);
    while low < high {
        let middle = low + (high - low) / 2;
        if log_none(middle + 1) >= p.ln() {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The distribution of the sum with one more die. Uses a sliding window over the lower half, where
/// each new term is larger than the one it replaces, so small probabilities keep their precision.
/// The upper half is a mirror image.
fn with_another_die(chances: &[f64], n_sides: usize) -> Vec<f64> {
    let n_results = chances.len() + n_sides - 1;
    let mut sums = vec![0.0; n_results];
    let mut window = 0.0;
    for i in 0..n_results.div_ceil(2) {
        window += chances.get(i).copied().unwrap_or(0.0);
        if i >= n_sides {
            window -= chances[i - n_sides];
        }
        sums[i] = window / n_sides as f64;
        sums[n_results - 1 - i] = sums[i];
    }
    sums
}

/// Groups neighbouring results into cells. Returns the index of each result's cell, and the
/// probability of each cell.
fn cells(chances: &[f64]) -> (Vec<usize>, Vec<f64>) {
    let min_chance = MIN_EXPECTED / N_BLOCK_ROLLS as f64;
    let (mut cells, mut cell_chances) = (Vec::with_capacity(chances.len()), vec![0.0]);
    for chance in chances {
        if cell_chances.last().is_some_and(|chance| *chance >= min_chance) {
            cell_chances.push(0.0);
        }
        let cell = cell_chances.len() - 1;
        cell_chances[cell] += chance;
        cells.push(cell);
    }
    // Merge an incomplete last cell with the cell before it.
    if let [.., before, last] = cell_chances[..]
        && last < min_chance
    {
        let cell = cell_chances.len() - 2;
        cell_chances.pop();
        cell_chances[cell] = before + last;
        cells.iter_mut().for_each(|c| *c = (*c).min(cell));
    }
    (cells, cell_chances)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(die: &str) -> Distribution {
        Distribution::of(die.parse().expect("a die"))
    }

    #[test]
    fn sums_have_their_exact_distribution() {
        let two = of("2D6");
        for (i, ways) in [1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1].into_iter().enumerate() {
            let expected = f64::from(ways) / 36.0;
            assert!((two.chances()[i] - expected).abs() < 1e-15, "{} of 2D6", two.result(i));
        }
        assert_eq!(
            (two.index(1), two.index(2), two.index(12), two.index(13)),
            (None, Some(0), Some(10), None)
        );
        for die in ["1D2", "1D6", "3D4", "100D2", "10D10", "100D1000"] {
            let distribution = of(die);
            let sum: f64 = distribution.chances().iter().sum();
            assert!((sum - 1.0).abs() < 1e-9, "{die} adds up to {sum}");
            assert!(distribution.chances().iter().all(|chance| *chance > 0.0), "{die}");
            let cells: f64 = distribution.cell_chances().iter().sum();
            assert!((cells - 1.0).abs() < 1e-9, "the cells of {die} add up to {cells}");
            let rare = distribution.cell_chances().iter().filter(|c| **c * 3_600.0 < 4.999).count();
            assert_eq!(rare, 0, "{die} has rare cells");
        }
        // The rarest result of all, (1/1000)^100, is precise to 12 digits.
        let rarest = of("100D1000").chances()[0];
        assert!((rarest / 1e-300 - 1.0).abs() < 1e-12, "{rarest}");
        let (mean, deviation) = of("100D1000").moments();
        assert!((mean - 50_050.0).abs() < 1e-6 && (deviation - 2_886.75).abs() < 0.01);
    }

    #[test]
    fn quantiles_of_the_longest_runs_agree_with_a_simulation() {
        // Half of all pairs of coin flips have a streak of 2, the others only of 1.
        assert_eq!(of("1D2").longest_streak(2, [0.49, 0.6]), [1, 2]);
        // Every roll is a streak of 1, and a drought of 1 of the other results.
        for die in ["1D2", "1D6", "100D2"] {
            for n_rolls in [1, 2, 4] {
                assert_eq!(of(die).longest_streak(n_rolls, [1e-9]), [1], "{n_rolls} of {die}");
                let [shortest] = of(die).longest_drought(n_rolls, [1e-9]);
                assert!(shortest >= 1, "{n_rolls} of {die}");
            }
        }
        // The quantiles of 1,000 to 3,000 histories simulated with NumPy. Streaks are short, so
        // they must be equal. Droughts of several results are not independent in a short history.
        let at = [0.025, 0.5, 0.975];
        let table = [
            ("1D6", 10_000, [5, 6, 8], [43, 52, 69]),
            ("1D20", 10_000, [3, 4, 5], [154, 187, 246]),
            ("2D6", 10_000, [4, 5, 7], [179, 240, 358]),
            ("1D6", 100, [2, 3, 5], [18, 26, 43]),
            ("1D20", 100, [2, 2, 3], [59, 80, 100]),
        ];
        for (die, n_rolls, streaks, droughts) in table {
            assert_eq!(of(die).longest_streak(n_rolls, at), streaks, "{n_rolls} of {die}");
            let seen = of(die).longest_drought(n_rolls, at);
            for (seen, expected) in seen.into_iter().zip(droughts) {
                let off = seen.abs_diff(expected);
                assert!(off <= expected / 12, "{n_rolls} of {die}: {seen}, simulated {expected}");
            }
        }
        assert_eq!(of("1D6").longest_drought(0, [0.5]), [0]);
    }
}
