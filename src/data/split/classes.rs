//! Counts the classes in the masks of a split: a class without a training pixel cannot be learnt,
//! and mostly means that masks are read wrongly.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Split, Surveyed};
use crate::data::{Error, VOID};
use crate::fs::sealed;

/// Version of the cache; another version is not read.
const VERSION: u32 = 1;
/// Largest number of splits kept; more are leftovers of changed datasets, and all are dropped.
const SPLITS_MAX: usize = 256;

/// Numbers of pixels of a split's masks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClassPixels {
    /// Pixels by class.
    pub pixels: Vec<u64>,
    /// Pixels of the value 255, where that is void by default.
    pub n_255: u64,
}

/// A class that no pixel of a split has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsentClass {
    pub index: usize,
    pub name: String,
    split: String,
    n_255: u64,
}

impl Split {
    /// Counts the pixels of all masks. `fingerprint` is the split's; `cache`, a JSON file,
    /// remembers the counts by it, and one that cannot be written is a warning.
    pub fn class_pixels(
        &self,
        fingerprint: &str,
        cache: Option<&Path>,
    ) -> Result<ClassPixels, Error> {
        let mut known: BTreeMap<String, ClassPixels> =
            cache.map(|cache| sealed::read(cache, VERSION)).unwrap_or_default();
        if let Some(counted) = known.get(fingerprint) {
            return Ok(counted.clone());
        }
        let counted = self.count()?;
        if let Some(cache) = cache {
            if known.len() >= SPLITS_MAX {
                known.clear();
            }
            known.insert(fingerprint.to_owned(), counted.clone());
            if let Err(error) = sealed::write(cache, VERSION, &known) {
                // Only time is lost.
                tracing::warn!(path = %cache.display(), %error, "counts of classes are not cached");
            }
        }
        Ok(counted)
    }

    fn count(&self) -> Result<ClassPixels, Error> {
        let none = || ClassPixels { pixels: vec![0; self.classes.len()], n_255: 0 };
        let one = |index| {
            let Surveyed { mask, unknown, n_255, .. } = self.survey_mask(index)?;
            if let Some(unknown) = unknown.first() {
                return Err(self.no_class(index, unknown));
            }
            let mut counts = ClassPixels { n_255, ..none() };
            for class in mask.classes.into_iter().filter(|class| *class != VOID) {
                counts.pixels[usize::from(class)] += 1;
            }
            Ok(counts)
        };
        (0..self.len()).into_par_iter().map(one).try_reduce(none, |a, b| Ok(a.with(&b)))
    }
}

impl ClassPixels {
    fn with(mut self, other: &Self) -> Self {
        for (sum, n_pixels) in self.pixels.iter_mut().zip(&other.pixels) {
            *sum += n_pixels;
        }
        self.n_255 += other.n_255;
        self
    }
}

impl AbsentClass {
    /// The absent classes of `split`, whose classes have these `pixels`.
    pub fn all(split: &Split, pixels: &[u64], n_255: u64) -> Vec<Self> {
        let classes = split.classes().iter().zip(pixels).enumerate();
        let absent = classes.filter(|(_, (_, n_pixels))| **n_pixels == 0);
        let class = |(index, (name, _)): (usize, (&String, &u64))| Self {
            index,
            name: name.clone(),
            split: split.name.clone(),
            n_255,
        };
        absent.map(class).collect()
    }

    /// The message about it.
    pub fn message(&self) -> String {
        let Self { index, name, split, n_255 } = self;
        let hint = if *n_255 == 0 { String::new() } else { hint(*index, *n_255) };
        format!("class {index} (`{name}`) has no pixel in the training split `{split}`{hint}")
    }

    /// The message about several of one split, on one line.
    pub fn summary(absent: &[Self]) -> Option<String> {
        const NAMED_MAX: usize = 5;
        let first = absent.first()?;
        if absent.len() == 1 {
            return Some(first.message());
        }
        let named: Vec<_> = absent
            .iter()
            .take(NAMED_MAX)
            .map(|class| format!("{} (`{}`)", class.index, class.name))
            .collect();
        let more = absent.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let hint = if first.n_255 == 0 { String::new() } else { hint(first.index, first.n_255) };
        Some(format!(
            "classes {}{more} have no pixel in the training split `{}`{hint}",
            named.join(", "),
            first.split
        ))
    }
}

/// A hint where 255 may stand for a class: masks of two values are often written with 0 and 255.
fn hint(index: usize, n_255: u64) -> String {
    format!(
        "; {n_255} pixels of its masks have the value 255, which is void: if it stands for a class, \
         map all values by the `data.label_map` of a `folder` dataset, with 255 = {index} in it"
    )
}
