//! A canvas of pixels, and shapes with smooth edges.
//!
//! A shape computes the distance of a point from its edge. The opacity of a pixel grows from 0 to 1
//! between half a pixel outside the edge and half a pixel inside. Source of the distances:
//! <https://iquilezles.org/articles/distfunctions2d/>.

use super::png;

/// Red, green and blue.
pub type Colour = [u8; 3];

/// A point in pixels, from the left and from the top.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub x: f32,
    pub y: f32,
}

/// A shape that can be filled.
#[derive(Clone, Debug)]
pub enum Shape {
    Circle {
        centre: Point,
        radius: f32,
    },
    /// A rectangle with round corners.
    Rectangle {
        from: Point,
        to: Point,
        radius: f32,
    },
    /// The inside of a closed line.
    Polygon(Vec<Point>),
    /// A line with round ends.
    Line {
        points: Vec<Point>,
        width: f32,
    },
}

/// An image of `width` times `height` pixels.
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Colour>,
}

impl Canvas {
    pub fn new(width: usize, height: usize, colour: Colour) -> Canvas {
        Canvas { width, height, pixels: vec![colour; width * height] }
    }

    /// The pixels, row by row, as bytes.
    fn bytes(&self) -> &[u8] {
        self.pixels.as_flattened()
    }

    /// The image as a PNG file.
    pub fn png(&self) -> Vec<u8> {
        png::encode(self.width, self.height, self.bytes())
    }

    /// Fills a shape. `opacity` is 0 to 1.
    pub fn fill(&mut self, shape: &Shape, colour: Colour, opacity: f32) {
        let (from, to) = shape.bounds();
        let columns = pixels(from.x, to.x, self.width);
        for row in pixels(from.y, to.y, self.height) {
            for column in columns.clone() {
                let middle = Point { x: column as f32 + 0.5, y: row as f32 + 0.5 };
                let covered = (0.5 - shape.distance(middle)).clamp(0.0, 1.0) * opacity;
                if covered > 0.0 {
                    let pixel = &mut self.pixels[row * self.width + column];
                    *pixel = mixed(*pixel, colour, covered);
                }
            }
        }
    }
}

impl Shape {
    /// A line around a polygon.
    pub fn outline(points: &[Point], width: f32) -> Shape {
        let points = points.iter().chain(points.first()).copied().collect();
        Shape::Line { points, width }
    }

    /// The same shape with an edge that is further out, or further in for a negative distance. Only
    /// for circles and rectangles; other shapes stay as they are.
    pub fn grown(&self, by: f32) -> Shape {
        match self {
            Shape::Circle { centre, radius } => {
                Shape::Circle { centre: *centre, radius: radius + by }
            }
            Shape::Rectangle { from, to, radius } => Shape::Rectangle {
                from: Point { x: from.x - by, y: from.y - by },
                to: Point { x: to.x + by, y: to.y + by },
                radius: radius + by,
            },
            other => other.clone(),
        }
    }

    /// How far a point is outside the shape, in pixels; negative inside.
    fn distance(&self, at: Point) -> f32 {
        match self {
            Shape::Circle { centre, radius } => length(at.x - centre.x, at.y - centre.y) - radius,
            Shape::Rectangle { from, to, radius } => {
                let half = [(to.x - from.x) / 2.0, (to.y - from.y) / 2.0];
                let x = (at.x - from.x - half[0]).abs() - half[0] + radius;
                let y = (at.y - from.y - half[1]).abs() - half[1] + radius;
                length(x.max(0.0), y.max(0.0)) + x.max(y).min(0.0) - radius
            }
            Shape::Polygon(points) => {
                let edges = points.iter().zip(points.iter().cycle().skip(1));
                let (mut nearest, mut is_inside) = (f32::INFINITY, false);
                for (a, b) in edges {
                    nearest = nearest.min(to_segment(at, *a, *b));
                    let crosses = (a.y > at.y) != (b.y > at.y);
                    if crosses && at.x < a.x + (at.y - a.y) * (b.x - a.x) / (b.y - a.y) {
                        is_inside = !is_inside;
                    }
                }
                if is_inside { -nearest } else { nearest }
            }
            Shape::Line { points, width } => {
                let segments = points.windows(2).map(|ends| to_segment(at, ends[0], ends[1]));
                segments.fold(f32::INFINITY, f32::min) - width / 2.0
            }
        }
    }

