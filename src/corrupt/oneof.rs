//! The corruption of the reference project (RobvanGastel/dinov2-finetune, `corruption.py`): one of
//! ten operations at random per image, whose parameters resemble ImageNet-C's but differ.
//!
//! The operations are those of albumentations 1.4.7, which its code was written for (newer ones
//! ignore most of its parameters), with the ranges that a single number means there: a defocus of
//! radius 10 is one of 1 to 10. Random numbers are our own. `OpenCV`'s fixed-point roundings are
//! not followed: blurs and warps are within a level or two of it, not equal. Its elastic transform
//! moves the labels too, and so it does here.

use super::Severity;
use super::blur;
use super::draw;
use super::gaussian::{Edge, Kernel, filter_rgb};
use super::hls;
use super::jpeg;
use super::level::rounded;
use super::oneof_warp;
use super::zoom::{self, Axis, Picture};
use crate::data::{Mask, Rgb};
use crate::rng::{ChaCha8Rng, below, uniform};

/// The beginning of the names of draws.
pub const PREFIX: &str = "reference_oneof_";

/// Range of the noise's variance, in levels squared.
const NOISE_VARIANCE: [(f64, f64); 5] =
    [(0.0, 8.0), (8.0, 12.0), (12.0, 18.0), (18.0, 26.0), (26.0, 38.0)];
/// Range of the sensor noise's intensity.
const ISO_INTENSITY: [(f64, f64); 5] = [(0.0, 0.3), (0.5, 0.7), (0.6, 0.9), (0.6, 0.9), (0.9, 1.2)];
/// Range of its hue, as a share of the circle (albumentations' default).
const ISO_HUE: (f64, f64) = (0.01, 0.05);
/// Range of the kernel's side.
const BLUR_SIDE: [(u64, u64); 5] = [(3, 3), (1, 3), (1, 3), (3, 5), (5, 7)];
/// Sigma, reach and rounds of glass blur.
const GLASS: [(f64, usize, usize); 5] =
    [(0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)];
/// Largest radius and softness; the least are 1 and 0.
const DEFOCUS: [(u64, f64); 5] = [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)];
/// Largest side of the kernel; the least is 3.
const MOTION_SIDE: [u64; 5] = [3, 5, 5, 9, 13];
/// Largest end of the zoom; the least is 1.
const ZOOM_END: [f64; 5] = [1.11, 1.16, 1.21, 1.26, 1.31];
const ZOOM_STEP: (f64, f64) = (0.01, 0.03);
/// Largest snow point; the least is a tenth.
const SNOW_POINT: [f64; 5] = [0.1, 0.2, 0.45, 0.45, 0.55];
/// The factor on lightness below the snow point (albumentations' default).
const SNOW_BRIGHTNESS: f32 = 2.5;
/// Kernels of OpenCV for sides 1, 3, 5 and 7 where no sigma is given.
const SMALL_KERNELS: [&[f64]; 4] =
    [&[1.0], &[0.5, 0.25], &[0.375, 0.25, 0.0625], &[0.28125, 0.21875, 0.109_375, 0.03125]];

const CHANNELS: usize = 3;
/// Levels as they are.
const LEVELS: [f64; 256] = {
    let mut levels = [0.0; 256];
    let mut level = 0;
    while level < 256 {
        levels[level] = level as f64;
        level += 1;
    }
    levels
};

