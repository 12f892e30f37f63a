//! The folders of datasets and weights on this machine, and the state of one thing in them.

use std::path::PathBuf;

/// The folders of datasets and weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Data folders; new datasets go into the first.
    pub data_dirs: Vec<PathBuf>,
    /// Weight folders; new weights go into the first.
    pub weight_dirs: Vec<PathBuf>,
    /// Caches of other programs: weights are read from there, and nothing is written there.
    pub caches: Vec<PathBuf>,
}

/// Whether a thing is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    There(PathBuf),
    /// Number of bytes of its files that are there.
    Partial(u64),
    Missing,
}
