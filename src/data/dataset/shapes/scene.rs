//! Draws one image of `shapes`.
//!
//! Only `+ - * /`, square roots and rounding are used: they are exact on every machine, where
//! sines and logarithms differ in the last bit.

use crate::data::{Mask, Rgb, VOID};
use crate::rng::{self, ChaCha8Rng, below, uniform};

/// Class names, by index.
pub(super) const CLASSES: [&str; 7] =
    ["background", "disc", "cross", "square", "ring", "triangle", "star"];

/// Outline and texture of the object classes, in the order of [`CLASSES`] from 1.
const KINDS: [(Outline, Texture); 6] = [
    (Outline::Disc, Texture::Stripes),
    (Outline::Cross, Texture::Stripes),
    (Outline::Square, Texture::Checker),
    (Outline::Ring, Texture::Checker),
    (Outline::Triangle, Texture::Dots),
    (Outline::Star, Texture::Speckle),
];

/// Colours that the classes' objects are moved towards by a hint, in the order of [`KINDS`].
const HINTS: [Colour; 6] = [
    [230.0, 40.0, 40.0],
    [40.0, 200.0, 60.0],
    [50.0, 80.0, 230.0],
    [230.0, 210.0, 40.0],
    [200.0, 50.0, 210.0],
    [40.0, 210.0, 210.0],
];

/// Subsamples per pixel and axis, against jagged edges.
const SUBSAMPLES: u32 = 2;
/// Cells of the ground's pattern along a side.
const GROUND_CELLS: usize = 7;
/// Half the range of the noise on each pixel, in grey levels.
const NOISE: f64 = 7.0;
/// Least distance of an object's two colours, summed over channels.
const CONTRAST_MIN: f64 = 190.0;
/// Cosine and sine of 72 degrees: the turn from one tip of the star to the next.
const TIP_TURN: [f64; 2] = [0.309_016_994_374_947_45, 0.951_056_516_295_153_5];
/// Half the height of the triangle's base below its centre, over its radius, and sin 60 degrees.
const TRIANGLE: [f64; 2] = [0.5, 0.866_025_403_784_438_6];

#[derive(Debug, Clone, Copy)]
enum Outline {
    Disc,
    Cross,
    Square,
    Ring,
    Triangle,
    Star,
}

#[derive(Debug, Clone, Copy)]
enum Texture {
    Stripes,
    Checker,
    Dots,
    Speckle,
    /// Of distractors, and of the ground.
    Gradient,
}

type Colour = [f64; 3];

struct Object {
    /// 0 for a distractor.
    class: u8,
    outline: Outline,
    texture: Texture,
    /// In pixels.
    centre: [f64; 2],
    /// Of the circle around the outline, in pixels.
    radius: f64,
    /// Width over height, before turning.
    stretch: f64,
    /// Cosine and sine of the turn.
    turn: [f64; 2],
    colours: [Colour; 2],
    /// Of the texture, in pixels.
    period: f64,
    /// Shift of the texture, in periods.
    phase: [f64; 2],
    /// Tells the speckles of one object from another's.
    key: u64,
}

struct Ground {
    colours: [Colour; 2],
    /// Mix of the two colours at the corners of the cells.
    corners: [[f64; GROUND_CELLS + 1]; GROUND_CELLS + 1],
}

struct Scene {
    side_px: u32,
    ground: Ground,
    /// From the lowest to the topmost.
    objects: Vec<Object>,
}

/// Draws a scene and paints it: `side_px` square. `hint` is the share of its class's colour in an
/// object's colours, 0 to 1.
pub(super) fn render(rng: &mut ChaCha8Rng, side_px: u32, hint: f64) -> (Rgb, Mask) {
    let mut scene = Scene::draw(rng, side_px);
    for object in scene.objects.iter_mut().filter(|object| object.class != 0) {
        let own = HINTS[usize::from(object.class) - 1];
        object.colours = object.colours.map(|colour| blend([colour, own], hint));
    }
    let mut pixels = Vec::with_capacity(3 * (side_px * side_px) as usize);
    for y in 0..side_px {
        for x in 0..side_px {
            let colour = scene.pixel(x, y);
            for value in colour {
                let noise = (uniform(rng) + uniform(rng) - 1.0) * NOISE;
                pixels.push((value + noise).round().clamp(0.0, 255.0) as u8);
            }
        }
    }
    (Rgb { width: side_px, height: side_px, pixels }, scene.mask())
}