/// Applies one of the ten, each equally likely; `mask` moves with the pixels where they move
/// smoothly.
pub(super) fn one_of(
    severity: Severity,
    (image, mask): (&Rgb, &mut Mask),
    rng: &mut ChaCha8Rng,
) -> Rgb {
    if image.pixels.is_empty() {
        return image.clone();
    }
    match below(rng, 10) {
        0 => gauss_noise(image, within(rng, severity.of(&NOISE_VARIANCE)).sqrt(), rng),
        1 => iso_noise(image, within(rng, severity.of(&ISO_INTENSITY)), rng),
        2 => gaussian_blur(image, severity.of(&BLUR_SIDE), rng),
        3 => oneof_warp::glass_blur(image, severity.of(&GLASS), rng),
        4 => defocus(image, severity.of(&DEFOCUS), rng),
        5 => motion_blur(image, severity.of(&MOTION_SIDE), rng),
        6 => zoom_blur(image, severity.of(&ZOOM_END), rng),
        7 => snow(image, within(rng, (0.1, severity.of(&SNOW_POINT)))),
        8 => compression(image, severity),
        _ => oneof_warp::elastic(severity, (image, mask), rng),
    }
}

fn within(rng: &mut ChaCha8Rng, (low, high): (f64, f64)) -> f64 {
    low + (high - low) * uniform(rng)
}

fn gauss_noise(image: &Rgb, sigma: f64, rng: &mut ChaCha8Rng) -> Rgb {
    let noise = draw::normals(rng, image.pixels.len());
    let noisy = image.pixels.iter().zip(noise).map(|(&v, z)| (f64::from(v) + sigma * z) as u8);
    Rgb { pixels: noisy.collect(), ..*image }
}

/// Poisson noise that lightens, and noise of the hue.
fn iso_noise(image: &Rgb, intensity: f64, rng: &mut ChaCha8Rng) -> Rgb {
    let hue_sigma = within(rng, ISO_HUE) * 360.0 * intensity;
    let mut pixels: Vec<_> =
        image.pixels.as_chunks::<CHANNELS>().0.iter().map(|&pixel| hls::from_rgb(pixel)).collect();
    let n = pixels.len();
    let mean = pixels.iter().map(|hls| f64::from(hls.lightness)).sum::<f64>() / n as f64;
    let square = pixels.iter().map(|hls| (f64::from(hls.lightness) - mean).powi(2)).sum::<f64>();
    let counts = poisson((square / n as f64).sqrt() * intensity * 255.0, n, rng);
    let turns = draw::normals(rng, n);
    for (pixel, (count, turn)) in pixels.iter_mut().zip(counts.into_iter().zip(turns)) {
        pixel.hue = (pixel.hue + (hue_sigma * turn) as f32).rem_euclid(360.0);
        pixel.lightness += count as f32 / 255.0 * (1.0 - pixel.lightness);
    }
    let rgb =
        pixels.into_iter().flat_map(|hls| hls.to_rgb().map(|channel| (channel * 255.0) as u8));
    Rgb { pixels: rgb.collect(), ..*image }
}

/// `n` draws of a Poisson distribution, by its distribution function.
fn poisson(mean: f64, n: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    // Twelve standard deviations above the mean.
    let last = (mean + 12.0 * mean.sqrt() + 12.0) as usize;
    let mut p = (-mean).exp();
    let mut sum = 0.0;
    let below: Vec<f64> = (1..=last)
        .map(|count| {
            sum += p;
            p *= mean / count as f64;
            sum
        })
        .collect();
    let unit = 1.0 / f64::from(u32::MAX);
    let words = draw::words(rng, n);
    words
        .into_iter()
        .map(|word| below.partition_point(|&sum| sum < f64::from(word) * unit))
        .collect()
}

fn gaussian_blur(image: &Rgb, (low, high): (u64, u64), rng: &mut ChaCha8Rng) -> Rgb {
    let mut side = low + below(rng, high + 1 - low);
    if side.is_multiple_of(2) {
        // As albumentations makes it odd; never above the largest.
        side = (side + 1) % (high + 1);
    }
    let kernel = Kernel::of(SMALL_KERNELS[(side / 2) as usize]);
    filter_rgb(image, &kernel, (Edge::Mirror, &LEVELS), rounded)
}

