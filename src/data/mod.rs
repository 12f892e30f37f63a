//! Images and masks: datasets, labels, splits, transforms, and the loader of training batches.

pub mod check;
pub mod dataset;
pub mod error;
pub mod image_io;
pub mod labels;
pub mod loader;
pub mod sample;
pub mod split;
pub mod transform;

pub use error::Error;
pub use sample::{Mask, Rgb, VOID};
