//! The corruptions fog and brightness.

use rand_core::Rng;

use super::Severity;
use crate::data::Rgb;
use crate::rng::ChaCha8Rng;

/// Thickness of the fog, and by how much its texture fades from one scale to the next.
const FOG: [(f32, f32); 5] = [(1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)];
/// The amount added to V of HSV, by level.
const BRIGHTNESS: [f64; 5] = [0.1, 0.2, 0.3, 0.4, 0.5];

const CHANNELS: usize = 3;

/// Fog: adds a plasma fractal to every channel, then scales so that the brightest value stays.
pub(super) fn fog(image: &Rgb, severity: Severity, rng: &mut ChaCha8Rng) -> Rgb {
    let (thickness, decay) = severity.of(&FOG);
    let (width, height) = (image.width as usize, image.height as usize);
    // The reference takes the longest of (height, width, channels).
    let side = width.max(height).max(CHANNELS).next_power_of_two();
    let map = plasma(side, decay, rng);
    let max = image.pixels.iter().max().map_or(0.0, |&max| f32::from(max) / 255.0);
    let scale = max / (max + thickness);
    let mut pixels = Vec::with_capacity(image.pixels.len());
    for (row, heights) in image.pixels.chunks_exact(width * CHANNELS).zip(map.chunks_exact(side)) {
        pixels.extend(row.chunks_exact(CHANNELS).zip(heights).flat_map(|(pixel, height)| {
            let fog = thickness * 255.0 * height;
            [0, 1, 2].map(|c| ((f32::from(pixel[c]) + fog) * scale) as u8)
        }));
    }
    Rgb { pixels, ..*image }
}

/// Brightness: raises V of HSV with H and S kept: all channels grow by the factor by which the
/// largest does.
pub(super) fn brightness(image: &Rgb, severity: Severity) -> Rgb {
    let table = brightness_table(severity.of(&BRIGHTNESS));
    let mut pixels = Vec::with_capacity(image.pixels.len());
    pixels.extend(image.pixels.chunks_exact(CHANNELS).flat_map(|pixel| {
        let max = pixel[0].max(pixel[1]).max(pixel[2]);
        let row = &table[usize::from(max)];
        [0, 1, 2].map(|c| row[usize::from(pixel[c])])
    }));
    Rgb { pixels, ..*image }
}

/// `[largest channel, channel] -> brightened channel`.
fn brightness_table(added: f64) -> Vec<[u8; 256]> {
    (0..=255u8)
        .map(|max| {
            let value = f64::from(max) / 255.0;
            let brighter = (value + added).min(1.0);
            std::array::from_fn(|channel| match channel {
                // The largest channel is V itself. Black has no hue: it turns grey.
                _ if channel >= usize::from(max) => (brighter * 255.0) as u8,
                channel => (channel as f64 / f64::from(max) * brighter * 255.0) as u8,
            })
        })
        .collect()
}

/// Heights of 0 to 1 by the diamond-square algorithm on a torus, `[side, side]`.
///
/// `side` is a power of two. Every midpoint is the mean of its four neighbours plus uniform noise
/// whose reach is the square of a size that starts at 100 and shrinks by `decay` a scale.
pub(super) fn plasma(side: usize, decay: f32, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut map = Torus { side, heights: vec![0.0; side * side] };
    let mut step = side;
    let mut wobble = 100.0f32;
    while step >= 2 {
        map.fill_squares(step, wobble * wobble, rng);
        map.fill_diamonds(step, wobble * wobble, rng);
        step /= 2;
        wobble /= decay;
    }
    let (min, max) = map
        .heights
        .iter()
        .fold((f32::MAX, f32::MIN), |(min, max), &height| (min.min(height), max.max(height)));
    let range = if max > min { max - min } else { 1.0 };
    for height in &mut map.heights {
        *height = (*height - min) / range;
    }
    map.heights
}

