//! Predictions, what is counted of them, and the scores made of that.

pub mod features;
pub mod infer;
pub mod score;

use serde::{Deserialize, Serialize};

use crate::data::dataset::EvalSet;

/// Raised by hand when a fix changes scores; part of every score's identity.
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
    /// The image resized so that its short side is `short_side` px, read in windows of `crop` px
    /// every `stride` px; their mean logits resized to the label's size. A window that the patch
    /// does not divide is padded centrally (Meta's `CenterPadding`).
    Slide {
        crop: u32,
        stride: u32,
        /// `None`: the crop's.
        #[serde(default)]
        short_side: Option<u32>,
    },
}

/// Several views of an image, whose class probabilities are averaged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tta {
    /// Each scale mirrored as well.
    pub flip: bool,
    /// Factors on the size.
    pub scales: Vec<f64>,
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
            sets: vec!["val".into()],
            mode: Mode::Whole {},
            tta: Tta::default(),
            corruption: CorruptionRequest::default(),
            select: Select::Last,
        }
    }
}

impl Mode {
    /// The only one before there was a choice.
    pub fn before() -> Self {
        Self::Whole {}
    }
}

impl Default for Tta {
    fn default() -> Self {
        Self { flip: false, scales: vec![1.0] }
    }
}

impl Tta {
    /// Views of each image.
    pub fn n_views(&self) -> usize {
        self.scales.len() * if self.flip { 2 } else { 1 }
    }
}

impl Default for CorruptionRequest {
    fn default() -> Self {
        Self { suite: "imagenet-c-15".to_owned(), severities: vec![5] }
    }
}
