//! The coordinates of the shapes in each plot, an SVG that is 720 units wide. The style sheet sets
//! colours and font sizes.

use serde::Serialize;

use crate::statistics::{Bin, BlockReport, Fairness};

const WIDTH: f64 = 720.0;
/// The left edge of the plots. The labels of their scales are to its left.
const LEFT: f64 = 84.0;
const RIGHT: f64 = WIDTH - 8.0;
/// The top and bottom of the plot of counts.
const COUNTS: (f64, f64) = (16.0, 200.0);
/// The top and bottom of the plot of deviations, below the counts.
const DEVIATIONS: (f64, f64) = (232.0, 352.0);
/// The top and bottom of the plot of p-values.
const P_VALUES: (f64, f64) = (16.0, 128.0);
/// The range of the evidence scale, as decimal logarithms.
const EVIDENCE: (f64, f64) = (-6.0, 3.0);
/// The maximum number of labels below a plot.
const MAX_LABELS: usize = 20;
/// The minimum number of expected rolls for drawing a deviation. With fewer, each roll changes the
/// deviation a lot.
const MIN_EXPECTED: f64 = 1.0;

/// A rectangle, and whether its value is outside the expected range.
#[derive(Debug, Serialize)]
pub struct Bar {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    outside: bool,
}

/// A mark on a scale.
#[derive(Debug, Serialize)]
pub struct Tick {
    at: f64,
    text: String,
    /// Whether it may be hidden on a narrow screen.
    minor: bool,
}

/// The plot of counts by result, and the plot of their deviations from the expected values.
#[derive(Debug, Serialize)]
pub struct Counts {
    bars: Vec<Bar>,
    /// The outline of the expected range of the counts, as points of a polygon.
    band: String,
    /// The same for the deviations.
    deviation_band: String,
    /// The expected values, as points of a line.
    expected: String,
    /// The deviations; empty if too few rolls are expected of every result. Then the page leaves out
    /// this plot.
    dots: Vec<Bar>,
    /// The y coordinate of a deviation of zero.
    zero: f64,
    count_ticks: Vec<Tick>,
    deviation_ticks: Vec<Tick>,
    labels: Vec<Tick>,
}

impl Counts {
    pub fn of(bins: &[Bin]) -> Counts {
        let step = (RIGHT - LEFT) / bins.len().max(1) as f64;
        let left = |i: usize| LEFT + i as f64 * step;
        let most = bins.iter().map(|bin| bin.n_rolls.max(bin.high)).max().unwrap_or(0);
        let most = (most as f64 * 1.05).max(1.0);
        let count_y = |n: f64| scale(n, (0.0, most), COUNTS);

        let off = |bin: &Bin, n: u64| 100.0 * (n as f64 / bin.expected - 1.0);
        let drawn = |bin: &&Bin| bin.expected >= MIN_EXPECTED;
        let offs = bins.iter().filter(drawn);
        let reach =
            offs.flat_map(|bin| [bin.n_rolls, bin.low, bin.high].map(|n| off(bin, n).abs()));
        let reach = 1.1 * reach.fold(0.0, f64::max).max(1e-6);
        let off_y = |percent: f64| scale(percent.clamp(-reach, reach), (-reach, reach), DEVIATIONS);

        // The outline of a band runs along the upper ends of all bins, and back along the
        // lower ends.
        let stairs = |y: &dyn Fn(&Bin, u64) -> f64| {
            let upper = bins.iter().enumerate().flat_map(|(i, bin)| {
                let y = y(bin, bin.high);
                [(left(i), y), (left(i + 1), y)]
            });
            let lower = bins.iter().enumerate().rev().flat_map(|(i, bin)| {
                let y = y(bin, bin.low);
                [(left(i + 1), y), (left(i), y)]
            });
            points(upper.chain(lower))
        };
        let expected = bins.iter().enumerate().flat_map(|(i, bin)| {
            let y = count_y(bin.expected);
            [(left(i), y), (left(i + 1), y)]
        });
        let bars = bins.iter().enumerate().map(|(i, bin)| Bar {
            x: round(left(i) + 0.15 * step),
            y: count_y(bin.n_rolls as f64),
            width: round(0.7 * step),
            height: round(COUNTS.1 - count_y(bin.n_rolls as f64)),
            outside: bin.is_outside(),
        });
        let dots = bins.iter().enumerate().filter(|(_, bin)| drawn(bin)).map(|(i, bin)| {
            let y = off_y(off(bin, bin.n_rolls));
            let zero = off_y(0.0);
            Bar {
                x: round(left(i) + step / 2.0),
                y,
                width: 0.0,
                height: round(zero - y),
                outside: bin.is_outside(),
            }
        });
        let every = bins.len().div_ceil(MAX_LABELS);
        let labels = bins.iter().enumerate().step_by(every).map(|(i, bin)| Tick {
            at: round(left(i) + step / 2.0),
            // A bin of several results shows only the first, because there is no space for all.
            text: bin.from.to_string(),
            minor: bins.len() > MAX_LABELS / 2 && i / every % 2 == 1,
        });
        Counts {
            bars: bars.collect(),
            band: stairs(&|_, n| count_y(n as f64)),
            deviation_band: stairs(&|bin, n| match bin.expected >= MIN_EXPECTED {
                true => off_y(off(bin, n)),
                false => off_y(0.0),
            }),
            expected: points(expected),
            dots: dots.collect(),
            zero: off_y(0.0),
            count_ticks: ticks((0.0, most), 1.0, &compact).map(|(n, text)| tick(count_y(n), text)),
            deviation_ticks: ticks((-reach, reach), 0.0, &percent)
                .map(|(n, text)| tick(off_y(n), text)),
            labels: labels.collect(),
        }
    }
}

