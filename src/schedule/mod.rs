//! Runs a plan: the devices, the decisions, the worker processes and the loop that joins them.
//!
//! Decisions ([`queue::next_start`], [`retry::on_exit`], [`devices::slots`]) are pure; the
//! [`event_loop`] owns the state and acts through an [`executor::Executor`] and an
//! [`event_loop::Index`].

pub mod attempt;
pub mod coordinator;
pub mod devices;
pub mod event_loop;
pub mod executor;
#[cfg(test)]
pub(crate) mod fake;
pub mod journal;
pub mod local;
pub mod orphans;
pub mod queue;
pub mod remains;
pub mod retry;
pub mod stop;

use std::num::NonZeroU32;

use crate::device::Device;

pub use crate::experiment::schedule::Config;

/// A place where one worker runs at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    pub device: Device,
    /// Value of the worker's `CUDA_VISIBLE_DEVICES`: the GPU's UUID. `None` hides all GPUs.
    pub visible: Option<String>,
    /// Number of CPU threads of the worker.
    pub threads: NonZeroU32,
}
