//! The text of an experiment file: a tree of values with their line numbers, tables by dotted
//! names, and problems to report.

pub(super) mod problem;
pub(super) mod table;
pub(super) mod tree;
