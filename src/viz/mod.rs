//! Pictures for people to look at: text, colours of classes, overlays, sheets. Called by the verbs.

pub mod text;
pub mod palette;
pub mod overlay;
pub mod figure;
pub mod sheet;
