//! The two operations of [`super::oneof`] that move pixels: glass and elastic.

use super::Severity;
use super::draw;
use super::gaussian::{Edge, Field, Kernel, TRUNCATE, filter_rgb};
use super::level::rounded;
use crate::data::{Mask, Rgb};
use crate::rng::{ChaCha8Rng, uniform};

/// Gain of the displacement, its sigma, and the reach of the affine map's corners, in pixels.
const ELASTIC: [(f64, f64, f64); 5] = [
    (488.0, 170.8, 24.4),
    (288.0, 19.52, 48.8),
    (12.2, 2.44, 4.88),
    (17.08, 2.44, 4.88),
    (29.28, 2.44, 4.88),
];

const CHANNELS: usize = 3;

/// Glass blur: blurs, swaps pixels within a small reach, all of a round at once, blurs again.
pub(super) fn glass_blur(
    image: &Rgb,
    (sigma, reach, rounds): (f64, usize, usize),
    rng: &mut ChaCha8Rng,
) -> Rgb {
    // OpenCV's side for 8 bits: odd, about six sigma.
    let radius = ((sigma * 6.0 + 1.0).round_ties_even() as usize | 1) / 2;
    let weights: Vec<_> = (0..=radius).map(|d| (-0.5 * (d as f64 / sigma).powi(2)).exp()).collect();
    let kernel = Kernel::of(&weights);
    let units: [f64; 256] = std::array::from_fn(|level| level as f64);
    let soften = |image: &Rgb| filter_rgb(image, &kernel, (Edge::Mirror, &units), rounded);
    let mut blurred = soften(image);
    for _ in 0..rounds {
        swap(&mut blurred, reach, rng);
    }
    soften(&blurred)
}

/// Where several pixels move to one place the last wins, columns from the right, rows from below.
fn swap(image: &mut Rgb, reach: usize, rng: &mut ChaCha8Rng) {
    let (width, height) = (image.width as usize, image.height as usize);
    let rows = reach + 1..=height.saturating_sub(reach);
    let columns = reach + 1..=width.saturating_sub(reach);
    if rows.is_empty() || columns.is_empty() {
        return;
    }
    let before = image.pixels.as_chunks::<CHANNELS>().0.to_vec();
    let (pixels, _) = image.pixels.as_chunks_mut::<CHANNELS>();
    let side = 2 * reach as u64;
    let mut pairs = Vec::with_capacity(before.len());
    for x in columns.rev() {
        let picks = draw::words(rng, 2 * rows.clone().count());
        for (y, pick) in rows.clone().rev().zip(picks.chunks_exact(2)) {
            let [down, right] = [0, 1].map(|i| ((u64::from(pick[i]) * side) >> 32) as usize);
            pairs.push((y * width + x, (y + down - reach) * width + x + right - reach));
        }
    }
    for &(here, there) in &pairs {
        pixels[here] = before[there];
    }
    for (here, there) in pairs {
        pixels[there] = before[here];
    }
}

/// Elastic transform: a small affine map, then a smooth random displacement; labels move along.
pub(super) fn elastic(
    severity: Severity,
    (image, mask): (&Rgb, &mut Mask),
    rng: &mut ChaCha8Rng,
) -> Rgb {
    let (gain, sigma, reach) = severity.of(&ELASTIC);
    let (width, height) = (image.width as usize, image.height as usize);
    let affine = Affine::draw([width, height], reach, rng);
    let warped = warp((image, mask), |x, y| affine.back(x as f64, y as f64));
    let kernel = Kernel::new(sigma, TRUNCATE);
    let [right, down] = [(), ()].map(|()| {
        let values = draw::signed_units(rng, width * height);
        let field = Field { width, height, channels: 1, values };
        field.blurred([&kernel, &kernel], Edge::Reflect).values
    });
    warp((&warped, mask), |x, y| {
        let at = y * width + x;
        (x as f64 + gain * right[at], y as f64 + gain * down[at])
    })
}

/// Takes every pixel from the place that `from` gives, borders mirrored; labels from the nearest
/// pixel.
fn warp((image, mask): (&Rgb, &mut Mask), from: impl Fn(usize, usize) -> (f64, f64)) -> Rgb {
    let (width, height) = (image.width as usize, image.height as usize);
    let source = image.pixels.as_chunks::<CHANNELS>().0;
    let has_labels = mask.classes.len() == width * height;
    let labels = std::mem::take(&mut mask.classes);
    let mut pixels = Vec::with_capacity(image.pixels.len());
    let mut moved = Vec::with_capacity(labels.len());
    let at =
        |x: isize, y: isize| Edge::Mirror.near(y, height) * width + Edge::Mirror.near(x, width);
    for y in 0..height {
        for x in 0..width {
            let (from_x, from_y) = from(x, y);
            let (left, top) = (from_x.floor(), from_y.floor());
            let (share_x, share_y) = (from_x - left, from_y - top);
            let [[a, b], [c, d]] = [0, 1].map(|down| {
                [0, 1].map(|right| source[at(left as isize + right, top as isize + down)])
            });
            pixels.extend([0, 1, 2].map(|i| {
                let [a, b, c, d] = [a, b, c, d].map(|pixel| f64::from(pixel[i]));
                let (above, below) = (a + share_x * (b - a), c + share_x * (d - c));
                rounded(above + share_y * (below - above))
            }));
            if has_labels {
                moved.push(labels[at(from_x.round() as isize, from_y.round() as isize)]);
            }
        }
    }
    mask.classes = if has_labels { moved } else { labels };
    Rgb { pixels, ..*image }
}

