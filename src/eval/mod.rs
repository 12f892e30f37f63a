//! Predictions, the counts of right and wrong pixels in them, and the scores computed from the
//! counts.

pub mod features;
pub mod infer;
pub mod maps;
pub mod score;
pub mod tokens;

use serde::{Deserialize, Serialize};

use crate::data::dataset::EvalSet;

pub use crate::event::{Mode, Select, Tta};

/// The version of the scores' numbers, raised by hand when a fix changes scores; part of every
/// score's identity.
pub const EVAL_NUMERICS: u32 = 1;

/// Key `eval` of a spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Splits to score, e.g. `["val"]`, or `["val", { kind = "acdc", split = "val_fog" }]`.
    pub sets: Vec<EvalSet>,
    pub mode: Mode,
    /// Test-time augmentation; one plain view by default.
    pub tta: Tta,
    /// Corruptions that the sets are also scored under; `{ suite = "none" }` scores clean images
    /// only.
    pub corruption: CorruptionRequest,
    /// The checkpoint that is scored.
    pub select: Select,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorruptionRequest {
    /// A suite's name, or `none`.
    pub suite: String,
    /// Levels, each 1 to 5.
    pub severities: Vec<u8>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sets: vec!["val".into()],
            mode: Mode::Whole {},
            tta: Tta::default(),
            corruption: CorruptionRequest::default(),
            select: Select::Last,
        }
    }
}

impl Default for CorruptionRequest {
    fn default() -> Self {
        Self { suite: "imagenet-c-15".to_owned(), severities: vec![5] }
    }
}
