//! The plot of the evidence over rolls: both axes are logarithmic. js/evidence.js computes the same.

use serde::Serialize;

use crate::statistics::words::{grouped, superscript};
use crate::statistics::{DieReport, EvidencePoint};
use crate::web::pages::stats::axis::{Tick, percent, round_up};

/// Free space above and below the values, as a fraction of their range.
const MARGIN: f64 = 0.08;
/// The maximum number of steps of the scale of evidence.
const MAX_STEPS: f64 = 5.0;

/// The plot of the evidence.
#[derive(Debug, Serialize)]
pub struct Evidence {
    /// The points of the line, in percent of the plot: `0.00,50.00 33.33,40.00`.
    line: String,
    now_x: String,
    now_y: String,
    alarm_y: String,
    alarm: String,
    /// Numbers of rolls.
    x_ticks: Vec<Tick>,
    /// E-values, the highest first.
    y_ticks: Vec<Tick>,
    /// The first roll of the line, if older ones are missing.
    begins_at: Option<String>,
}

impl Evidence {
    pub fn of(report: &DieReport) -> Evidence {
        let fairness = &report.fairness;
        let n_decades = n_decades(report.n_rolls);
        let x = |n_rolls: u64| 100.0 * (n_rolls.max(1) as f64).log10() / f64::from(n_decades);
        let alarm = fairness.alarm.log10();
        let points = || fairness.history.iter().map(|point| point.log10_e);
        // At least from 0.1 to the alarm.
        let highest = points().fold(alarm.max(fairness.log10_e), f64::max);
        let lowest = points().fold(fairness.log10_e.min(-1.0), f64::min);
        let margin = MARGIN * (highest - lowest);
        let (top, bottom) = (highest + margin, lowest - margin);
        let y = |log10_e: f64| 100.0 * (top - log10_e) / (top - bottom);
        let point = |point: &EvidencePoint| {
            format!("{:.2},{:.2}", x(point.n_rolls), y(point.log10_e) + 0.0)
        };
        let line: Vec<String> = fairness.history.iter().map(point).collect();
        let step = round_up(((top - bottom) / MAX_STEPS).max(1.0));
        let (first, last) = ((top / step).floor() as i32, (bottom / step).ceil() as i32);
        let exponents = (last..=first).rev().map(|n| n * step as i32);
        let first = fairness.history.first().map_or(1, |point| point.n_rolls);
        Evidence {
            line: line.join(" "),
            now_x: percent(x(report.n_rolls)),
            now_y: percent(y(fairness.log10_e)),
            alarm_y: percent(y(alarm)),
            alarm: grouped(fairness.alarm as u64),
            x_ticks: (0..=n_decades)
                .map(|n| Tick::new(100.0 * f64::from(n) / f64::from(n_decades), power(n as i32)))
                .collect(),
            y_ticks: exponents.map(|n| Tick::new(y(f64::from(n)), power(n))).collect(),
            begins_at: (first > 1).then(|| grouped(first)),
        }
    }
}

/// The number of powers of ten on the axis of rolls, which ends with one.
fn n_decades(n_rolls: u64) -> u32 {
    let mut n_decades = 1;
    while 10_u64.checked_pow(n_decades).is_some_and(|end| end < n_rolls) {
        n_decades += 1;
    }
    n_decades
}

/// A power of ten: `0.01`, `1`, `1,000`, `10⁶` or `10⁻²⁰`.
fn power(exponent: i32) -> String {
    match exponent {
        0..=3 => grouped(10_u64.pow(exponent as u32)),
        -2..0 => format!("{:.*}", exponent.unsigned_abs() as usize, 10_f64.powi(exponent)),
        _ => format!("10{}", superscript(exponent.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::roll::RollId;
    use crate::statistics::DieTally;

    fn plot(die: &str, results: impl Iterator<Item = u32>) -> Evidence {
        let mut tally = DieTally::new(die.parse().expect("a die"));
        for (id, result) in (1..).zip(results) {
            tally.add(RollId(id), result);
        }
        Evidence::of(&DieReport::from(&tally))
    }

    fn texts(ticks: &[Tick]) -> String {
        let texts: Vec<&str> = ticks.iter().map(|tick| &*tick.text).collect();
        texts.join(" ")
    }

    #[test]
    fn the_scales_are_logarithmic_and_hold_every_value() {
        let one = plot("1D6", (0..1).map(|n| 1 + n % 6));
        assert_eq!(texts(&one.x_ticks), "1 10");
        assert_eq!(texts(&one.y_ticks), "10 1 0.1");
        // A die that is too even: the evidence falls far below 1.
        let even = plot("1D20", (0..20_000).map(|n| 1 + n % 20));
        assert_eq!(texts(&even.x_ticks), "1 10 100 1,000 10⁴ 10⁵");
        assert_eq!(texts(&even.y_ticks), "1 10⁻⁵ 10⁻¹⁰");
        let six = plot("1D6", std::iter::repeat_n(6, 100));
        assert!(texts(&six.y_ticks).starts_with("10"), "{six:?}");
        for plot in [one, even, six] {
            for point in plot.line.split(' ') {
                let (x, y) = point.split_once(',').expect("a point");
                let inside =
                    [x, y].map(|n| (0.0..=100.0).contains(&n.parse::<f64>().expect("a number")));
                assert_eq!(inside, [true, true], "{plot:?}");
            }
        }
    }

    #[test]
    fn the_line_crosses_the_alarm_if_the_evidence_did_for_a_single_roll() {
        let mut tally = DieTally::new("1D6".parse().expect("a die"));
        // Sixes until the alarm, then ones, which lower the evidence again.
        let mut id = 0;
        while tally.alarm_id.is_none() {
            id += 1;
            tally.add(RollId(id), 6);
        }
        for n in 0..2 * id {
            tally.add(RollId(id + 1 + n), 1 + (n % 5) as u32);
        }
        assert!(tally.log_e < tally.alarm.ln(), "{}", tally.log_e);
        let plot = Evidence::of(&DieReport::from(&tally));
        let y = |text: &str| text.trim_end_matches('%').parse::<f64>().expect("a number");
        let ys = plot.line.split(' ').filter_map(|point| Some(y(point.split_once(',')?.1)));
        let above = ys.filter(|at| *at <= y(&plot.alarm_y)).count();
        assert!(above >= 1, "{plot:?}");
        assert!(y(&plot.now_y) > y(&plot.alarm_y), "{plot:?}");
    }
}
