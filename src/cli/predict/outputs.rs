//! The files that a prediction is written to.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::cli::fault::{Exit, fault};
use crate::data::Rgb;
use crate::data::image_io::{self, Palette};
use crate::eval::maps::{Maps, Wanted};
use crate::fs::write_atomic;
use crate::viz::overlay;

/// A file that may be written for each image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// `NAME.png`: the class of each pixel as its value, in a palette of the dataset's colours
    Mask,
    /// `NAME_overlay.png`: the image with the classes over it, and a legend
    Overlay,
    /// `NAME_confidence.png`: the probability of each pixel's class, black 0 to white 1
    Confidence,
    /// `NAME.safetensors`: `probabilities` [classes, height, width], f32
    Probabilities,
}

impl Output {
    fn path(self, folder: &Path, image: &Path) -> PathBuf {
        let name = image.file_stem().unwrap_or_default().to_string_lossy();
        folder.join(match self {
            Self::Mask => format!("{name}.png"),
            Self::Overlay => format!("{name}_overlay.png"),
            Self::Confidence => format!("{name}_confidence.png"),
            Self::Probabilities => format!("{name}.safetensors"),
        })
    }
}

/// Writes the outputs of images into a folder.
pub(super) struct Writer<'a> {
    pub(super) folder: &'a Path,
    pub(super) outputs: &'a [Output],
    /// Names of the classes by index.
    pub(super) classes: &'a [String],
    pub(super) palette: Palette,
}

impl Writer<'_> {
    /// The maps that the outputs need.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            confidence: self.outputs.contains(&Output::Confidence),
            probabilities: self.outputs.contains(&Output::Probabilities),
        }
    }

    /// Refuses outputs that would replace one of the images, or one another.
    pub(super) fn check(&self, images: &[PathBuf]) -> anyhow::Result<()> {
        let mut known: BTreeMap<PathBuf, &Path> = BTreeMap::new();
        for image in images {
            for path in self.outputs.iter().map(|output| output.path(self.folder, image)) {
                if let Some(other) = known.get(&path).filter(|other| *other != image) {
                    let words = format!(
                        "`{}` and `{}` would both be written into `{}`: predict them into two \
                         folders",
                        other.display(),
                        image.display(),
                        path.display()
                    );
                    return Err(fault(Exit::Usage, words));
                }
                known.insert(path, image);
            }
        }
        let real = |path: &Path| fs_err::canonicalize(path).ok();
        let inputs: Vec<_> = images.iter().filter_map(|path| real(path)).collect();
        for image in images {
            let written = self.outputs.iter().map(|output| output.path(self.folder, image));
            for path in written {
                if real(&path).is_some_and(|path| inputs.contains(&path)) {
                    let words = format!(
                        "`{}` is an input, and would be overwritten: name another folder with \
                         --output",
                        path.display()
                    );
                    return Err(fault(Exit::Usage, words));
                }
            }
        }
        Ok(())
    }

    /// Writes what is asked for of one image.
    pub(super) fn write(&self, path: &Path, image: &Rgb, maps: &Maps) -> io::Result<()> {
        for output in self.outputs {
            let bytes = match output {
                Output::Mask => image_io::write_png_mask(&maps.mask, &self.palette),
                Output::Overlay => image_io::write_png_rgb(&self.overlay(image, maps)),
                Output::Confidence => {
                    let pixels = maps.confidence.iter().flat_map(|value| [*value; 3]).collect();
                    let (width, height) = (image.width, image.height);
                    image_io::write_png_rgb(&Rgb { width, height, pixels })
                }
                Output::Probabilities => self.probabilities(image, maps)?,
            };
            write_atomic(&output.path(self.folder, path), &bytes)?;
        }
        Ok(())
    }

    fn overlay(&self, image: &Rgb, maps: &Maps) -> Rgb {
        let n_classes = self.classes.len();
        let over = overlay::overlay(image, &maps.mask, &self.palette, n_classes);
        let present: Vec<u8> =
            overlay::present([&maps.mask], n_classes).into_iter().map(|(class, _)| class).collect();
        let legend = overlay::legend(&present, self.classes, &self.palette, image.width);
        overlay::stacked(&[&over, &legend])
    }

    fn probabilities(&self, image: &Rgb, maps: &Maps) -> io::Result<Vec<u8>> {
        let shape = vec![self.classes.len(), image.height as usize, image.width as usize];
        let bytes: &[u8] = bytemuck::cast_slice(&maps.probabilities);
        let view = TensorView::new(Dtype::F32, shape, bytes).map_err(io::Error::other)?;
        let classes = Cow::from(serde_json::to_string(self.classes)?);
        let about = [("classes".to_owned(), classes.into_owned())].into_iter();
        let about: BTreeMap<_, _> = about.collect();
        safetensors::serialize([("probabilities", view)], Some(about.into_iter().collect()))
            .map_err(io::Error::other)
    }
}
