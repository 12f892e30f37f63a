//! The corruption frost: a texture of ice over the picture.
//!
//! ImageNet-C's textures are five photographs (a sixth lies beside them and is never drawn) that
//! may not be copied here. Where a user has them they are used; else ice is drawn (`ice`), whose
//! results have a name of their own ([`Source::name`]).

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::Severity;
use super::ice::{self, N_TEXTURES};
use crate::data::{Error, Rgb, image_io};
use crate::fs::hash;
use crate::rng::{ChaCha8Rng, below};

/// The weights of the picture and of the texture, by level.
const FROST: [(f64, f64); 5] = [(1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)];
/// The folder of the originals, in a data folder.
pub const FOLDER: &str = "frost";
/// The originals, and the sha256 of those in `imagecorruptions` 1.1.2.
pub const ORIGINALS: [(&str, &str); N_TEXTURES] = [
    ("frost1.png", "ff9f907860bd7a835d459e32f9d588062b7f61ee267343cc7222b56753a14755"),
    ("frost2.png", "fe211a89b336999c207a852ce05818d4545d0b57c5beadd824b4cc9d9a9b6137"),
    ("frost3.png", "2d0d50b4a9bb213f38b024ef7768731bb83cc08d2f26b5766bbc167cdfa0e504"),
    ("frost4.jpg", "3f8b91ca1a9fa7167b09e773da53f5ae60d0a1fd88f02a783f6e328a72887f6e"),
    ("frost5.jpg", "5fc6a19df4a429ba68abdcc8f8a4278d4c9f81c9ccafd2c92ab0c8cf8992ebd2"),
];
/// A texture is always magnified a little, so that there is something to crop.
const MARGIN: f64 = 1.1;
/// The constant of `OpenCV`'s cubic interpolation.
const CUBIC: f64 = -0.75;

const CHANNELS: usize = 3;

/// The source of the textures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Originals,
    Procedural,
}

/// The five textures of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Textures(Images);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Images {
    Originals(Box<[Rgb; N_TEXTURES]>),
    /// Ice that is drawn when first used.
    Procedural,
}

impl Source {
    /// The name of a frost from this source, in ids and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Originals => "frost",
            Self::Procedural => "frost*",
        }
    }

    /// The source in a score's identity.
    pub fn texture(self) -> String {
        match self {
            Self::Originals => {
                let all: String = ORIGINALS.iter().map(|(_, sha256)| *sha256).collect();
                hash::sha256_bytes(all.as_bytes())
            }
            Self::Procedural => format!("procedural v{}", ice::VERSION),
        }
    }
}

/// The folder with the original textures in the first of `data_dirs` that has any of them.
///
/// A folder that lacks some, or has others under their names, is an error: frost that depends on
/// what happens to be there would not be a benchmark.
pub fn find(data_dirs: &[PathBuf]) -> Result<Option<PathBuf>, Error> {
    let has_any = |dir: &PathBuf| ORIGINALS.iter().any(|(file, _)| dir.join(file).exists());
    let Some(dir) = data_dirs.iter().map(|dir| dir.join(FOLDER)).find(has_any) else {
        return Ok(None);
    };
    let dir = std::path::absolute(dir)?;
    let mut problems = Vec::new();
    for (file, sha256) in ORIGINALS {
        match hash::sha256_file(&dir.join(file)) {
            Ok(found) if found == sha256 => {}
            Ok(found) => problems.push(format!("`{file}` has sha256 {}…", &found[..8])),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                problems.push(format!("there is no `{file}`"));
            }
            Err(error) => problems.push(format!("`{file}` cannot be read ({error})")),
        }
    }
    if problems.is_empty() { Ok(Some(dir)) } else { Err(Error::Frost { root: dir, problems }) }
}

impl Textures {
    /// The originals in a folder that [`find`] found.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let [a, b, c, d, e] = ORIGINALS.map(|(file, _)| image_io::read_rgb(&dir.join(file)));
        Ok(Self(Images::Originals(Box::new([a?, b?, c?, d?, e?]))))
    }

    /// The procedural ice, drawn once per process when it is first used.
    pub fn procedural() -> Self {
        Self(Images::Procedural)
    }

    fn image(&self, index: usize) -> &Rgb {
        static DRAWN: [OnceLock<Rgb>; N_TEXTURES] = [const { OnceLock::new() }; N_TEXTURES];
        match &self.0 {
            Images::Originals(images) => &images[index],
            Images::Procedural => DRAWN[index].get_or_init(|| ice::texture(index)),
        }
    }
}

/// Lays a random part of a random texture over the picture.
pub(super) fn frost(
    image: &Rgb,
    severity: Severity,
    textures: &Textures,
    rng: &mut ChaCha8Rng,
) -> Rgb {
    let (kept, laid) = severity.of(&FROST);
    let texture = textures.image(below(rng, N_TEXTURES as u64) as usize);
    let crop = Crop::draw(texture, image, rng).cut(texture);
    let [kept, laid]: [[f64; 256]; 2] =
        [kept, laid].map(|weight| std::array::from_fn(|level| weight * level as f64));
    let pixels =
        image.pixels.iter().zip(&crop).map(|(&pixel, &ice)| {
            (kept[usize::from(pixel)] + laid[usize::from(ice)]).min(255.0) as u8
        });
    Rgb { pixels: pixels.collect(), ..*image }
}

/// A part of a magnified texture.
struct Crop {
    width: usize,
    height: usize,
    /// Position in the magnified texture.
    left: usize,
    top: usize,
    /// Pixels of the texture per pixel of the magnified one, along and down.
    step: [f64; 2],
}

