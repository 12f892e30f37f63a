//! Findings that need all pairs of a dataset: pictures that occur twice, classes that never occur,
//! palettes that disagree.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use super::Check;
use super::pair::Pair;
use super::report::{Finding, Kind};
use crate::data::split::{AbsentClass, Item, Split};

/// The checked pairs, with the splits that they are in.
pub(super) struct Looked<'a> {
    pub(super) check: &'a Check,
    pub(super) pairs: &'a [Pair],
}

impl Looked<'_> {
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = self.shared();
        findings.extend(self.same_pictures());
        findings.extend(self.absent_classes());
        findings.extend(self.other_palettes());
        findings
    }

    /// Images that are trained on and listed in another split too. A split that holds all of the
    /// training images (`trainval`) is left out.
    fn shared(&self) -> Vec<Finding> {
        let Some(train) = self.train() else { return Vec::new() };
        let trained: BTreeSet<&PathBuf> = train.items.iter().map(|item| &item.image).collect();
        let others = self.check.splits.iter().filter(|split| split.name != train.name);
        others
            .flat_map(|split| {
                let shared = split.items.iter().filter(|item| trained.contains(&item.image));
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

    /// Files that hold the same picture as an earlier one.
    fn same_pictures(&self) -> Vec<Finding> {
        let splits = self.splits_of_pairs();
        let mut firsts: HashMap<[u8; 32], usize> = HashMap::new();
        let mut findings = Vec::new();
        for (place, pair) in self.pairs.iter().enumerate() {
            let Some(picture) = pair.picture else { continue };
            let first = *firsts.entry(picture).or_insert(place);
            let (split, item) = self.item(place);
            let (_, other) = self.item(first);
            if first == place || item.image == other.image {
                continue;
            }
            let train = &self.check.train;
            let is_trained = |place: usize| splits[place].contains(&train.as_str());
            let consequence = match (is_trained(first), is_trained(place)) {
                (true, false) | (false, true) => {
                    ": a score on one of them is a score on what was trained on"
                }
                _ => "",
            };
            let with =
                if self.pairs[first].labels == pair.labels { "" } else { ", with other labels" };
            let message = format!(
                "image `{}` has the pixels of `{}` in {}{with}{consequence}",
                item.image.display(),
                other.image.display(),
                listed(&splits[first]),
            );
            let item = Some(item.id.clone());
            findings.push(Finding {
                kind: Kind::SamePicture,
                split: split.name.clone(),
                item,
                message,
            });
        }
        findings
    }

    /// Classes without a training pixel, which cannot be learnt.
    fn absent_classes(&self) -> Vec<Finding> {
        let Some(at) = self.check.splits.iter().position(|split| split.name == self.check.train)
        else {
            return Vec::new();
        };
        let mut pixels = vec![0; self.check.classes.len()];
        let (mut n_255, mut n_read) = (0, 0);
        for &place in &self.check.places[at] {
            let pair = &self.pairs[place];
            n_255 += pair.n_255;
            n_read += u64::from(!pair.classes.is_empty());
            for &(class, n_pixels) in &pair.classes {
                if let Some(sum) = pixels.get_mut(usize::from(class)) {
                    *sum += n_pixels;
                }
            }
        }
        if n_read == 0 {
            // Nothing is known of masks that cannot be read.
            return Vec::new();
        }
        let absent = AbsentClass::all(&self.check.splits[at], &pixels, n_255);
        let finding = |absent: AbsentClass| Finding {
            kind: Kind::AbsentClass,
            split: self.check.train.clone(),
            item: None,
            message: absent.message(),
        };
        absent.into_iter().map(finding).collect()
    }

    /// Masks of indices in whose palette an index has another colour than in most masks: their
    /// indices may stand for something else.
    fn other_palettes(&self) -> Vec<Finding> {
        let mut counts: BTreeMap<u8, BTreeMap<[u8; 3], usize>> = BTreeMap::new();
        for (index, colour) in self.pairs.iter().flat_map(|pair| &pair.colours) {
            *counts.entry(*index).or_default().entry(*colour).or_default() += 1;
        }
        let usual: BTreeMap<u8, [u8; 3]> = counts
            .into_iter()
            .filter_map(|(index, colours)| {
                // The first of those that come as often.
                let most =
                    colours.iter().max_by_key(|(colour, n)| (**n, std::cmp::Reverse(*colour)));
                Some((index, *most?.0))
            })
            .collect();
        let mut findings = Vec::new();
        for (place, pair) in self.pairs.iter().enumerate() {
            let odd = pair.colours.iter().find(|(index, colour)| usual[index] != *colour);
            let Some((index, colour)) = odd else { continue };
            let (split, item) = self.item(place);
            let shown = |[red, green, blue]: [u8; 3]| format!("{red},{green},{blue}");
            let message = format!(
                "mask `{}` has another palette: index {index} is {} there, and {} in most masks; if \
                 its indices mean the same classes, nothing is wrong, else map colours by \
                 `data.label_map`",
                item.mask.display(),
                shown(*colour),
                shown(usual[index]),
            );
            findings.push(Finding {
                kind: Kind::OtherPalette,
                split: split.name.clone(),
                item: Some(item.id.clone()),
                message,
            });
        }
        findings
    }

    fn train(&self) -> Option<&Split> {
        self.check.splits.iter().find(|split| split.name == self.check.train)
    }

    fn item(&self, place: usize) -> (&Split, &Item) {
        let (split, index) = self.check.pairs[place];
        let split = &self.check.splits[split];
        (split, &split.items[index])
    }

    /// The names of each pair's splits.
    fn splits_of_pairs(&self) -> Vec<Vec<&str>> {
        let mut all = vec![Vec::new(); self.pairs.len()];
        for (split, places) in self.check.splits.iter().zip(&self.check.places) {
            for &place in places {
                all[place].push(split.name.as_str());
            }
        }
        all
    }
}

/// The names in words: "`train` and `trainval`".
fn listed(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(" and ")
}
