//! Keys `model`, `weights`, `tune` and `decoder` of a spec.

use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Key `model`: which encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub dino_type: DinoType,
    pub size: Size,
    /// DINOv2 with 4 register tokens. DINOv3 always has them: without effect there.
    #[serde(default = "yes")]
    pub registers: bool,
    /// What DINOv3 was trained on; without effect for DINOv2.
    #[serde(default, skip_serializing_if = "Pretraining::is_default")]
    pub pretraining: Pretraining,
}

/// Which released weights of a size are meant, where there are several.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pretraining {
    /// Web images.
    #[default]
    Lvd1689m,
    /// Satellite images; other mean and standard deviation.
    Sat493m,
}

impl Pretraining {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DinoType {
    Dinov2,
    Dinov3,
}

impl DinoType {
    /// As people write it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Dinov2 => "DINOv2",
            Self::Dinov3 => "DINOv3",
        }
    }
}

/// Sizes; which exist for which DINO is in the `VARIANTS` tables of `backbone`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// For trying and testing only; no pretrained weights exist.
    Tiny,
    Small,
    SmallPlus,
    Base,
    Large,
    LargePlus,
    HugePlus,
    Giant,
    #[serde(rename = "7b")]
    SevenB,
    /// No row of the tables: what the Hugging Face folder of `weights.path` says.
    Custom,
}

/// Key `weights`: where the encoder's weights come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum WeightsConfig {
    /// Drawn from the run's seed.
    Random {},
    /// The released file of the variant, from the weight folders.
    Pretrained {},
    /// A weight file, an index or a folder, in any naming that [`super::weights`] knows.
    File { path: PathBuf },
}

/// Key `tune`: what of the encoder is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TuneConfig {
    Frozen {},
    Lora(LoraConfig),
    Full {},
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    pub rank: NonZeroU32,
    /// The update is scaled by `alpha / rank`. Default: the rank, so that the scale is 1.
    #[serde(default)]
    pub alpha: Option<f64>,
    #[serde(default = "q_and_v")]
    pub targets: Vec<LoraTarget>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoraTarget {
    Q,
    V,
}

/// Key `decoder`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum DecoderConfig {
    /// 1x1 convolution on the last layer's normed patch tokens.
    Linear {},
    /// Feature pyramid over the last 4 layers; padded convolutions.
    Fpn {
        /// Channels of the first stage.
        #[serde(default = "fpn_channels")]
        channels: u32,
    },
}

impl LoraConfig {
    /// The factor `alpha / rank` on the update.
    pub fn scale(&self) -> f64 {
        self.alpha.map_or(1.0, |alpha| alpha / f64::from(self.rank.get()))
    }
}

fn yes() -> bool {
    true
}

fn q_and_v() -> Vec<LoraTarget> {
    vec![LoraTarget::Q, LoraTarget::V]
}

fn fpn_channels() -> u32 {
    128
}
