//! Running a plan: the event loop, the devices, worker processes.

pub mod config;

pub use config::Config;
