//! Corruptions that move pixels: glass blur and elastic transform.

use super::Severity;
use super::draw;
use super::gaussian::{Edge, Field, Kernel, blur_rgb};
use crate::data::Rgb;
use crate::rng::ChaCha8Rng;

/// Standard deviation of the blur before and after, reach of the shuffling, rounds of it.
const GLASS: [(f64, usize, usize); 5] =
    [(0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)];
/// The factor on the smoothed displacement.
const ELASTIC_GAIN: [f64; 5] = [12.5, 16.25, 21.25, 25.0, 30.0];
/// Displacement before smoothing, and its standard deviation, as shares of the sides. The reference
/// takes the height for both displacements.
const ELASTIC_REACH: f64 = 0.005;
const ELASTIC_SIGMA: f64 = 0.01;
const ELASTIC_TRUNCATE: f64 = 3.0;

const CHANNELS: usize = 3;

/// Glass blur: blurs, shuffles pixels within a small reach, blurs again.
pub(super) fn glass_blur(image: &Rgb, severity: Severity, rng: &mut ChaCha8Rng) -> Rgb {
    let (sigma, reach, rounds) = severity.of(&GLASS);
    let mut blurred = blur_rgb(image, sigma);
    for _ in 0..rounds {
        shuffle(&mut blurred, reach, rng);
    }
    blur_rgb(&blurred, sigma)
}

/// Shuffles pixels: from the lower right on, each becomes one of its neighbours of `[-reach,
/// reach)` down and right.
///
/// The reference means to swap the two, but numpy assigns through views: the neighbour is copied.
fn shuffle(image: &mut Rgb, reach: usize, rng: &mut ChaCha8Rng) {
    let (width, height) = (image.width as usize, image.height as usize);
    let (rows, columns) =
        (reach + 1..=height.saturating_sub(reach), reach + 1..=width.saturating_sub(reach));
    if rows.is_empty() || columns.is_empty() {
        return;
    }
    let side = 2 * reach;
    let offsets: Vec<isize> = (0..side * side)
        .map(|i| {
            let [down, right] = [i / side, i % side].map(|d| d.cast_signed() - reach.cast_signed());
            down * width.cast_signed() + right
        })
        .collect();
    let n = columns.end() + 1 - columns.start();
    let (pixels, _) = image.pixels.as_chunks_mut::<CHANNELS>();
    for y in rows.rev() {
        // The bias of the multiply-shift is below 64 / 2^32.
        let picks = draw::words(rng, n);
        for (x, pick) in columns.clone().rev().zip(picks) {
            let pick = (u64::from(pick) * offsets.len() as u64) >> 32;
            let at = y * width + x;
            pixels[at] = pixels[at.wrapping_add_signed(offsets[pick as usize])];
        }
    }
}

/// Elastic transform: moves every pixel by a smooth random displacement.
pub(super) fn elastic_transform(image: &Rgb, severity: Severity, rng: &mut ChaCha8Rng) -> Rgb {
    let (width, height) = (image.width as usize, image.height as usize);
    let gain = severity.of(&ELASTIC_GAIN) * height as f64 * ELASTIC_REACH;
    let kernels =
        [height, width].map(|side| Kernel::new(side as f64 * ELASTIC_SIGMA, ELASTIC_TRUNCATE));
    let [right, down] = [(), ()].map(|()| {
        let values = draw::signed_units(rng, width * height);
        let field = Field { width, height, channels: 1, values };
        let mut moves = Vec::with_capacity(width * height);
        field.blur([&kernels[0], &kernels[1]], Edge::Reflect, |row| {
            moves.extend(row.iter().map(|value| (value * gain) as f32));
        });
        moves
    });
    let units: [f32; 256] = std::array::from_fn(|level| level as f32 / 255.0);
    let sampler = Sampler { width, height, pixels: image.pixels.as_chunks().0, units };
    let mut pixels = Vec::with_capacity(image.pixels.len());
    for y in 0..height {
        let moves = right[y * width..].iter().zip(&down[y * width..]).take(width);
        for (x, (right, down)) in moves.enumerate() {
            pixels.extend(sampler.at(x as f32 + right, y as f32 + down));
        }
    }
    Rgb { pixels, ..*image }
}