/// The scale of the evidence against fairness, and the position of a die on it.
#[derive(Debug, Serialize)]
pub struct Meter {
    now: f64,
    highest: f64,
    alarm: f64,
    raised: bool,
    ticks: Vec<Tick>,
}

impl Meter {
    pub fn of(fairness: &Fairness) -> Meter {
        let x = |log10: f64| {
            scale(log10.clamp(EVIDENCE.0, EVIDENCE.1), EVIDENCE, (RIGHT - 32.0, LEFT + 4.0))
        };
        let scale = [(-6.0, "10⁻⁶"), (-3.0, "0.001"), (0.0, "1"), (3.0, "1000")];
        let mut ticks: Vec<Tick> =
            scale.into_iter().map(|(log10, text)| tick(x(log10), text.into())).collect();
        let alarm = x(fairness.alarm.log10());
        ticks.push(tick(alarm, format!("{:.0}", fairness.alarm)));
        Meter {
            now: x(fairness.log10_e),
            highest: x(fairness.highest_log10_e),
            alarm,
            raised: fairness.alarm_id.is_some(),
            ticks,
        }
    }
}

/// The plot of the number of blocks by p-value.
#[derive(Debug, Serialize)]
pub struct PValues {
    bars: Vec<Bar>,
    band: Bar,
    expected: f64,
    count_ticks: Vec<Tick>,
    labels: Vec<Tick>,
}

impl PValues {
    pub fn of(blocks: &BlockReport) -> PValues {
        let bins = &blocks.p_values;
        let x = |p: f64| scale(p, (0.0, 1.0), (RIGHT, LEFT));
        let most = bins.iter().map(|bin| bin.n_blocks.max(bin.high)).max().unwrap_or(0);
        let most = (most as f64 * 1.05).max(1.0);
        let y = |n: f64| scale(n, (0.0, most), P_VALUES);
        let bars = bins.iter().map(|bin| Bar {
            x: round(x(bin.from) + 2.0),
            y: y(bin.n_blocks as f64),
            width: round(x(bin.to) - x(bin.from) - 4.0),
            height: round(P_VALUES.1 - y(bin.n_blocks as f64)),
            outside: bin.is_outside(),
        });
        let first = bins.first();
        let (low, high) = first.map_or((0, 0), |bin| (bin.low, bin.high));
        let labels = [0.0, 0.25, 0.5, 0.75, 1.0].map(|p| tick(x(p), format!("{p}")));
        PValues {
            bars: bars.collect(),
            band: Bar {
                x: LEFT,
                y: y(high as f64),
                width: RIGHT - LEFT,
                height: round(y(low as f64) - y(high as f64)),
                outside: false,
            },
            expected: y(first.map_or(0.0, |bin| bin.expected)),
            count_ticks: ticks((0.0, most), 1.0, &compact).map(|(n, text)| tick(y(n), text)),
            labels: labels.into(),
        }
    }
}

