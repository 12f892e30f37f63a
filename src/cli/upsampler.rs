//! Opens an upsampler for the verbs that have flags for one.

use std::path::Path;

use super::fault::{Exit, OrExit, fault};
use crate::upsample::{Error, Method, Model, Options};
use crate::weights;

/// Loads a method, whose weights are named by the flag; errors have their exit.
pub(super) fn open(
    method: &'static Method,
    flag: &str,
    weights: Option<&Path>,
    kernel: Option<usize>,
) -> anyhow::Result<Model> {
    match (weights, method.has_weights()) {
        (None, true) => {
            let words = format!("{} has weights: name their file with {flag}", method.title);
            return Err(fault(Exit::Usage, words));
        }
        (Some(path), false) => {
            let words = format!("{} has no weights: leave `{}` out", method.title, path.display());
            return Err(fault(Exit::Usage, words));
        }
        _ => {}
    }
    if kernel.is_some() && !method.takes_kernel {
        let words = format!("--kernel: {} has no window to choose; naf has", method.title);
        return Err(fault(Exit::Usage, words));
    }
    Model::open(method, weights, &Options { kernel }).map_err(with_exit)
}

/// Gives the error its exit: the environment's where a file cannot be read or written, else a usage
/// error, as the user named a file that does not fit.
pub(super) fn with_exit(error: Error) -> anyhow::Error {
    let exit = match error {
        Error::File(weights::Error::Read { .. } | weights::Error::Absent { .. })
        | Error::Write(_) => Exit::Environment,
        _ => Exit::Usage,
    };
    Err::<(), _>(error).or_exit(exit).expect_err("it is an error")
}
