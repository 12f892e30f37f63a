//! Key `schedule` of a spec; nothing in it changes numbers or ids.

use serde::{Deserialize, Serialize};

use crate::device::Request;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub devices: Request,
    /// Workers at once on the CPU.
    pub jobs: u32,
    /// Threads of a CPU worker; 0: all cores divided by `jobs`.
    pub threads: u32,
    /// Tries again after a failure that may pass.
    pub retries: u32,
    /// Seconds between checkpoints within an epoch; one is written after each epoch anyway.
    pub checkpoint_every_s: u32,
    /// MiB of memory in which a worker keeps decoded training samples.
    pub cache_mb: u64,
    /// MiB of disk for those that memory has no room for.
    pub cache_disk_mb: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            devices: Request::Auto,
            jobs: 1,
            threads: 0,
            retries: 1,
            checkpoint_every_s: 60,
            cache_mb: 0,
            cache_disk_mb: 0,
        }
    }
}