/// An affine map: `to = x * along + y * down + start`.
struct Affine {
    along: [f64; 2],
    down: [f64; 2],
    start: [f64; 2],
}

impl Affine {
    /// Three corners of a square in the middle, each moved by up to `reach` along both axes.
    fn draw([width, height]: [usize; 2], reach: f64, rng: &mut ChaCha8Rng) -> Self {
        let half = (width.min(height) / 3) as f64;
        let mut corner = || [(), ()].map(|()| (uniform(rng) * 2.0 - 1.0) * reach);
        let [a, b, c] = [corner(), corner(), corner()];
        if half == 0.0 {
            // Too small for a square.
            return Self { along: [1.0, 0.0], down: [0.0, 1.0], start: [0.0, 0.0] };
        }
        // albumentations takes (height, width) for (x, y).
        let middle = [(height / 2) as f64, (width / 2) as f64];
        let along = [1.0 + (b[0] - c[0]) / (2.0 * half), (b[1] - c[1]) / (2.0 * half)];
        let down = [(a[0] - b[0]) / (2.0 * half), 1.0 + (a[1] - b[1]) / (2.0 * half)];
        let corner = [middle[0] - half, middle[1] - half];
        let start = [0, 1].map(|i| corner[i] + c[i] - along[i] * corner[0] - down[i] * corner[1]);
        Self { along, down, start }
    }

    /// Where a place comes from.
    fn back(&self, x: f64, y: f64) -> (f64, f64) {
        let ([xx, xy], [yx, yy]) = (self.along, self.down);
        let determinant = xx * yy - yx * xy;
        let (x, y) = (x - self.start[0], y - self.start[1]);
        if determinant.abs() < 1e-9 {
            // The corners fell on a line, which moves of a few pixels make of tiny pictures only.
            return (x, y);
        }
        ((x * yy - y * yx) / determinant, (y * xx - x * xy) / determinant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::keyed;

    #[test]
    fn labels_move_with_the_pixels() {
        let (width, height) = (80u32, 60u32);
        let is_right = |i: u32| i % width >= 40;
        let n = width * height;
        let pixels = (0..n).flat_map(|i| [if is_right(i) { 255 } else { 0 }; 3]).collect();
        let image = Rgb { width, height, pixels };
        let classes: Vec<_> = (0..n).map(|i| u8::from(is_right(i))).collect();
        let mut mask = Mask { width, height, classes: classes.clone() };
        let severity = Severity::new(5).unwrap();
        let moved = elastic(severity, (&image, &mut mask), &mut keyed(2, "e", &[]));
        assert_ne!(mask.classes, classes);
        let pixels = moved.pixels.chunks(3).zip(&mask.classes);
        let apart = pixels.filter(|(pixel, class)| (pixel[0] > 127) != (**class == 1)).count();
        assert!(apart < 150, "{apart}");
    }

    #[test]
    fn an_affine_map_takes_the_moved_corners_back() {
        let affine = Affine::draw([90, 60], 5.0, &mut keyed(0, "a", &[]));
        // The corner at (30 - 20, 45 - 20) goes to within five pixels of itself.
        let (x, y) = affine.back(10.0, 25.0);
        assert!((x - 10.0).abs() < 9.0 && (y - 25.0).abs() < 9.0, "{x} {y}");
        let (along, down) = (affine.along, affine.down);
        let forth = |x: f64, y: f64| [0, 1].map(|i| x * along[i] + y * down[i] + affine.start[i]);
        let [to_x, to_y] = forth(12.0, 34.0);
        let (x, y) = affine.back(to_x, to_y);
        assert!((x - 12.0).abs() < 1e-9 && (y - 34.0).abs() < 1e-9, "{x} {y}");
    }

    #[test]
    fn swapping_moves_pixels_within_reach() {
        let (width, height) = (30, 20);
        let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 0]));
        let mut image = Rgb { width, height, pixels: pixels.collect() };
        swap(&mut image, 3, &mut keyed(0, "s", &[]));
        for (at, pixel) in image.pixels.chunks(3).enumerate() {
            let at = at as u32;
            let (x, y) = ((at % 30).cast_signed(), (at / 30).cast_signed());
            let (dx, dy) = (i32::from(pixel[0]) - x, i32::from(pixel[1]) - y);
            assert!(dx.abs() <= 3 && dy.abs() <= 3, "{dx} {dy}");
        }
    }
}
