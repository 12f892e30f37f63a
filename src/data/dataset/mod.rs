//! Datasets: where images and masks lie and what the classes are.

pub mod acdc;
pub mod ade20k;
pub mod cityscapes;
pub mod eval_set;
pub mod folder;
pub mod shapes;
pub mod template;
pub mod voc;

mod lists;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Error;
use super::split::{Item, Labels, Split};

pub use self::eval_set::EvalSet;
pub use self::folder::{Classes, FolderConfig};

/// Key `data` of a spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Config {
    Voc(VocConfig),
    Ade20k(Ade20kConfig),
    Cityscapes(CityscapesConfig),
    Acdc(AcdcConfig),
    Folder(Box<FolderConfig>),
    Shapes(ShapesConfig),
}

/// A folder in VOC layout: `JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation/*.txt`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VocConfig {
    /// Default: `VOCdevkit/VOC2012` in the data folders. Outside the run's identity.
    #[serde(default)]
    pub root: Option<PathBuf>,
    /// Split file to train on, without `.txt`.
    #[serde(default = "train_name")]
    pub train: String,
}

/// `ADEChallengeData2016`: `images` and `annotations`, each with `training` and `validation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ade20kConfig {
    /// Default: `ADEChallengeData2016` in the data folders. Outside the run's identity.
    #[serde(default)]
    pub root: Option<PathBuf>,
}

/// Cityscapes: `leftImg8bit` and `gtFine`, each with folders by split and city.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CityscapesConfig {
    /// Default: `cityscapes` in the data folders. Outside the run's identity.
    #[serde(default)]
    pub root: Option<PathBuf>,
    /// Split to train on.
    #[serde(default = "train_name")]
    pub train: String,
}

/// ACDC: `rgb_anon` and `gt`, each with folders by condition, split and sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcdcConfig {
    /// Default: `ACDC` in the data folders. Outside the run's identity.
    #[serde(default)]
    pub root: Option<PathBuf>,
    /// Split to train on, e.g. `train` or `train_fog`.
    #[serde(default = "train_name")]
    pub train: String,
}

/// The procedural dataset; written in VOC layout below the first data folder when first used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShapesConfig {
    pub n_train: u32,
    pub n_val: u32,
    /// Side of the square images.
    pub side_px: u32,
    /// Seed of the generator, independent of the run's seed.
    pub seed: u64,
}

impl Default for ShapesConfig {
    fn default() -> Self {
        Self { n_train: 256, n_val: 64, side_px: 128, seed: 0 }
    }
}

const TRAIN: &str = "train";

fn train_name() -> String {
    TRAIN.to_owned()
}

/// Kinds of datasets, as specs name them.
pub const KINDS: &[&str] = &["voc", "ade20k", "cityscapes", "acdc", "folder", "shapes"];

impl Config {
    /// One of [`KINDS`].
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Voc(_) => "voc",
            Self::Ade20k(_) => "ade20k",
            Self::Cityscapes(_) => "cityscapes",
            Self::Acdc(_) => "acdc",
            Self::Folder(_) => "folder",
            Self::Shapes(_) => "shapes",
        }
    }

    /// Name of the split to train on.
    pub fn train(&self) -> &str {
        match self {
            Self::Voc(VocConfig { train, .. })
            | Self::Cityscapes(CityscapesConfig { train, .. })
            | Self::Acdc(AcdcConfig { train, .. }) => train,
            Self::Folder(folder) => &folder.train,
            Self::Ade20k(_) | Self::Shapes(_) => TRAIN,
        }
    }

    /// The folder it names, if any.
    pub fn root(&self) -> Option<&Path> {
        let root = match self {
            Self::Voc(VocConfig { root, .. })
            | Self::Ade20k(Ade20kConfig { root })
            | Self::Cityscapes(CityscapesConfig { root, .. })
            | Self::Acdc(AcdcConfig { root, .. }) => root,
            Self::Folder(folder) => &folder.root,
            Self::Shapes(_) => return None,
        };
        root.as_deref()
    }
}

/// A dataset on disk.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Its kind; for a folder in VOC layout that is not `VOC2012`, and for `folder`, the folder's
    /// own name.
    pub name: String,
    /// Absolute.
    pub root: PathBuf,
    /// Class names, by index.
    pub classes: Vec<String>,
    /// Name of the split to train on.
    pub train: String,
    layout: Layout,
}

#[derive(Debug, Clone)]
enum Layout {
    Voc,
    Ade20k,
    Cityscapes,
    Acdc,
    Folder(Arc<folder::Layout>),
}

/// The images of a split, and what is wrong with the list of them.
#[derive(Debug)]
struct Listing {
    items: Vec<Item>,
    labels: Labels,
    faults: Vec<Error>,
}

/// Finds the dataset of `config` in `data_dirs`; writes `shapes` if it is not there yet.
pub fn open(config: &Config, data_dirs: &[PathBuf]) -> Result<Dataset, Error> {
    let root = match config {
        Config::Voc(voc) => voc::find(voc, data_dirs)?,
        Config::Ade20k(ade20k) => ade20k::find(ade20k, data_dirs)?,
        Config::Cityscapes(config) => cityscapes::find(config.root.as_deref(), data_dirs)?,
        Config::Acdc(config) => acdc::find(config.root.as_deref(), data_dirs)?,
        Config::Folder(folder) => folder::find(folder, data_dirs)?,
        Config::Shapes(shapes) => shapes::materialise(shapes, data_dirs)?,
    };
    open_at(config, &root)
}

