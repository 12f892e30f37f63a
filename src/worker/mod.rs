//! The worker: one process that trains and scores one run, and writes only inside the run's folder.
//!
//! `sweep worker`, which the scheduler starts, calls [`run`] with the folder and the number of an
//! attempt. In come `spec.json` (the run) and `order.<attempt>.json` (device, data, scores asked
//! for); out go checkpoints, adapters, counts and the attempt's journal, which alone says what is
//! done.

mod attempt;
mod inputs;
mod journal;
mod pictures;
mod score;
mod train;

use std::io;
use std::path::PathBuf;

use crate::adapter;
use crate::data;
use crate::device;
use crate::error;
use crate::eval::score::{pass, per_image};
use crate::event::FailureClass;
use crate::train::run as training;
use crate::train::{Precision, checkpoint};
use crate::weights;

pub use attempt::run;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read `{path}`: {reason}; the run directory is damaged")]
    RunFile { path: PathBuf, reason: String },
    #[error("cannot open the dataset")]
    Data(#[from] data::Error),
    #[error("cannot load weights")]
    Weights(#[from] weights::Error),
    #[error("cannot start from the adapter of `init.adapter`")]
    Init(#[from] adapter::Error),
    #[error("training failed")]
    Train(#[from] training::Error),
    #[error("scoring failed")]
    Score(#[from] pass::Error),
    #[error("cannot save the counts of a score")]
    Counts(#[from] per_image::Error),
    #[error("cannot use the trained adapter")]
    Adapter(#[from] checkpoint::Error),
    #[error(transparent)]
    Device(#[from] device::NotOpened),
    #[error(
        "`{device}` cannot compute in `train.precision = \"{precision}\"`: choose f32, or another \
         device"
    )]
    Precision { precision: Precision, device: device::Device },
    #[error("cannot write the journal")]
    Journal(#[from] io::Error),
    #[error("{0}")]
    Unknown(String),
}

/// The way the worker ended.
#[derive(Debug)]
pub enum Exit {
    Done,
    Interrupted,
    Failed { message: String, class: FailureClass },
}

impl Error {
    /// The class of the failure, by what the coordinator may do about it.
    fn class(&self) -> FailureClass {
        let data = error::chain(self).find_map(|cause| cause.downcast_ref::<data::Error>());
        if let Some(data) = data {
            return data.class();
        }
        match self {
            Self::RunFile { .. }
            | Self::Weights(_)
            | Self::Init(_)
            | Self::Train(
                training::Error::Diverged { .. }
                | training::Error::Batch { .. }
                | training::Error::Checkpoint(checkpoint::Error::NotFinite { .. }),
            )
            | Self::Score(pass::Error::NotFinite { .. })
            | Self::Adapter(checkpoint::Error::NotFinite { .. })
            | Self::Device(_)
            | Self::Precision { .. }
            | Self::Unknown(_) => FailureClass::Input,
            Self::Data(_)
            | Self::Train(_)
            | Self::Score(_)
            | Self::Adapter(_)
            | Self::Counts(_)
            | Self::Journal(_) => FailureClass::of_environment(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::with_sources;

    fn io(code: i32) -> io::Error {
        io::Error::from_raw_os_error(code)
    }

    fn check(error: impl Into<Error>, expect: FailureClass) {
        let error = error.into();
        assert_eq!(error.class(), expect, "{}", with_sources(&error));
    }

    #[test]
    fn a_full_disk_is_told_from_other_faults_wherever_it_is_met() {
        let checkpoint = |source| checkpoint::Error::Write { path: "c".into(), source };
        let counts = |source| per_image::Error::Write { path: "c".into(), source };
        let named = |code: i32| io::Error::new(io(code).kind(), format!("{}: `c`", io(code)));
        for (code, expect) in [(28, FailureClass::Disk), (5, FailureClass::Environment)] {
            check(training::Error::from(checkpoint(io(code))), expect);
            check(training::Error::from(checkpoint(named(code))), expect);
            check(training::Error::Journal(named(code)), expect);
            check(pass::Error::Progress(io(code)), expect);
            check(counts(io(code)), expect);
            check(io(code), expect);
            check(data::Error::Io(io(code)), expect);
            check(training::Error::from(data::Error::Io(named(code))), expect);
        }
    }

    #[test]
    fn damaged_data_is_the_input_wherever_it_is_met() {
        let damaged = || data::Error::MissingMask { path: "m.png".into() };
        check(damaged(), FailureClass::Input);
        check(pass::Error::from(damaged()), FailureClass::Input);
        check(training::Error::from(damaged()), FailureClass::Input);
        check(training::Error::from(pass::Error::from(damaged())), FailureClass::Input);
    }
}
