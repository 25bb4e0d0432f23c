//! Text as lines with round ends: no font is needed for the few characters of a picture.

use std::f32::consts::PI;

use tiny_skia::{PathBuilder, Point, Transform};

use super::canvas::{Canvas, Colour};

/// Capital letters and digits are this high. All measures of a character are in these units.
const HEIGHT: f32 = 10.0;
/// The space between two characters.
const GAP: f32 = 2.2;

/// How a text is drawn.
#[derive(Clone, Copy)]
pub struct Style {
    /// The height of a digit.
    pub height: f32,
    /// The width of its lines.
    pub line: f32,
    pub colour: Colour,
}

/// Draws a text with its middle at a point. `place` maps the point and the measures of the style to
/// pixels. A character without a drawing is left out.
pub fn draw(canvas: &mut Canvas, text: &str, middle: Point, style: Style, place: Transform) {
    let scale = style.height / HEIGHT;
    let (left, top) = (middle.x - width(text, style.height) / 2.0, middle.y - style.height / 2.0);
    let mut path = PathBuilder::new();
    let mut start = 0.0;
    for (width, lines) in text.chars().filter_map(glyph) {
        for line in lines {
            let mut points = line.into_iter();
            if let Some(first) = points.next() {
                path.move_to(start + first.x, first.y);
            }
            for point in points {
                path.line_to(start + point.x, point.y);
            }
        }
        start += width + GAP;
    }
    if let Some(path) = path.finish() {
        let place = place.pre_translate(left, top).pre_scale(scale, scale);
        canvas.stroke(&path, style.line / scale, style.colour, 1.0, place);
    }
}

/// The width of a text whose digits are `height` high.
pub fn width(text: &str, height: f32) -> f32 {
    let widths: Vec<f32> = text.chars().filter_map(glyph).map(|(width, _)| width).collect();
    let gaps = GAP * widths.len().saturating_sub(1) as f32;
    (widths.iter().sum::<f32>() + gaps) * height / HEIGHT
}

type Line = Vec<Point>;

