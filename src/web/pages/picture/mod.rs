//! Pictures that the server draws: a roll for link previews, which ignore SVG, and the icons.

mod canvas;
mod path;
mod png;
mod sprite;
mod text;

use crate::web::pages::view::DieRow;

use self::canvas::{Canvas, Colour, Point, Shape};
use self::sprite::{Part, Role, SIDE};
use self::text::Style;

/// The size that link previews show whole.
pub const WIDTH: usize = 1_200;
pub const HEIGHT: usize = 630;

/// The colours of `static/css/tokens.css`, in light mode.
const TABLE: Colour = [0x1d, 0x5b, 0x45];
const ON_TABLE: Colour = [0xff, 0xfb, 0xf0];
const ON_TABLE_QUIET: Colour = [0xc9, 0xdc, 0xcf];
const CUBE: DieColours = DieColours {
    face: [0xff, 0xfb, 0xf0],
    shade: [0xff, 0xfb, 0xf0],
    edge: [0xb3, 0xa7, 0x8f],
    mark: [0x1d, 0x1a, 0x16],
};
const SOLID: DieColours = DieColours {
    face: [0x8f, 0x24, 0x37],
    shade: [0x6d, 0x17, 0x28],
    edge: [0xdd, 0x9a, 0xa3],
    mark: [0xff, 0xfb, 0xf0],
};
const CUP: DieColours = DieColours {
    face: [0x7a, 0x4a, 0x21],
    shade: [0x5f, 0x37, 0x15],
    edge: [0xd9, 0xb2, 0x7c],
    mark: [0xff, 0xfb, 0xf0],
};

struct DieColours {
    face: Colour,
    shade: Colour,
    edge: Colour,
    mark: Colour,
}

/// The picture of some dice as a PNG, with a title such as `Roll 41`, or without one.
pub fn of_dice(dice: &[DieRow], title: &str) -> Vec<u8> {
    let mut canvas = Canvas::new(WIDTH, HEIGHT, TABLE);
    let (width, height) = (WIDTH as f32, HEIGHT as f32);
    if !title.is_empty() {
        let style = Style { height: 56.0, line: 7.0, colour: ON_TABLE };
        text::draw(&mut canvas, title, Point { x: width / 2.0, y: 84.0 }, style);
    }
    let top = if title.is_empty() { 40.0 } else { 130.0 };
    let (n_columns, cell) = grid(dice.len(), width - 80.0, height - 40.0 - top);
    let n_rows = dice.len().div_ceil(n_columns);
    let first = (top + height - 40.0) / 2.0 - cell * n_rows as f32 / 2.0;
    for (row, dice) in dice.chunks(n_columns).enumerate() {
        let left = (width - cell * dice.len() as f32) / 2.0;
        for (column, die) in dice.iter().enumerate() {
            let corner = Point { x: left + cell * column as f32, y: first + cell * row as f32 };
            draw_die(&mut canvas, die, corner, cell);
        }
    }
    canvas.png()
}

/// The icon of the site, `side` pixels wide, as a PNG.
pub fn icon(side: usize) -> Vec<u8> {
    let mut canvas = Canvas::new(side, side, TABLE);
    let scale = side as f32 / SIDE;
    // A little smaller than in `static/favicon.svg`, because phones cut the corners off.
    for (x, y) in [(20.0, 44.0), (32.0, 32.0), (44.0, 20.0)] {
        let centre = Point { x: x * scale, y: y * scale };
        canvas.fill(&Shape::Circle { centre, radius: 6.0 * scale }, ON_TABLE, 1.0);
    }
    canvas.png()
}

/// The same as an ICO file of 32 pixels, for browsers that ask for `/favicon.ico`.
pub fn favicon() -> Vec<u8> {
    let image = icon(32);
    // <https://en.wikipedia.org/wiki/ICO_(file_format)>: one image, in PNG, after 22 bytes.
    let mut file = vec![0, 0, 1, 0, 1, 0, 32, 32, 0, 0, 1, 0, 24, 0];
    file.extend((image.len() as u32).to_le_bytes());
    file.extend(22_u32.to_le_bytes());
    file.extend(image);
    file
}

/// How many columns make the largest square cells, and how large these are.
fn grid(n: usize, width: f32, height: f32) -> (usize, f32) {
    let n = n.max(1);
    let cell = |n_columns: usize| {
        let n_rows = n.div_ceil(n_columns);
        (width / n_columns as f32).min(height / n_rows as f32)
    };
    let best = (1..=n).rev().max_by(|a, b| cell(*a).total_cmp(&cell(*b))).unwrap_or(1);
    (best, cell(best))
}

