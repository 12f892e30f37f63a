//! Checks every file of a dataset for what would stop a run, and what its owner should know.
//!
//! `data check` makes a [`Check`] of a dataset and some of its splits, runs it, and prints the
//! [`Report`].

mod report;
mod pair;
mod across;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use rayon::prelude::*;

use super::dataset::{Dataset, Survey, Unlisted, Why};
use super::labels::Labels;
use super::split::Split;
use super::{Error, VOID};
use crate::error::with_sources;
use across::Looked;
use pair::{Pair, look};

pub use report::{Finding, Kind, Report, SplitReport};

/// Splits whose labels the makers of the dataset do not publish.
const UNLABELLED: &str = "test";

/// The pairs to check: each pair of image and mask once, whatever splits it is in.
#[derive(Debug)]
pub struct Check {
    classes: Vec<String>,
    train: String,
    splits: Vec<Split>,
    /// The (split, item) of each pair.
    pairs: Vec<(usize, usize)>,
    /// For each split, the place in `pairs` of each item.
    places: Vec<Vec<usize>>,
    findings: Vec<Finding>,
}

/// The splits that are checked when none is named: all with labels.
pub fn labelled_splits(dataset: &Dataset) -> Result<Vec<String>, Error> {
    let mut names = dataset.splits()?;
    names.retain(|name| name != UNLABELLED && !name.starts_with("test_"));
    Ok(names)
}

impl Check {
    /// Reads the lists of `splits`. A fault in one is a finding, unless the split does not exist.
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
        let mut readable = Vec::new();
        for (at, name) in splits.iter().enumerate() {
            let Survey { split, faults, ambiguous } = match dataset.survey(name) {
                Ok(survey) => {
                    readable.push(name.clone());
                    survey
                }
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
                message: with_sources(&error),
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
        check.findings.extend(check.left_out(dataset, &readable)?);
        Ok(check)
    }

    /// Findings about files that no split uses.
    fn left_out(&self, dataset: &Dataset, splits: &[String]) -> Result<Vec<Finding>, Error> {
        let items = || self.splits.iter().flat_map(|split| &split.items);
        let listed: BTreeSet<&PathBuf> =
            items().flat_map(|item| [&item.image, &item.mask]).collect();
        let mut left_out = dataset.left_out(splits)?;
        // What a split lists is told of when it is looked at.
        left_out.retain(|left_out| !listed.contains(&left_out.path));
        let mut findings: Vec<_> = left_out
            .into_iter()
            .map(|left_out| Finding {
                kind: match left_out.why {
                    Why::Ending(_) => Kind::OtherEnding,
                    Why::DeadLink => Kind::DeadLink,
                    Why::NoImage => Kind::UnusedMask,
                },
                item: None,
                message: left_out.message(),
                split: left_out.split,
            })
            .collect();
        findings.extend(dataset.unlisted(splits)?.into_iter().flat_map(unlisted));
        Ok(findings)
    }

    /// Number of pairs that [`Self::run`] checks.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Checks all files on the threads of the current pool; `tick` is called after each pair.
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
        findings.extend(Looked { check: &self, pairs: &pairs }.findings());
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
            n_rotated: storages().filter(|storage| storage.turn.is_some()).count() as u64,
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
}

/// Findings about stems that a split lists twice: the later would hide the first.
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

/// Whether a split does not exist at all.
fn is_absent(error: &Error) -> bool {
    matches!(
        error,
        Error::MissingSplit { .. }
            | Error::UnknownSplit { .. }
            | Error::NoImages { .. }
            | Error::NoneDrawn { .. }
    )
}

/// Findings about images that no list names: those with a mask, and those without.
fn unlisted(unlisted: Unlisted) -> Vec<Finding> {
    let kinds = [("with", unlisted.with_mask), ("without", unlisted.without_mask)];
    let finding = |(with, paths): (&str, Vec<PathBuf>)| {
        let first = paths.first()?.display();
        let images = if paths.len() == 1 { "1 image" } else { &format!("{} images", paths.len()) };
        Some(Finding {
            kind: Kind::UnusedImages,
            split: unlisted.split.clone(),
            item: None,
            message: format!("{images} {with} a mask that no split lists (the first: `{first}`)"),
        })
    };
    kinds.into_iter().filter_map(finding).collect()
}

#[cfg(test)]
mod tests;