impl Scene {
    fn draw(rng: &mut ChaCha8Rng, side_px: u32) -> Self {
        let ground = Ground::draw(rng);
        let n_objects = 3 + below(rng, 4) as usize;
        let n_distractors = below(rng, 3) as usize;
        let mut classes: Vec<u8> = vec![0; n_distractors];
        for _ in 0..n_objects {
            classes.push(1 + below(rng, KINDS.len() as u64) as u8);
        }
        rng::shuffle(rng, &mut classes);
        let objects = classes.into_iter().map(|class| Object::draw(rng, class, f64::from(side_px)));
        Self { side_px, objects: objects.collect(), ground }
    }

    /// Mean colour of a pixel, 0 to 255.
    fn pixel(&self, x: u32, y: u32) -> Colour {
        let mut sum = [0.0; 3];
        for i in 0..SUBSAMPLES * SUBSAMPLES {
            let at = |pixel: u32, i: u32| {
                f64::from(pixel) + (f64::from(i) + 0.5) / f64::from(SUBSAMPLES)
            };
            let point = [at(x, i % SUBSAMPLES), at(y, i / SUBSAMPLES)];
            let colour = match self.topmost(point) {
                Some(index) => self.objects[index].colour(point),
                None => self.ground.colour(point.map(|p| p / f64::from(self.side_px))),
            };
            for (sum, value) in sum.iter_mut().zip(colour) {
                *sum += value;
            }
        }
        sum.map(|value| value / f64::from(SUBSAMPLES * SUBSAMPLES))
    }

    fn topmost(&self, point: [f64; 2]) -> Option<usize> {
        self.objects.iter().rposition(|object| object.covers(point))
    }

    /// Classes at the pixel centres; the pixels just outside an object are void.
    fn mask(&self) -> Mask {
        let side = self.side_px as usize;
        // 0 is the ground, i + 1 the object of index i.
        let mut layers = Vec::with_capacity(side * side);
        for y in 0..self.side_px {
            for x in 0..self.side_px {
                let point = [f64::from(x) + 0.5, f64::from(y) + 0.5];
                layers.push(self.topmost(point).map_or(0, |index| index + 1));
            }
        }
        let class = |layer: usize| if layer == 0 { 0 } else { self.objects[layer - 1].class };
        let classes = (0..side * side).map(|at| {
            let (x, y) = (at % side, at / side);
            let neighbours = [
                (x > 0).then(|| at - 1),
                (x + 1 < side).then(|| at + 1),
                (y > 0).then(|| at - side),
                (y + 1 < side).then(|| at + side),
            ];
            let below_object = neighbours.into_iter().flatten().any(|other| {
                let labelled = class(layers[at]) != 0 || class(layers[other]) != 0;
                layers[other] > layers[at] && labelled
            });
            if below_object { VOID } else { class(layers[at]) }
        });
        Mask { width: self.side_px, height: self.side_px, classes: classes.collect() }
    }
}

impl Object {
    fn draw(rng: &mut ChaCha8Rng, class: u8, side: f64) -> Self {
        let (outline, texture) = match class {
            0 => (Outline::Disc, Texture::Gradient),
            _ => KINDS[usize::from(class) - 1],
        };
        Self {
            class,
            outline,
            texture,
            centre: [uniform(rng) * side, uniform(rng) * side],
            radius: between(rng, 0.15, 0.3) * side,
            stretch: between(rng, 0.8, 1.25),
            turn: direction(rng),
            colours: colours(rng, CONTRAST_MIN),
            period: between(rng, 0.05, 0.08) * side,
            phase: [uniform(rng), uniform(rng)],
            key: below(rng, u64::MAX),
        }
    }

    /// `point` in the object's own frame, in pixels.
    fn local(&self, point: [f64; 2]) -> [f64; 2] {
        let [dx, dy] = [point[0] - self.centre[0], point[1] - self.centre[1]];
        let [cos, sin] = self.turn;
        [(dx * cos + dy * sin) / self.stretch, (dy * cos - dx * sin) * self.stretch]
    }

