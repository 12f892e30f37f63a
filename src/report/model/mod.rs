//! The contents of a table before it is rendered: its words, measures, columns, groups of
//! replicates and caption. Modules use those before them.

pub(super) mod names;
mod suite;
pub mod measure;
pub mod table;
mod group;
mod columns;
mod caption;
mod build;
