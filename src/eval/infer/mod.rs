//! Turns images into predictions: whole or in sliding windows, as one view or as several.
//!
//! `eval::score` predicts a split with it; one image alone is a batch of one. A [`Request`] says
//! how to predict; [`Request::input`] does the work that needs no network and may run on the
//! threads that load images; [`predict`] runs the network and returns class maps and probabilities
//! at any size.

mod request;
mod forward;
mod whole;
mod slide;
mod prediction;
mod tta;

pub use prediction::Prediction;
pub use request::{Input, Request};
pub use tta::{Item, batch_size, predict};

#[cfg(test)]
mod tests;
