//! The files that a prediction is written to.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::cli::inputs::{self, Inputs};
use crate::data::image_io::{self, Palette};
use crate::data::{Rgb, transform};
use crate::eval::maps::{Maps, Wanted};
use crate::fs::write_atomic;
use crate::viz::overlay;
use crate::viz::video::{self, Video};

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
    fn path(self, folder: &Path, name: &str) -> PathBuf {
        folder.join(match self {
            Self::Mask => format!("{name}.png"),
            Self::Overlay => format!("{name}_overlay.png"),
            Self::Confidence => format!("{name}_confidence.png"),
            Self::Probabilities => format!("{name}.safetensors"),
        })
    }
}

/// Writes the outputs of pictures into a folder.
pub(super) struct Writer<'a> {
    folder: &'a Path,
    outputs: &'a [Output],
    /// Names of the classes by index.
    classes: &'a [String],
    palette: Palette,
    /// The overlay of a video, once it has a frame, and the classes in it.
    video: Option<video::Writer>,
    seen: BTreeSet<u8>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        folder: &'a Path,
        outputs: &'a [Output],
        (classes, palette): (&'a [String], Palette),
    ) -> Self {
        Self { folder, outputs, classes, palette, video: None, seen: BTreeSet::new() }
    }

    /// The maps that the outputs need.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            confidence: self.outputs.contains(&Output::Confidence),
            probabilities: self.outputs.contains(&Output::Probabilities),
        }
    }

    /// Refuses outputs that would replace one of the inputs, or one another.
    pub(super) fn check(&self, inputs: &Inputs) -> anyhow::Result<()> {
        let paths = inputs.paths();
        let outputs = paths.iter().flat_map(|path| {
            let (name, source) = (stem(path), format!("`{}`", path.display()));
            let written = match inputs {
                Inputs::Images(_) => {
                    let all = self.outputs.iter();
                    all.map(|output| output.path(self.folder, &name)).collect()
                }
                Inputs::Video(_) => vec![self.video_path(path)],
            };
            written.into_iter().map(move |path| (path, source.clone()))
        });
        inputs::check_outputs(paths, outputs.collect())
    }

    /// Writes what is asked for of picture `i`.
    pub(super) fn write(
        &mut self,
        (inputs, i): (&Inputs, usize),
        image: &Rgb,
        maps: &Maps,
    ) -> anyhow::Result<()> {
        let (folder, name) = match inputs {
            Inputs::Images(paths) => (self.folder.to_owned(), stem(&paths[i])),
            // Numbered as ffmpeg does.
            Inputs::Video(video) => (self.folder.join(stem(&video.path)), format!("{:06}", i + 1)),
        };
        for output in self.outputs {
            let bytes = match (output, inputs) {
                (Output::Overlay, Inputs::Video(video)) => {
                    self.frame(video, image, maps).map_err(inputs::with_exit)?;
                    continue;
                }
                (Output::Mask, _) => image_io::write_png_mask(&maps.mask, &self.palette),
                (Output::Overlay, _) => image_io::write_png_rgb(&self.overlay(image, maps)),
                (Output::Confidence, _) => {
                    let pixels = maps.confidence.iter().flat_map(|value| [*value; 3]).collect();
                    let (width, height) = (image.width, image.height);
                    image_io::write_png_rgb(&Rgb { width, height, pixels })
                }
                (Output::Probabilities, _) => self.probabilities(image, maps)?,
            };
            write_atomic(&output.path(&folder, &name), &bytes)?;
        }
        Ok(())
    }

    /// Ends the overlay of a video, and writes the legend of the classes in it.
    pub(super) fn finish(mut self, inputs: &Inputs) -> anyhow::Result<()> {
        let (Some(writer), Inputs::Video(source)) = (self.video.take(), inputs) else {
            return Ok(());
        };
        let width = writer.size()[1];
        writer.finish().map_err(inputs::with_exit)?;
        let seen: Vec<u8> = self.seen.iter().copied().collect();
        let legend = overlay::legend(&seen, self.classes, &self.palette, width);
        let path = self.folder.join(format!("{}_legend.png", stem(&source.path)));
        Ok(write_atomic(&path, &image_io::write_png_rgb(&legend))?)
    }

    fn video_path(&self, video: &Path) -> PathBuf {
        self.folder.join(format!("{}_overlay.mp4", stem(video)))
    }

    /// Adds a frame to the overlay of a video: without a legend, as all frames have one size.
    fn frame(&mut self, video: &Video, image: &Rgb, maps: &Maps) -> Result<(), video::Error> {
        let n_classes = self.classes.len();
        let over = overlay::overlay(image, &maps.mask, &self.palette, n_classes);
        self.seen.extend(overlay::present([&maps.mask], n_classes).into_iter().map(|(c, _)| c));
        let path = self.video_path(&video.path);
        let writer = match &mut self.video {
            Some(writer) => writer,
            none => {
                let size = [image.height, image.width];
                none.insert(video::Writer::create(&path, size, &video.rate)?)
            }
        };
        let [height, width] = writer.size();
        writer.put(&transform::squash(&over, height, width))
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

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
