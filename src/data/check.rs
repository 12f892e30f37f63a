//! Looks at every file of a dataset: what would stop a run, and what its owner should know.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use rayon::prelude::*;
use serde::Serialize;

use super::dataset::{Dataset, Survey};
use super::image_io::{Storage, Stored, survey_rgb};
use super::labels::{Labels, Unknown};
use super::split::Split;
use super::{Error, Mask, VOID};

/// Names of a first class that is the ground and no thing.
const GROUND: [&str; 6] = ["background", "ground", "null", "none", "other", "unlabelled"];
/// Splits whose labels are kept back by those who made the dataset.
const UNLABELLED: &str = "test";

/// What is to be looked at: each pair of image and mask once, in whatever splits it is.
#[derive(Debug)]
pub struct Check {
    classes: Vec<String>,
    train: String,
    splits: Vec<Split>,
    /// (split, item) of each pair.
    pairs: Vec<(usize, usize)>,
    /// By split, the place in `pairs` of each item.
    places: Vec<Vec<usize>>,
    findings: Vec<Finding>,
}

/// What was found in a dataset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub n_pairs: u64,
    /// Pairs with a fault.
    pub n_faulty: u64,
    /// Images by how they are stored.
    pub stored: BTreeMap<Stored, u64>,
    /// Images whose EXIF rotation is not applied.
    pub n_rotated: u64,
    pub classes: Vec<String>,
    pub splits: Vec<SplitReport>,
    /// Faults and notes, in the order of splits and items.
    pub findings: Vec<Finding>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SplitReport {
    pub split: String,
    pub n_images: u64,
    pub n_faulty: u64,
    /// Of masks that could be read, by class.
    pub pixels: Vec<u64>,
    /// Images that have a pixel of the class.
    pub images: Vec<u64>,
    pub void_pixels: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub kind: Kind,
    /// The first split that lists it.
    pub split: String,
    pub item: Option<String>,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    SplitList,
    DuplicateStem,
    MissingImage,
    MissingMask,
    TruncatedImage,
    TruncatedMask,
    UnreadableImage,
    UnreadableMask,
    /// Decodes, but not all of it is what it was.
    DamagedImage,
    SizeMismatch,
    UnknownClass,
    /// No pixel but void: nothing can be learnt or scored.
    VoidMask,
    /// No pixel but void and the ground.
    EmptyMask,
    /// Listed for training and for something else.
    InTrain,
}

impl Kind {
    /// Whether it is wrong, and not only odd. A run stops at all of these but a damaged image.
    pub fn is_fault(self) -> bool {
        !matches!(self, Self::VoidMask | Self::EmptyMask | Self::InTrain)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::SplitList => "split list",
            Self::DuplicateStem => "duplicate stem",
            Self::MissingImage => "missing image",
            Self::MissingMask => "missing mask",
            Self::TruncatedImage => "truncated image",
            Self::TruncatedMask => "truncated mask",
            Self::UnreadableImage => "unreadable image",
            Self::UnreadableMask => "unreadable mask",
            Self::DamagedImage => "damaged image",
            Self::SizeMismatch => "size mismatch",
            Self::UnknownClass => "unknown class",
            Self::VoidMask => "all void",
            Self::EmptyMask => "empty mask",
            Self::InTrain => "also in train",
        }
    }
}

/// The splits that are looked at when none is named: all with labels.
pub fn labelled_splits(dataset: &Dataset) -> Result<Vec<String>, Error> {
    let mut names = dataset.splits()?;
    names.retain(|name| name != UNLABELLED && !name.starts_with("test_"));
    Ok(names)
}

/// What one pair of files has to say.
#[derive(Debug, Default)]
struct Pair {
    findings: Vec<(Kind, String)>,
    storage: Option<Storage>,
    /// (class, pixels), void among them.
    classes: Vec<(u8, u64)>,
}

