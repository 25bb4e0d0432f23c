//! The path data of SVG, as far as the drawings of the dice use it: the absolute commands M, L, H, V,
//! C, S and Z. Source: <https://www.w3.org/TR/SVG2/paths.html#PathData>.

use super::canvas::Point;

/// Lines in place of a curve.
const N_STEPS: usize = 12;

/// The points of each line of a path; curves become many short lines. `None` for other commands.
pub fn lines(path: &str) -> Option<Vec<Vec<Point>>> {
    let mut lines: Vec<Vec<Point>> = Vec::new();
    // The second control point of the last curve, which S reflects.
    let mut control = None;
    let mut rest = path;
    while let Some(command) = rest.chars().next() {
        let end = rest[1..].find(|c: char| c.is_ascii_alphabetic()).map_or(rest.len(), |at| at + 1);
        let numbers: Option<Vec<f32>> = rest[1..end]
            .split([' ', ','])
            .filter(|number| !number.is_empty())
            .map(|number| number.parse().ok())
            .collect();
        rest = &rest[end..];
        let numbers = numbers?;
        if command == 'M' {
            let [x, y] = numbers[..] else { return None };
            lines.push(vec![Point { x, y }]);
            continue;
        }
        let line = lines.last_mut()?;
        let last = *line.last()?;
        let mut next_control = None;
        match (command, &numbers[..]) {
            ('L', [x, y]) => line.push(Point { x: *x, y: *y }),
            ('H', [x]) => line.push(Point { x: *x, ..last }),
            ('V', [y]) => line.push(Point { y: *y, ..last }),
            ('Z', []) => line.push(line[0]),
            ('C', [x1, y1, x2, y2, x, y]) => {
                let (first, second) = (Point { x: *x1, y: *y1 }, Point { x: *x2, y: *y2 });
                line.extend(curve([last, first, second, Point { x: *x, y: *y }]));
                next_control = Some(second);
            }
            ('S', [x2, y2, x, y]) => {
                let before = control.unwrap_or(last);
                let first = Point { x: 2.0 * last.x - before.x, y: 2.0 * last.y - before.y };
                let second = Point { x: *x2, y: *y2 };
                line.extend(curve([last, first, second, Point { x: *x, y: *y }]));
                next_control = Some(second);
            }
            _ => return None,
        }
        control = next_control;
    }
    Some(lines)
}

/// A cubic curve without its first point.
fn curve(points: [Point; 4]) -> impl Iterator<Item = Point> {
    (1..=N_STEPS).map(move |i| {
        let t = i as f32 / N_STEPS as f32;
        let u = 1.0 - t;
        let weights = [u * u * u, 3.0 * u * u * t, 3.0 * u * t * t, t * t * t];
        let sum = |of: fn(&Point) -> f32| {
            weights.iter().zip(&points).map(|(weight, point)| weight * of(point)).sum()
        };
        Point { x: sum(|point| point.x), y: sum(|point| point.y) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Option<Vec<Vec<(f32, f32)>>> {
        let lines = lines(path)?.into_iter();
        Some(lines.map(|line| line.iter().map(|p| (p.x, p.y)).collect()).collect())
    }

    #[test]
    fn a_path_has_a_line_for_each_start() {
        let triangle = vec![vec![(1.0, 2.0), (3.0, 4.5), (1.0, 2.0)]];
        assert_eq!(of("M1 2L3 4.5Z"), Some(triangle));
        let cross = vec![vec![(4.0, 42.0), (60.0, 42.0)], vec![(32.0, 50.0), (32.0, 62.0)]];
        assert_eq!(of("M4 42H60M32,50V62"), Some(cross));
        for path in ["L1 2", "M1", "M1 2l3 4", "M1 2L3 x"] {
            assert_eq!(of(path), None, "{path}");
        }
    }

    #[test]
    fn a_smooth_curve_continues_in_the_direction_of_the_one_before() {
        let line = of("M0 0C0 6 3 9 6 9S12 6 12 0").expect("a path").remove(0);
        assert_eq!(line.len(), 1 + 2 * N_STEPS);
        assert_eq!(
            (line[0], line[N_STEPS], line[2 * N_STEPS]),
            ((0.0, 0.0), (6.0, 9.0), (12.0, 0.0))
        );
        for (left, right) in line.iter().zip(line.iter().rev()) {
            let is_mirrored =
                (left.0 + right.0 - 12.0).abs() < 1e-4 && (left.1 - right.1).abs() < 1e-4;
            assert!(is_mirrored, "{left:?} {right:?}");
        }
    }
}
