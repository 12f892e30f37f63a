//! The folders in which published things lie on this machine, and how much of one is there.

use std::path::PathBuf;

/// The folders of datasets and weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The first is where new datasets go.
    pub data_dirs: Vec<PathBuf>,
    /// The first is where new weights go.
    pub weight_dirs: Vec<PathBuf>,
    /// Caches of other programs: weights are used from there, and nothing is put there.
    pub caches: Vec<PathBuf>,
}

/// Whether a thing is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    There(PathBuf),
    /// Bytes of its files that are there.
    Partial(u64),
    Missing,
}
