//! The networks: shared ViT blocks, backbones as table rows, LoRA, decoders, weight files.

pub mod config;

pub use config::{
    Config, DecoderConfig, DinoType, LoraConfig, LoraTarget, Size, TuneConfig, WeightsConfig,
};