/// Opens the dataset of `config` that lies at `root`.
pub fn open_at(config: &Config, root: &Path) -> Result<Dataset, Error> {
    let root = std::path::absolute(root)?;
    let name = name(config, &root);
    let (classes, layout) = match config {
        Config::Voc(_) | Config::Shapes(_) => (voc::open(&root)?, Layout::Voc),
        Config::Ade20k(_) => (ade20k::open(&root)?, Layout::Ade20k),
        Config::Cityscapes(_) => (cityscapes::open(&root)?, Layout::Cityscapes),
        Config::Acdc(_) => (acdc::open(&root)?, Layout::Acdc),
        Config::Folder(folder) => {
            let (classes, layout) = folder::open(folder, &root)?;
            (classes, Layout::Folder(Arc::new(layout)))
        }
    };
    Ok(Dataset { name, root, classes, train: config.train().to_owned(), layout })
}

/// What tables call the dataset of `config` that lies at `root`; see [`Dataset::name`].
pub fn name(config: &Config, root: &Path) -> String {
    match config {
        Config::Voc(_) => voc::name(root),
        Config::Folder(_) => folder::name(root),
        Config::Ade20k(_) | Config::Cityscapes(_) | Config::Acdc(_) | Config::Shapes(_) => {
            config.kind().to_owned()
        }
    }
}

impl Dataset {
    pub fn n_classes(&self) -> u32 {
        self.classes.len() as u32
    }

    /// The images that `name` lists. That they exist is checked by [`Split::fingerprint`] and
    /// when they are loaded.
    pub fn split(&self, name: &str) -> Result<Split, Error> {
        let (split, faults) = self.survey(name)?;
        faults.into_iter().next().map_or(Ok(split), Err)
    }

    /// As [`Self::split`], with all that is wrong with the list; what is wrong is left out.
    pub fn survey(&self, name: &str) -> Result<(Split, Vec<Error>), Error> {
        let root = &self.root;
        let Listing { items, labels, faults } = match &self.layout {
            Layout::Voc => voc::list(root, name)?,
            Layout::Ade20k => ade20k::list(root, name)?,
            Layout::Cityscapes => cityscapes::list(root, name)?,
            Layout::Acdc => acdc::list(root, name)?,
            Layout::Folder(layout) => layout.list(root, name)?,
        };
        Ok((Split::new(name, items, root, self.classes.clone().into(), labels), faults))
    }

    /// Images that another file of the same stem may be meant instead of.
    pub fn ambiguous(&self, split: &Split) -> Vec<Error> {
        match &self.layout {
            Layout::Voc => voc::ambiguous(&self.root, &split.items),
            // Their files are found by their names, endings among them.
            Layout::Ade20k | Layout::Cityscapes | Layout::Acdc | Layout::Folder(_) => Vec::new(),
        }
    }

    /// The split to train on.
    pub fn train_split(&self) -> Result<Split, Error> {
        self.split(&self.train)
    }

    /// Names of the splits that there are.
    pub fn splits(&self) -> Result<Vec<String>, Error> {
        match &self.layout {
            Layout::Voc => voc::splits(&self.root),
            Layout::Ade20k => ade20k::splits(&self.root),
            Layout::Cityscapes => cityscapes::splits(&self.root),
            Layout::Acdc => Ok(acdc::splits(&self.root)),
            Layout::Folder(layout) => layout.splits(&self.root),
        }
    }
}

/// Refuses a folder that lacks one of `parts`.
fn refuse_without(
    root: &Path,
    parts: &[&str],
    dataset: &'static str,
    advice: fn() -> String,
) -> Result<(), Error> {
    if !root.is_dir() {
        let looked_in = vec![root.to_owned()];
        return Err(Error::MissingDataset { dataset, looked_in, advice: advice() });
    }
    for part in parts {
        // What may not be looked at is not missing.
        match fs_err::metadata(root.join(part)) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error.into()),
            _ => {}
        }
    }
    let missing = parts.iter().find(|part| !root.join(part).is_dir());
    missing.map_or(Ok(()), |missing| {
        let (root, missing) = (root.to_owned(), (*missing).to_owned());
        Err(Error::IncompleteDataset { dataset, root, missing, advice: advice() })
    })
}

/// The first of `candidates` that is a folder, or the error that lists them.
fn first_folder(
    candidates: Vec<PathBuf>,
    dataset: &'static str,
    advice: String,
) -> Result<PathBuf, Error> {
    match candidates.iter().position(|path| path.is_dir()) {
        Some(index) => Ok(candidates[index].clone()),
        None => Err(match candidates.iter().find(|path| path.exists()) {
            Some(path) => Error::NotAFolder { dataset, path: path.clone(), advice },
            None => Error::MissingDataset { dataset, looked_in: candidates, advice },
        }),
    }
}

/// Where `root` or, without one, `default` may lie. A relative `root` is looked for as it stands,
/// then below the data folders.
fn candidates(root: Option<&Path>, default: &str, data_dirs: &[PathBuf]) -> Vec<PathBuf> {
    match root {
        None => data_dirs.iter().map(|dir| dir.join(default)).collect(),
        Some(root) if root.is_absolute() => vec![root.to_owned()],
        Some(root) => std::iter::once(root.to_owned())
            .chain(data_dirs.iter().map(|dir| dir.join(root)))
            .collect(),
    }
}

#[cfg(test)]
mod layout_tests;
#[cfg(test)]
mod tests;
