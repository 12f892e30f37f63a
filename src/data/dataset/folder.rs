//! A dataset of any images and masks: the spec says where they are and what the masks mean.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::kind::{self, Kind, Listing, Lists, Opened, Place, train_name};
use super::lists;
use super::place::{candidates, first_folder};
use super::template::{Found, Template, is_name};
use crate::data::labels::{LabelMap, Labels, Raw};
use crate::data::split::Item;
use crate::data::{Error, VOID};
use crate::rng;

/// Tolerance for the rounding of fractions that add up to 1.
const FRACTION_SLACK: f64 = 1e-9;

/// Images and masks in any folders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderConfig {
    /// The folder that all other paths are below. Outside the run's identity.
    #[serde(default)]
    pub root: Option<PathBuf>,
    pub images: Template,
    pub masks: Template,
    pub classes: Classes,
    /// Files with one stem per line, by split.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub splits: BTreeMap<String, PathBuf>,
    /// Parts of all images, by split: each image is drawn by its stem, so that it stays where it is
    /// when others come.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fractions: BTreeMap<String, f64>,
    /// Seed of `fractions`.
    #[serde(default)]
    pub split_seed: u64,
    /// Value of void pixels. Default: 255, where masks hold ids and nothing else is said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub void: Option<Raw>,
    /// Class, or 255 for void, of each value. Default: values are the classes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub label_map: BTreeMap<Raw, u8>,
    /// Whether 0 is void, and classes count from 1.
    #[serde(default)]
    pub reduce_zero_label: bool,
    /// Split to train on.
    #[serde(default = "train_name")]
    pub train: String,
}

/// Class names, by index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Classes {
    Names(Vec<String>),
    /// A file with one name per line, optionally after its index.
    File(PathBuf),
}

/// A problem of a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderProblem {
    /// The keys that cause it together; messages name the first.
    pub keys: &'static [&'static str],
    pub message: String,
}

/// A config that was checked, and its classes.
#[derive(Debug, Clone)]
struct Layout {
    config: FolderConfig,
    labels: Labels,
}

impl FolderConfig {
    /// All that is wrong with the keys taken together.
    pub fn problems(&self) -> Vec<FolderProblem> {
        let mut problems = Vec::new();
        let mut add = |keys, message: String| problems.push(FolderProblem { keys, message });
        if self.root.is_none() {
            add(
                &["data.root", "data.kind"],
                "missing: a folder of images has no default place".to_owned(),
            );
        }
        if self.images == self.masks {
            add(&["data.masks", "data.images"], "is the same as `data.images`".to_owned());
        }
        let has_lists = !self.splits.is_empty() || !self.fractions.is_empty();
        if !has_lists && !self.images.has_split() {
            add(
                &["data.images", "data.splits", "data.fractions"],
                "nothing says which image is in which split; allowed: `{split}` in the path, or \
                 `data.splits`, or `data.fractions`"
                    .to_owned(),
            );
        }
        if !self.fractions.is_empty() && (self.images.has_split() || self.masks.has_split()) {
            let message =
                "draws splits from all images, but a path has `{split}`; give one of them";
            add(&["data.fractions", "data.images"], message.to_owned());
        }
        let sum: f64 = self.fractions.values().sum();
        if sum > 1.0 + FRACTION_SLACK {
            add(&["data.fractions"], format!("add up to {sum}; allowed: 1 at most"));
        }
        if self.reduce_zero_label && !self.label_map.is_empty() {
            let message = "set together with `data.label_map`, which can map 0 to 255; give one";
            add(&["data.reduce_zero_label", "data.label_map"], message.to_owned());
        }
        let is_colour = |raw: &Raw| matches!(raw, Raw::Colour(_));
        let has_colours = self.label_map.keys().any(is_colour);
        if let Some(void) = self.void.filter(|void| is_colour(void) != has_colours) {
            let (is, hold) = if has_colours {
                ("an id", "colours")
            } else {
                ("a colour", "ids, without a `data.label_map` of colours")
            };
            let message = format!("`{void}` is {is}, but the masks hold {hold}");
            add(&["data.void", "data.label_map"], message);
        }
        if let Classes::Names(names) = &self.classes {
            problems.extend(self.class_problem(names.len()));
        }
        problems
    }

