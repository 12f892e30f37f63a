//! The corruption motion blur: the picture shifted along a line and summed under a one-sided half
//! Gaussian.

use super::Severity;
use super::gaussian::sum_as_numpy;
use crate::data::Rgb;
use crate::rng::{ChaCha8Rng, uniform};

/// Radius in pixels (the streak is 2r + 1 long) and standard deviation of its weights.
const MOTION: [(u32, f64); 5] = [(10, 3.0), (15, 5.0), (15, 8.0), (15, 12.0), (20, 15.0)];

const CHANNELS: usize = 3;
/// Values that are summed side by side, a multiple of every vector width.
const LANES: usize = 32;

/// Blurs along a random angle of -45 to 45 degrees from the horizontal.
pub(super) fn motion_blur(image: &Rgb, severity: Severity, rng: &mut ChaCha8Rng) -> Rgb {
    motion_blur_at(image, severity, uniform(rng) * 90.0 - 45.0)
}

/// Blurs along `angle`, in degrees; for comparing the random one with the reference.
pub(super) fn motion_blur_at(image: &Rgb, severity: Severity, angle: f64) -> Rgb {
    let (radius, sigma) = severity.of(&MOTION);
    let streak = Streak::new(radius, sigma, angle);
    let layer = Layer {
        width: image.width as usize,
        height: image.height as usize,
        channels: CHANNELS,
        values: image.pixels.iter().map(|&level| f32::from(level)).collect(),
    };
    let mut pixels = Vec::with_capacity(image.pixels.len());
    layer.smear(&streak, (layer.width, layer.height), |row| {
        pixels.extend(row.iter().map(|&value| value.min(255.0) as u8));
    });
    Rgb { pixels, ..*image }
}

/// The steps of a streak: positions at which the picture is looked up, with their weights.
#[derive(Debug, Clone)]
pub(super) struct Streak {
    /// Steps as (right, down, weight).
    taps: Vec<(isize, isize, f64)>,
}

/// A picture that is smeared; rows of interleaved channels.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) channels: usize,
    pub(super) values: Vec<f32>,
}

impl Streak {
    /// `2 * radius + 1` steps, `angle` in degrees.
    pub(super) fn new(radius: u32, sigma: f64, angle: f64) -> Self {
        let n = 2 * radius + 1;
        let weights: Vec<f64> = (0..n)
            .map(|i| {
                let x = f64::from(i);
                (-(x * x) / (2.0 * sigma * sigma)).exp()
                    / ((2.0 * std::f64::consts::PI).sqrt() * sigma)
            })
            .collect();
        let total = sum_as_numpy(&weights);
        let (sin, cos) = angle.to_radians().sin_cos();
        let end = (f64::from(n) * sin, f64::from(n) * cos);
        let length = end.0.hypot(end.1);
        let step = |i: usize, end: f64| ((i as f64 * end / length) - 0.5).ceil() as isize;
        let taps = weights
            .iter()
            .enumerate()
            .map(|(i, weight)| (step(i, end.1), step(i, end.0), weight / total));
        Self { taps: taps.collect() }
    }
}

impl Layer {
    /// Hands each row of the smeared picture's upper left part of `size` (width, height) to
    /// `sink`. Border pixels go on beyond the border.
    pub(super) fn smear(
        &self,
        streak: &Streak,
        (width, height): (usize, usize),
        mut sink: impl FnMut(&[f64]),
    ) {
        // The reference stops where the streak is longer than the picture, and so darkens it.
        let is_within = |&&(right, down, _): &&(isize, isize, f64)| {
            down.unsigned_abs() < self.height && right.unsigned_abs() < self.width
        };
        let taps: Vec<_> = streak.taps.iter().take_while(is_within).copied().collect();
        let reach = taps.iter().map(|tap| tap.0.unsigned_abs()).max().unwrap_or(0);
        let padded = self.padded(reach);
        let stride = (self.width + 2 * reach) * self.channels;
        let mut out = vec![0.0; width * self.channels];
        let last = self.height.cast_signed() - 1;
        for y in 0..height.cast_signed() {
            let sources: Vec<_> = taps
                .iter()
                .map(|&(right, down, weight)| {
                    let row = (y + down).clamp(0, last) as usize;
                    let from = (reach.cast_signed() + right) as usize * self.channels;
                    (&padded[row * stride + from..][..out.len()], weight)
                })
                .collect();
            add_up(&sources, &mut out);
            sink(&out);
        }
    }

    /// Extends each row by `reach` repeated border pixels on both sides.
    fn padded(&self, reach: usize) -> Vec<f32> {
        let mut padded = Vec::with_capacity((self.width + 2 * reach) * self.height * self.channels);
        for row in self.values.chunks_exact(self.width * self.channels) {
            let (first, last) = (&row[..self.channels], &row[row.len() - self.channels..]);
            (0..reach).for_each(|_| padded.extend_from_slice(first));
            padded.extend_from_slice(row);
            (0..reach).for_each(|_| padded.extend_from_slice(last));
        }
        padded
    }
}

/// The weighted sum of `sources`, added one by one in f64 as in the reference.
fn add_up(sources: &[(&[f32], f64)], out: &mut [f64]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let whole = out.len() / LANES * LANES;
            for at in (0..whole).step_by(LANES) {
                let mut sums = [0.0; LANES];
                for (source, weight) in sources {
                    for (sum, &value) in sums.iter_mut().zip(&source[at..at + LANES]) {
                        *sum += weight * f64::from(value);
                    }
                }
                out[at..at + LANES].copy_from_slice(&sums);
            }
            for at in whole..out.len() {
                out[at] = sources.iter().map(|(row, weight)| weight * f64::from(row[at])).sum();
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streak_starts_where_it_is_strongest_and_goes_one_way() {
        let streak = Streak::new(10, 3.0, 0.0);
        assert_eq!(streak.taps.len(), 21);
        assert!(streak.taps.iter().zip(0..).all(|(tap, i)| (tap.0, tap.1) == (i, 0)));
        assert!(streak.taps.windows(2).all(|pair| pair[0].2 > pair[1].2));
        let down = Streak::new(10, 3.0, 90.0);
        assert!(down.taps.iter().zip(0..).all(|(tap, i)| (tap.0, tap.1) == (0, i)));
    }

    #[test]
    fn a_point_is_smeared_to_the_left() {
        let mut pixels = vec![0; 90 * 3];
        pixels[60 * 3..61 * 3].fill(255);
        let image = Rgb { width: 90, height: 1, pixels };
        let blurred = motion_blur_at(&image, Severity::new(1).unwrap(), 0.0);
        let level = |x: usize| blurred.pixels[x * 3];
        assert_eq!((level(61), level(30)), (0, 0));
        assert!(level(60) > level(57) && level(57) > level(54) && level(54) > 0);
    }

    #[test]
    fn borders_go_on() {
        let image = Rgb { width: 50, height: 40, pixels: vec![255; 6000] };
        let blurred = motion_blur_at(&image, Severity::new(5).unwrap(), 40.0);
        assert!(blurred.pixels.iter().all(|&level| level >= 254));
    }
}
