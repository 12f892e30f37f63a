//! The networks: shared ViT blocks, backbones as table rows, LoRA, decoders.

pub mod config;
pub mod params;
pub mod mode;
pub mod vit;
pub mod backbone;
pub mod init;
pub mod decoder;
pub mod network;

pub use config::{
    Config, DecoderConfig, DinoType, LoraConfig, LoraTarget, Pretraining, Scaling, Size,
    TuneConfig, WeightsConfig,
};
pub use mode::Mode;
pub use network::Network;
