//! Images and masks: datasets, transforms, the loader, and the corruption benchmark.

pub mod check;
pub mod corrupt;
pub mod dataset;
pub mod error;
pub mod fetch;
pub mod image_io;
pub mod labels;
pub mod loader;
pub mod sample;
pub mod split;
pub mod transform;

pub use error::Error;
pub use sample::{Mask, Rgb, VOID};
