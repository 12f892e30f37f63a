//! Experiment files: turns the text of one and the layers around it into cells, each a [`RunSpec`],
//! and those, with the facts that [`crate::resolve`] finds on this machine, into ids.
//!
//! Each module uses those above it, and the types here.

mod text;
pub mod keys;
mod machine;
pub mod schedule;
mod request;
mod order;
mod check;
mod identity;
mod home;
mod grid;
pub mod load;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::RunId;
use crate::{data::dataset, eval, model, train};

pub use check::input_px;
pub use grid::expand::CELLS_MAX;
pub use identity::{changed, protocol, run_id, run_identity, score_requests, with_numerics};
pub use load::{Layers, load as load_experiment, load_data, load_machine, machine_file, name_in};
pub use machine::Machine;
pub use order::Order;
pub use request::ScoreRequest;
pub use text::problem::{Problem, nearest};

/// Version of [`RunFile`] and [`Order`].
pub const VERSION: u32 = 1;

/// Everything one run is made of; immutable once expanded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    pub seed: u64,
    pub model: model::Config,
    pub weights: model::WeightsConfig,
    #[serde(default, skip_serializing_if = "model::InitConfig::is_empty")]
    pub init: model::InitConfig,
    pub tune: model::TuneConfig,
    pub decoder: model::DecoderConfig,
    pub data: dataset::Config,
    pub train: train::Config,
    /// Not part of the run's identity, but of its scores'.
    pub eval: eval::Config,
}

/// One expanded grid cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Place in the expanded grid, from 0.
    pub index: u32,
    /// The cell's labels: (axis as written, value as the table shows it).
    pub labels: Vec<(String, String)>,
    pub spec: RunSpec,
}

/// An experiment file, expanded.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    pub name: String,
    pub axes: Vec<String>,
    pub cells: Vec<Cell>,
    pub schedule: schedule::Config,
    /// Notes about what differs from what was written (sizes lowered, cells merged), in words.
    pub warnings: Vec<String>,
}

/// The facts that identity needs from outside the spec: fingerprints and resolved sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Folder the dataset was found in.
    pub data_root: PathBuf,
    pub n_classes: u32,
    /// Class names by index; empty in orders older than this field.
    #[serde(default)]
    pub classes: Vec<String>,
    pub train_fingerprint: String,
    /// The sets of `eval.sets`, in that order.
    pub sets: Vec<SetFacts>,
    /// The encoder's weight file; `None` for random weights.
    pub weights: Option<WeightsFile>,
    /// The adapter that training starts from; `None` where it starts from nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<WeightsFile>,
    /// Network input after lowering to the patch size, height and width.
    pub input_px: [u32; 2],
    /// Folder of frost's original textures; `None` where no score needs them, or for procedural
    /// ice.
    #[serde(default)]
    pub frost: Option<PathBuf>,
}

/// A set to score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetFacts {
    pub set: dataset::EvalSet,
    /// Dataset and split, e.g. `voc/val`.
    pub name: String,
    /// Folder that its dataset was found in.
    pub root: PathBuf,
    pub fingerprint: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsFile {
    pub path: PathBuf,
    pub sha256: String,
}

/// The content of `spec.json` of a run directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunFile {
    pub version: u32,
    pub run: RunId,
    /// The JSON whose hash is the id.
    pub identity: Value,
    pub spec: RunSpec,
    pub input_px: [u32; 2],
    pub n_classes: u32,
    /// Class names by index; empty in files older than this field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
}

/// A corruption suite, as far as scores need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuiteRef {
    /// Name and version, e.g. `imagenet-c-15 v1`.
    pub label: String,
    /// Names of its effects ([`crate::corrupt::Effect::name`]), in the suite's order.
    pub corruptions: Vec<String>,
}

#[cfg(test)]
mod tests;
