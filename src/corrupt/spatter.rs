//! The corruption spatter: drops of water (levels 1 to 3) and mud (4 and 5).
//!
//! The reference builds its drops with `OpenCV`; the steps here are those of its 4.8 (Canny with
//! the L1 norm, the 5x5 chamfer distance, histogram equalisation).

use super::Severity;
use super::draw;
use super::edges::{Grey, canny, distances};
use super::gaussian::{Edge, Field, Kernel, TRUNCATE};
use crate::data::Rgb;
use crate::rng::ChaCha8Rng;

struct Level {
    /// Mean and standard deviation of the liquid's noise, and of the blur that makes drops of it.
    mean: f64,
    sigma: f64,
    blur: f64,
    /// Thickness below which the liquid is removed.
    threshold: f64,
    liquid: Liquid,
}

enum Liquid {
    /// How white it is.
    Water(f32),
    /// The blur of its edge.
    Mud(f64),
}

const SPATTER: [Level; 5] = [
    Level { mean: 0.65, sigma: 0.3, blur: 4.0, threshold: 0.69, liquid: Liquid::Water(0.6) },
    Level { mean: 0.65, sigma: 0.3, blur: 3.0, threshold: 0.68, liquid: Liquid::Water(0.6) },
    Level { mean: 0.65, sigma: 0.3, blur: 2.0, threshold: 0.68, liquid: Liquid::Water(0.5) },
    Level { mean: 0.65, sigma: 0.3, blur: 1.0, threshold: 0.65, liquid: Liquid::Mud(1.5) },
    Level { mean: 0.67, sigma: 0.4, blur: 1.0, threshold: 0.65, liquid: Liquid::Mud(1.5) },
];
const TURQUOISE: [f32; 3] = [175.0 / 255.0, 238.0 / 255.0, 238.0 / 255.0];
const BROWN: [f32; 3] = [63.0 / 255.0, 42.0 / 255.0, 20.0 / 255.0];
/// Thresholds of the drops' outline.
const OUTLINE: (i32, i32) = (50, 150);
/// Distance from the outline after which a drop looks the same.
const DEPTH_MAX: f32 = 20.0;
/// Coverage below which mud is not visible.
const COVER_MIN: f64 = 0.8;
/// Light from the upper left on the water's surface.
const LIGHT: [[i32; 3]; 3] = [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]];

pub(super) fn spatter(image: &Rgb, severity: Severity, rng: &mut ChaCha8Rng) -> Rgb {
    let level = &SPATTER[severity.index()];
    let (width, height) = (image.width as usize, image.height as usize);
    let mut values = draw::normals(rng, width * height);
    for value in &mut values {
        *value = level.mean + level.sigma * *value;
    }
    let noise = Field { width, height, channels: 1, values };
    let kernel = Kernel::new(level.blur, TRUNCATE);
    let mut liquid = noise.blurred([&kernel, &kernel], Edge::Nearest);
    match level.liquid {
        Liquid::Water(white) => {
            let bytes =
                |value: &f64| if *value < level.threshold { 0 } else { (value * 255.0) as u8 };
            let levels = liquid.values.iter().map(bytes).collect();
            let thickness = thickness(&Grey { width, height, levels });
            // The thickest drop gives the scale; a picture without a drop stays as it is.
            let most = thickness.iter().copied().fold(0.0, f32::max);
            let scale = if most > 0.0 { white / most } else { 0.0 };
            paint(image, &thickness, |channel, c, drop| channel + drop * scale * TURQUOISE[c])
        }
        Liquid::Mud(edge) => {
            for value in &mut liquid.values {
                *value = if *value > level.threshold { 1.0 } else { 0.0 };
            }
            let kernel = Kernel::new(edge, TRUNCATE);
            let mut cover = Vec::with_capacity(liquid.values.len());
            liquid.blur([&kernel, &kernel], Edge::Nearest, |row| {
                cover.extend(row.iter().map(|&m| if m < COVER_MIN { 0.0 } else { m as f32 }));
            });
            paint(image, &cover, |channel, c, cover| channel * (1.0 - cover) + BROWN[c] * cover)
        }
    }
}

/// Combines each channel (as a share of the range) with the liquid on its pixel.
fn paint(image: &Rgb, layer: &[f32], mix: impl Fn(f32, usize, f32) -> f32) -> Rgb {
    let mut pixels = Vec::with_capacity(image.pixels.len());
    for (pixel, &drop) in image.pixels.as_chunks::<3>().0.iter().zip(layer) {
        pixels.extend(
            [0, 1, 2].map(|c| (mix(f32::from(pixel[c]) / 255.0, c, drop).min(1.0) * 255.0) as u8),
        );
    }
    Rgb { pixels, ..*image }
}

/// The light that each pixel of the liquid reflects, without a unit.
fn thickness(liquid: &Grey) -> Vec<f32> {
    let outline = canny(liquid, OUTLINE);
    let mut depth = distances(&outline);
    for depth in &mut depth {
        *depth = depth.min(DEPTH_MAX);
    }
    let (width, height) = (liquid.width, liquid.height);
    let levels = box_mean(&depth, width, |sum| (sum / 9.0) as u8);
    let even = equalised(&Grey { width, height, levels });
    let lit = lit(&even);
    let levels: Vec<f32> = lit.levels.iter().map(|&level| f32::from(level)).collect();
    let soft = box_mean(&levels, width, |sum| (sum / 9.0).round_ties_even());
    liquid.levels.iter().zip(soft).map(|(&level, soft)| f32::from(level) * soft).collect()
}

