//! Key `schedule` of a spec: how an experiment is carried out. Nothing in it changes numbers or
//! ids.
//!
//! `cli` makes slots and retries of it; what every worker is told alike is one struct, [`Terms`],
//! which goes into each order as it is.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Map;

use super::keys;
use crate::device::Request;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub devices: Request,
    /// Workers at once on the CPU.
    pub jobs: u32,
    /// Threads of a CPU worker; 0: all cores divided by `jobs`.
    pub threads: u32,
    /// Tries again after a failure that may pass.
    pub retries: u32,
    /// Of the keys that workers need.
    pub terms: Terms,
}

/// What every worker of an experiment is told alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Seconds between checkpoints within an epoch; one is written after each epoch anyway.
    pub checkpoint_every_s: u32,
    /// MiB of memory in which a worker keeps decoded training samples.
    pub cache_mb: u64,
    /// MiB of disk for those that memory has no room for.
    pub cache_disk_mb: u64,
}

impl Default for Config {
    fn default() -> Self {
        keys::defaults("schedule")
    }
}

impl Default for Terms {
    fn default() -> Self {
        Config::default().terms
    }
}

/// Terms of an order that may be older than some of their keys, which then have their defaults.
pub(super) fn read_terms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Terms, D::Error> {
    let given = Map::deserialize(deserializer)?;
    let mut terms = serde_json::to_value(Terms::default()).map_err(D::Error::custom)?;
    for (name, value) in given {
        terms[name] = value;
    }
    serde_json::from_value::<Terms>(terms).map_err(D::Error::custom)
}
