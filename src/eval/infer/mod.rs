//! Images in, predictions out: whole or in sliding windows, as one view or as several.
//!
//! `eval::score` predicts a split with it; one image alone is a batch of one. What is asked for is a
//! [`Request`]; [`Request::input`] does what needs no network and may run on the threads that load
//! images; [`predict`] does the rest, and gives class maps and probabilities at any size.

mod request;
mod forward;
mod whole;
mod slide;
mod prediction;
mod tta;

pub use prediction::Prediction;
pub use request::{Input, Request};
pub use tta::{BATCH, Item, predict};

#[cfg(test)]
mod tests;
