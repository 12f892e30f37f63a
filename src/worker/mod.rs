//! The worker: one process that trains and scores one run, and writes only inside the run's folder.
//!
//! `sweep worker`, which the scheduler starts, calls [`run`] with the folder and the number of an
//! attempt. In come `spec.json` (the run) and `order.<attempt>.json` (device, data, scores asked
//! for); out go checkpoints, adapters, counts and the attempt's journal, which alone says what is
//! done.

mod attempt;
mod inputs;
mod journal;
mod score;
mod train;

use std::io;
use std::path::PathBuf;

use crate::eval::score::{pass, per_image};
use crate::event::FailureClass;
use crate::train::checkpoint;
use crate::weights;

pub use attempt::run;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read `{path}`: {reason}; the run directory is damaged")]
    RunFile { path: PathBuf, reason: String },
    #[error("cannot open the dataset")]
    Data(#[from] crate::data::Error),
    #[error("cannot load weights")]
    Weights(#[from] weights::Error),
    #[error("training failed")]
    Train(#[from] crate::train::run::Error),
    #[error("scoring failed")]
    Score(#[from] pass::Error),
    #[error("cannot keep the counts of a score")]
    Counts(#[from] per_image::Error),
    #[error("cannot use the trained adapter")]
    Adapter(#[from] checkpoint::Error),
    #[error("cannot write the journal")]
    Journal(#[from] io::Error),
    #[error("{0}")]
    Unknown(String),
}

/// How the worker ended.
#[derive(Debug)]
pub enum Exit {
    Done,
    Interrupted,
    Failed(String),
}

impl Error {
    /// What the coordinator may do about it.
    fn class(&self) -> FailureClass {
        match self {
            Self::Data(error)
            | Self::Train(crate::train::run::Error::Data(error))
            | Self::Score(pass::Error::Data(error)) => error.class(),
            Self::RunFile { .. }
            | Self::Weights(_)
            | Self::Train(crate::train::run::Error::Diverged { .. })
            | Self::Unknown(_) => FailureClass::Input,
            Self::Train(_)
            | Self::Score(_)
            | Self::Adapter(_)
            | Self::Counts(_)
            | Self::Journal(_) => FailureClass::Environment,
        }
    }
}