    fn covers(&self, point: [f64; 2]) -> bool {
        let [x, y] = self.local(point).map(|p| p / self.radius);
        let squared = x * x + y * y;
        if squared > 1.0 {
            return false;
        }
        match self.outline {
            Outline::Disc => squared <= 0.8,
            Outline::Cross => x.abs() <= 0.3 || y.abs() <= 0.3,
            Outline::Square => x.abs() <= 0.7 && y.abs() <= 0.7,
            Outline::Ring => squared >= 0.3,
            Outline::Triangle => {
                let [base, sin60] = TRIANGLE;
                y <= base && sin60 * x.abs() - 0.5 * y <= base
            }
            Outline::Star => in_star(x, y),
        }
    }

    fn colour(&self, point: [f64; 2]) -> Colour {
        let local = self.local(point);
        let [u, v] = [0, 1].map(|axis| local[axis] / self.period + self.phase[axis]);
        let mix = match self.texture {
            Texture::Stripes => f64::from((u - u.floor()) < 0.5),
            Texture::Checker => f64::from(u8::from(odd(u.floor()) != odd(v.floor()))),
            Texture::Dots => {
                let [du, dv] = [u - u.floor() - 0.5, v - v.floor() - 0.5];
                f64::from(du * du + dv * dv < 0.12)
            }
            Texture::Speckle => speckle(self.key, (u * 3.0).floor(), (v * 3.0).floor()),
            Texture::Gradient => (local[0] / self.radius / 2.0 + 0.5).clamp(0.0, 1.0),
        };
        blend(self.colours, mix)
    }
}

impl Ground {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        let colours = colours(rng, 0.0);
        let mut corners = [[0.0; GROUND_CELLS + 1]; GROUND_CELLS + 1];
        for corner in corners.iter_mut().flatten() {
            *corner = uniform(rng);
        }
        Self { colours, corners }
    }

    /// At a place in 0 to 1.
    fn colour(&self, place: [f64; 2]) -> Colour {
        let scaled = place.map(|p| (p * GROUND_CELLS as f64).clamp(0.0, GROUND_CELLS as f64));
        let cell = scaled.map(|p| (p as usize).min(GROUND_CELLS - 1));
        let [fx, fy] = [0, 1].map(|axis| {
            let f = scaled[axis] - cell[axis] as f64;
            f * f * (3.0 - 2.0 * f)
        });
        let [x, y] = cell;
        let row = |y: usize| self.corners[y][x] * (1.0 - fx) + self.corners[y][x + 1] * fx;
        blend(self.colours, row(y) * (1.0 - fy) + row(y + 1) * fy)
    }
}

/// A five-pointed star in the unit circle: a point is inside where at most one of the five lines
/// that join tips two apart has it on its outer side.
fn in_star(x: f64, y: f64) -> bool {
    let [cos, sin] = TIP_TURN;
    let (mut nx, mut ny) = (0.0, 1.0);
    let mut n_outside = 0;
    for _ in 0..5 {
        // Those lines lie cos 72 degrees from the centre.
        if x * nx + y * ny > cos {
            n_outside += 1;
        }
        (nx, ny) = (nx * cos - ny * sin, nx * sin + ny * cos);
    }
    n_outside <= 1
}

/// 0 or 1 for a cell, by the finaliser of `SplitMix64`.
fn speckle(key: u64, u: f64, v: f64) -> f64 {
    let cell = ((u as i64 as u64) << 32) ^ (v as i64 as u64 & 0xffff_ffff);
    let mut z = key ^ cell.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) & 1) as f64
}

/// Of a whole number.
fn odd(number: f64) -> bool {
    number % 2.0 != 0.0
}

fn blend([a, b]: [Colour; 2], mix: f64) -> Colour {
    std::array::from_fn(|channel| a[channel] + (b[channel] - a[channel]) * mix)
}

fn between(rng: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * uniform(rng)
}

/// A unit vector: a point drawn in a disc, pushed out to the circle.
fn direction(rng: &mut ChaCha8Rng) -> [f64; 2] {
    loop {
        let point = [between(rng, -1.0, 1.0), between(rng, -1.0, 1.0)];
        let length = (point[0] * point[0] + point[1] * point[1]).sqrt();
        if (0.1..=1.0).contains(&length) {
            return point.map(|p| p / length);
        }
    }
}

/// Two colours at least `contrast` apart.
fn colours(rng: &mut ChaCha8Rng, contrast: f64) -> [Colour; 2] {
    loop {
        let mut colour = || [0; 3].map(|_| between(rng, 20.0, 235.0));
        let (a, b) = (colour(), colour());
        let distance: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum();
        if distance >= contrast {
            return [a, b];
        }
    }
}
