//! The corruptions of ImageNet-C, as `imagecorruptions` 1.1.2 defines them, at an image's own size.
//!
//! Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
//! Perturbations" (ICLR 2019); Michaelis et al., "Benchmarking Robustness in Object Detection"
//! (2019) for the variant that takes images of any size. Only the random numbers are our own, from
//! the reference's distributions; `tests/corruptions.rs` checks the rest against it. A corruption
//! is a row of [`TABLE`], a variant of [`Corruption`] and an arm of [`apply`].

mod blur;
mod digital;
mod draw;
mod edges;
pub mod frost;
mod gaussian;
mod hls;
mod ice;
mod jpeg;
mod level;
mod motion;
mod noise;
pub mod oneof;
mod oneof_warp;
mod snow;
mod spatter;
pub mod suite;
mod warp;
mod weather;
mod zoom;

use std::path::Path;

use crate::data::{Error, Mask, Rgb};
use crate::rng::{self, ChaCha8Rng};
use frost::{Source, Textures};

/// The kinds of corruption, by their name in `imagecorruptions` and in its order: the 15 of
/// ImageNet-C and the 4 that it keeps for validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Corruption {
    GaussianNoise,
    ShotNoise,
    ImpulseNoise,
    DefocusBlur,
    GlassBlur,
    MotionBlur,
    ZoomBlur,
    Snow,
    Frost,
    Fog,
    Brightness,
    Contrast,
    ElasticTransform,
    Pixelate,
    JpegCompression,
    SpeckleNoise,
    GaussianBlur,
    Spatter,
    Saturate,
}

/// Groups over which means are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Noise,
    Blur,
    Weather,
    Digital,
}

/// A row of the table: the facts of a corruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub corruption: Corruption,
    pub name: &'static str,
    pub family: Family,
    /// Whether pixels move while their labels stay where they are.
    pub moves_pixels: bool,
}

/// An effect: what is done to the images of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Frost with the original textures.
    Corruption(Corruption),
    /// Frost with procedural ice.
    ProceduralFrost,
    /// A draw of the reference project's pipeline, counted from 0.
    ReferenceDraw(u8),
}

/// An effect at a level, with what it needs.
#[derive(Debug, Clone)]
pub struct Corruptor {
    effect: Effect,
    severity: Severity,
    textures: Textures,
}

/// One row for each [`Corruption`], in the order of its variants.
pub const TABLE: &[Row] = &[
    row(Corruption::GaussianNoise, "gaussian_noise", Family::Noise),
    row(Corruption::ShotNoise, "shot_noise", Family::Noise),
    row(Corruption::ImpulseNoise, "impulse_noise", Family::Noise),
    row(Corruption::DefocusBlur, "defocus_blur", Family::Blur),
    moving(Corruption::GlassBlur, "glass_blur", Family::Blur),
    row(Corruption::MotionBlur, "motion_blur", Family::Blur),
    moving(Corruption::ZoomBlur, "zoom_blur", Family::Blur),
    row(Corruption::Snow, "snow", Family::Weather),
    row(Corruption::Frost, "frost", Family::Weather),
    row(Corruption::Fog, "fog", Family::Weather),
    row(Corruption::Brightness, "brightness", Family::Weather),
    row(Corruption::Contrast, "contrast", Family::Digital),
    moving(Corruption::ElasticTransform, "elastic_transform", Family::Digital),
    row(Corruption::Pixelate, "pixelate", Family::Digital),
    row(Corruption::JpegCompression, "jpeg_compression", Family::Digital),
    row(Corruption::SpeckleNoise, "speckle_noise", Family::Noise),
    row(Corruption::GaussianBlur, "gaussian_blur", Family::Blur),
    row(Corruption::Spatter, "spatter", Family::Weather),
    row(Corruption::Saturate, "saturate", Family::Digital),
];

/// The strength of a corruption: 1 (weak) to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Severity(u8);

