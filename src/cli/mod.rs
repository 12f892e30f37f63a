//! One file a verb; the only module that prints.

pub mod fault;
pub mod logs;
pub mod progress;
pub mod signals;
pub mod stderr;
pub mod words;
