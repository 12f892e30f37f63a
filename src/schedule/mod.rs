//! Running a plan: the event loop, the devices, worker processes.

pub use crate::spec::schedule::Config;