/// Corrupts `image`; the size stays.
///
/// Values are cut to 8 bits as numpy's `astype` does, towards zero. Draws from `rng` only where
/// the corruption is random; take it from [`rng_for`]. `textures` are those of frost.
pub fn apply(
    corruption: Corruption,
    severity: Severity,
    image: &Rgb,
    textures: &Textures,
    rng: &mut ChaCha8Rng,
) -> Rgb {
    if image.pixels.is_empty() {
        return image.clone();
    }
    match corruption {
        Corruption::GaussianNoise => noise::gaussian(image, severity, rng),
        Corruption::ShotNoise => noise::shot(image, severity, rng),
        Corruption::ImpulseNoise => noise::impulse(image, severity, rng),
        Corruption::DefocusBlur => blur::defocus(image, severity),
        Corruption::GlassBlur => warp::glass_blur(image, severity, rng),
        Corruption::MotionBlur => motion::motion_blur(image, severity, rng),
        Corruption::ZoomBlur => zoom::zoom_blur(image, severity),
        Corruption::Snow => snow::snow(image, severity, rng),
        Corruption::Frost => frost::frost(image, severity, textures, rng),
        Corruption::Fog => weather::fog(image, severity, rng),
        Corruption::Brightness => weather::brightness(image, severity),
        Corruption::Contrast => digital::contrast(image, severity),
        Corruption::ElasticTransform => warp::elastic_transform(image, severity, rng),
        Corruption::Pixelate => digital::pixelate(image, severity),
        Corruption::JpegCompression => jpeg::jpeg(image, severity),
        Corruption::SpeckleNoise => noise::speckle(image, severity, rng),
        Corruption::GaussianBlur => gaussian::gaussian_blur(image, severity),
        Corruption::Spatter => spatter::spatter(image, severity, rng),
        Corruption::Saturate => digital::saturate(image, severity),
    }
}

/// Motion blur along a given angle in degrees, for comparing the random one with the reference.
pub fn motion_blur_at(image: &Rgb, severity: Severity, angle: f64) -> Rgb {
    motion::motion_blur_at(image, severity, angle)
}

/// The generator that corrupts one image: the same picture for every model and every run.
pub fn rng_for(image_id: &str, corruption: Corruption, severity: Severity) -> ChaCha8Rng {
    keyed(0, image_id, corruption.name(), severity)
}

fn keyed(seed: u64, image_id: &str, name: &str, severity: Severity) -> ChaCha8Rng {
    // Neither a name nor a level holds a slash, so no two triples share a purpose.
    rng::keyed(seed, &format!("corrupt/{name}/{}/{image_id}", severity.get()), &[])
}

impl Effect {
    pub fn of(corruption: Corruption, source: Source) -> Self {
        match (corruption, source) {
            (Corruption::Frost, Source::Procedural) => Self::ProceduralFrost,
            (corruption, _) => Self::Corruption(corruption),
        }
    }

    /// The name in scores: `fog`, `frost*` (procedural), `reference_oneof_3`.
    pub fn name(self) -> String {
        match self {
            Self::Corruption(corruption) => corruption.name().to_owned(),
            Self::ProceduralFrost => Source::Procedural.name().to_owned(),
            Self::ReferenceDraw(draw) => format!("{}{draw}", oneof::PREFIX),
        }
    }

    /// The effect of that name, or `None`.
    pub fn parse(name: &str) -> Option<Self> {
        if name == Source::Procedural.name() {
            return Some(Self::ProceduralFrost);
        }
        match name.strip_prefix(oneof::PREFIX) {
            Some(draw) => draw.parse().ok().map(Self::ReferenceDraw),
            None => Corruption::parse(name).map(Self::Corruption),
        }
    }

    /// The identity of what its pictures depend on beside its name and the level: frost's textures.
    pub fn texture(self) -> Option<String> {
        match self {
            Self::Corruption(Corruption::Frost) => Some(Source::Originals.texture()),
            Self::ProceduralFrost => Some(Source::Procedural.texture()),
            Self::Corruption(_) | Self::ReferenceDraw(_) => None,
        }
    }