fn defocus(image: &Rgb, (radius, softness): (u64, f64), rng: &mut ChaCha8Rng) -> Rgb {
    let radius = 1 + below(rng, radius);
    // A softness of nothing has no Gaussian.
    let softness = (softness * uniform(rng)).max(1e-6);
    blur::defocus_by(image, (radius.cast_signed() as isize, softness), 0.5)
}

/// Motion blur: the mean along a random line within the kernel.
fn motion_blur(image: &Rgb, side_max: u64, rng: &mut ChaCha8Rng) -> Rgb {
    let side = 3 + 2 * below(rng, (side_max - 3) / 2 + 1);
    let mut below = |n: u64| below(rng, n).cast_signed() as isize;
    let [x0, x1, y0] = [(); 3].map(|()| below(side));
    let half = side.cast_signed() as isize / 2;
    // Two different ones where there would be no line.
    let y1 = if x0 == x1 { (y0 + 1 + below(side - 1)) % (2 * half + 1) } else { below(side) };
    let steps = (x1 - x0).abs().max((y1 - y0).abs());
    let at = |from: isize, to: isize, step: isize| {
        let exact = from as f64 + (to - from) as f64 * step as f64 / steps as f64;
        exact.round() as isize - half
    };
    let (width, height) = (image.width as usize, image.height as usize);
    let line: Vec<_> = (0..=steps).map(|step| (at(x0, x1, step), at(y0, y1, step))).collect();
    let source = image.pixels.as_chunks::<CHANNELS>().0;
    let mut pixels = Vec::with_capacity(image.pixels.len());
    for y in 0..height.cast_signed() {
        for x in 0..width.cast_signed() {
            let sums = line.iter().fold([0u32; CHANNELS], |sums, (dx, dy)| {
                let row = Edge::Mirror.near(y + dy, height);
                let pixel = source[row * width + Edge::Mirror.near(x + dx, width)];
                [0, 1, 2].map(|c| sums[c] + u32::from(pixel[c]))
            });
            let n = line.len() as u32;
            pixels.extend(sums.map(|sum| ((2 * sum + n) / (2 * n)) as u8));
        }
    }
    Rgb { pixels, ..*image }
}

/// Zoom blur as ImageNet-C's, cropped in the middle, with a random end and step.
fn zoom_blur(image: &Rgb, end: f64, rng: &mut ChaCha8Rng) -> Rgb {
    let end = within(rng, (1.0, end));
    let factors = zoom::factors((end, within(rng, ZOOM_STEP)));
    let (width, height) = (image.width as usize, image.height as usize);
    let source: Vec<f32> = image.pixels.iter().map(|&level| f32::from(level)).collect();
    let picture = Picture { width, channels: CHANNELS, values: &source };
    let mut total = source.clone();
    for &factor in &factors {
        let axes = (Axis::opencv(height, factor), Axis::opencv(width, factor));
        picture.zoom([&axes.0, &axes.1], (width, height), |y, row| {
            let total = &mut total[y * width * CHANNELS..][..row.len()];
            for (sum, value) in total.iter_mut().zip(row) {
                *sum += (value + 0.5).floor();
            }
        });
    }
    let n = (factors.len() + 1) as f32;
    Rgb { pixels: total.into_iter().map(|sum| (sum / n) as u8).collect(), ..*image }
}

/// Snow: lightens what is darker than the snow point.
fn snow(image: &Rgb, point: f64) -> Rgb {
    let point = (point * 127.5 + 85.0) as f32;
    let source = image.pixels.as_chunks::<CHANNELS>().0;
    let pixels = source.iter().flat_map(|pixel| {
        let mut hls = hls::from_rgb(*pixel).in_bytes();
        let level = hls.lightness * 255.0;
        if level < point {
            hls.lightness = (level * SNOW_BRIGHTNESS).min(255.0).floor() / 255.0;
        }
        hls.to_rgb().map(|channel| rounded(f64::from(channel) * 255.0))
    });
    Rgb { pixels: pixels.collect(), ..*image }
}

