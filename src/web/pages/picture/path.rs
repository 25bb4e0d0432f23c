//! The path data of SVG, as far as the drawings of the dice use it: the absolute commands M, L, H, V,
//! C, S and Z. Source: <https://www.w3.org/TR/SVG2/paths.html#PathData>.

use tiny_skia::{Path, PathBuilder};

/// Reads path data. `None` for other commands, for wrong numbers, and for a line without a start.
pub fn read(data: &str) -> Option<Path> {
    let mut path = PathBuilder::new();
    // The end of the line so far. There is none before the first M and after a Z.
    let mut at = None;
    // The second control point of the last curve, which S reflects.
    let mut control = None;
    let mut rest = data;
    while let Some(command) = rest.chars().next() {
        let end = rest[1..].find(|c: char| c.is_ascii_alphabetic()).map_or(rest.len(), |at| at + 1);
        let numbers: Option<Vec<f32>> = rest[1..end]
            .split([' ', ','])
            .filter(|number| !number.is_empty())
            .map(|number| number.parse().ok())
            .collect();
        rest = &rest[end..];
        let (numbers, before) = (numbers?, control.take());
        match (command, &numbers[..], at) {
            ('M', &[x, y], _) => path.move_to(x, y),
            ('L', &[x, y], Some(_)) => path.line_to(x, y),
            ('H', &[x], Some((_, y))) | ('V', &[y], Some((x, _))) => path.line_to(x, y),
            ('C', &[x1, y1, x2, y2, x, y], Some(_)) => {
                path.cubic_to(x1, y1, x2, y2, x, y);
                control = Some((x2, y2));
            }
            ('S', &[x2, y2, x, y], Some(last)) => {
                let before = before.unwrap_or(last);
                path.cubic_to(2.0 * last.0 - before.0, 2.0 * last.1 - before.1, x2, y2, x, y);
                control = Some((x2, y2));
            }
            ('Z', &[], Some(_)) => path.close(),
            _ => return None,
        }
        at = path.last_point().filter(|_| command != 'Z').map(|point| (point.x, point.y));
    }
    path.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_data_may_have_several_lines() {
        let mut triangle = PathBuilder::new();
        triangle.move_to(1.0, 2.0);
        triangle.line_to(3.0, 4.5);
        triangle.close();
        assert_eq!(read("M1 2L3 4.5Z"), triangle.finish());
        let mut cross = PathBuilder::new();
        cross.move_to(4.0, 42.0);
        cross.line_to(60.0, 42.0);
        cross.move_to(32.0, 50.0);
        cross.line_to(32.0, 62.0);
        assert_eq!(read("M4 42H60M32,50V62"), cross.finish());
        for data in ["", "L1 2", "M1", "M1 2l3 4", "M1 2L3 x", "M1 2L3 4ZH5"] {
            assert_eq!(read(data), None, "{data}");
        }
    }

    #[test]
    fn a_smooth_curve_continues_in_the_direction_of_the_one_before() {
        let smooth = read("M0 0C0 6 3 9 6 9S12 6 12 0");
        assert!(smooth.is_some());
        assert_eq!(smooth, read("M0 0C0 6 3 9 6 9C9 9 12 6 12 0"));
        assert_eq!(read("M1 2L6 9S12 6 12 0"), read("M1 2L6 9C6 9 12 6 12 0"));
    }
}
