//! Key `model` of a spec.

use serde::{Deserialize, Serialize};

use super::variant::Size;
use crate::model::config::{DinoType, Pretraining};

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

fn yes() -> bool {
    true
}