    /// The corners of a rectangle that contains the shape.
    fn bounds(&self) -> (Point, Point) {
        let (points, margin) = match self {
            Shape::Circle { centre, radius } => (vec![*centre], *radius),
            Shape::Rectangle { from, to, .. } => (vec![*from, *to], 0.0),
            Shape::Polygon(points) => (points.clone(), 0.0),
            Shape::Line { points, width } => (points.clone(), width / 2.0),
        };
        let by = |of: fn(&Point) -> f32, better: fn(f32, f32) -> f32, start: f32| {
            points.iter().map(of).fold(start, better)
        };
        let low = |of| by(of, f32::min, f32::INFINITY) - margin;
        let high = |of| by(of, f32::max, f32::NEG_INFINITY) + margin;
        (Point { x: low(|p| p.x), y: low(|p| p.y) }, Point { x: high(|p| p.x), y: high(|p| p.y) })
    }
}

/// The pixels of one direction that a shape may touch.
fn pixels(from: f32, to: f32, n: usize) -> std::ops::Range<usize> {
    // A cast of a negative number gives 0.
    ((from - 1.0) as usize).min(n)..((to + 2.0) as usize).min(n)
}

fn to_segment(at: Point, a: Point, b: Point) -> f32 {
    let (x, y) = (b.x - a.x, b.y - a.y);
    let square = x * x + y * y;
    let along = if square > 0.0 { ((at.x - a.x) * x + (at.y - a.y) * y) / square } else { 0.0 };
    let along = along.clamp(0.0, 1.0);
    length(at.x - a.x - along * x, at.y - a.y - along * y)
}

fn length(x: f32, y: f32) -> f32 {
    x.hypot(y)
}

/// A colour with a part of another one over it.
fn mixed(under: Colour, over: Colour, part: f32) -> Colour {
    let mix = |i: usize| {
        let (under, over) = (f32::from(under[i]), f32::from(over[i]));
        (under + (over - under) * part).round() as u8
    };
    [mix(0), mix(1), mix(2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLACK: Colour = [0; 3];
    const WHITE: Colour = [255; 3];

    fn at(x: f32, y: f32) -> Point {
        Point { x, y }
    }

    /// The brightness of each pixel in a row of a canvas that shows a white shape on black.
    fn row(shape: &Shape, y: usize) -> Vec<u8> {
        let mut canvas = Canvas::new(8, 8, BLACK);
        canvas.fill(shape, WHITE, 1.0);
        (0..8).map(|x| canvas.bytes()[(y * 8 + x) * 3]).collect()
    }

    #[test]
    fn a_shape_covers_its_pixels_and_half_of_those_at_its_edge() {
        let square = vec![at(2.0, 2.0), at(6.0, 2.0), at(6.0, 6.0), at(2.0, 6.0)];
        let rectangle = Shape::Rectangle { from: at(2.0, 2.0), to: at(6.0, 6.0), radius: 0.0 };
        let whole = [0, 0, 255, 255, 255, 255, 0, 0];
        for shape in [Shape::Polygon(square.clone()), rectangle] {
            assert_eq!(row(&shape, 4), whole, "{shape:?}");
            assert_eq!(row(&shape, 1), [0; 8], "{shape:?}");
        }
        let moved: Vec<Point> = square.iter().map(|p| at(p.x + 0.5, p.y)).collect();
        assert_eq!(row(&Shape::Polygon(moved), 4), [0, 0, 128, 255, 255, 255, 128, 0]);
        let line = Shape::Line { points: vec![at(0.0, 4.0), at(8.0, 4.0)], width: 2.0 };
        assert_eq!([row(&line, 2)[4], row(&line, 3)[4], row(&line, 4)[4]], [0, 255, 255]);
        let circle = Shape::Circle { centre: at(4.0, 4.0), radius: 2.0 };
        let middle = row(&circle, 4);
        assert!(middle[3] == 255 && middle[1] < 64 && middle[7] == 0, "{middle:?}");
    }

    #[test]
    fn a_shape_beyond_the_canvas_is_cut_off() {
        for shape in [
            Shape::Circle { centre: at(-3.0, 4.0), radius: 20.0 },
            Shape::Polygon(vec![at(-9.0, -9.0), at(90.0, -9.0), at(90.0, 90.0), at(-9.0, 90.0)]),
        ] {
            assert_eq!(row(&shape, 0), [255; 8], "{shape:?}");
        }
        assert_eq!(row(&Shape::Circle { centre: at(50.0, 50.0), radius: 3.0 }, 4), [0; 8]);
        assert_eq!(row(&Shape::Polygon(Vec::new()), 4), [0; 8]);
    }

    #[test]
    fn a_translucent_shape_leaves_some_of_what_is_under_it() {
        let mut canvas = Canvas::new(1, 1, [100, 0, 200]);
        canvas.fill(&Shape::Circle { centre: at(0.5, 0.5), radius: 5.0 }, [200, 100, 0], 0.5);
        assert_eq!(canvas.bytes(), [150, 50, 100]);
    }
}
