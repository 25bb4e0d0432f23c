//! Pictures that the server draws: a roll for link previews, which ignore SVG, and the icons.

mod canvas;
mod path;
mod sprite;
mod text;

use tiny_skia::{PathBuilder, Point, Transform};

use crate::web::pages::view::DieRow;

use self::canvas::{Canvas, Colour};
use self::sprite::{Part, Role, SIDE};
use self::text::Style;

/// The version of the drawing. Raise it with every change of the pictures, so that browsers do not
/// keep the old ones.
pub const DRAWING: u32 = 1;

/// The size that link previews show whole.
pub const WIDTH: u32 = 1_200;
pub const HEIGHT: u32 = 630;

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

/// The width of the line around a die, in units of its drawing, as in `static/css/die.css`.
const LINE: f32 = 1.5;

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
        let middle = Point { x: width / 2.0, y: 84.0 };
        text::draw(&mut canvas, title, middle, style, Transform::identity());
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
pub fn icon(side: u32) -> Vec<u8> {
    let mut canvas = Canvas::new(side, side, TABLE);
    let scale = side as f32 / SIDE;
    let place = Transform::from_scale(scale, scale);
    // A little smaller than in `static/favicon.svg`, because phones cut the corners off.
    for (x, y) in [(20.0, 44.0), (32.0, 32.0), (44.0, 20.0)] {
        let pip = PathBuilder::from_circle(x, y, 6.0).expect("a radius above 0");
        canvas.fill(&pip, ON_TABLE, place);
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
    let (left, top) = (corner.x + (cell - side) / 2.0, corner.y + cell * 0.06);
    let place = Transform::from_translate(left, top).pre_scale(scale, scale);
    let parts = sprite::parts(&die.symbol).unwrap_or_default();
    // All shades come before the lines. Otherwise they would cover half of the line around a face.
    for part in &parts {
        match part {
            Part::Shape(Role::Face, path) => canvas.fill(path, colours.face, place),
            Part::Shape(Role::Shade, path) => canvas.fill(path, colours.shade, place),
            _ => {}
        }
    }
    for part in &parts {
        match part {
            Part::Shape(Role::Shade, _) => {}
            Part::Shape(Role::Face, path) => canvas.stroke(path, LINE, colours.edge, 1.0, place),
            Part::Shape(Role::Edge, path) => canvas.stroke(path, 1.0, colours.edge, 0.6, place),
            Part::Shape(Role::Pip, path) => canvas.fill(path, colours.mark, place),
            Part::Shape(Role::Rim, path) => {
                canvas.fill(path, colours.shade, place);
                canvas.stroke(path, LINE, colours.edge, 1.0, place);
            }
            Part::Text(text, middle) => {
                let style = Style { height: 8.0, line: LINE, colour: colours.mark };
                text::draw(canvas, text, *middle, style, place);
            }
        }
    }
    let height = fitting(&die.mark, 18.0, 27.0);
    let style = Style { height, line: height * 0.17, colour: colours.mark };
    text::draw(canvas, &die.mark, front(&die.symbol), style, place);
    let height = (cell * 0.085).min(30.0);
    let style = Style { height, line: height * 0.13, colour: ON_TABLE_QUIET };
    let below = Point { x: corner.x + cell / 2.0, y: corner.y + cell * 0.87 };
    text::draw(canvas, &die.label, below, style, Transform::identity());
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

#[cfg(test)]
mod tests {
    use super::*;

    use tiny_skia::Pixmap;

    #[test]
    fn the_dice_of_a_picture_are_as_large_as_fits() {
        for (n, expected) in [(1, (1, 450.0)), (2, (2, 450.0)), (3, (3, 373.0)), (16, (6, 150.0))] {
            let (n_columns, cell) = grid(n, 1_120.0, 450.0);
            assert_eq!((n_columns, cell.floor()), expected, "{n} dice");
        }
        assert_eq!(grid(0, 100.0, 50.0), (1, 50.0));
    }

    fn die(notation: &str, result: Option<u32>) -> DieRow {
        DieRow::new(notation.parse().expect("a die"), result)
    }

    fn decoded(file: &[u8]) -> Pixmap {
        Pixmap::decode_png(file).expect("a PNG file")
    }

    fn colour_at(picture: &Pixmap, x: u32, y: u32) -> Colour {
        let pixel = picture.pixel(x, y).expect("a pixel").demultiply();
        assert_eq!(pixel.alpha(), 255, "{x}, {y}");
        [pixel.red(), pixel.green(), pixel.blue()]
    }

    #[test]
    fn a_picture_shows_its_dice_side_by_side() {
        let dice = [die("1D6", Some(2)), die("1D20", Some(17))];
        let picture = decoded(&of_dice(&dice, "Roll 41"));
        assert_eq!((picture.width(), picture.height()), (WIDTH, HEIGHT));
        // Between the dice.
        assert_eq!(colour_at(&picture, 600, 300), TABLE);
        // The pips of a two are in two corners of the cube.
        assert_eq!(colour_at(&picture, 375, 310), CUBE.face);
        assert_eq!(colour_at(&picture, 313, 372), CUBE.mark);
        assert_eq!(colour_at(&picture, 437, 248), CUBE.mark);
        assert_eq!(colour_at(&picture, 313, 248), CUBE.face);
        // The upper left of the d20 is in the light, and the face below its number is in the shade.
        assert_eq!(colour_at(&picture, 755, 250), SOLID.face);
        assert_eq!(colour_at(&picture, 830, 400), SOLID.shade);
        // Control: other results and other titles make other pictures.
        let other = [die("1D6", Some(2)), die("1D20", Some(18))];
        assert_ne!(of_dice(&other, "Roll 41"), of_dice(&dice, "Roll 41"));
        assert_ne!(of_dice(&dice, "Roll 42"), of_dice(&dice, "Roll 41"));
    }

    #[test]
    fn the_line_around_a_cup_does_not_cross_its_opening() {
        let picture = decoded(&of_dice(&[die("2D6", None)], ""));
        // 10 units to the left of the middle of the opening, in units of the drawing.
        let scale = 550.0 * 0.68 / SIDE;
        let (x, y) = (600.0 - 10.0 * scale, 40.0 + 550.0 * 0.06 + 11.0 * scale);
        assert_eq!(colour_at(&picture, x as u32, y as u32), CUP.shade);
    }

    #[test]
    fn an_icon_has_three_pips_on_the_table() {
        let icon = decoded(&icon(192));
        assert_eq!((icon.width(), icon.height()), (192, 192));
        for (x, y, colour) in [
            (60, 132, ON_TABLE),
            (96, 96, ON_TABLE),
            (132, 60, ON_TABLE),
            (60, 60, TABLE),
            (0, 0, TABLE),
            (191, 191, TABLE),
        ] {
            assert_eq!(colour_at(&icon, x, y), colour, "{x}, {y}");
        }
    }

    #[test]
    fn a_favicon_has_an_image_where_its_head_says() {
        let file = favicon();
        let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("4 bytes"));
        let (length, offset) = (number(14) as usize, number(18) as usize);
        assert_eq!(file.len(), offset + length);
        let image = decoded(&file[offset..]);
        assert_eq!((image.width(), image.height()), (32, 32));
        assert_eq!(colour_at(&image, 16, 16), ON_TABLE);
    }
}