/// A square map whose opposite edges touch.
struct Torus {
    side: usize,
    heights: Vec<f32>,
}

impl Torus {
    /// Fills the middles of the squares whose corners are `step` apart.
    fn fill_squares(&mut self, step: usize, reach: f32, rng: &mut ChaCha8Rng) {
        let half = step / 2;
        for y in (0..self.side).step_by(step) {
            let (top, middle, bottom) =
                (self.row(y), self.row(y + half), self.row((y + step) % self.side));
            for x in (0..self.side).step_by(step) {
                let right = (x + step) % self.side;
                let sum = self.heights[top + x]
                    + self.heights[top + right]
                    + self.heights[bottom + x]
                    + self.heights[bottom + right];
                self.heights[middle + x + half] = sum / 4.0 + reach * signed_unit(rng);
            }
        }
    }

    /// Fills the middles of the edges of those squares: each between two corners and two middles.
    fn fill_diamonds(&mut self, step: usize, reach: f32, rng: &mut ChaCha8Rng) {
        let half = step / 2;
        for y in (0..self.side).step_by(half) {
            let (above, here, below) = (
                self.row((y + self.side - half) % self.side),
                self.row(y),
                self.row((y + half) % self.side),
            );
            // Rows of corners have their gaps at half a step, rows of middles at whole steps.
            let first = if y % step == 0 { half } else { 0 };
            for x in (first..self.side).step_by(step) {
                let (left, right) = ((x + self.side - half) % self.side, (x + half) % self.side);
                let sum = self.heights[above + x]
                    + self.heights[below + x]
                    + self.heights[here + left]
                    + self.heights[here + right];
                self.heights[here + x] = sum / 4.0 + reach * signed_unit(rng);
            }
        }
    }

    fn row(&self, y: usize) -> usize {
        y * self.side
    }
}

/// A value uniform in [-1, 1).
fn signed_unit(rng: &mut ChaCha8Rng) -> f32 {
    rng.next_u32().cast_signed() as f32 / (1u32 << 31) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::keyed;

    #[test]
    fn plasma_fills_every_cell_and_spans_zero_to_one() {
        for side in [4, 8, 64] {
            let map = plasma(side, 2.0, &mut keyed(0, "fog", &[side as u64]));
            let max = map.iter().copied().fold(f32::MIN, f32::max);
            let min = map.iter().copied().fold(f32::MAX, f32::min);
            assert_eq!((map.len(), min, max), (side * side, 0.0, 1.0));
            // A cell left out would keep the corner's height.
            let corner = map[0];
            assert_eq!(
                map.iter().filter(|&&height| height.to_bits() == corner.to_bits()).count(),
                1
            );
        }
    }

    #[test]
    fn plasma_is_smooth_across_its_edges() {
        let side = 64;
        let map = plasma(side, 3.0, &mut keyed(0, "fog", &[]));
        let difference = |x0: usize, x1: usize| -> f32 {
            (0..side).map(|y| (map[y * side + x0] - map[y * side + x1]).abs()).sum::<f32>()
        };
        assert!(difference(0, side - 1) < difference(0, side / 2));
    }

    #[test]
    fn brightness_keeps_hue_and_saturates() {
        let image = Rgb { width: 3, height: 1, pixels: vec![0, 0, 0, 200, 100, 50, 255, 0, 128] };
        let brighter = brightness(&image, Severity::new(1).unwrap());
        assert_eq!(brighter.pixels, [25, 25, 25, 225, 112, 56, 255, 0, 128]);
        let white = brightness(&image, Severity::new(5).unwrap());
        assert_eq!(white.pixels[3..6], [255, 127, 63]);
    }

    #[test]
    fn fog_leaves_a_black_image_black() {
        let image = Rgb { width: 5, height: 3, pixels: vec![0; 45] };
        let foggy = fog(&image, Severity::new(3).unwrap(), &mut keyed(0, "fog", &[]));
        assert_eq!(foggy, image);
    }
}
