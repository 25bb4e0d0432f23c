//! The drawings of the dice, read from the template part that the pages use too. So the picture of
//! a roll shows the same dice.

use tiny_skia::{Path, PathBuilder, Point, Rect};

use super::path;

const SPRITE: &str = include_str!("../../../../templates/_dice.html.tera");
/// Each drawing is a square of this side.
pub const SIDE: f32 = 64.0;

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
    Shape(Role, Path),
    /// A text with its middle.
    Text(String, Point),
}

/// The parts of a drawing such as `d20`, in the order in which they are drawn. `None` if there is no
/// such drawing.
pub fn parts(symbol: &str) -> Option<Vec<Part>> {
    let (_, rest) = SPRITE.split_once(&format!("<symbol id=\"{symbol}\""))?;
    let (drawing, _) = rest.split_once("</symbol>")?;
    Some(drawing.split('<').skip(1).filter_map(read).collect())
}

/// The part that a tag and the text after it draw. `None` for the end of an element.
fn read(tag: &str) -> Option<Part> {
    let number = |name| attribute(tag, name)?.parse::<f32>().ok();
    let role = match attribute(tag, "class")? {
        "face" => Role::Face,
        "shade" => Role::Shade,
        "rim" => Role::Rim,
        "edge" => Role::Edge,
        "pip" => Role::Pip,
        "sum" => {
            let (_, text) = tag.split_once('>')?;
            let middle = Point { x: number("x")?, y: number("y")? };
            return Some(Part::Text(text.trim().into(), middle));
        }
        _ => return None,
    };
    let path = match tag.split_whitespace().next()? {
        "circle" => PathBuilder::from_circle(number("cx")?, number("cy")?, number("r")?),
        "ellipse" => {
            let (x, y, rx, ry) = (number("cx")?, number("cy")?, number("rx")?, number("ry")?);
            PathBuilder::from_oval(Rect::from_ltrb(x - rx, y - ry, x + rx, y + ry)?)
        }
        "rect" => {
            let (x, y, width, height) =
                (number("x")?, number("y")?, number("width")?, number("height")?);
            rounded(Rect::from_xywh(x, y, width, height)?, number("rx")?)
        }
        "polygon" => path::read(&format!("M{}Z", attribute(tag, "points")?.replace(' ', "L"))),
        "path" => path::read(attribute(tag, "d")?),
        _ => None,
    };
    Some(Part::Shape(role, path?))
}

fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    tag.split_once(&format!(" {name}=\""))?.1.split('"').next()
}

/// A rectangle with round corners.
fn rounded(rect: Rect, radius: f32) -> Option<Path> {
    // A cubic curve is almost a quarter of a circle if its control points are this far from its
    // ends, in radii.
    const REACH: f32 = 0.552_284_8;
    let (left, top, right, bottom) = (rect.left(), rect.top(), rect.right(), rect.bottom());
    let control = radius * (1.0 - REACH);
    let mut path = PathBuilder::new();
    path.move_to(left + radius, top);
    path.line_to(right - radius, top);
    path.cubic_to(right - control, top, right, top + control, right, top + radius);
    path.line_to(right, bottom - radius);
    path.cubic_to(right, bottom - control, right - control, bottom, right - radius, bottom);
    path.line_to(left + radius, bottom);
    path.cubic_to(left + control, bottom, left, bottom - control, left, bottom - radius);
    path.line_to(left, top + radius);
    path.cubic_to(left, top + control, left + control, top, left + radius, top);
    path.close();
    path.finish()
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
                assert!(read(tag).is_some(), "{name}: cannot draw <{tag}");
            }
            let first = parts(name).expect(name).remove(0);
            assert!(matches!(first, Part::Shape(Role::Face, _)), "{name}: {first:?}");
        }
        assert!(parts("d7").is_none());
    }
}