/// Maps `x` linearly, `low` to `bottom` and `high` to `top`, and rounds the result.
fn scale(x: f64, (low, high): (f64, f64), (top, bottom): (f64, f64)) -> f64 {
    round(bottom - (x - low) / (high - low) * (bottom - top))
}

/// Rounds to a tenth of a unit, which is less than a pixel.
fn round(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

fn points(corners: impl Iterator<Item = (f64, f64)>) -> String {
    let corners: Vec<String> = corners.map(|(x, y)| format!("{},{y}", round(x))).collect();
    corners.join(" ")
}

fn tick(at: f64, text: String) -> Tick {
    Tick { at, text, minor: false }
}

/// The round numbers in a range, with their labels.
struct Ticks(Vec<(f64, String)>);

impl Ticks {
    fn map(self, mark: impl Fn((f64, String)) -> Tick) -> Vec<Tick> {
        self.0.into_iter().map(mark).collect()
    }
}

/// Chooses the round numbers between `low` and `high` whose distance is 1, 2 or 5 times a power of
/// ten, and at least a fifth of the range and `min_step`. So there are at most six, and if the range
/// is symmetrical, there are numbers on both sides of zero.
fn ticks((low, high): (f64, f64), min_step: f64, text: &dyn Fn(f64) -> String) -> Ticks {
    let rough = ((high - low) / 5.0).max(min_step);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    let numbers = (first..=last).map(|n| n as f64 * step);
    Ticks(numbers.map(|n| (n, text(n))).collect())
}

/// Formats a count in few characters: `950`, `1.5k`, `20M`.
fn compact(n: f64) -> String {
    for (unit, letter) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if n >= unit {
            return format!("{}{letter}", trim(n / unit));
        }
    }
    trim(n)
}

fn percent(n: f64) -> String {
    let sign = if n > 0.0 { "+" } else { "" };
    // The minus sign U+2212, which is as wide as the plus sign.
    format!("{sign}{} %", trim(n)).replace('-', "−")
}

/// Formats a number with at most four decimals, without trailing zeros.
fn trim(n: f64) -> String {
    let text = format!("{n:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_has_a_few_round_numbers_and_counts_are_whole() {
        let labels = |range, min_step, text: &dyn Fn(f64) -> String| {
            let ticks = ticks(range, min_step, text).0.into_iter();
            ticks.map(|(_, text)| text).collect::<Vec<_>>().join(" ")
        };
        for (most, expected) in [
            (1.05, "0 1"),
            (2.1, "0 1 2"),
            (7.35, "0 2 4 6"),
            (21_000.0, "0 5k 10k 15k 20k"),
            (35_000.0, "0 10k 20k 30k"),
        ] {
            assert_eq!(labels((0.0, most), 1.0, &compact), expected, "counts to {most}");
        }
        for (reach, expected) in [
            (1.1, "−1 % −0.5 % 0 % +0.5 % +1 %"),
            (4.9, "−4 % −2 % 0 % +2 % +4 %"),
            (9.9, "−5 % 0 % +5 %"),
            (220.0, "−200 % −100 % 0 % +100 % +200 %"),
        ] {
            assert_eq!(labels((-reach, reach), 0.0, &percent), expected, "deviations to {reach}");
        }
    }
}
