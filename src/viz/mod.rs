//! Pictures for people to look at: text, colours of classes, overlays, sheets. Called by the verbs.

pub mod text;
pub mod palette;
pub mod overlay;
pub mod figure;
pub mod contact;
pub mod sheet;
pub mod pca;
pub mod kmeans;
pub mod video;
