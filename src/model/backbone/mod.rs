//! The backbones: rows of tables over the shared blocks of [`super::vit`].
//!
//! The tables are the only list of the families' sizes: a new row in `dinov2.rs` or `dinov3.rs` is
//! a new backbone in specs, messages, downloads and reports.

pub mod variant;
pub mod dinov2;
pub mod dinov3;
mod config;
mod table;

pub use config::Config;
pub use table::{find, patch_px, registers, size_names, sizes, variants};
pub use variant::{Backbone, IMAGENET, SAT_493M, Size, Variant};

#[cfg(test)]
mod tests;