/// Draws a die with its name in a cell.
fn draw_die(canvas: &mut Canvas, die: &DieRow, corner: Point, cell: f32) {
    let colours = match &*die.symbol {
        "cup" => CUP,
        "d6" => CUBE,
        symbol if symbol.starts_with("d6-") => CUBE,
        _ => SOLID,
    };
    let side = cell * 0.68;
    let scale = side / SIDE;
    let place = |p: Point| Point {
        x: corner.x + (cell - side) / 2.0 + p.x * scale,
        y: corner.y + cell * 0.06 + p.y * scale,
    };
    let line = 1.5 * scale;
    // Drawn last, because shades cover half of it.
    let mut outlines = Vec::new();
    for part in sprite::parts(&die.symbol).unwrap_or_default() {
        let (role, shape) = match &part {
            Part::Shape(role, shape) => (*role, placed(shape, place, scale)),
            Part::Text(text, middle) => {
                let style = Style { height: 8.0 * scale, line, colour: colours.mark };
                text::draw(canvas, text, place(*middle), style);
                continue;
            }
        };
        match (role, &shape) {
            (Role::Face, Shape::Polygon(points)) => {
                canvas.fill(&shape, colours.face, 1.0);
                outlines.push(Shape::outline(points, line));
            }
            (Role::Face, _) => {
                canvas.fill(&shape.grown(line / 2.0), colours.edge, 1.0);
                canvas.fill(&shape.grown(-line / 2.0), colours.face, 1.0);
            }
            (Role::Rim, Shape::Polygon(points)) => {
                canvas.fill(&shape, colours.shade, 1.0);
                canvas.fill(&Shape::outline(points, line), colours.edge, 1.0);
            }
            (Role::Shade | Role::Rim, _) => canvas.fill(&shape, colours.shade, 1.0),
            (Role::Edge, _) => canvas.fill(&shape, colours.edge, 0.6),
            (Role::Pip, _) => canvas.fill(&shape, colours.mark, 1.0),
        }
    }
    for outline in outlines {
        canvas.fill(&outline, colours.edge, 1.0);
    }
    let height = fitting(&die.mark, 18.0, 27.0) * scale;
    let style = Style { height, line: height * 0.17, colour: colours.mark };
    text::draw(canvas, &die.mark, place(front(&die.symbol)), style);
    let name_height = (cell * 0.085).min(30.0);
    let style = Style { height: name_height, line: name_height * 0.13, colour: ON_TABLE_QUIET };
    let below = Point { x: corner.x + cell / 2.0, y: corner.y + cell * 0.87 };
    text::draw(canvas, &die.label, below, style);
}

/// The height at which a text is at most `width` wide, and at most `height`.
fn fitting(text: &str, height: f32, width: f32) -> f32 {
    height.min(height * width / text::width(text, height).max(1.0))
}

/// The middle of the front face, as in `static/css/die.css`.
fn front(symbol: &str) -> Point {
    let (x, y) = match symbol {
        "d4" => (25.0, 41.0),
        "d8" => (32.0, 29.0),
        "d10" => (32.0, 31.0),
        "d12" | "d20" => (32.0, 33.0),
        "cup" => (32.0, 36.5),
        _ => (32.0, 32.0),
    };
    Point { x, y }
}

/// A shape of a drawing at its place in the picture.
fn placed(shape: &Shape, place: impl Fn(Point) -> Point, scale: f32) -> Shape {
    let all = |points: &[Point]| points.iter().map(|point| place(*point)).collect();
    match shape {
        Shape::Circle { centre, radius } => {
            Shape::Circle { centre: place(*centre), radius: radius * scale }
        }
        Shape::Rectangle { from, to, radius } => {
            Shape::Rectangle { from: place(*from), to: place(*to), radius: radius * scale }
        }
        Shape::Polygon(points) => Shape::Polygon(all(points)),
        Shape::Line { points, width } => Shape::Line { points: all(points), width: width * scale },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dice_of_a_picture_are_as_large_as_fits() {
        for (n, expected) in [(1, (1, 450.0)), (2, (2, 450.0)), (3, (3, 373.0)), (16, (6, 150.0))] {
            let (n_columns, cell) = grid(n, 1_120.0, 450.0);
            assert_eq!((n_columns, cell.floor()), expected, "{n} dice");
        }
        assert_eq!(grid(0, 100.0, 50.0), (1, 50.0));
    }

    #[test]
    fn a_favicon_has_an_image_where_its_head_says() {
        let file = favicon();
        let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("4 bytes"));
        let (length, offset) = (number(14) as usize, number(18) as usize);
        assert_eq!(file.len(), offset + length);
        assert!(file[offset..].starts_with(b"\x89PNG\r\n\x1a\n"));
    }
}