    fn corruption(self) -> Option<Corruption> {
        match self {
            Self::Corruption(corruption) => Some(corruption),
            Self::ProceduralFrost => Some(Corruption::Frost),
            Self::ReferenceDraw(_) => None,
        }
    }
}

impl Corruptor {
    /// `frost`: the folder of the original textures, which only frost itself needs.
    pub fn new(effect: Effect, severity: Severity, frost: Option<&Path>) -> Result<Self, Error> {
        let textures = match (effect, frost) {
            (Effect::Corruption(Corruption::Frost), Some(dir)) => Textures::load(dir)?,
            (Effect::Corruption(Corruption::Frost), None) => return Err(Error::NoFrost),
            _ => Textures::procedural(),
        };
        Ok(Self { effect, severity, textures })
    }

    /// The corrupted image; `mask` changes only where labels move with the pixels, which is in the
    /// reference project's pipeline. With seed 0 the picture is the one that is scored.
    pub fn corrupt(&self, seed: u64, image_id: &str, pair: (&Rgb, &mut Mask)) -> Rgb {
        self.corrupt_as(self.severity, seed, image_id, pair)
    }

    /// Corrupts like [`Self::corrupt`], with the random numbers of another level.
    pub(crate) fn corrupt_as(
        &self,
        drawn: Severity,
        seed: u64,
        image_id: &str,
        (image, mask): (&Rgb, &mut Mask),
    ) -> Rgb {
        let Some(corruption) = self.effect.corruption() else {
            let mut rng = keyed(seed, image_id, &self.effect.name(), drawn);
            return oneof::one_of(self.severity, (image, mask), &mut rng);
        };
        let mut rng = keyed(seed, image_id, corruption.name(), drawn);
        apply(corruption, self.severity, image, &self.textures, &mut rng)
    }
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

    /// Whether pixels move while their labels stay.
    pub fn moves_pixels(self) -> bool {
        self.row().moves_pixels
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

impl Severity {
    pub const ALL: [Self; 5] = [Self(1), Self(2), Self(3), Self(4), Self(5)];

    /// The level of that number; `None` unless 1 to 5.
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
    Row { corruption, name, family, moves_pixels: false }
}

const fn moving(corruption: Corruption, name: &'static str, family: Family) -> Row {
    Row { corruption, name, family, moves_pixels: true }
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
        assert_eq!(TABLE.len(), Corruption::Saturate as usize + 1);
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
                    let out =
                        apply(row.corruption, severity, &image, &Textures::procedural(), &mut rng);
                    assert_eq!((out.width, out.height), (width, height), "{}", row.name);
                    assert_eq!(out.pixels.len(), image.pixels.len(), "{}", row.name);
                }
            }
        }
    }

    #[test]
    fn a_key_gives_the_same_picture_and_another_key_another() {
        let image = noise_image(24, 18);
        let deterministic = [
            Corruption::DefocusBlur,
            Corruption::ZoomBlur,
            Corruption::Brightness,
            Corruption::Contrast,
            Corruption::Pixelate,
            Corruption::JpegCompression,
            Corruption::GaussianBlur,
            Corruption::Saturate,
        ];
        for corruption in TABLE.iter().map(|row| row.corruption) {
            if deterministic.contains(&corruption) {
                continue;
            }
            let draw = |id: &str, level: u8| {
                let severity = Severity::new(level).unwrap();
                let mut rng = rng_for(id, corruption, severity);
                apply(
                    corruption,
                    Severity::new(5).unwrap(),
                    &image,
                    &Textures::procedural(),
                    &mut rng,
                )
            };
            assert_eq!(draw("2007_000033", 5), draw("2007_000033", 5));
            assert_ne!(draw("2007_000033", 5), draw("2007_000042", 5));
            assert_ne!(draw("2007_000033", 5), draw("2007_000033", 4));
        }
    }
}
