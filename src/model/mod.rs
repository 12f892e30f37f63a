//! The networks: shared ViT blocks, backbones as table rows, LoRA, decoders, weight files.

pub mod config;
pub mod params;
pub mod mode;
pub mod vit;
pub mod backbone;
pub mod init;
pub mod decoder;
pub mod weights;
pub mod network;
pub mod adapter;

pub use config::{
    Config, DecoderConfig, DinoType, LoraConfig, LoraTarget, Pretraining, Scaling, Size,
    TuneConfig, WeightsConfig,
};
pub use mode::Mode;
pub use network::Network;
