//! Key `machine` of the machine file and the environment: the folders of this machine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::keys;

/// Keys of this machine; none changes a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Where datasets are looked for; the first is where `shapes` is written.
    pub data_dirs: Vec<PathBuf>,
    /// Where weight files are looked for.
    pub weight_dirs: Vec<PathBuf>,
    pub results: PathBuf,
}

impl Default for Machine {
    fn default() -> Self {
        keys::defaults("machine")
    }
}
