//! What fair dice show: the exact distribution of their sum, and of runs in many rolls.

use crate::dice::Die;
use crate::statistics::N_BLOCK_ROLLS;

/// Expected rolls a cell of a block has at least: below five the chi-square distribution no longer
/// describes the statistic well (Cochran 1954).
const LEAST_EXPECTED: f64 = 5.0;

/// The results of a fair die, or of the sum of several.
#[derive(Clone, Debug)]
pub struct Distribution {
    lowest: u32,
    /// The probability of each result from the lowest on. Adds up to 1.
    chances: Vec<f64>,
    /// The cell of each result.
    cells: Vec<usize>,
    /// The probability of each cell.
    cell_chances: Vec<f64>,
}

impl Distribution {
    /// Of one die after the other, by convolution.
    pub fn of(die: Die) -> Distribution {
        let n_sides = usize::from(die.n_sides());
        let mut chances = vec![1.0];
        for _ in 0..die.n_dice() {
            chances = with_another_die(&chances, n_sides);
        }
        let (cells, cell_chances) = cells(&chances);
        Distribution { lowest: u32::from(die.n_dice()), chances, cells, cell_chances }
    }

    /// The place of a result among all, from 0; `None` for one that these dice cannot show.
    pub fn index(&self, result: u32) -> Option<usize> {
        let index = usize::try_from(result.checked_sub(self.lowest)?).ok()?;
        (index < self.chances.len()).then_some(index)
    }

    /// The result at a place.
    pub fn result(&self, index: usize) -> u32 {
        self.lowest + index as u32
    }

    /// The probability of each result, lowest first.
    pub fn chances(&self) -> &[f64] {
        &self.chances
    }

    /// The cell of the result at a place: rare neighbours share one, so that a complete block
    /// has at least five rolls to be expected in each.
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

    /// The longest streak (of any one result) in `n_rolls`, at these probabilities.
    pub fn longest_streak<const N: usize>(&self, n_rolls: u64, at: [f64; N]) -> [u64; N] {
        let groups = self.groups();
        at.map(|p| longest(n_rolls, p, |length| log_none(&groups, n_rolls, length, |c| c)))
    }

    /// The longest drought (of any one result) in `n_rolls`, at these probabilities.
    pub fn longest_drought<const N: usize>(&self, n_rolls: u64, at: [f64; N]) -> [u64; N] {
        let groups = self.groups();
        at.map(|p| longest(n_rolls, p, |length| log_none(&groups, n_rolls, length, |c| 1.0 - c)))
    }

    /// Probabilities, and how many results have each: few, where dice are alike.
    fn groups(&self) -> Vec<(f64, f64)> {
        let mut sorted = self.chances.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut groups: Vec<(f64, f64)> = Vec::new();
        for chance in sorted {
            match groups.last_mut() {
                // What differs by rounding alone is the same.
                Some((same, n_results)) if chance - *same <= 1e-12 * chance => *n_results += 1.0,
                _ => groups.push((chance, 1.0)),
            }
        }
        groups
    }
}

/// The logarithm of the probability that `n_rolls` hold no run of `length`: a run being one of a
/// result, or of all others, as `chance_in_run` says.
///
/// Runs of at least `length` begin nearly independently of each other, so their number is nearly
/// Poisson: the first roll can begin one, any later one if the roll before it does not belong.
/// Arratia, Goldstein and Gordon, "Poisson approximation and the Chen-Stein method" (1990),
/// <https://doi.org/10.1214/ss/1177012015>. Results are taken as independent of each other.
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

/// The shortest length that the longest run does not exceed with probability `p`.
fn longest(n_rolls: u64, p: f64, log_none: impl Fn(u64) -> f64) -> u64 {
    // The longest is at most `length` if there is no run of one more.
    let (mut low, mut high) = (0, n_rolls);
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

/// The distribution of a sum with one die more. Each result of the lower half adds a new term and
/// loses an older, smaller one, so that small probabilities keep their digits; the upper half
/// mirrors it.
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

fn cells(chances: &[f64]) -> (Vec<usize>, Vec<f64>) {
    let enough = LEAST_EXPECTED / N_BLOCK_ROLLS as f64;
    let (mut cells, mut cell_chances) = (Vec::with_capacity(chances.len()), vec![0.0]);
    for chance in chances {
        if cell_chances.last().is_some_and(|chance| *chance >= enough) {
            cell_chances.push(0.0);
        }
        let cell = cell_chances.len() - 1;
        cell_chances[cell] += chance;
        cells.push(cell);
    }
    // What is left at the end goes with the cell before it.
    if let [.., before, last] = cell_chances[..]
        && last < enough
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
        // (1/1000)^100, the rarest there is, to its last digits.
        let rarest = of("100D1000").chances()[0];
        assert!((rarest / 1e-300 - 1.0).abs() < 1e-12, "{rarest}");
        let (mean, deviation) = of("100D1000").moments();
        assert!((mean - 50_050.0).abs() < 1e-6 && (deviation - 2_886.75).abs() < 0.01);
    }

    #[test]
    fn the_longest_runs_of_many_rolls_are_known_before() {
        // Of 2 rolls of a coin: half have a streak of 2, the others only of 1.
        assert_eq!(of("1D2").longest_streak(2, [0.49, 0.6]), [1, 2]);
        // The quantiles of 1,000 to 3,000 histories simulated with NumPy. Streaks are short, so they
        // must be the same; droughts of several results are not quite independent in a short log.
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
