//! Key `machine` of the machine file and the environment: the folders of this machine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::keys;

/// Keys of this machine; none affects results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Folders that are searched for datasets; `shapes` is written into the first.
    pub data_dirs: Vec<PathBuf>,
    /// Folders that are searched for weight files.
    pub weight_dirs: Vec<PathBuf>,
    pub results: PathBuf,
}

impl Default for Machine {
    fn default() -> Self {
        keys::defaults("machine")
    }
}