impl Check {
    /// Reads the lists of `splits`. What is wrong with one is a finding, unless there is none.
    pub fn new(dataset: &Dataset, splits: &[String]) -> Result<Self, Error> {
        let mut check = Self {
            classes: dataset.classes.clone(),
            train: dataset.train.clone(),
            splits: Vec::new(),
            pairs: Vec::new(),
            places: Vec::new(),
            findings: Vec::new(),
        };
        let mut known: HashMap<(PathBuf, PathBuf), usize> = HashMap::new();
        for (at, name) in splits.iter().enumerate() {
            let Survey { split, faults, ambiguous } = match dataset.survey(name) {
                Ok(survey) => survey,
                Err(error) if is_absent(&error) => return Err(error),
                Err(error) => {
                    let classes = dataset.classes.clone().into();
                    let none = Split::new(name, vec![], &dataset.root, classes, Labels::Plain);
                    Survey { split: none, faults: vec![error], ambiguous: vec![] }
                }
            };
            let faults = faults.into_iter().chain(ambiguous);
            check.findings.extend(faults.map(|error| Finding {
                kind: match error {
                    Error::DuplicateStem { .. } => Kind::DuplicateStem,
                    _ => Kind::SplitList,
                },
                split: name.clone(),
                item: None,
                message: told(&error),
            }));
            let mut places = Vec::new();
            for (index, item) in split.items.iter().enumerate() {
                let place =
                    *known.entry((item.image.clone(), item.mask.clone())).or_insert_with(|| {
                        check.pairs.push((at, index));
                        check.pairs.len() - 1
                    });
                places.push(place);
            }
            check.findings.extend(repeats(&split));
            check.places.push(places);
            check.splits.push(split);
        }
        Ok(check)
    }

    /// Pairs that [`Self::run`] looks at.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Looks at all files, on the threads of the current pool; `tick` is called after each pair.
    /// The report depends on the files alone.
    pub fn run(self, tick: &(dyn Fn() + Sync)) -> Report {
        let look = |&(split, index): &(usize, usize)| {
            let pair = look(&self.splits[split], index);
            tick();
            pair
        };
        let pairs: Vec<Pair> = self.pairs.par_iter().map(look).collect();
        let mut findings = self.findings.clone();
        for (&(split, index), pair) in self.pairs.iter().zip(&pairs) {
            let split = &self.splits[split];
            findings.extend(pair.findings.iter().map(|(kind, message)| Finding {
                kind: *kind,
                split: split.name.clone(),
                item: Some(split.items[index].id.clone()),
                message: message.clone(),
            }));
        }
        findings.extend(self.shared());
        let mut stored = BTreeMap::new();
        let storages = || pairs.iter().filter_map(|pair| pair.storage.as_ref());
        for storage in storages() {
            *stored.entry(storage.stored).or_insert(0) += 1;
        }
        let splits = self.splits.iter().zip(&self.places);
        Report {
            n_pairs: pairs.len() as u64,
            n_faulty: pairs.iter().filter(|pair| pair.is_faulty()).count() as u64,
            stored,
            n_rotated: storages().filter(|storage| storage.is_rotated).count() as u64,
            splits: splits
                .map(|(split, places)| self.split_report(split, places, &pairs))
                .collect(),
            classes: self.classes,
            findings,
        }
    }

    fn split_report(&self, split: &Split, places: &[usize], pairs: &[Pair]) -> SplitReport {
        let n_classes = self.classes.len();
        let mut report = SplitReport {
            split: split.name.clone(),
            n_images: places.len() as u64,
            n_faulty: 0,
            pixels: vec![0; n_classes],
            images: vec![0; n_classes],
            void_pixels: 0,
        };
        for &place in places {
            let pair = &pairs[place];
            report.n_faulty += u64::from(pair.is_faulty());
            for &(class, n_pixels) in &pair.classes {
                if class == VOID {
                    report.void_pixels += n_pixels;
                } else {
                    report.pixels[usize::from(class)] += n_pixels;
                    report.images[usize::from(class)] += 1;
                }
            }
        }
        report
    }

    /// Images that are trained on and listed elsewhere too. A split that holds all of the training
    /// images (`trainval`) is meant to.
    fn shared(&self) -> Vec<Finding> {
        let Some(train) = self.splits.iter().find(|split| split.name == self.train) else {
            return Vec::new();
        };
        let trained: BTreeSet<&str> = train.items.iter().map(|item| item.id.as_str()).collect();
        let others = self.splits.iter().filter(|split| split.name != self.train);
        others
            .flat_map(|split| {
                let shared = split.items.iter().filter(|item| trained.contains(item.id.as_str()));
                let shared: Vec<_> = shared.collect();
                let is_meant = shared.len() == trained.len();
                let shared = shared.into_iter().filter(move |_| !is_meant);
                shared.map(|item| Finding {
                    kind: Kind::InTrain,
                    split: split.name.clone(),
                    item: Some(item.id.clone()),
                    message: format!("`{}` is also in the training split", item.id),
                })
            })
            .collect()
    }
}

impl Report {
    pub fn faults(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.kind.is_fault())
    }

    pub fn notes(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| !finding.kind.is_fault())
    }
}

impl Pair {
    fn is_faulty(&self) -> bool {
        self.findings.iter().any(|(kind, _)| kind.is_fault())
    }
}

