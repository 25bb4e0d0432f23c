//! The plot of deviations: how far the count of each result is from the expected one, in percent,
//! in front of the range of a fair die. js/deviations.js computes the same.

use serde::Serialize;

use crate::statistics::Bin;
use crate::web::pages::stats::axis::{Tick, labels, percent, round_up, slot};

/// The scale fits all results that are at least this likely, as a fraction of the likeliest one.
/// Deviations of rarer results, which are much larger by chance, end at the edge of the plot.
const MIN_LIKELY: f64 = 0.1;
/// The minimum number of expected rolls for drawing a deviation. With fewer, each roll changes the
/// deviation a lot.
const MIN_EXPECTED: f64 = 1.0;
/// The end of the scale while no deviation is drawn, in percent.
const NO_REACH: f64 = 100.0;
/// The fraction of its slot that a bar fills.
const BAR: f64 = 0.7;

/// The plot of deviations.
#[derive(Debug, Serialize)]
pub struct Deviations {
    /// Five of them, from the highest to the lowest: the ends of the scale, zero, and between.
    ticks: Vec<Tick>,
    bars: Vec<Bar>,
    labels: Vec<Tick>,
}

/// One result, and the range of a fair die.
#[derive(Debug, Serialize)]
struct Bar {
    slot_x: String,
    slot_width: String,
    x: String,
    width: String,
    y: String,
    height: String,
    band_y: String,
    band_height: String,
    outside: bool,
}

impl Deviations {
    pub fn of(bins: &[Bin]) -> Deviations {
        let reach = reach(bins);
        let y = |deviation: f64| 50.0 - 50.0 * (deviation / reach).clamp(-1.0, 1.0);
        let bar = |(index, bin): (usize, &Bin)| {
            let (left, width) = slot(index, bins.len());
            let [seen, low, high] = [bin.n_rolls, bin.low, bin.high].map(|n| y(deviation(bin, n)));
            Bar {
                slot_x: percent(left),
                slot_width: percent(width),
                x: percent(left + (1.0 - BAR) / 2.0 * width),
                width: percent(BAR * width),
                y: percent(seen.min(50.0)),
                height: percent((seen - 50.0).abs()),
                band_y: percent(high),
                band_height: percent(low - high),
                outside: bin.is_outside(),
            }
        };
        let tick = |i: u32| {
            let part = 1.0 - f64::from(i) / 2.0;
            Tick::new(25.0 * f64::from(i), signed_percent(part * reach))
        };
        Deviations {
            ticks: (0..5).map(tick).collect(),
            bars: bins.iter().enumerate().map(bar).collect(),
            labels: labels(bins),
        }
    }
}

/// The deviation of a count from the expected one, in percent. 0 if it is not drawn.
fn deviation(bin: &Bin, n_rolls: u64) -> f64 {
    match bin.expected {
        MIN_EXPECTED.. => 100.0 * (n_rolls as f64 / bin.expected - 1.0),
        _ => 0.0,
    }
}

/// The end of the scale, in percent: a round number.
fn reach(bins: &[Bin]) -> f64 {
    let most = bins.iter().map(|bin| bin.expected).fold(0.0, f64::max);
    let likely = bins.iter().filter(|bin| bin.expected >= MIN_LIKELY * most);
    let deviations =
        likely.flat_map(|bin| [bin.n_rolls, bin.low, bin.high].map(|n| deviation(bin, n).abs()));
    match deviations.fold(0.0, f64::max) {
        0.0 => NO_REACH,
        widest => round_up(widest),
    }
}

/// `+2.5 %`, with the minus sign U+2212, which is as wide as the plus sign.
fn signed_percent(n: f64) -> String {
    let sign = if n > 0.0 {
        "+"
    } else if n < 0.0 {
        "−"
    } else {
        ""
    };
    let text = format!("{:.4}", n.abs());
    format!("{sign}{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::roll::RollId;
    use crate::statistics::{DieReport, DieTally};

    fn plot(die: &str, results: impl Iterator<Item = u32>) -> Deviations {
        let mut tally = DieTally::new(die.parse().expect("a die"));
        for (id, result) in (1..).zip(results) {
            tally.add(RollId(id), result);
        }
        Deviations::of(&DieReport::from(&tally).results)
    }

    #[test]
    fn the_scale_has_five_round_numbers_for_any_number_of_rolls() {
        let ticks = |n_rolls: u32| {
            let plot = plot("1D6", (0..n_rolls).map(|n| 1 + n % 6));
            let texts: Vec<String> = plot.ticks.into_iter().map(|tick| tick.text).collect();
            texts.join(" ")
        };
        for (n_rolls, expected) in [
            (0, "+100 % +50 % 0 % −50 % −100 %"),
            (5, "+100 % +50 % 0 % −50 % −100 %"),
            (6, "+200 % +100 % 0 % −100 % −200 %"),
            (60, "+100 % +50 % 0 % −50 % −100 %"),
            (6_000, "+10 % +5 % 0 % −5 % −10 %"),
            (60_000, "+2 % +1 % 0 % −1 % −2 %"),
        ] {
            assert_eq!(ticks(n_rolls), expected, "{n_rolls} rolls");
        }
    }

    #[test]
    fn bars_begin_at_zero_and_those_beyond_the_band_are_marked() {
        // Of 600 rolls, 20 that would be a one are a six.
        let results = (0..600).map(|n| if n % 6 == 0 && n % 5 == 0 { 6 } else { 1 + n % 6 });
        let plot = plot("1D6", results);
        let (one, six) = (&plot.bars[0], &plot.bars[5]);
        let marked: Vec<bool> = plot.bars.iter().map(|bar| bar.outside).collect();
        assert_eq!(marked, [true, false, false, false, false, true]);
        // 20 % too few and too many, on a scale to 20 %.
        assert_eq!([&*one.y, &*one.height], ["50.00%", "50.00%"]);
        assert_eq!([&*six.y, &*six.height], ["0.00%", "50.00%"]);
        assert!(plot.bars.iter().all(|bar| bar.slot_width == "16.67%"), "{plot:?}");
    }

    #[test]
    fn rare_results_of_a_sum_do_not_shrink_all_others() {
        let plot = plot("10D10", (0..2_500).map(|n| 40 + n % 31));
        assert_eq!(plot.ticks[0].text, "+200 %");
        let clamped = plot.bars.iter().filter(|bar| bar.band_y == "0.00%").count();
        assert!(clamped > 0, "no range reaches beyond the edge: {:?}", plot.bars);
    }

    #[test]
    fn the_end_of_a_scale_is_round() {
        let ends = [0.001, 0.02, 0.021, 1.0, 1.01, 4.9, 5.1, 99.0, 1_900.0].map(round_up);
        let expected = [0.001, 0.02, 0.05, 1.0, 2.0, 5.0, 10.0, 100.0, 2_000.0];
        for (end, expected) in ends.into_iter().zip(expected) {
            assert!((end / expected - 1.0_f64).abs() < 1e-9, "{end}, expected {expected}");
        }
    }
}
