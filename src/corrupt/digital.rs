//! The corruptions contrast, pixelate and saturate.

use std::ops::Range;

use super::Severity;
use crate::data::Rgb;

/// The remaining share of the distance to the mean, by level.
const CONTRAST: [f64; 5] = [0.4, 0.3, 0.2, 0.1, 0.05];
/// The share of the side that is kept, by level.
const PIXELATE: [f64; 5] = [0.6, 0.5, 0.4, 0.3, 0.25];
/// The factor on S of HSV, and the amount added to it, by level.
const SATURATE: [(f64, f64); 5] = [(0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)];

const CHANNELS: usize = 3;

/// Pulls every channel towards its mean.
pub(super) fn contrast(image: &Rgb, severity: Severity) -> Rgb {
    let share = severity.of(&CONTRAST);
    let n_pixels = (image.pixels.len() / CHANNELS) as f64;
    let sums = image
        .pixels
        .chunks_exact(CHANNELS)
        .fold([0u64; CHANNELS], |sums, pixel| [0, 1, 2].map(|c| sums[c] + u64::from(pixel[c])));
    let tables = sums.map(|sum| {
        let mean = sum as f64 / n_pixels / 255.0;
        let table: [u8; 256] = std::array::from_fn(|level| {
            (((level as f64 / 255.0 - mean) * share + mean).clamp(0.0, 1.0) * 255.0) as u8
        });
        table
    });
    let mut pixels = Vec::with_capacity(image.pixels.len());
    pixels.extend(
        image
            .pixels
            .chunks_exact(CHANNELS)
            .flat_map(|pixel| [0, 1, 2].map(|c| tables[c][usize::from(pixel[c])])),
    );
    Rgb { pixels, ..*image }
}

/// Shrinks by Pillow's box filter, grows by its nearest neighbour.
pub(super) fn pixelate(image: &Rgb, severity: Severity) -> Rgb {
    let (width, height) = (image.width as usize, image.height as usize);
    let share = severity.of(&PIXELATE);
    // Pillow refuses to shrink to nothing; a side keeps at least one pixel here.
    let [small_width, small_height] =
        [width, height].map(|side| ((side as f64 * share) as usize).max(1));
    let narrow = shrink_rows(&image.pixels, width, &box_windows(width, small_width));
    let small = shrink_columns(&narrow, small_width, &box_windows(height, small_height));
    let (xs, ys) = (nearest(small_width, width), nearest(small_height, height));
    let mut pixels = Vec::with_capacity(image.pixels.len());
    let mut row = vec![0; width * CHANNELS];
    for y in ys {
        let source = &small[y * small_width * CHANNELS..][..small_width * CHANNELS];
        for (pixel, &x) in row.chunks_exact_mut(CHANNELS).zip(&xs) {
            pixel.copy_from_slice(&source[x * CHANNELS..][..CHANNELS]);
        }
        pixels.extend_from_slice(&row);
    }
    Rgb { pixels, ..*image }
}

/// Scales S of HSV with H and V kept.
pub(super) fn saturate(image: &Rgb, severity: Severity) -> Rgb {
    let change = severity.of(&SATURATE);
    let (source, _) = image.pixels.as_chunks::<CHANNELS>();
    let mut pixels = Vec::with_capacity(image.pixels.len());
    // Neighbours are often equal, and a colour costs many divisions.
    let (mut last, mut saturated) = ([0; CHANNELS], saturated([0; CHANNELS], change));
    for &pixel in source {
        if pixel != last {
            (last, saturated) = (pixel, self::saturated(pixel, change));
        }
        pixels.extend(saturated);
    }
    Rgb { pixels, ..*image }
}

/// Converts to HSV and back as scikit-image does, every step rounded as there.
fn saturated(pixel: [u8; CHANNELS], (factor, added): (f64, f64)) -> [u8; CHANNELS] {
    let [red, green, blue] = pixel.map(|channel| f64::from(channel) / 255.0);
    let value = red.max(green).max(blue);
    let delta = value - red.min(green).min(blue);
    // Grey has no hue and no saturation; what is added to its saturation makes it red.
    let (hue, saturation) = if delta == 0.0 {
        (0.0, 0.0)
    } else {
        let sixths = if blue >= value {
            4.0 + (red - green) / delta
        } else if green >= value {
            2.0 + (blue - red) / delta
        } else {
            (green - blue) / delta
        };
        ((sixths / 6.0).rem_euclid(1.0), delta / value)
    };
    let saturation = (saturation * factor + added).clamp(0.0, 1.0);
    let sector = (hue * 6.0).floor();
    let within = hue * 6.0 - sector;
    let low = value * (1.0 - saturation);
    let falling = value * (1.0 - within * saturation);
    let rising = value * (1.0 - (1.0 - within) * saturation);
    let colour = match sector as u8 {
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        5 => [value, low, falling],
        _ => [value, rising, low],
    };
    colour.map(|channel| (channel.min(1.0) * 255.0) as u8)
}

/// The windows `[first, last)` that Pillow's box filter averages (`precompute_coeffs` in
/// `libImaging/Resample.c`).
fn box_windows(side: usize, small: usize) -> Vec<Range<usize>> {
    let scale = side as f64 / small as f64;
    (0..small)
        .map(|i| {
            let center = (i as f64 + 0.5) * scale;
            let first = (center - scale * 0.5 + 0.5).max(0.0) as usize;
            let last = ((center + scale * 0.5 + 0.5) as usize).min(side);
            // The filter is open on its left: a pixel centred on that edge weighs nothing.
            let inside = |x: usize| {
                let distance = (x as f64 - center + 0.5) / scale;
                distance > -0.5 && distance <= 0.5
            };
            let first = (first..last).find(|&x| inside(x)).unwrap_or(first.min(side - 1));
            let last = (first..last).rev().find(|&x| inside(x)).map_or(first + 1, |x| x + 1);
            first..last
        })
        .collect()
}

