//! A canvas on which paths are filled and stroked, and which becomes a PNG file.

use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Paint, Path, Pixmap, Shader, Stroke, Transform,
};

/// Red, green and blue.
pub type Colour = [u8; 3];

pub struct Canvas(Pixmap);

impl Canvas {
    /// A canvas of one colour. Both sides are in pixels, and above 0.
    pub fn new(width: u32, height: u32, colour: Colour) -> Canvas {
        let mut pixels = Pixmap::new(width, height).expect("a size above 0");
        pixels.fill(color(colour, 1.0));
        Canvas(pixels)
    }

    /// Fills a path. `place` maps it to pixels.
    pub fn fill(&mut self, path: &Path, colour: Colour, place: Transform) {
        self.0.fill_path(path, &paint(colour, 1.0), FillRule::Winding, place, None);
    }

    /// Draws a path as a line with round ends and corners. `width` is in units of the path, and
    /// `opacity` is 0 to 1.
    pub fn stroke(
        &mut self,
        path: &Path,
        width: f32,
        colour: Colour,
        opacity: f32,
        place: Transform,
    ) {
        let stroke = Stroke {
            width,
            line_cap: LineCap::Round,
            line_join: LineJoin::Round,
            ..Stroke::default()
        };
        self.0.stroke_path(path, &paint(colour, opacity), &stroke, place, None);
    }

    /// The image as a PNG file.
    pub fn png(&self) -> Vec<u8> {
        self.0.encode_png().expect("writing to memory does not fail")
    }
}

fn paint(colour: Colour, opacity: f32) -> Paint<'static> {
    Paint { shader: Shader::SolidColor(color(colour, opacity)), ..Paint::default() }
}

fn color([red, green, blue]: Colour, opacity: f32) -> Color {
    Color::from_rgba8(red, green, blue, (opacity * 255.0).round() as u8)
}
