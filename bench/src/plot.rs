//! Line plots as plain SVG, readable on light and on dark ground.

use std::fmt::Write as _;

/// A plot of several lines.
#[derive(Debug)]
pub struct Plot {
    /// The file's name, without its ending.
    pub name: String,
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
}

#[derive(Debug)]
pub struct Axis {
    pub label: &'static str,
    /// Whether each step is ten times the last one.
    pub log: bool,
}

#[derive(Debug)]
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 340.0;
/// Room around the lines: for names at the right, for numbers elsewhere.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 50.0;

/// Colours that colour-blind people can tell apart, first on white, then on black:
/// <https://jfly.uni-koeln.de/color/>.
const COLOURS: [(&str, &str); 5] = [
    ("#0072b2", "#56b4e9"),
    ("#d55e00", "#ff8c42"),
    ("#009e73", "#2fd3a3"),
    ("#b0558a", "#e6a0c8"),
    ("#8a6d00", "#f0e442"),
];

impl Plot {
    pub fn to_svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let x = Scale::new(&self.x, points().map(|point| point.0), LEFT, WIDTH - RIGHT);
        let y = Scale::new(&self.y, points().map(|point| point.1), HEIGHT - BOTTOM, TOP);
        let (mut light, mut dark) = (String::new(), String::new());
        for (i, (on_white, on_black)) in COLOURS.iter().enumerate() {
            let _ = write!(light, ".c{i} {{ --c: {on_white} }} ");
            let _ = write!(dark, ".c{i} {{ --c: {on_black} }} ");
        }
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             role=\"img\">\n<title>{title}</title>\n<style>\n\
             text {{ font: 12px system-ui, sans-serif; fill: #333; }}\n\
             .ground {{ fill: #fff; }}\n\
             .title {{ font-weight: 600; font-size: 14px; }}\n\
             .grid {{ stroke: #8888; stroke-width: 0.5; }}\n\
             .line {{ fill: none; stroke: var(--c); stroke-width: 2; }}\n\
             .point, .name {{ fill: var(--c); }}\n{light}\n\
             @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd; }} \
             .ground {{ fill: #0d1117; }} .name {{ fill: var(--c); }} {dark}}}\n</style>\n\
             <rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n",
            title = escape(&self.title),
        );
        let (top, bottom, left, right) = (TOP, HEIGHT - BOTTOM, LEFT, WIDTH - RIGHT);
        let _ = writeln!(
            svg,
            "<text class=\"title\" x=\"{left}\" y=\"20\">{}</text>",
            escape(&self.title)
        );
        for tick in x.ticks() {
            let at = x.place(tick);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{at:.1} {top}V{bottom}\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                number(tick)
            );
        }
        for tick in y.ticks() {
            let at = y.place(tick);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{left} {at:.1}H{right}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                at + 4.0,
                number(tick)
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (left + right) / 2.0,
            HEIGHT - 10.0,
            escape(self.x.label),
            (top + bottom) / 2.0,
            escape(self.y.label)
        );
        let mut names = Vec::new();
        for (i, line) in self.lines.iter().enumerate() {
            let class = format!("c{}", i % COLOURS.len());
            let drawn: Vec<(f64, f64)> =
                line.points.iter().map(|(a, b)| (x.place(*a), y.place(*b))).collect();
            let path: Vec<String> = drawn.iter().map(|(a, b)| format!("{a:.1} {b:.1}")).collect();
            let path = path.join("L");
            let _ = writeln!(svg, "<path class=\"line {class}\" d=\"M{path}\"/>");
            for (a, b) in &drawn {
                let _ = writeln!(
                    svg,
                    "<circle class=\"point {class}\" cx=\"{a:.1}\" cy=\"{b:.1}\" r=\"3\"/>"
                );
            }
            if let Some((_, b)) = drawn.last() {
                names.push((*b, class, &line.name));
            }
        }
        // Names stand at their lines' ends, but not on each other.
        names.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut lowest = f64::MIN;
        for (at, class, name) in names {
            let at = at.max(lowest + 15.0);
            lowest = at;
            let _ = writeln!(
                svg,
                "<text class=\"name {class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                right + 8.0,
                at + 4.0,
                escape(name)
            );
        }
        svg + "</svg>\n"
    }
}

/// Puts values to places along one axis.
struct Scale {
    log: bool,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn new(axis: &Axis, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Scale {
        let values: Vec<f64> =
            values.filter(|v| v.is_finite() && (!axis.log || *v > 0.0)).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = match (values.is_empty(), axis.log) {
            (true, _) => (1.0, 10.0),
            (false, true) => {
                let low = 10_f64.powf(least.log10().floor());
                (low, 10_f64.powf(most.log10().ceil()).max(low * 10.0))
            }
            // From zero, so that heights can be compared.
            (false, false) => (0.0, if most > 0.0 { most * 1.08 } else { 1.0 }),
        };
        Scale { log: axis.log, low, high, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.low) / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let n = (self.high / self.low).log10().round() as i32;
            return (0..=n).map(|i| self.low * 10_f64.powi(i)).collect();
        }
        let rough = (self.high - self.low) / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|s| *s >= rough);
        let step = step.unwrap_or(rough);
        let n = ((self.high - self.low) / step).floor() as i32;
        (0..=n).map(|i| self.low + f64::from(i) * step).collect()
    }
}

fn number(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", v / 1e6),
        v if v >= 1e3 => format!("{}k", v / 1e3),
        v => format!("{}", (v * 1e6).round() / 1e6),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_inside_and_higher_is_more() {
        let lines = vec![
            Line { name: "a < b".to_string(), points: vec![(100.0, 3.0), (10_000.0, 30.0)] },
            Line { name: "one".to_string(), points: vec![(1_000.0, 7.0)] },
        ];
        for log in [false, true] {
            let (x, y) = (Axis { label: "x", log: true }, Axis { label: "y", log });
            let scale = Scale::new(&y, [3.0, 7.0, 30.0].into_iter(), HEIGHT - BOTTOM, TOP);
            let places = [3.0, 7.0, 30.0].map(|value| scale.place(value));
            assert!(places.is_sorted_by(|a, b| a > b), "{places:?}");
            assert!(places.iter().all(|place| (TOP..=HEIGHT - BOTTOM).contains(place)));
            assert!(scale.ticks().len() >= 2, "{:?}", scale.ticks());
            let plot = Plot { name: "p".into(), title: "t".into(), x, y, lines: lines_of(&lines) };
            let svg = plot.to_svg();
            assert!(svg.contains("a &lt; b") && !svg.contains("NaN"), "{svg}");
        }
    }

    fn lines_of(lines: &[Line]) -> Vec<Line> {
        let copy = |line: &Line| Line { name: line.name.clone(), points: line.points.clone() };
        lines.iter().map(copy).collect()
    }
}
