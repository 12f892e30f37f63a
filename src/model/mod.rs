//! The networks: shared ViT blocks, backbones as table rows, LoRA, decoders.
//!
//! Modules are listed in import order: each uses those before it only (tests aside). `train` and
//! `eval` run a [`Network`]; `weights` and `adapter` fill its tensors by name; specs hold the
//! configs.

pub mod arch;
pub mod config;
pub mod params;
pub mod mode;
pub mod vit;
pub mod init;
pub mod backbone;
pub mod decoder;
pub mod network;

pub use backbone::{Config, Size};
pub use config::{
    DinoType, InitConfig, LoraConfig, LoraTarget, Pretraining, Scaling, TuneConfig, WeightsConfig,
};
pub use decoder::DecoderConfig;
pub use mode::Mode;
pub use network::{Activations, Network};