/// The width of a character and the lines that it is made of.
fn glyph(c: char) -> Option<(f32, Vec<Line>)> {
    let (width, lines) = match c {
        '0' => (6.0, vec![arc((3.0, 5.0), (3.0, 5.0), 0.0, 2.0)]),
        '1' => (3.0, vec![line(&[(0.4, 2.2), (2.6, 0.0), (2.6, 10.0)])]),
        '2' => {
            let bow = arc((3.0, 2.9), (2.8, 2.9), 1.1, 2.15);
            (6.0, vec![joined(bow, &[(0.2, 10.0), (6.0, 10.0)])])
        }
        '3' => {
            let upper = arc((2.9, 2.45), (2.5, 2.45), 1.1, 2.5);
            (5.8, vec![upper, arc((2.9, 7.4), (2.8, 2.6), -0.5, 0.9)])
        }
        '4' => (6.2, vec![line(&[(4.6, 10.0), (4.6, 0.0), (0.0, 7.2), (6.2, 7.2)])]),
        '5' => {
            let bow = arc((2.8, 6.9), (3.0, 3.1), -0.75, 0.85);
            (5.8, vec![line(&[(5.2, 0.0), (1.0, 0.0), (0.7, 4.7)]), bow])
        }
        '6' => (6.0, six()),
        '7' => (5.8, vec![line(&[(0.0, 0.0), (5.8, 0.0), (2.0, 10.0)])]),
        '8' => {
            let upper = arc((3.0, 2.4), (2.5, 2.4), 0.0, 2.0);
            (6.0, vec![upper, arc((3.0, 7.4), (3.0, 2.6), 0.0, 2.0)])
        }
        '9' => {
            let turned = |p: Point| Point { x: 6.0 - p.x, y: HEIGHT - p.y };
            (6.0, six().into_iter().map(|line| line.into_iter().map(turned).collect()).collect())
        }
        'R' => {
            let bow = arc((3.0, 2.6), (2.7, 2.6), -0.5, 0.5);
            let stem = joined(bow, &[(0.0, 5.2), (0.0, 0.0), (3.0, 0.0)]);
            (6.0, vec![stem, line(&[(0.0, 0.0), (0.0, 10.0)]), line(&[(3.0, 5.2), (5.8, 10.0)])])
        }
        'o' => (5.6, vec![arc((2.8, 6.8), (2.8, 3.2), 0.0, 2.0)]),
        'l' => (0.4, vec![line(&[(0.2, 0.0), (0.2, 10.0)])]),
        'd' => (5.6, vec![arc((2.8, 6.8), (2.8, 3.2), 0.0, 2.0), line(&[(5.6, 0.0), (5.6, 10.0)])]),
        's' => {
            let upper = arc((2.2, 5.2), (2.0, 1.6), 1.85, 0.5);
            (4.3, vec![upper, arc((2.2, 8.4), (2.1, 1.6), 1.5, 2.85)])
        }
        'u' => {
            let bow = arc((2.6, 7.2), (2.6, 2.8), 1.0, 0.0);
            let stem = line(&[(5.2, 3.8), (5.2, 10.0)]);
            (5.2, vec![line(&[(0.0, 3.8), (0.0, 7.2)]), bow, stem])
        }
        'm' => {
            let arch = |x: f32| joined(arc((x, 5.9), (2.0, 2.1), 1.0, 2.0), &[(x + 2.0, 10.0)]);
            (8.0, vec![line(&[(0.0, 3.8), (0.0, 10.0)]), arch(2.0), arch(6.0)])
        }
        ',' => (1.0, vec![line(&[(0.9, 9.6), (0.3, 11.4)])]),
        'Σ' => {
            let line = line(&[(5.6, 0.0), (0.0, 0.0), (3.2, 5.0), (0.0, 10.0), (5.6, 10.0)]);
            (5.6, vec![line])
        }
        ' ' => (2.5, Vec::new()),
        _ => return None,
    };
    Some((width, lines))
}

fn six() -> Vec<Line> {
    let bowl = arc((3.0, 6.9), (3.0, 3.1), 0.0, 2.0);
    // A quarter of an ellipse, from the left of the bowl up to the top.
    vec![bowl, arc((4.6, 6.9), (4.6, 6.9), 1.0, 1.5)]
}

fn line(points: &[(f32, f32)]) -> Line {
    points.iter().map(|(x, y)| Point { x: *x, y: *y }).collect()
}

fn joined(mut start: Line, rest: &[(f32, f32)]) -> Line {
    start.extend(line(rest));
    start
}

/// A part of an ellipse. Angles are in half turns, clockwise from the right.
fn arc(centre: (f32, f32), radius: (f32, f32), from: f32, to: f32) -> Line {
    let n_steps = ((to - from).abs() * 16.0).ceil() as usize;
    let at = |i: usize| {
        let angle = (from + (to - from) * i as f32 / n_steps as f32) * PI;
        Point { x: centre.0 + radius.0 * angle.cos(), y: centre.1 + radius.1 * angle.sin() }
    };
    (0..=n_steps).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_character_stays_within_its_width_and_height() {
        for c in "0123456789dsumΣRol ".chars() {
            let (width, lines) = glyph(c).unwrap_or_else(|| panic!("no drawing of {c}"));
            for point in lines.into_iter().flatten() {
                let is_inside = (-0.01..=width + 0.01).contains(&point.x)
                    && (-0.01..=HEIGHT + 0.01).contains(&point.y);
                assert!(is_inside, "{c}: {point:?}");
            }
        }
        assert!(glyph('x').is_none());
    }

    #[test]
    fn a_text_is_as_wide_as_its_characters_and_the_gaps_between_them() {
        assert_eq!(width("", 10.0), 0.0);
        assert_eq!(width("0", 10.0), 6.0);
        assert_eq!(width("00", 20.0), 28.4);
    }
}
