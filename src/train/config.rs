//! Key `train` of a spec: the settings of training.

use std::fmt;

use burn::tensor::FloatDType;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::data::transform;

/// Key `train`, after the recipe has filled in the keys that the user left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Recipe that the defaults come from; outside the run's identity.
    pub recipe: Recipe,
    /// Passes over the train split. Exactly one of `epochs` and `steps` is set.
    #[serde(default)]
    pub epochs: Option<u32>,
    /// Number of optimiser steps.
    #[serde(default)]
    pub steps: Option<u64>,
    /// Number of images in a step; the last, smaller batch of an epoch is kept.
    pub batch_size: u32,
    /// Learning rate of the decoder.
    pub lr: f64,
    /// Learning rate of LoRA or of the whole encoder.
    pub lr_encoder: f64,
    /// Weight decay, decoupled as in AdamW.
    pub weight_decay: f64,
    pub schedule: Schedule,
    /// Transform that brings a sample to the input's size; runs from before this key existed
    /// squash.
    #[serde(default)]
    pub transform: transform::Config,
    /// Probability of a horizontal flip.
    pub flip: f64,
    /// Whether brightness, contrast, saturation and hue are distorted.
    #[serde(default)]
    pub photometric: bool,
    pub input: Input,
    pub normalise: Normalise,
    pub void_label: VoidLabel,
    pub dev: Dev,
    pub precision: Precision,
    /// Epochs between validations; 0: only after the last epoch.
    pub validate_every: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipe {
    Modern,
    Reference,
}

/// The course of the learning rate over the run, as a factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    Constant {},
    /// Linear warm-up over `warmup_percent` of the steps, then cosine to 0.
    Cosine {
        warmup_percent: u32,
    },
}

/// Size of the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A square of this many patches a side: `{ tokens = 32 }`.
    Tokens(u32),
    /// Height and width in pixels: `{ px = 518 }` or `{ px = [308, 308] }`; lowered to the next
    /// multiple of the patch size.
    Px([u32; 2]),
}

/// The mean and standard deviation that images are normalised by before the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    /// Mean and standard deviation of the backbone's own pre-training.
    Backbone,
    /// None: values in 0 to 1 go in as they are, as in the reference project.
    None,
}

/// The treatment of void (255) pixels in the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoidLabel {
    Ignore,
    /// Trained as class 0, as the reference project does on VOC. Scores still ignore void.
    Background,
}

/// The part of the train split that is held out for choosing a checkpoint, drawn by a seed;
/// fraction 0 holds out nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dev {
    pub fraction: f64,
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Chosen by `sweep`: resolved to `f32` before the run's identity is taken. It does not depend
    /// on the device, so that a run has one id on every machine.
    Auto,
    F32,
    /// The encoder's blocks compute in bfloat16; what is trained, statistics, decoder, loss and
    /// optimiser are f32.
    Bf16,
}

impl Precision {
    /// The number format that is computed in: never `auto`.
    #[must_use]
    pub fn resolved(self) -> Self {
        match self {
            Self::Auto => Self::F32,
            Self::F32 | Self::Bf16 => self,
        }
    }

    /// The type that the encoder's blocks compute in.
    pub fn dtype(self) -> FloatDType {
        match self {
            Self::Auto | Self::F32 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl Default for Dev {
    fn default() -> Self {
        Self { fraction: 0.0, seed: 0 }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputTable {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    px: Option<serde_json::Value>,
}

impl Serialize for Input {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Tokens(n) => InputTable { tokens: Some(n), px: None },
            Self::Px(hw) => InputTable { tokens: None, px: Some(serde_json::json!(hw)) },
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = InputTable::deserialize(deserializer)?;
        let side = |value: &serde_json::Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
        match (table.tokens, table.px) {
            (Some(n), None) => Ok(Self::Tokens(n)),
            (None, Some(px)) => {
                let pair = match &px {
                    serde_json::Value::Array(items) if items.len() == 2 => {
                        side(&items[0]).zip(side(&items[1]))
                    }
                    one => side(one).map(|n| (n, n)),
                };
                pair.map(|(h, w)| Self::Px([h, w]))
                    .ok_or_else(|| de::Error::custom("`px` is a side or [height, width]"))
            }
            _ => Err(de::Error::custom("give either `tokens` or `px`")),
        }
    }
}
