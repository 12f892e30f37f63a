//! The text of an experiment file: a tree of values with the lines they stand in, tables by dotted
//! names, and what is said of what is wrong.

pub(super) mod problem;
pub(super) mod table;
pub(super) mod tree;