/// Which file of a pair an error is about.
#[derive(Debug, Clone, Copy)]
enum Side {
    Image,
    Mask,
}

fn look(split: &Split, index: usize) -> Pair {
    let mut pair = Pair::default();
    let item = &split.items[index];
    let image = match survey_rgb(&item.image) {
        Ok((image, storage)) => {
            let path = item.image.display();
            pair.findings.extend(storage.damage.as_ref().map(|damage| {
                let message =
                    format!("image `{path}` decodes, but parts of it may be grey: {damage}");
                (Kind::DamagedImage, message)
            }));
            pair.storage = Some(storage);
            Some(image)
        }
        Err(error) => {
            pair.findings.push((kind_of(&error, Side::Image), told(&error)));
            None
        }
    };
    let (mask, unknown) = match split.survey_mask(index) {
        Ok(found) => found,
        Err(error) => {
            pair.findings.push((kind_of(&error, Side::Mask), told(&error)));
            return pair;
        }
    };
    if let Some(Err(error)) = image.map(|image| item.check_sizes(&image, &mask)) {
        pair.findings.push((Kind::SizeMismatch, told(&error)));
    }
    if !unknown.is_empty() {
        pair.findings.push((Kind::UnknownClass, unknown_classes(split, index, &unknown)));
    }
    pair.classes = histogram(&mask);
    if unknown.is_empty() {
        pair.findings.extend(bare(split, index, &pair.classes));
    }
    pair
}

fn histogram(mask: &Mask) -> Vec<(u8, u64)> {
    let mut counts = [0; 256];
    for &class in &mask.classes {
        counts[usize::from(class)] += 1;
    }
    (0..=u8::MAX).zip(counts).filter(|(_, n_pixels)| *n_pixels > 0).collect()
}

/// What is said of a mask without anything in it.
fn bare(split: &Split, index: usize, classes: &[(u8, u64)]) -> Option<(Kind, String)> {
    let mask = split.items[index].mask.display();
    let first = split.classes().first().map(|name| name.to_lowercase());
    let has_ground = first.is_some_and(|name| GROUND.contains(&name.as_str()));
    match classes {
        [(VOID, _)] => Some((Kind::VoidMask, format!("mask `{mask}` is all void"))),
        [(0, _)] | [(0, _), (VOID, _)] if has_ground => {
            let name = &split.classes()[0];
            Some((Kind::EmptyMask, format!("mask `{mask}` has nothing but `{name}`")))
        }
        _ => None,
    }
}

/// All values of a mask that are no class, the first with its place.
fn unknown_classes(split: &Split, index: usize, unknown: &[Unknown]) -> String {
    let [first, others @ ..] = unknown else { return String::new() };
    let mut message = split.no_class(index, first).to_string();
    let count = |unknown: &Unknown| match unknown.n_pixels {
        1 => format!("{} (1 pixel)", unknown.raw),
        n => format!("{} ({n} pixels)", unknown.raw),
    };
    message.push_str("; in all: ");
    message.push_str(&count(first));
    for other in others {
        message.push_str(", ");
        message.push_str(&count(other));
    }
    message
}

/// Stems that a split lists twice: what comes later would hide what comes first.
fn repeats(split: &Split) -> Vec<Finding> {
    let mut known: HashMap<&str, &PathBuf> = HashMap::new();
    let mut findings = Vec::new();
    for item in &split.items {
        if let Some(first) = known.insert(&item.id, &item.image) {
            let (stem, first, second) = (item.id.clone(), first.clone(), item.image.clone());
            findings.push(Finding {
                kind: Kind::DuplicateStem,
                split: split.name.clone(),
                item: Some(item.id.clone()),
                message: Error::DuplicateStem { stem, first, second }.to_string(),
            });
        }
    }
    findings
}

/// Whether a split is not there at all.
fn is_absent(error: &Error) -> bool {
    matches!(
        error,
        Error::MissingSplit { .. } | Error::UnknownSplit { .. } | Error::NoImages { .. }
    )
}

fn kind_of(error: &Error, side: Side) -> Kind {
    match (error, side) {
        (Error::MissingImage { .. }, _) => Kind::MissingImage,
        (Error::MissingMask { .. }, _) => Kind::MissingMask,
        (Error::Truncated { .. }, Side::Image) => Kind::TruncatedImage,
        (Error::Truncated { .. }, Side::Mask) => Kind::TruncatedMask,
        (_, Side::Image) => Kind::UnreadableImage,
        (_, Side::Mask) => Kind::UnreadableMask,
    }
}

/// An error and what caused it, on one line.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;
