//! Scoring: predictions, the confusion matrix, and the numbers made of it.

pub mod confusion;
pub mod predict;
pub mod reference_metric;
pub mod scores;

use serde::{Deserialize, Serialize};

/// Raised by hand when a fix changes scores; part of every score's identity.
pub const EVAL_NUMERICS: u32 = 1;

/// Key `eval` of a spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Splits of the run's dataset to score, e.g. `["val"]`.
    pub sets: Vec<String>,
    pub mode: Mode,
    /// `{ suite = "none" }` scores clean images only.
    pub corruption: CorruptionRequest,
    /// Which checkpoint is scored.
    pub select: Select,
}

/// How a whole image becomes a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Mode {
    /// The image squashed to the training input; logits resized to the label's size.
    Whole {},
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorruptionRequest {
    /// A suite's name, or `none`.
    pub suite: String,
    /// Levels, each 1 to 5.
    pub severities: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// The weights after the last step.
    Last,
    /// The best validation on `dev`, never on a reported set.
    Best,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sets: vec!["val".to_owned()],
            mode: Mode::Whole {},
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