    fn class_problem(&self, n_classes: usize) -> Option<FolderProblem> {
        let is_class = |class: u8| usize::from(class) < n_classes || class == VOID;
        let (raw, class) = self.label_map.iter().find(|(_, class)| !is_class(**class))?;
        let message = format!(
            "maps {raw} to {class}, but there are {n_classes} classes; allowed: 0 to {}, and 255 \
             for void",
            n_classes.saturating_sub(1)
        );
        Some(FolderProblem { keys: &["data.label_map", "data.classes"], message })
    }

    fn labels(&self, n_classes: usize) -> Result<Labels, FolderProblem> {
        let mut map = self.label_map.clone();
        if map.is_empty() {
            let first = u16::from(self.reduce_zero_label);
            map.extend(
                (0..n_classes as u8).map(|class| (Raw::Id(first + u16::from(class)), class)),
            );
            if self.reduce_zero_label {
                map.insert(Raw::Id(0), VOID);
            }
        }
        let has_ids = map.keys().any(|raw| matches!(raw, Raw::Id(_)));
        if let Some(void) = self.void {
            map.insert(void, VOID);
        } else if has_ids {
            // Unless a class was given to it.
            map.entry(Raw::Id(u16::from(VOID))).or_insert(VOID);
        }
        let map = LabelMap::new(map).ok_or_else(|| FolderProblem {
            keys: &["data.label_map"],
            message: "has ids and colours; allowed: one of them".to_owned(),
        })?;
        Ok(Labels::Map(Arc::new(map)))
    }
}

impl Kind for FolderConfig {
    fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    fn train(&self) -> &str {
        &self.train
    }

    fn find(&self, data_dirs: &[PathBuf]) -> Result<PathBuf, Error> {
        let Some(root) = &self.root else {
            return Err(self.problems().remove(0).into());
        };
        let advice = "set `data.root` to the folder that `data.images` and `data.masks` start from";
        first_folder(candidates(Some(root), "", data_dirs), "folder", advice.to_owned())
    }

    fn open(&self, root: &Path) -> Result<Opened, Error> {
        if let Some(problem) = self.problems().into_iter().next() {
            return Err(problem.into());
        }
        let classes = match &self.classes {
            Classes::Names(names) => names.clone(),
            Classes::File(path) => {
                let path = root.join(path);
                let Some(text) = lists::read(&path)? else {
                    let problem = format!("there is no `{}`", path.display());
                    return Err(Error::BadKey { key: "data.classes", problem });
                };
                lists::classes(&text, &path)?
            }
        };
        if let Some(problem) = self.class_problem(classes.len()) {
            return Err(problem.into());
        }
        let labels = self.labels(classes.len())?;
        Ok(Opened { classes, layout: Arc::new(Layout { config: self.clone(), labels }) })
    }

    /// The folder's own name.
    fn name(&self, root: &Path) -> Option<String> {
        last_name(root)
    }
}

/// The last part of a path that is a name; for `data/CCP8/.` it is `CCP8`.
pub(super) fn last_name(root: &Path) -> Option<String> {
    root.components().rev().find_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    })
}

impl kind::Layout for Layout {
    fn list(&self, root: &Path, split: &str) -> Result<Listing, Error> {
        if !is_name(split) {
            return Err(self.unknown(root, split)?);
        }
        let config = &self.config;
        let mut listing = Listing::new(Vec::new(), self.labels.clone());
        let images = if !config.splits.is_empty() {
            let Some(file) = config.splits.get(split) else {
                return Err(self.unknown(root, split)?);
            };
            self.listed(root, split, &root.join(file), &mut listing)?
        } else if config.fractions.is_empty() {
            let found = config.images.list(root, split)?;
            if found.is_empty() && !config.images.splits(root)?.iter().any(|name| name == split) {
                return Err(self.unknown(root, split)?);
            }
            found
        } else {
            self.drawn(root, split)?
        };
        if images.is_empty() && listing.faults.is_empty() {
            let (split, pattern) = (split.to_owned(), config.images.to_string());
            return Err(Error::NoImages { split, pattern, root: root.to_owned() });
        }
        let stems: Vec<&str> = images.iter().map(|(stem, _)| stem.as_str()).collect();
        let masks = config.masks.find(root, split, &stems)?;
        for ((id, image), mask) in images.into_iter().zip(masks) {
            match listing.items.last() {
                Some(Item { id: last, image: first, .. }) if *last == id => {
                    let (stem, first, second) = (id, first.clone(), image);
                    listing.faults.push(Error::DuplicateStem { stem, first, second });
                }
                _ => listing.items.push(Item { id, image, mask: mask.path }),
            }
        }
        Ok(listing)
    }

