//! Datasets: the places of images and masks, and the classes.
//!
//! A spec's key `data` is a [`Config`]; [`open`] finds its folder and gives a [`Dataset`], whose
//! splits are lists of images with their masks. Each kind of dataset is a file here and a line of
//! `kinds!`, from which all other lists of kinds are made: their names, what `doctor` looks for.
//! The keys of a kind are the fields of its config.

mod kind;
mod place;
pub mod template;
mod lists;
pub mod folder;
pub mod voc;
pub mod ade20k;
pub mod cityscapes;
pub mod acdc;
pub mod shapes;
pub mod eval_set;
pub mod left_out;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Error;
use super::split::Split;
use kind::{Kind, Layout, Listing, Opened};

pub use acdc::AcdcConfig;
pub use ade20k::Ade20kConfig;
pub use cityscapes::CityscapesConfig;
pub use eval_set::EvalSet;
pub use folder::{Classes, FolderConfig};
pub use left_out::{LeftOut, Unlisted, Why};
pub use shapes::ShapesConfig;
pub use voc::VocConfig;

macro_rules! kinds {
    ($($name:literal => $variant:ident($config:ty)),* $(,)?) => {
        /// Key `data` of a spec.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", deny_unknown_fields)]
        pub enum Config {
            $(#[serde(rename = $name)] $variant($config)),*
        }

        /// Kinds of datasets, as specs name them.
        pub const KINDS: &[&str] = &[$($name),*];

        impl Config {
            /// One of [`KINDS`].
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name),* }
            }

            fn as_kind(&self) -> &dyn Kind {
                match self { $(Self::$variant(config) => config.as_kind()),* }
            }
        }
    };
}

kinds! {
    "voc" => Voc(VocConfig),
    "ade20k" => Ade20k(Ade20kConfig),
    "cityscapes" => Cityscapes(CityscapesConfig),
    "acdc" => Acdc(AcdcConfig),
    "folder" => Folder(Box<FolderConfig>),
    "shapes" => Shapes(ShapesConfig),
}

impl Config {
    /// Name of the split to train on.
    pub fn train(&self) -> &str {
        self.as_kind().train()
    }

    /// The folder it names, if any.
    pub fn root(&self) -> Option<&Path> {
        self.as_kind().root()
    }
}

/// A dataset on disk.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Its kind; for a folder in VOC layout that is not `VOC2012`, and for `folder`, the folder's
    /// own name.
    pub name: String,
    /// The dataset's folder, as an absolute path.
    pub root: PathBuf,
    /// Class names, by index.
    pub classes: Vec<String>,
    /// Name of the split to train on.
    pub train: String,
    layout: Arc<dyn Layout>,
}

/// A split, and all problems of its list; faulty lines are left out of the split.
#[derive(Debug)]
pub struct Survey {
    pub split: Split,
    /// Problems for which [`Dataset::split`] refuses the split.
    pub faults: Vec<Error>,
    /// Images that another file of the same stem may be meant instead of.
    pub ambiguous: Vec<Error>,
}

/// Finds the dataset of `config` in `data_dirs`; writes `shapes` if it is not there yet.
pub fn open(config: &Config, data_dirs: &[PathBuf]) -> Result<Dataset, Error> {
    open_at(config, &config.as_kind().find(data_dirs)?)
}

/// Opens the dataset of `config` that lies at `root`.
pub fn open_at(config: &Config, root: &Path) -> Result<Dataset, Error> {
    let root = std::path::absolute(root)?;
    let Opened { classes, layout } = config.as_kind().open(&root)?;
    let (name, train) = (name(config, &root), config.train().to_owned());
    Ok(Dataset { name, root, classes, train, layout })
}

/// The name that tables show for the dataset of `config` that lies at `root`; see
/// [`Dataset::name`].
pub fn name(config: &Config, root: &Path) -> String {
    config.as_kind().name(root).unwrap_or_else(|| config.kind().to_owned())
}

/// The datasets of all kinds that need no key: those that have a usual place in a data folder.
pub fn usual() -> impl Iterator<Item = Config> {
    // A kind that needs a key says so by refusing.
    KINDS.iter().filter_map(|kind| serde_json::from_value(serde_json::json!({ "kind": kind })).ok())
}

/// Where the dataset of `config` is, or will be made, in words; nothing is written.
pub fn whereabouts(config: &Config, data_dirs: &[PathBuf]) -> Result<String, Error> {
    if let Some(folder) = config.as_kind().made_in(data_dirs) {
        return Ok(format!("{} is written into `{}`", config.kind(), folder?.display()));
    }
    let Dataset { name, root, classes, .. } = open(config, data_dirs)?;
    Ok(format!("{name} in `{}`, {} classes", root.display(), classes.len()))
}

impl Dataset {
    pub fn n_classes(&self) -> u32 {
        self.classes.len() as u32
    }

    /// The images that `name` lists. That they exist is checked by [`Split::fingerprint`] and
    /// when they are loaded.
    pub fn split(&self, name: &str) -> Result<Split, Error> {
        let survey = self.survey(name)?;
        survey.faults.into_iter().next().map_or(Ok(survey.split), Err)
    }

    /// Like [`Self::split`], but returns all problems of the list.
    pub fn survey(&self, name: &str) -> Result<Survey, Error> {
        let Listing { items, labels, faults, ambiguous } = self.layout.list(&self.root, name)?;
        let split = Split::new(name, items, &self.root, self.classes.clone().into(), labels);
        Ok(Survey { split, faults, ambiguous })
    }

    /// The split to train on.
    pub fn train_split(&self) -> Result<Split, Error> {
        self.split(&self.train)
    }

    /// Names of the existing splits.
    pub fn splits(&self) -> Result<Vec<String>, Error> {
        self.layout.splits(&self.root)
    }
}

#[cfg(test)]
mod layout_tests;
#[cfg(test)]
mod tests;
