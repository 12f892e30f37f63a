//! Key `schedule` of a spec: how an experiment is carried out. Nothing in it affects results or
//! ids.
//!
//! `cli` derives slots and retries from it. The settings that all workers share are one struct,
//! [`Terms`], which goes into each order unchanged.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Map;

use super::keys;
use crate::device::Request;
use crate::model::Activations;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub devices: Request,
    /// Number of workers that run at once on the CPU.
    pub jobs: u32,
    /// Threads of a CPU worker; 0: all cores divided by `jobs`.
    pub threads: u32,
    /// Retries after a failure that may be temporary.
    pub retries: u32,
    /// The keys that workers need.
    pub terms: Terms,
}

/// The settings that all workers of an experiment share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Seconds between checkpoints within an epoch; one is written after each epoch anyway.
    pub checkpoint_every_s: u32,
    /// MiB of memory in which a worker keeps decoded training samples.
    pub cache_mb: u64,
    /// MiB of disk for samples that do not fit in that memory.
    pub cache_disk_mb: u64,
    /// What a training step keeps of the encoder's blocks for the backward pass.
    pub activations: Activations,
    /// Images of the validated split that are drawn with their predictions at each validation.
    pub pictures: u32,
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

/// Reads terms of an order that may be older than some of the keys, which then have their defaults.
pub(super) fn read_terms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Terms, D::Error> {
    let given = Map::deserialize(deserializer)?;
    let mut terms = serde_json::to_value(Terms::default()).map_err(D::Error::custom)?;
    for (name, value) in given {
        terms[name] = value;
    }
    serde_json::from_value::<Terms>(terms).map_err(D::Error::custom)
}
