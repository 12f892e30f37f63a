//! What a table says, before it is rendered: columns, groups of replicates, measures, the caption.

pub(super) mod caption;
pub(super) mod columns;
pub(super) mod group;
pub mod measure;
pub(super) mod names;
pub mod suite;
pub mod table;
