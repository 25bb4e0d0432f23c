//! The axes of the plots. Positions are percentages of the plot, so text keeps its size when the
//! plot grows or shrinks. js/axis.js computes the same positions.

use serde::Serialize;

use crate::statistics::Bin;

/// Each bin has its own label up to this number of bins.
const MAX_LABELLED: usize = 12;
/// The maximum number of steps of an axis with more bins.
const MAX_STEPS: f64 = 5.0;

/// A text at a position.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tick {
    pub at: String,
    pub text: String,
}

impl Tick {
    /// A text at `percent`.
    pub fn new(percent: f64, text: String) -> Tick {
        Tick { at: self::percent(percent), text }
    }
}

/// A position or length in an SVG, rounded to what a pixel can show: `12.50%`.
pub fn percent(percent: f64) -> String {
    // Adding 0 removes the sign of a negative zero.
    format!("{:.2}%", percent + 0.0)
}

/// Where a bin begins, and how wide it is.
pub fn slot(index: usize, n_bins: usize) -> (f64, f64) {
    let width = 100.0 / n_bins as f64;
    (index as f64 * width, width)
}

/// The labels of the bins: all of them, or round results.
pub fn labels(bins: &[Bin]) -> Vec<Tick> {
    let (Some(first), Some(last)) = (bins.first(), bins.last()) else { return Vec::new() };
    let step = match bins.len() {
        ..=MAX_LABELLED => 1,
        _ => round_up(f64::from(last.to - first.from) / MAX_STEPS) as u32,
    };
    let text = |bin: &Bin| {
        let multiple = bin.to / step * step;
        (multiple >= bin.from).then_some(multiple)
    };
    let next = bins.iter().position(|bin| text(bin).is_some()).unwrap_or(0);
    let middle = |index| {
        let (left, width) = slot(index, bins.len());
        left + width / 2.0
    };
    let named = bins.iter().enumerate().filter_map(|(index, bin)| Some((index, text(bin)?)));
    // The lowest result, unless it would touch the next label.
    let lowest = (next * 16 > bins.len()).then_some((0, first.from));
    let all = lowest.into_iter().chain(named);
    all.map(|(index, result)| Tick::new(middle(index), result.to_string())).collect()
}

/// The smallest of 1, 2, 5, 10, 20, … and 0.5, 0.2, 0.1, … that is at least `x`, which is positive.
pub fn round_up(x: f64) -> f64 {
    let power = 10_f64.powi(x.log10().floor() as i32);
    let round = [1.0, 2.0, 5.0].map(|n| n * power);
    // Without rounding errors, the last one is 10 times the power.
    round.into_iter().find(|round| *round >= x).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::statistics::{DieReport, DieTally};

    #[test]
    fn small_dice_have_all_labels_and_large_ones_round_results() {
        let of = |die: &str| {
            let report = DieReport::from(&DieTally::new(die.parse().expect("a die")));
            let texts: Vec<String> =
                labels(&report.results).into_iter().map(|label| label.text).collect();
            texts.join(" ")
        };
        for (die, expected) in [
            ("1D2", "1 2"),
            ("1D6", "1 2 3 4 5 6"),
            ("2D6", "2 3 4 5 6 7 8 9 10 11 12"),
            ("1D20", "1 5 10 15 20"),
            ("10D10", "10 20 40 60 80 100"),
            ("1D1000", "1 200 400 600 800 1000"),
            ("100D1000", "100 20000 40000 60000 80000 100000"),
        ] {
            assert_eq!(of(die), expected, "{die}");
        }
    }
}
