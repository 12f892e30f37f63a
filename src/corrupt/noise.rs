//! Noise on each value by itself: gaussian, shot, impulse, speckle.
//!
//! Input and output both have 256 levels, so such a noise *is* 256 distributions over 256 levels.
//! Their exact probabilities are computed once per process and sampled by Walker's alias method
//! (Vose, 1991): one 32-bit draw and one table entry a value, whatever the noise.

use std::f64::consts::TAU;
use std::sync::OnceLock;

use rand_core::Rng;

use super::Severity;
use crate::data::Rgb;
use crate::rng::ChaCha8Rng;

/// Standard deviation as a share of the range, by level.
const GAUSSIAN_SIGMA: [f64; 5] = [0.08, 0.12, 0.18, 0.26, 0.38];
/// Number of photons that make full brightness, by level.
const SHOT_PHOTONS: [u32; 5] = [60, 25, 12, 5, 3];

/// Share of values that turn black or white, half of them each, by level.
const IMPULSE_SHARE: [f64; 5] = [0.03, 0.06, 0.09, 0.17, 0.27];
/// Standard deviation as a share of the value, by level.
const SPECKLE_SIGMA: [f64; 5] = [0.15, 0.2, 0.35, 0.45, 0.6];

const LEVELS: usize = 256;
/// A draw splits into 8 bits that pick a column and 24 that decide within it.
const COLUMN_BITS: u32 = 8;
const DECISION_ONE: f64 = (1u32 << (32 - COLUMN_BITS)) as f64;

type Probabilities = [f64; LEVELS];

/// Gaussian noise: `x + N(0, sigma)`, clipped.
pub(super) fn gaussian(image: &Rgb, severity: Severity, rng: &mut ChaCha8Rng) -> Rgb {
    static TABLES: [OnceLock<LevelNoise>; 5] = [const { OnceLock::new() }; 5];
    TABLES[severity.index()]
        .get_or_init(|| {
            let cdf = gaussian_cdf(severity.of(&GAUSSIAN_SIGMA) * 255.0);
            LevelNoise::new(|level| gaussian_levels(&cdf, level))
        })
        .corrupt(image, rng)
}

/// Shot noise: `Poisson(x * photons) / photons`, clipped.
pub(super) fn shot(image: &Rgb, severity: Severity, rng: &mut ChaCha8Rng) -> Rgb {
    static TABLES: [OnceLock<LevelNoise>; 5] = [const { OnceLock::new() }; 5];
    TABLES[severity.index()]
        .get_or_init(|| LevelNoise::new(|level| shot_levels(severity.of(&SHOT_PHOTONS), level)))
        .corrupt(image, rng)
}

/// Impulse noise: black or white in place of a value, each channel by itself.
pub(super) fn impulse(image: &Rgb, severity: Severity, rng: &mut ChaCha8Rng) -> Rgb {
    static TABLES: [OnceLock<LevelNoise>; 5] = [const { OnceLock::new() }; 5];
    TABLES[severity.index()]
        .get_or_init(|| LevelNoise::new(|level| impulse_levels(severity.of(&IMPULSE_SHARE), level)))
        .corrupt(image, rng)
}

/// Speckle noise: `x + x * N(0, sigma)`, clipped.
pub(super) fn speckle(image: &Rgb, severity: Severity, rng: &mut ChaCha8Rng) -> Rgb {
    static TABLES: [OnceLock<LevelNoise>; 5] = [const { OnceLock::new() }; 5];
    TABLES[severity.index()]
        .get_or_init(|| LevelNoise::new(|level| speckle_levels(severity.of(&SPECKLE_SIGMA), level)))
        .corrupt(image, rng)
}

/// An alias table over output levels for each input level.
struct LevelNoise {
    /// `[256 inputs, 256 columns]`: 24 bits of threshold above 8 bits of alias.
    entries: Vec<u32>,
}

impl LevelNoise {
    fn new(levels: impl Fn(usize) -> Probabilities) -> Self {
        Self { entries: (0..LEVELS).flat_map(|level| alias_table(&levels(level))).collect() }
    }

