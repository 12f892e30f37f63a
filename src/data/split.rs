//! Splits of a dataset: which images, how they are loaded, and what they are known by.

mod fingerprint;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::image_io::{read_mask, read_rgb};
use super::{Error, Mask, Rgb, VOID};
use crate::rng;

/// Images and masks of one split, in its order.
#[derive(Debug, Clone)]
pub struct Split {
    pub name: String,
    pub items: Vec<Item>,
    root: PathBuf,
    classes: Arc<[String]>,
    labels: Labels,
}

/// One image and its mask; both may turn out to be missing.
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

/// How the values of a mask file become class indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    /// They are the indices.
    Plain,
    /// 0 is void, and classes count from 1.
    FromOne,
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

    /// Reads image and mask of `items[index]`.
    pub fn load(&self, index: usize) -> Result<Sample, Error> {
        let item = &self.items[index];
        let mask = self.load_mask(index)?;
        let image = read_rgb(&item.image)?;
        if (image.width, image.height) != (mask.width, mask.height) {
            return Err(Error::SizeMismatch {
                image: item.image.clone(),
                image_size: [image.width, image.height],
                mask: item.mask.clone(),
                mask_size: [mask.width, mask.height],
            });
        }
        Ok(Sample { id: item.id.clone(), image, mask })
    }

    /// Reads the mask of `items[index]` alone.
    pub fn load_mask(&self, index: usize) -> Result<Mask, Error> {
        let path = &self.items[index].mask;
        let mut mask = read_mask(path)?;
        let table = self.labels.table(self.classes.len());
        if let Some(at) = mask.classes.iter().position(|&raw| table[usize::from(raw)].is_none()) {
            return Err(Error::ClassOutOfRange {
                mask: path.clone(),
                class: mask.classes[at],
                class_max: self.labels.raw_max(self.classes.len()),
                x: (at % mask.width as usize) as u32,
                y: (at / mask.width as usize) as u32,
            });
        }
        for class in &mut mask.classes {
            *class = table[usize::from(*class)].expect("classes out of range were refused above");
        }
        Ok(mask)
    }

    /// Parts the split in two, `(rest, dev)`: `dev` holds the nearest whole number of images to
    /// `fraction`, drawn by `seed`, and leaves at least one behind. Both keep the split's order.
    pub fn hold_out(&self, fraction: f64, seed: u64) -> (Self, Self) {
        let n = self.items.len();
        let n_dev = ((n as f64 * fraction).round() as usize).min(n.saturating_sub(1));
        let mut order: Vec<usize> = (0..n).collect();
        rng::shuffle(&mut rng::keyed(seed, "dev", &[]), &mut order);
        let mut is_dev = vec![false; n];
        for &index in &order[..n_dev] {
            is_dev[index] = true;
        }
        let part = |name: &str, dev: bool| {
            let items = self.items.iter().zip(&is_dev).filter(|&(_, &is_dev)| is_dev == dev);
            let items = items.map(|(item, _)| item.clone()).collect();
            Self::new(name, items, &self.root, self.classes.clone(), self.labels)
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
        fingerprint::of(self, cache)
    }
}

impl Labels {
    /// Class index of each stored value; `None` where out of range.
    fn table(self, n_classes: usize) -> [Option<u8>; 256] {
        std::array::from_fn(|raw| {
            let class = match self {
                Self::Plain => raw,
                Self::FromOne if raw == 0 => return Some(VOID),
                Self::FromOne if raw == usize::from(VOID) => raw,
                Self::FromOne => raw - 1,
            };
            (class < n_classes || class == usize::from(VOID)).then_some(class as u8)
        })
    }

    fn raw_max(self, n_classes: usize) -> u8 {
        match self {
            Self::Plain => n_classes.saturating_sub(1) as u8,
            Self::FromOne => n_classes as u8,
        }
    }

    /// Name in fingerprints.
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::FromOne => "from_one",
        }
    }
}

#[cfg(test)]
mod tests;
