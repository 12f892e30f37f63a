//! Splits of a dataset: their images, the loading of these, and their fingerprints.

mod classes;
mod fingerprint;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::image_io::{SurveyedMask, exif_turn, read_rgb, survey_raw_mask};
use super::labels::{Raw, RawValues, Unknown};
use super::{Error, Mask, Rgb, VOID};
use crate::rng;

pub use super::labels::Labels;
pub use classes::{AbsentClass, ClassPixels};

/// Images and masks of one split, in its order.
#[derive(Debug, Clone)]
pub struct Split {
    pub name: String,
    pub items: Vec<Item>,
    root: PathBuf,
    classes: Arc<[String]>,
    labels: Labels,
}

/// The paths of one image and its mask; either file may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// File stem below the image folder.
    pub id: String,
    pub image: PathBuf,
    pub mask: PathBuf,
}

/// One image with its mask, of the same size; classes are in range or void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub id: String,
    pub image: Rgb,
    pub mask: Mask,
}

/// A mask, and the values in its file that are not classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    pub mask: Mask,
    /// Values that are not a class; they are void in the mask.
    pub unknown: Vec<Unknown>,
    /// Number of pixels of the value 255, where that is void by default.
    pub n_255: u64,
    /// Indices that the mask has, with their colours in its palette.
    pub colours: Vec<(u8, [u8; 3])>,
}

impl Item {
    /// Whether image and mask are of one size.
    pub fn check_sizes(&self, image: &Rgb, mask: &Mask) -> Result<(), Error> {
        if (image.width, image.height) == (mask.width, mask.height) {
            return Ok(());
        }
        let is_swapped = (image.width, image.height) == (mask.height, mask.width);
        let turn = exif_turn(&self.image).filter(|turn| is_swapped && turn.swaps_sides);
        Err(Error::SizeMismatch {
            image: self.image.clone(),
            image_size: [image.width, image.height],
            mask: self.mask.clone(),
            mask_size: [mask.width, mask.height],
            turn: turn.map(|turn| turn.words),
        })
    }
}

impl Split {
    pub fn new(
        name: &str,
        items: Vec<Item>,
        root: &Path,
        classes: Arc<[String]>,
        labels: Labels,
    ) -> Self {
        Self { name: name.to_owned(), items, root: root.to_owned(), classes, labels }
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn n_classes(&self) -> u32 {
        self.classes.len() as u32
    }

    /// Class names, by index.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The meaning of the values of its masks.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Reads image and mask of `items[index]`.
    pub fn load(&self, index: usize) -> Result<Sample, Error> {
        let item = &self.items[index];
        let mask = self.load_mask(index)?;
        let image = read_rgb(&item.image)?;
        item.check_sizes(&image, &mask)?;
        Ok(Sample { id: item.id.clone(), image, mask })
    }

    /// Reads the mask of `items[index]` alone.
    pub fn load_mask(&self, index: usize) -> Result<Mask, Error> {
        let Surveyed { mask, unknown, .. } = self.survey_mask(index)?;
        match unknown.first() {
            None => Ok(mask),
            Some(unknown) => Err(self.no_class(index, unknown)),
        }
    }

    /// Like [`Self::load_mask`], with the values from before they became classes.
    pub fn survey_mask(&self, index: usize) -> Result<Surveyed, Error> {
        let SurveyedMask { raw, palette } =
            survey_raw_mask(&self.items[index].mask, self.labels.form())?;
        let mut counts = [0; 256];
        if let RawValues::Ids8(ids) = &raw.values {
            for &id in ids {
                counts[usize::from(id)] += 1;
            }
        }
        let is_void = self.labels.is_void(Raw::Id(VOID.into()));
        let colours = (0..=u8::MAX).zip(palette.unwrap_or_default());
        let colours = colours.filter(|(id, _)| counts[usize::from(*id)] > 0).collect();
        let (mask, unknown) = self.labels.apply(raw, self.classes.len());
        let n_255 = if is_void { counts[usize::from(VOID)] } else { 0 };
        Ok(Surveyed { mask, unknown, n_255, colours })
    }

    /// The error for a value that is not a class.
    pub fn no_class(&self, index: usize, unknown: &Unknown) -> Error {
        let mask = self.items[index].mask.clone();
        let (x, y) = (unknown.x, unknown.y);
        match (&self.labels, unknown.raw) {
            (Labels::Plain | Labels::FromOne, Raw::Id(id)) => {
                let class_max = self.labels.raw_max(self.classes.len());
                Error::ClassOutOfRange { mask, class: id, class_max, x, y }
            }
            (_, raw) => Error::UnknownLabel { mask, raw, x, y },
        }
    }

    /// Parts the split in two, `(rest, dev)`: `dev` holds the nearest whole number of images to
    /// `fraction`, drawn by `seed`. Neither is empty, but `dev` where `fraction` is 0 or there is
    /// one image only. Both keep the split's order.
    pub fn hold_out(&self, fraction: f64, seed: u64) -> (Self, Self) {
        let n = self.items.len();
        let n_wanted = (n as f64 * fraction).round() as usize;
        let n_dev = n_wanted.max(usize::from(fraction > 0.0)).min(n.saturating_sub(1));
        let mut order: Vec<usize> = (0..n).collect();
        rng::shuffle(&mut rng::keyed(seed, "dev", &[]), &mut order);
        let mut is_dev = vec![false; n];
        for &index in &order[..n_dev] {
            is_dev[index] = true;
        }
        let part = |name: &str, dev: bool| {
            let items = self.items.iter().zip(&is_dev).filter(|&(_, &is_dev)| is_dev == dev);
            let items = items.map(|(item, _)| item.clone()).collect();
            Self::new(name, items, &self.root, self.classes.clone(), self.labels.clone())
        };
        (part(&self.name, false), part("dev", true))
    }

    /// sha256 over the split's lines, image names and byte lengths, mask files, class names and
    /// label map; the same wherever the dataset lies.
    ///
    /// `cache`, a JSON file (with a sibling `<stem>.masks.json`), remembers what was hashed, by
    /// path, size, modification times and inode. A cache that cannot be written is a warning.
    /// All missing files are counted, the first few named.
    pub fn fingerprint(&self, cache: Option<&Path>) -> Result<String, Error> {
        fingerprint::of(self, cache, SystemTime::now())
    }
}

#[cfg(test)]
mod tests;
