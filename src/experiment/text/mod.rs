//! The text of an experiment file: a tree of values with the lines they stand in, and what is wrong
//! with it.

pub(super) mod problem;
pub(super) mod tree;
