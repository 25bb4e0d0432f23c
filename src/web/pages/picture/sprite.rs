//! The drawings of the dice, read from the template part that the pages use too. So the picture of
//! a roll shows the same dice.

use std::f32::consts::PI;

use super::canvas::{Point, Shape};
use super::path;

const SPRITE: &str = include_str!("../../../../templates/_dice.html.tera");
/// Each drawing is a square of this side.
pub const SIDE: f32 = 64.0;
/// Lines in place of an ellipse.
const N_STEPS: usize = 48;

/// What a part of a drawing is, which decides its colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// With a line around it.
    Face,
    Shade,
    /// With a line around it: the upper edge of a cup.
    Rim,
    /// A line.
    Edge,
    Pip,
}

/// A part of a drawing.
#[derive(Debug)]
pub enum Part {
    Shape(Role, Shape),
    /// A text with its middle.
    Text(String, Point),
}

/// The parts of a drawing such as `d20`, in the order in which they are drawn. `None` if there is no
/// such drawing.
pub fn parts(symbol: &str) -> Option<Vec<Part>> {
    let (_, rest) = SPRITE.split_once(&format!("<symbol id=\"{symbol}\""))?;
    let (drawing, _) = rest.split_once("</symbol>")?;
    Some(drawing.split('<').skip(1).flat_map(read).collect())
}

/// The parts that a tag and the text after it draw; none for the end of an element.
fn read(tag: &str) -> Vec<Part> {
    let number = |name| attribute(tag, name).and_then(|text| text.parse().ok()).unwrap_or(0.0);
    let point = |x, y| Point { x: number(x), y: number(y) };
    let role = match attribute(tag, "class") {
        Some("face") => Role::Face,
        Some("shade") => Role::Shade,
        Some("rim") => Role::Rim,
        Some("edge") => Role::Edge,
        Some("pip") => Role::Pip,
        Some("sum") => {
            let text = tag.split_once('>').map_or("", |(_, text)| text.trim());
            return vec![Part::Text(text.into(), point("x", "y"))];
        }
        _ => return Vec::new(),
    };
    let outlines = match tag.split_whitespace().next() {
        Some("circle") if role != Role::Edge => {
            let shape = Shape::Circle { centre: point("cx", "cy"), radius: number("r") };
            return vec![Part::Shape(role, shape)];
        }
        Some("rect") => {
            let (from, side) = (point("x", "y"), point("width", "height"));
            let to = Point { x: from.x + side.x, y: from.y + side.y };
            return vec![Part::Shape(role, Shape::Rectangle { from, to, radius: number("rx") })];
        }
        Some("circle") => vec![ellipse(point("cx", "cy"), point("r", "r"))],
        Some("ellipse") => vec![ellipse(point("cx", "cy"), point("rx", "ry"))],
        Some("polygon") => vec![points(attribute(tag, "points").unwrap_or_default())],
        Some("path") => path::lines(attribute(tag, "d").unwrap_or_default()).unwrap_or_default(),
        _ => Vec::new(),
    };
    let shape = |points| match role {
        Role::Edge => Shape::Line { points, width: 1.0 },
        _ => Shape::Polygon(points),
    };
    outlines.into_iter().map(|points| Part::Shape(role, shape(points))).collect()
}

fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    tag.split_once(&format!(" {name}=\""))?.1.split('"').next()
}

fn points(text: &str) -> Vec<Point> {
    let pairs = text.split_whitespace().filter_map(|pair| pair.split_once(','));
    let pairs = pairs.filter_map(|(x, y)| Some((x.parse().ok()?, y.parse().ok()?)));
    pairs.map(|(x, y)| Point { x, y }).collect()
}

fn ellipse(centre: Point, radius: Point) -> Vec<Point> {
    let at = |i: usize| {
        let angle = 2.0 * PI * i as f32 / N_STEPS as f32;
        Point { x: centre.x + radius.x * angle.cos(), y: centre.y + radius.y * angle.sin() }
    };
    (0..=N_STEPS).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drawing_of_the_pages_can_be_read_whole() {
        let names = SPRITE.split("<symbol id=\"").skip(1).map(|rest| rest.split('"').next());
        let names: Vec<&str> = names.flatten().collect();
        assert!(names.len() >= 12, "{names:?}");
        for name in names {
            let (_, drawing) = SPRITE.split_once(&format!("<symbol id=\"{name}\"")).expect(name);
            let (drawing, _) = drawing.split_once("</symbol>").expect(name);
            for tag in drawing.split('<').skip(1).filter(|tag| !tag.starts_with('/')) {
                assert!(!read(tag).is_empty(), "{name}: cannot draw <{tag}");
            }
            let first = parts(name).expect(name).remove(0);
            assert!(matches!(first, Part::Shape(Role::Face, _)), "{name}: {first:?}");
        }
        assert!(parts("d7").is_none());
    }
}
