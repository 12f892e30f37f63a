//! Devices: their names, which of them this machine has, and how one is opened.
//!
//! Specs and command lines name devices in words ([`Request`]); [`nvml`] and [`adapters`] say which
//! GPUs are there; [`choose`] joins the two; a worker gets one [`Device`] and [`open`]s it. The words of a device
//! are the same in TOML, on the command line, in orders and in journals.

pub mod adapters;
mod api;
mod choose;
mod name;
pub mod nvml;
mod open;
mod toolkit;

pub use api::Api;
pub use choose::{Chosen, Error, Granted, Hardware, choose};
pub use name::{ALLOWED, ParseError, UnknownDevice};
pub use open::{NotOpened, held_bytes, name, open};

use serde::{Deserialize, Serialize};

/// The device that a run computes on; written `cpu`, `cuda:N` or `wgpu:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    Cpu,
    /// The GPU at this position among the visible ones, from 0.
    Cuda(u32),
    /// The graphics adapter at this position of [`adapters::list`]: a GPU through Vulkan or Metal.
    Wgpu(u32),
}

/// The devices that a user asks for; written `auto`, or names separated by commas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Request {
    /// Every free GPU; the CPU where there is none.
    Auto,
    /// These devices: at least one, none twice.
    Listed(Vec<Device>),
}
