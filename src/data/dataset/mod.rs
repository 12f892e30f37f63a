//! Datasets: where images and masks lie and what the classes are.

pub mod ade20k;
pub mod shapes;
pub mod voc;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use super::split::{Labels, Split};

/// Key `data` of a spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Config {
    Voc(VocConfig),
    Ade20k(Ade20kConfig),
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

fn train_name() -> String {
    "train".to_owned()
}

/// A dataset on disk.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// `voc`, `ade20k`, `shapes`; for a folder in VOC layout that is not `VOC2012`, its own name.
    pub name: String,
    /// Absolute.
    pub root: PathBuf,
    /// Class names, by index.
    pub classes: Vec<String>,
    /// Name of the split to train on.
    pub train: String,
    layout: Layout,
}

#[derive(Debug, Clone, Copy)]
enum Layout {
    Voc,
    Ade20k,
}

/// Finds the dataset of `config` in `data_dirs`; writes `shapes` if it is not there yet.
pub fn open(config: &Config, data_dirs: &[PathBuf]) -> Result<Dataset, Error> {
    let root = match config {
        Config::Voc(voc) => voc::find(voc, data_dirs)?,
        Config::Ade20k(ade20k) => ade20k::find(ade20k, data_dirs)?,
        Config::Shapes(shapes) => shapes::materialise(shapes, data_dirs)?,
    };
    open_at(config, &root)
}

/// Opens the dataset of `config` that lies at `root`.
pub fn open_at(config: &Config, root: &Path) -> Result<Dataset, Error> {
    let root = std::path::absolute(root)?;
    let name = name(config, &root);
    match config {
        Config::Voc(voc) => {
            let classes = voc::open(&root)?;
            Ok(Dataset { name, root, classes, train: voc.train.clone(), layout: Layout::Voc })
        }
        Config::Ade20k(_) => {
            let classes = ade20k::open(&root)?;
            Ok(Dataset { name, root, classes, train: train_name(), layout: Layout::Ade20k })
        }
        Config::Shapes(_) => {
            let classes = voc::open(&root)?;
            Ok(Dataset { name, root, classes, train: train_name(), layout: Layout::Voc })
        }
    }
}

/// What tables call the dataset of `config` that lies at `root`; see [`Dataset::name`].
pub fn name(config: &Config, root: &Path) -> String {
    match config {
        Config::Voc(_) => voc::name(root),
        Config::Ade20k(_) => "ade20k".to_owned(),
        Config::Shapes(_) => "shapes".to_owned(),
    }
}

impl Dataset {
    pub fn n_classes(&self) -> u32 {
        self.classes.len() as u32
    }

    /// The images that `name` lists. That they exist is checked by [`Split::fingerprint`] and
    /// when they are loaded.
    pub fn split(&self, name: &str) -> Result<Split, Error> {
        let (items, labels) = match self.layout {
            Layout::Voc => (voc::items(&self.root, name)?, Labels::Plain),
            Layout::Ade20k => (ade20k::items(&self.root, name)?, Labels::FromOne),
        };
        Ok(Split::new(name, items, &self.root, self.classes.clone().into(), labels))
    }

    /// The split to train on.
    pub fn train_split(&self) -> Result<Split, Error> {
        self.split(&self.train)
    }
}

/// The first of `candidates` that is a folder, or the error that lists them.
fn first_folder(
    candidates: Vec<PathBuf>,
    dataset: &'static str,
    advice: String,
) -> Result<PathBuf, Error> {
    match candidates.iter().position(|path| path.is_dir()) {
        Some(index) => Ok(candidates[index].clone()),
        None => Err(Error::MissingDataset { dataset, looked_in: candidates, advice }),
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
mod tests;
