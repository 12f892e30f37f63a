//! Training: the loop, the loss, learning rates, the optimiser, checkpoints.
//!
//! Workers call it with a network and a loader; checkpoints, an adapter and journal events come
//! out.

pub mod config;
pub mod rate;
pub mod optimizer;
pub mod step;
pub mod checkpoint;
pub mod run;
pub mod memory;

pub use config::{Config, Dev, Input, Normalise, Precision, Recipe, Schedule, VoidLabel};

/// The version of training's numbers, raised by hand when a fix changes trained weights; part of
/// every run's identity.
pub const TRAIN_NUMERICS: u32 = 1;
