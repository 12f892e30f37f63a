//! Key `model` of a spec: the choice of the encoder.

use serde::{Deserialize, Serialize};

use super::variant::Size;
use crate::model::config::{DinoType, Pretraining};

/// Key `model` of a spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub dino_type: DinoType,
    pub size: Size,
    /// Whether DINOv2 has its 4 register tokens. DINOv3 always has them: without effect there.
    #[serde(default = "yes")]
    pub registers: bool,
    /// The images that DINOv3 was trained on; without effect for DINOv2.
    #[serde(default, skip_serializing_if = "Pretraining::is_default")]
    pub pretraining: Pretraining,
}

fn yes() -> bool {
    true
}