    fn corrupt(&self, image: &Rgb, rng: &mut ChaCha8Rng) -> Rgb {
        let entries: &[u32; LEVELS * LEVELS] =
            self.entries.as_slice().try_into().expect("one alias table for each input level");
        let pixels = image.pixels.iter().map(|&level| {
            let draw = rng.next_u32();
            let column = draw as u8;
            let entry = entries[usize::from(level) * LEVELS + usize::from(column)];
            if draw >> COLUMN_BITS < entry >> COLUMN_BITS { column } else { entry as u8 }
        });
        Rgb { pixels: pixels.collect(), ..*image }
    }
}

/// Vose's construction: each column keeps its own level with the probability of the threshold and
/// gives the rest to one other level.
fn alias_table(probabilities: &Probabilities) -> [u32; LEVELS] {
    let mut share = probabilities.map(|p| p * LEVELS as f64);
    // Full columns stay with themselves.
    let mut entries: [u32; LEVELS] = std::array::from_fn(|level| level as u32);
    let (mut small, mut large): (Vec<_>, Vec<_>) = (0..LEVELS).partition(|&i| share[i] < 1.0);
    while let (Some(&donor), Some(column)) = (large.last(), small.pop()) {
        let threshold = (share[column] * DECISION_ONE).round().min(DECISION_ONE - 1.0) as u32;
        entries[column] = threshold << COLUMN_BITS | donor as u32;
        share[donor] -= 1.0 - share[column];
        if share[donor] < 1.0 {
            large.pop();
            small.push(donor);
        }
    }
    entries
}

/// The probabilities P(noise < n) for n of -255..=256 levels.
fn gaussian_cdf(sigma_levels: f64) -> [f64; 2 * LEVELS] {
    std::array::from_fn(|i| normal_cdf((i as f64 - 255.0) / sigma_levels))
}

/// Probabilities of `floor(level + noise)` clipped to 0..=255.
fn gaussian_levels(cdf: &[f64; 2 * LEVELS], level: usize) -> Probabilities {
    let below = |out: usize| match out {
        0 => 0.0,
        LEVELS => 1.0,
        out => cdf[out + 255 - level],
    };
    std::array::from_fn(|out| below(out + 1) - below(out))
}

/// Probabilities of the levels that 0, 1, 2, … photons turn into.
fn shot_levels(photons: u32, level: usize) -> Probabilities {
    let mean = level as f64 / 255.0 * f64::from(photons);
    let mut levels = [0.0; LEVELS];
    let mut p = (-mean).exp();
    let mut rest = 1.0;
    for count in 0..photons {
        // The reference's own expression: its rounding decides how whole levels truncate.
        levels[(f64::from(count) / f64::from(photons) * 255.0) as usize] += p;
        rest -= p;
        p *= mean / f64::from(count + 1);
    }
    levels[255] += rest.max(0.0);
    levels
}

/// Probabilities of black, white and the level itself, as it comes back from a share of the range.
fn impulse_levels(share: f64, level: usize) -> Probabilities {
    let mut levels = [0.0; LEVELS];
    levels[(level as f64 / 255.0 * 255.0) as usize] = 1.0 - share;
    levels[0] += share / 2.0;
    levels[255] += share / 2.0;
    levels
}

/// Probabilities of `floor(level * (1 + noise))` clipped to 0..=255.
fn speckle_levels(sigma: f64, level: usize) -> Probabilities {
    if level == 0 {
        return std::array::from_fn(|out| if out == 0 { 1.0 } else { 0.0 });
    }
    let level = level as f64;
    let below = |out: usize| match out {
        0 => 0.0,
        LEVELS => 1.0,
        out => normal_cdf((out as f64 - level) / (sigma * level)),
    };
    let below: [f64; LEVELS + 1] = std::array::from_fn(below);
    std::array::from_fn(|out| below[out + 1] - below[out])
}