/// JPEG at ImageNet-C's qualities, but `OpenCV` swaps red and blue.
fn compression(image: &Rgb, severity: Severity) -> Rgb {
    let swap = |image: &Rgb| {
        let mut pixels = image.pixels.clone();
        pixels.chunks_exact_mut(CHANNELS).for_each(<[u8]>::reverse);
        Rgb { pixels, ..*image }
    };
    swap(&jpeg::jpeg(&swap(image), severity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::keyed;

    fn picture(width: u32, height: u32) -> Rgb {
        let pixels =
            (0..width * height * 3).map(|i| ((i / 3 % width * 5 + i % 3 * 40) % 256) as u8);
        Rgb { width, height, pixels: pixels.collect() }
    }

    fn labels(width: u32, height: u32) -> Mask {
        let classes = (0..width * height).map(|i| u8::from(i % width > width / 2)).collect();
        Mask { width, height, classes }
    }

    #[test]
    fn every_operation_keeps_every_size() {
        for (width, height) in [(1, 1), (1, 9), (9, 1), (2, 3), (40, 30)] {
            let image = picture(width, height);
            for severity in Severity::ALL {
                // Enough draws to meet all ten.
                for draw in 0..50 {
                    let mut mask = labels(width, height);
                    let mut rng = keyed(draw, "oneof", &[]);
                    let out = one_of(severity, (&image, &mut mask), &mut rng);
                    assert_eq!(out.pixels.len(), image.pixels.len());
                    assert_eq!(mask.classes.len(), (width * height) as usize);
                }
            }
        }
    }

    #[test]
    fn ten_operations_are_as_likely() {
        let image = picture(16, 16);
        let severity = Severity::new(5).unwrap();
        let mut moved = 0;
        for draw in 0..400 {
            let (mut mask, before) = (labels(16, 16), labels(16, 16));
            one_of(severity, (&image, &mut mask), &mut keyed(draw, "oneof", &[]));
            moved += u32::from(mask != before);
        }
        // The elastic one alone moves labels.
        assert!((20..70).contains(&moved), "{moved}");
    }

    #[test]
    fn the_noise_is_faint() {
        let image = Rgb { width: 50, height: 50, pixels: vec![128; 7500] };
        let noisy = gauss_noise(&image, 32f64.sqrt(), &mut keyed(0, "n", &[]));
        let square = |v: &u8| (f64::from(*v) + 0.5 - 128.0).powi(2);
        let variance = noisy.pixels.iter().map(square).sum::<f64>() / 7500.0;
        assert!((variance - 32.0).abs() < 3.0, "{variance}");
    }

    #[test]
    fn poisson_draws_have_their_mean_and_variance() {
        let draws = poisson(70.0, 20_000, &mut keyed(0, "p", &[]));
        let mean = draws.iter().sum::<usize>() as f64 / 20_000.0;
        let variance = draws.iter().map(|&n| (n as f64 - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!((mean - 70.0).abs() < 0.3 && (variance - 70.0).abs() < 3.5, "{mean} {variance}");
        assert!(poisson(0.0, 10, &mut keyed(0, "p", &[])).iter().all(|&n| n == 0));
    }

    #[test]
    fn flat_pictures_stay_flat_under_blurs() {
        let image = Rgb { width: 30, height: 20, pixels: vec![200; 1800] };
        for draw in 0..20 {
            let rng = &mut keyed(draw, "b", &[]);
            let far = |blurred: Rgb| blurred.pixels.iter().map(|v| v.abs_diff(200)).max();
            assert_eq!(far(gaussian_blur(&image, (5, 7), rng)), Some(0));
            assert_eq!(far(motion_blur(&image, 13, rng)), Some(0));
            assert_eq!(far(zoom_blur(&image, 1.31, rng)), Some(0));
            // The largest kernels sum to a little more than one.
            assert!(far(defocus(&image, (10, 0.5), rng)) <= Some(2));
        }
    }
}