impl Crop {
    /// The texture covers the picture on both sides, and a tenth more.
    fn draw(texture: &Rgb, image: &Rgb, rng: &mut ChaCha8Rng) -> Self {
        let [from, to] = [texture, image].map(|image| [image.width, image.height].map(f64::from));
        let scale = (to[0] / from[0]).max(to[1] / from[1]).max(1.0) * MARGIN;
        let size = from.map(|side| (side * scale).ceil());
        let room = |axis: usize| (size[axis] - to[axis]) as u64;
        let top = below(rng, room(1).max(1)) as usize;
        let left = below(rng, room(0).max(1)) as usize;
        Self {
            width: image.width as usize,
            height: image.height as usize,
            left,
            top,
            step: [from[0] / size[0], from[1] / size[1]],
        }
    }

    /// Magnifies by cubic interpolation as `OpenCV` does.
    fn cut(&self, texture: &Rgb) -> Vec<u8> {
        let (width, height) = (texture.width as usize, texture.height as usize);
        let along = taps(self.left, self.width, self.step[0], width);
        let down = taps(self.top, self.height, self.step[1], height);
        let n = self.width * CHANNELS;
        // Rows of the texture that were interpolated along themselves, by their index modulo 4.
        let mut rows = [(); 4].map(|()| (usize::MAX, vec![0.0f32; n]));
        let mut crop = Vec::with_capacity(self.height * n);
        for (sources, weights) in down {
            for source in sources {
                let (known, row) = &mut rows[source % 4];
                if *known != source {
                    let pixels = texture.pixels[source * width * CHANNELS..].as_chunks().0;
                    interpolate(pixels, &along, row);
                    *known = source;
                }
            }
            let [a, b, c, d] = sources.map(|source| &rows[source % 4].1[..n]);
            let [wa, wb, wc, wd] = weights;
            let sum = |i: usize| wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i];
            crop.extend((0..n).map(|i| (sum(i) + 0.5) as u8));
        }
        crop
    }
}

type Taps = ([usize; 4], [f32; 4]);

/// The four pixels of the texture, and their weights, for each of `n` magnified ones.
fn taps(first: usize, n: usize, step: f64, side: usize) -> Vec<Taps> {
    let last = side.cast_signed() - 1;
    (first..first + n)
        .map(|i| {
            let at = (i as f64 + 0.5) * step - 0.5;
            let before = at.floor();
            let share = at - before;
            let inner = |d: f64| ((CUBIC + 2.0) * d - (CUBIC + 3.0)) * d * d + 1.0;
            let outer = |d: f64| ((CUBIC * d - 5.0 * CUBIC) * d + 8.0 * CUBIC) * d - 4.0 * CUBIC;
            let weights =
                [outer(1.0 + share), inner(share), inner(1.0 - share), outer(2.0 - share)];
            let source = |tap: isize| (before as isize + tap).clamp(0, last) as usize;
            ([-1, 0, 1, 2].map(source), weights.map(|weight| weight as f32))
        })
        .collect()
}

fn interpolate(row: &[[u8; CHANNELS]], taps: &[Taps], out: &mut [f32]) {
    for (out, (sources, weights)) in out.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(taps) {
        let [a, b, c, d] = sources.map(|source| row[source].map(f32::from));
        let [wa, wb, wc, wd] = *weights;
        *out = std::array::from_fn(|i| wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::keyed;

    #[test]
    fn pictures_of_any_size_are_covered() {
        for (width, height) in [(1, 1), (500, 375), (1500, 20), (20, 900), (2000, 1500)] {
            let image = Rgb { width, height, pixels: vec![0; (width * height * 3) as usize] };
            let severity = Severity::new(5).unwrap();
            let frosted = frost(&image, severity, &Textures::procedural(), &mut keyed(0, "f", &[]));
            assert_eq!(frosted.pixels.len(), image.pixels.len());
            let lit = frosted.pixels.iter().filter(|&&level| level > 0).count();
            assert!(lit * 10 > frosted.pixels.len() * 9, "{width}x{height}: {lit}");
        }
    }

    #[test]
    fn a_magnified_pixel_lies_between_its_four_neighbours() {
        for (sources, weights) in taps(0, 40, 1.0 / 1.1, 30) {
            assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert!(sources.windows(2).all(|pair| pair[1] - pair[0] <= 1));
        }
        // Nothing is moved where nothing is magnified.
        assert_eq!(taps(3, 1, 1.0, 30), [([2, 3, 4, 5], [0.0, 1.0, 0.0, 0.0])]);
    }

    #[test]
    fn a_folder_without_originals_is_none_and_a_damaged_one_an_error() {
        let temp = tempfile::tempdir().unwrap();
        let dirs = [temp.path().join("nowhere"), temp.path().to_owned()];
        assert_eq!(find(&dirs).unwrap(), None);
        fs_err::create_dir(temp.path().join(FOLDER)).unwrap();
        assert_eq!(find(&dirs).unwrap(), None);
        crate::fs::write_atomic(&temp.path().join("frost/frost2.png"), b"ice").unwrap();
        let error = find(&dirs).unwrap_err().to_string();
        assert!(error.contains("there is no `frost1.png`"), "{error}");
        assert!(error.contains("`frost2.png` has sha256 "), "{error}");
        assert!(error.contains("frost5.jpg"), "{error}");
    }

    #[test]
    fn sources_have_names_of_their_own() {
        assert_ne!(Source::Originals.name(), Source::Procedural.name());
        assert_eq!(Source::Procedural.texture(), "procedural v1");
        assert!(Source::Originals.texture().starts_with("5256e0d742a5a3e0"));
    }
}