/// Averages the windows along each row of `[_, width, 3]`.
fn shrink_rows(pixels: &[u8], width: usize, windows: &[Range<usize>]) -> Vec<u8> {
    let rows = pixels.chunks_exact(width * CHANNELS);
    let mut out = Vec::with_capacity(rows.len() * windows.len() * CHANNELS);
    for row in rows {
        out.extend(windows.iter().flat_map(|window| {
            let mean = Mean::of(window.len());
            let sums = row[window.start * CHANNELS..window.end * CHANNELS]
                .chunks_exact(CHANNELS)
                .fold([0u32; CHANNELS], |sums, p| [0, 1, 2].map(|c| sums[c] + u32::from(p[c])));
            sums.map(|sum| mean.round(sum))
        }));
    }
    out
}

/// Averages the windows down each column of `[_, width, 3]`.
fn shrink_columns(pixels: &[u8], width: usize, windows: &[Range<usize>]) -> Vec<u8> {
    let stride = width * CHANNELS;
    let mut out = Vec::with_capacity(windows.len() * stride);
    let mut sums = vec![0u32; stride];
    for window in windows {
        sums.fill(0);
        for row in pixels[window.start * stride..window.end * stride].chunks_exact(stride) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += u32::from(value);
            }
        }
        let mean = Mean::of(window.len());
        out.extend(sums.iter().map(|&sum| mean.round(sum)));
    }
    out
}

/// Division by a count in Pillow's 22-bit fixed point, which decides how halves round.
struct Mean {
    weight: u64,
}

impl Mean {
    const BITS: u32 = 32 - 8 - 2;

    fn of(count: usize) -> Self {
        Self { weight: (0.5 + (1u64 << Self::BITS) as f64 / count as f64) as u64 }
    }

    fn round(&self, sum: u32) -> u8 {
        ((u64::from(sum) * self.weight + (1 << (Self::BITS - 1))) >> Self::BITS).min(255) as u8
    }
}

/// Source of each pixel when `small` grows to `side`, stepping as Pillow does.
fn nearest(small: usize, side: usize) -> Vec<usize> {
    let scale = small as f64 / side as f64;
    let mut at = scale * 0.5;
    (0..side)
        .map(|_| {
            let source = (at as usize).min(small - 1);
            at += scale;
            source
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(width: u32, height: u32, level: impl Fn(u32, u32) -> u8) -> Rgb {
        let pixels = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .flat_map(|(x, y)| [level(x, y); 3]);
        Rgb { width, height, pixels: pixels.collect() }
    }

    #[test]
    fn contrast_keeps_the_mean() {
        let image = gray(2, 1, |x, _| if x == 0 { 100 } else { 200 });
        let flat = contrast(&image, Severity::new(5).unwrap());
        assert_eq!(flat.pixels, [147, 147, 147, 152, 152, 152]);
    }

    #[test]
    fn pixelate_makes_blocks() {
        let image = gray(8, 8, |x, y| (x * 10 + y) as u8);
        // A quarter of the side: blocks of 4x4 pixels.
        let blocks = pixelate(&image, Severity::new(5).unwrap());
        let levels: Vec<_> = blocks.pixels.iter().step_by(3).copied().collect();
        for (i, &level) in levels.iter().enumerate() {
            let (x, y) = (i % 8, i / 8);
            assert_eq!(level, levels[(y / 4 * 4) * 8 + x / 4 * 4]);
        }
        // Columns 0 to 3 average 15, rows 0 to 3 1.5; each pass rounds halves up.
        assert_eq!(levels[0], 17);
    }

    #[test]
    fn box_windows_are_those_of_pillow() {
        assert_eq!(box_windows(8, 4), [0..2, 2..4, 4..6, 6..8]);
        assert_eq!(box_windows(5, 3), [0..2, 2..3, 3..5]);
        // Pillow's rounding leaves pixel 6 out, so must we.
        assert_eq!(box_windows(13, 6), [0..2, 2..4, 4..6, 7..9, 9..11, 11..13]);
        for side in 1..200 {
            for share in PIXELATE {
                let small = ((f64::from(side) * share) as usize).max(1);
                let windows = box_windows(side as usize, small);
                assert_eq!((windows[0].start, windows[small - 1].end), (0, side as usize));
                assert!(windows.windows(2).all(|pair| pair[0].end.abs_diff(pair[1].start) <= 1));
            }
        }
    }

    #[test]
    fn saturate_pulls_towards_grey_or_away() {
        let image = Rgb { width: 3, height: 1, pixels: vec![200, 100, 50, 80, 80, 80, 0, 0, 0] };
        let level = |level: u8| saturate(&image, Severity::new(level).unwrap()).pixels;
        // S is 0.75: a tenth of it is 0.075, so the lowest is 200 * 0.925.
        assert_eq!(level(2)[..3], [200, 189, 185]);
        assert_eq!(level(3)[..3], [200, 66, 0]);
        // Grey turns red where something is added to its saturation.
        assert_eq!(level(3)[3..], [80, 80, 80, 0, 0, 0]);
        assert_eq!(level(5)[3..], [80, 64, 64, 0, 0, 0]);
    }
}
