//! Datasets: where images and masks lie and what the classes are.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