/// Standard normal distribution function by Marsaglia's series (J. Stat. Softw. 11(4), 2004);
/// beyond 8 standard deviations it is 0 or 1 within 1e-15.
fn normal_cdf(z: f64) -> f64 {
    if z.abs() > 8.0 {
        return if z < 0.0 { 0.0 } else { 1.0 };
    }
    let (mut sum, mut term, mut odd) = (z, z, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        odd += 2.0;
        term *= z * z / odd;
        sum += term;
    }
    0.5 + sum * (-0.5 * z * z).exp() / TAU.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The distribution that an alias table samples.
    fn sampled(entries: &[u32; LEVELS]) -> Probabilities {
        let mut p = [0.0; LEVELS];
        for (column, entry) in entries.iter().enumerate() {
            let keep = f64::from(entry >> COLUMN_BITS) / DECISION_ONE;
            p[column] += keep / LEVELS as f64;
            p[(entry & 0xff) as usize] += (1.0 - keep) / LEVELS as f64;
        }
        p
    }

    fn check_alias(probabilities: &Probabilities) {
        let total: f64 = probabilities.iter().sum();
        assert!((total - 1.0).abs() < 1e-12, "{total}");
        let sampled = sampled(&alias_table(probabilities));
        for (level, (a, b)) in sampled.iter().zip(probabilities).enumerate() {
            assert!((a - b).abs() < 1e-7, "level {level}: {a} for {b}");
        }
    }

    #[test]
    fn alias_tables_sample_their_distribution() {
        for severity in Severity::ALL {
            let cdf = gaussian_cdf(severity.of(&GAUSSIAN_SIGMA) * 255.0);
            for level in 0..LEVELS {
                check_alias(&gaussian_levels(&cdf, level));
                check_alias(&shot_levels(severity.of(&SHOT_PHOTONS), level));
                check_alias(&impulse_levels(severity.of(&IMPULSE_SHARE), level));
                check_alias(&speckle_levels(severity.of(&SPECKLE_SIGMA), level));
            }
        }
    }

    #[test]
    fn normal_cdf_matches_known_values() {
        for (z, p) in
            [(0.0, 0.5), (1.0, 0.841_344_746_068_542_9), (-3.0, 0.001_349_898_031_630_095)]
        {
            assert!((normal_cdf(z) - p).abs() < 1e-15, "{z}");
        }
        assert!(normal_cdf(-7.9) > 0.0 && normal_cdf(7.9) <= 1.0 + 1e-15);
        assert!((normal_cdf(7.9) - 1.0).abs() < 1e-14);
    }

    #[test]
    fn a_black_pixel_stays_black_under_shot_noise_and_grows_under_gaussian() {
        let black = shot_levels(3, 0);
        assert!((black[0] - 1.0).abs() < 1e-15);
        let cdf = gaussian_cdf(255.0 * 0.08);
        let levels = gaussian_levels(&cdf, 0);
        // Everything below one level is black: half the noise and the first level.
        assert!((levels[0] - normal_cdf(1.0 / 20.4)).abs() < 1e-12);
    }

    #[test]
    fn shot_noise_has_poisson_moments_where_it_does_not_clip() {
        // 40 of 255 at 60 photons: mean 9.41 photons, clipping is beyond 16 standard deviations.
        let levels = shot_levels(60, 40);
        let mean: f64 = levels.iter().enumerate().map(|(v, p)| v as f64 * p).sum();
        let variance: f64 =
            levels.iter().enumerate().map(|(v, p)| (v as f64 - mean).powi(2) * p).sum();
        // Levels are 4.25 a photon, truncated.
        assert!((mean - (40.0 - 0.375)).abs() < 0.02, "{mean}");
        assert!((variance.sqrt() - 4.25 * (40.0f64 * 60.0 / 255.0).sqrt()).abs() < 0.05);
    }

    #[test]
    fn impulses_are_black_and_white_by_halves() {
        let levels = impulse_levels(0.27, 100);
        assert_eq!((levels[0], levels[255], levels[100]), (0.135, 0.135, 0.73));
        assert!((impulse_levels(0.27, 0)[0] - 0.865).abs() < 1e-15);
    }

    #[test]
    fn speckle_grows_with_the_level() {
        let spread = |level: usize| {
            let levels = speckle_levels(0.15, level);
            let mean: f64 = levels.iter().enumerate().map(|(v, p)| v as f64 * p).sum();
            levels
                .iter()
                .enumerate()
                .map(|(v, p)| (v as f64 - mean).powi(2) * p)
                .sum::<f64>()
                .sqrt()
        };
        assert!((spread(100) - 15.0).abs() < 0.05 && (spread(50) - 7.5).abs() < 0.05);
        assert!(spread(0) < 1e-12);
    }
}