    fn splits(&self, root: &Path) -> Result<Vec<String>, Error> {
        let config = &self.config;
        match (config.splits.is_empty(), config.fractions.is_empty()) {
            (false, _) => Ok(config.splits.keys().cloned().collect()),
            (_, false) => Ok(config.fractions.keys().cloned().collect()),
            _ => Ok(config.images.splits(root)?),
        }
    }

    fn places(&self, _root: &Path, split: &str) -> Result<Vec<Place>, Error> {
        let config = &self.config;
        let has_split = config.images.has_split() || config.masks.has_split();
        Ok(vec![Place {
            images: config.images.clone(),
            masks: config.masks.clone(),
            split: if has_split { split.to_owned() } else { String::new() },
            lists: if config.splits.is_empty() { Lists::Folder } else { Lists::File },
        }])
    }
}

impl Layout {
    fn listed(
        &self,
        root: &Path,
        split: &str,
        path: &Path,
        listing: &mut Listing,
    ) -> Result<Vec<(String, PathBuf)>, Error> {
        let Some(text) = lists::read(path)? else {
            let (name, path) = (split.to_owned(), path.to_owned());
            let available = kind::Layout::splits(self, root)?;
            return Err(Error::MissingSplit { name, path, available });
        };
        let (stems, bad_lines) = lists::stems(&text, path);
        if stems.is_empty() && bad_lines.is_empty() {
            return Err(Error::EmptySplit { path: path.to_owned() });
        }
        listing.faults.extend(bad_lines);
        let found = self.config.images.find(root, split, &stems)?;
        let second = |(stem, found): (&&str, &Found)| {
            let (stem, first) = ((*stem).to_owned(), found.path.clone());
            found.other.clone().map(|second| Error::DuplicateStem { stem, first, second })
        };
        listing.ambiguous.extend(stems.iter().zip(&found).filter_map(second));
        let stems = stems.into_iter().map(str::to_owned);
        Ok(stems.zip(found.into_iter().map(|found| found.path)).collect())
    }

    /// The images whose draw falls into the split's part of 0 to 1.
    fn drawn(&self, root: &Path, split: &str) -> Result<Vec<(String, PathBuf)>, Error> {
        let config = &self.config;
        let Some(fraction) = config.fractions.get(split) else {
            return Err(self.unknown(root, split)?);
        };
        let before = config.fractions.iter().take_while(|(name, _)| name.as_str() < split);
        let start: f64 = before.map(|(_, fraction)| fraction).sum();
        let is_last = config.fractions.keys().next_back().is_some_and(|last| last == split);
        let total = start + fraction;
        // Parts that add up to 1 but for rounding leave no image out.
        let end = if is_last && total > 1.0 - FRACTION_SLACK { 1.0 } else { total };
        let mut images = config.images.list(root, "")?;
        let n_images = images.len();
        images.retain(|(stem, _)| (start..end).contains(&draw(config.split_seed, stem)));
        if images.is_empty() && n_images > 0 {
            let (split, fraction) = (split.to_owned(), *fraction);
            return Err(Error::NoneDrawn { split, n_images, fraction });
        }
        Ok(images)
    }

    fn unknown(&self, root: &Path, split: &str) -> Result<Error, Error> {
        Ok(Error::UnknownSplit {
            name: split.to_owned(),
            available: kind::Layout::splits(self, root)?,
        })
    }
}

/// A draw uniform in [0, 1), the same for a stem whatever other images there are.
fn draw(seed: u64, stem: &str) -> f64 {
    rng::uniform(&mut rng::keyed(seed, &format!("split/{stem}"), &[]))
}

impl FolderProblem {
    pub fn key(&self) -> &'static str {
        self.keys[0]
    }
}

impl From<FolderProblem> for Error {
    fn from(problem: FolderProblem) -> Self {
        Self::BadKey { key: problem.key(), problem: problem.message }
    }
}
