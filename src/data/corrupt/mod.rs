//! Corruptions of ImageNet-C, as `imagecorruptions` 1.1.2 defines them, at an image's own size.
//!
//! Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
//! Perturbations" (ICLR 2019); Michaelis et al., "Benchmarking Robustness in Object Detection"
//! (2019) for the variant that takes images of any size. Deviations: random numbers are our own
//! (the distributions are the reference's), and JPEG is written by another encoder. A corruption
//! is a row of [`TABLE`], a variant of [`Corruption`] and an arm of [`apply`].

mod blur;
mod digital;
mod noise;
pub mod suite;
mod weather;

use crate::data::Rgb;
use crate::rng::{self, ChaCha8Rng};

/// The kinds of corruption, by their name in `imagecorruptions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Corruption {
    GaussianNoise,
    ShotNoise,
    DefocusBlur,
    Fog,
    Brightness,
    Contrast,
    Pixelate,
    JpegCompression,
}

/// Groups over which means are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Noise,
    Blur,
    Weather,
    Digital,
}

/// What the table says of a corruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub corruption: Corruption,
    pub name: &'static str,
    pub family: Family,
}

/// One row for each [`Corruption`], in the order of its variants.
pub const TABLE: &[Row] = &[
    row(Corruption::GaussianNoise, "gaussian_noise", Family::Noise),
    row(Corruption::ShotNoise, "shot_noise", Family::Noise),
    row(Corruption::DefocusBlur, "defocus_blur", Family::Blur),
    row(Corruption::Fog, "fog", Family::Weather),
    row(Corruption::Brightness, "brightness", Family::Weather),
    row(Corruption::Contrast, "contrast", Family::Digital),
    row(Corruption::Pixelate, "pixelate", Family::Digital),
    row(Corruption::JpegCompression, "jpeg_compression", Family::Digital),
];

/// Strength of a corruption: 1 (weak) to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Severity(u8);

/// `image` corrupted; same size.
///
/// Values are cut to 8 bits as numpy's `astype` does, towards zero. Draws from `rng` only where
/// the corruption is random; take it from [`rng_for`].
pub fn apply(corruption: Corruption, severity: Severity, image: &Rgb, rng: &mut ChaCha8Rng) -> Rgb {
    if image.pixels.is_empty() {
        return image.clone();
    }
    match corruption {
        Corruption::GaussianNoise => noise::gaussian(image, severity, rng),
        Corruption::ShotNoise => noise::shot(image, severity, rng),
        Corruption::DefocusBlur => blur::defocus(image, severity),
        Corruption::Fog => weather::fog(image, severity, rng),
        Corruption::Brightness => weather::brightness(image, severity),
        Corruption::Contrast => digital::contrast(image, severity),
        Corruption::Pixelate => digital::pixelate(image, severity),
        Corruption::JpegCompression => digital::jpeg(image, severity),
    }
}

/// The generator that corrupts one image: the same picture for every model and every run.
pub fn rng_for(image_id: &str, corruption: Corruption, severity: Severity) -> ChaCha8Rng {
    // Neither a name nor a level holds a slash, so no two triples share a purpose.
    rng::keyed(0, &format!("corrupt/{}/{}/{image_id}", corruption.name(), severity.get()), &[])
}

impl Corruption {
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The corruption of that name, or `None`.
    pub fn parse(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.corruption)
    }

    pub fn family(self) -> Family {
        self.row().family
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

impl Severity {
    pub const ALL: [Self; 5] = [Self(1), Self(2), Self(3), Self(4), Self(5)];

    /// `None` unless 1 to 5.
    pub fn new(level: u8) -> Option<Self> {
        (1..=5).contains(&level).then_some(Self(level))
    }

    pub fn get(self) -> u8 {
        self.0
    }

    fn index(self) -> usize {
        usize::from(self.0) - 1
    }

    /// This level's entry of a table of the five levels.
    fn of<T: Copy>(self, levels: &[T; 5]) -> T {
        levels[self.index()]
    }
}

const fn row(corruption: Corruption, name: &'static str, family: Family) -> Row {
    Row { corruption, name, family }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise_image(width: u32, height: u32) -> Rgb {
        let mut rng = rng::keyed(1, "image", &[u64::from(width), u64::from(height)]);
        let pixels = (0..width * height * 3).map(|_| rng::below(&mut rng, 256) as u8).collect();
        Rgb { width, height, pixels }
    }

    #[test]
    fn the_table_lists_every_variant_in_order() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.corruption as usize, index);
            assert_eq!(Corruption::parse(row.name), Some(row.corruption));
            assert_eq!((row.corruption.name(), row.corruption.family()), (row.name, row.family));
        }
        assert_eq!(TABLE.len(), Corruption::JpegCompression as usize + 1);
        assert_eq!(Corruption::parse("Fog"), None);
    }

    #[test]
    fn severities_are_one_to_five() {
        assert_eq!(Severity::new(0), None);
        assert_eq!(Severity::new(6), None);
        assert_eq!(
            (1..=5).map(Severity::new).collect::<Option<Vec<_>>>(),
            Some(Severity::ALL.into())
        );
    }

    #[test]
    fn every_size_keeps_its_shape() {
        for (width, height) in [(1, 1), (1, 2), (2, 1), (3, 5), (1, 40), (17, 1), (33, 19), (0, 7)]
        {
            let image = noise_image(width, height);
            for row in TABLE {
                for severity in Severity::ALL {
                    let mut rng = rng_for("a", row.corruption, severity);
                    let out = apply(row.corruption, severity, &image, &mut rng);
                    assert_eq!((out.width, out.height), (width, height), "{}", row.name);
                    assert_eq!(out.pixels.len(), image.pixels.len(), "{}", row.name);
                }
            }
        }
    }

    #[test]
    fn a_key_gives_the_same_picture_and_another_key_another() {
        let image = noise_image(24, 18);
        for corruption in [Corruption::GaussianNoise, Corruption::ShotNoise, Corruption::Fog] {
            let draw = |id: &str, level: u8| {
                let severity = Severity::new(level).unwrap();
                let mut rng = rng_for(id, corruption, severity);
                apply(corruption, Severity::new(5).unwrap(), &image, &mut rng)
            };
            assert_eq!(draw("2007_000033", 5), draw("2007_000033", 5));
            assert_ne!(draw("2007_000033", 5), draw("2007_000042", 5));
            assert_ne!(draw("2007_000033", 5), draw("2007_000033", 4));
        }
    }
}