/// Sums over 3x3 pixels, mirrored at the border without repeating it, through `finish`.
fn box_mean<T>(values: &[f32], width: usize, finish: impl Fn(f32) -> T) -> Vec<T> {
    let height = values.len() / width;
    let mut out = Vec::with_capacity(values.len());
    let mut columns = vec![0.0; width];
    for y in 0..height {
        let [above, here, below] = around(y, height).map(|y| &values[y * width..][..width]);
        for (x, sum) in columns.iter_mut().enumerate() {
            *sum = above[x] + here[x] + below[x];
        }
        let mirrored = |x: usize| around(x, width).into_iter().map(|x| columns[x]).sum();
        out.push(finish(mirrored(0)));
        out.extend(columns.array_windows().map(|[a, b, c]| finish(a + b + c)));
        if width > 1 {
            out.push(finish(mirrored(width - 1)));
        }
    }
    out
}

/// `OpenCV`'s histogram equalisation: the darkest level becomes 0, the brightest 255.
fn equalised(grey: &Grey) -> Grey {
    let mut counts = [0u32; 256];
    for &level in &grey.levels {
        counts[usize::from(level)] += 1;
    }
    let total = grey.levels.len() as u32;
    let darkest = counts.iter().position(|&count| count > 0).unwrap_or(0);
    if counts[darkest] == total {
        return grey.clone();
    }
    let scale = 255.0 / (total - counts[darkest]) as f32;
    let mut sum = 0;
    let table: [u8; 256] = std::array::from_fn(|level| {
        if level > darkest {
            sum += counts[level];
        }
        (sum as f32 * scale).round_ties_even() as u8
    });
    Grey { levels: grey.levels.iter().map(|&level| table[usize::from(level)]).collect(), ..*grey }
}

/// Applies the kernel [`LIGHT`] around each pixel.
fn lit(grey: &Grey) -> Grey {
    let (width, height) = (grey.width, grey.height);
    let mut levels = Vec::with_capacity(grey.levels.len());
    let mut sums = vec![0i32; width];
    for y in 0..height {
        let rows = around(y, height).map(|y| &grey.levels[y * width..][..width]);
        sums.fill(0);
        for ([left, middle, right], row) in LIGHT.into_iter().zip(rows) {
            for (sum, &level) in sums.iter_mut().zip(row) {
                *sum += middle * i32::from(level);
            }
            for (sum, &level) in sums.iter_mut().skip(1).zip(row) {
                *sum += left * i32::from(level);
            }
            for (sum, &level) in sums.iter_mut().zip(&row[1..]) {
                *sum += right * i32::from(level);
            }
            let ends = [around(0, width)[0], around(width - 1, width)[2]];
            sums[0] += left * i32::from(row[ends[0]]);
            sums[width - 1] += right * i32::from(row[ends[1]]);
        }
        levels.extend(sums.iter().map(|&sum| sum.clamp(0, 255) as u8));
    }
    Grey { levels, ..*grey }
}

/// The indices before, at and after `at`, mirrored at the ends without repeating them.
fn around(at: usize, side: usize) -> [usize; 3] {
    let last = side - 1;
    let before = if at == 0 { 1.min(last) } else { at - 1 };
    let after = if at == last { last.saturating_sub(1) } else { at + 1 };
    [before, at, after]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::keyed;

    #[test]
    fn water_brightens_and_mud_browns() {
        let grey = Rgb { width: 120, height: 90, pixels: vec![100; 120 * 90 * 3] };
        for severity in Severity::ALL {
            let spattered = spatter(&grey, severity, &mut keyed(3, "spatter", &[]));
            let wet = spattered.pixels.chunks(3).filter(|pixel| pixel[0] > 100).count();
            let muddy = spattered.pixels.chunks(3).filter(|pixel| pixel[2] < 60).count();
            if severity.get() < 4 {
                assert!(wet > 50 && muddy == 0, "{severity:?}: {wet} {muddy}");
            } else {
                assert!(wet == 0 && muddy > 500, "{severity:?}: {wet} {muddy}");
            }
        }
    }

    #[test]
    fn a_picture_without_a_drop_stays() {
        assert!(
            thickness(&Grey { width: 3, height: 2, levels: vec![0; 6] }).iter().all(|&t| t == 0.0)
        );
    }

    #[test]
    fn surroundings_are_mirrored() {
        assert_eq!([around(0, 3), around(1, 3), around(2, 3)], [[1, 0, 1], [0, 1, 2], [1, 2, 1]]);
        assert_eq!((around(0, 1), around(1, 2)), ([0, 0, 0], [0, 1, 0]));
    }

    #[test]
    fn equalising_spreads_levels() {
        let grey = Grey { width: 4, height: 1, levels: vec![10, 10, 20, 30] };
        assert_eq!(equalised(&grey).levels, [0, 0, 128, 255]);
        let flat = Grey { width: 2, height: 1, levels: vec![9, 9] };
        assert_eq!(equalised(&flat), flat);
    }
}
