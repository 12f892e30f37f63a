//! Tables of an experiment: for the terminal, for files, for READMEs.
//!
//! `sweep table`, `run` and `readme` make a [`Table`] of the rows that the store gives for an
//! experiment and render it in a [`Format`]. Only [`write_files`] writes, and it and
//! [`files_of_others`] read; nothing else touches the disk.

pub mod model;
mod render;
mod files;
pub mod readme;

pub use files::{files_of_others, write_files};
pub use model::measure::{Measure, Missing, Partial, Replicate};
pub use model::names::title;
pub use model::table::{Columns, Table};
pub use render::{Format, Written};

#[cfg(test)]
mod tests;