/// Looks a picture up between its pixels; beyond the border it is mirrored.
struct Sampler<'a> {
    width: usize,
    height: usize,
    pixels: &'a [[u8; CHANNELS]],
    /// Converts a level to a share of the range, rounded as in the reference.
    units: [f32; 256],
}

impl Sampler<'_> {
    fn at(&self, x: f32, y: f32) -> [u8; CHANNELS] {
        let (left, top) = (x.floor(), y.floor());
        let (share_x, share_y) = (x - left, y - top);
        let columns = [0, 1].map(|i| Edge::Reflect.near(left as isize + i, self.width));
        let rows = [0, 1].map(|i| Edge::Reflect.near(top as isize + i, self.height));
        let [[a, b], [c, d]] =
            rows.map(|row| columns.map(|column| self.pixels[row * self.width + column]));
        std::array::from_fn(|channel| {
            let [a, b, c, d] = [a, b, c, d].map(|pixel| self.units[usize::from(pixel[channel])]);
            let (above, below) = (a + share_x * (b - a), c + share_x * (d - c));
            ((above + share_y * (below - above)) * 255.0) as u8
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::keyed;

    fn ramp(width: u32, height: u32) -> Rgb {
        let pixels =
            (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 0])).collect();
        Rgb { width, height, pixels }
    }

    #[test]
    fn shuffled_pixels_come_from_their_neighbourhood_and_the_margin_stays() {
        let reach = 3;
        let mut image = ramp(40, 30);
        shuffle(&mut image, reach, &mut keyed(0, "glass", &[]));
        let mut moved = 0;
        for (at, pixel) in image.pixels.chunks(3).enumerate() {
            let at = at as u32;
            let (x, y) = ((at % 40).cast_signed(), (at / 40).cast_signed());
            let (dx, dy) = (i32::from(pixel[0]) - x, i32::from(pixel[1]) - y);
            if x <= 3 || y <= 3 || x > 37 || y > 27 {
                assert_eq!((dx, dy), (0, 0), "{x} {y}");
            }
            // Copies of copies go further than the reach.
            assert!(dx.abs() < 25 && dy.abs() < 25, "{x} {y}: {dx} {dy}");
            moved += i32::from((dx, dy) != (0, 0));
        }
        assert!(moved > 700, "{moved}");
    }

    #[test]
    fn a_picture_without_room_for_shuffling_is_blurred_only() {
        let mut image = ramp(4, 2);
        shuffle(&mut image, 4, &mut keyed(0, "glass", &[]));
        assert_eq!(image, ramp(4, 2));
    }

    #[test]
    fn the_sampler_mirrors_beyond_the_border() {
        let image = ramp(3, 1);
        let units = std::array::from_fn(|level| level as f32 / 255.0);
        let sampler = Sampler { width: 3, height: 1, pixels: image.pixels.as_chunks().0, units };
        let red = |x: f32| sampler.at(x, 0.0)[0];
        assert_eq!([-0.4, 0.0, 1.0, 2.0, 2.4, 3.0].map(red), [0, 0, 1, 2, 2, 2]);
        assert_eq!(sampler.at(-1.0, 7.5)[0], 0);
    }

    #[test]
    fn elastic_moves_by_pixels_not_by_much() {
        let image = ramp(200, 150);
        let moved = elastic_transform(&image, Severity::new(5).unwrap(), &mut keyed(0, "e", &[]));
        let shifts: Vec<_> = moved
            .pixels
            .chunks(3)
            .enumerate()
            .map(|(at, pixel)| (f64::from(pixel[0]) - (at % 200) as f64).abs())
            .collect();
        let mean = shifts.iter().sum::<f64>() / shifts.len() as f64;
        assert!((0.5..8.0).contains(&mean), "{mean}");
    }
}
