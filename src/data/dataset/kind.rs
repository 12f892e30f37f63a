//! The traits that a kind of dataset implements: [`Kind`] before it is found, [`Layout`] once it is
//! open.
//!
//! Each kind is a file of this folder that implements both, and one line of `kinds!` in `mod.rs`;
//! all lists of kinds are made from those lines.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::template::Template;
use crate::data::Error;
use crate::data::split::{Item, Labels};

/// The split to train on, unless another one is named.
const TRAIN: &str = "train";

/// The keys of one dataset, as a spec gives them.
pub(super) trait Kind: Debug {
    /// The folder that the keys name, if any.
    fn root(&self) -> Option<&Path>;

    /// Name of the split to train on.
    fn train(&self) -> &str {
        TRAIN
    }

    /// The dataset's folder: the one that is named, or its usual place in `data_dirs`.
    fn find(&self, data_dirs: &[PathBuf]) -> Result<PathBuf, Error>;

    /// Checks that `root` holds such a dataset.
    fn open(&self, root: &Path) -> Result<Opened, Error>;

    /// The name that tables show, where that is not its kind.
    fn name(&self, _root: &Path) -> Option<String> {
        None
    }

    /// The place of a dataset that is made when it is first used.
    fn made_in(&self, _data_dirs: &[PathBuf]) -> Option<Result<PathBuf, Error>> {
        None
    }

    fn as_kind(&self) -> &dyn Kind
    where
        Self: Sized,
    {
        self
    }
}

/// A dataset whose folder was checked.
pub(super) struct Opened {
    /// Class names, by index.
    pub(super) classes: Vec<String>,
    pub(super) layout: Arc<dyn Layout>,
}

/// The places of the files of an open dataset. `root` is always its folder, absolute.
pub(super) trait Layout: Debug + Send + Sync {
    /// Images and masks of a split, in its order.
    fn list(&self, root: &Path, split: &str) -> Result<Listing, Error>;

    /// Names of the existing splits.
    fn splits(&self, root: &Path) -> Result<Vec<String>, Error>;

    /// Where images and masks of a split are looked for; several places make up one split of some
    /// kinds. It is from these that files are noted that no split has.
    fn places(&self, root: &Path, split: &str) -> Result<Vec<Place>, Error>;
}

/// Paths of images and masks that belong together by what stands for `{stem}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) images: Template,
    pub(super) masks: Template,
    /// The text in place of `{split}`.
    pub(super) split: String,
    pub(super) lists: Lists,
}

/// The rule that decides which images of a place belong to a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lists {
    /// All images that are there.
    Folder,
    /// A file of stems: other images may lie beside them.
    File,
}

/// The images of a split, and what is wrong with the list of them.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) items: Vec<Item>,
    pub(super) labels: Labels,
    /// Problems that stop a run.
    pub(super) faults: Vec<Error>,
    /// Images that another file of the same stem may be meant instead of.
    pub(super) ambiguous: Vec<Error>,
}

impl Listing {
    pub(super) fn new(items: Vec<Item>, labels: Labels) -> Self {
        Self { items, labels, faults: Vec::new(), ambiguous: Vec::new() }
    }
}

/// The default, for serde.
pub(super) fn train_name() -> String {
    TRAIN.to_owned()
}
