//! The tensors of an upsampler's weight file, taken out by name and shape, so that what is missing,
//! of another shape, or left over is known.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Error, METHODS, Method};
use crate::weights::{self, NotFinite, TensorFile};

/// Key under which PyTorch Lightning puts the weights.
const OUTER: &str = "state_dict.";
/// Largest number of channels that a model may have; the published ones have up to 2048. It keeps a
/// broken file from asking for more memory than there is.
const CHANNELS_MAX: usize = 1 << 13;
/// Largest number of problems that a message lists.
const SHOWN: usize = 6;

/// The tensors of a file; none for a method without weights.
pub(super) struct Tensors {
    path: PathBuf,
    found: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    problems: Vec<String>,
}

impl Tensors {
    pub(super) fn none() -> Self {
        Self { path: PathBuf::new(), found: BTreeMap::new(), problems: vec![] }
    }

    /// Reads the weights of `method` from safetensors or a PyTorch file; what its published files
    /// hold beside them is left out.
    pub(super) fn read(path: &Path, method: &Method) -> Result<Self, Error> {
        let file = TensorFile::open(path)?;
        let names = file.names();
        let is_wrapped = file.is_pytorch() && names.iter().any(|name| name.starts_with(OUTER));
        let outer = if is_wrapped { OUTER } else { "" };
        let inside = |name: &String| Some((name.strip_prefix(outer)?.to_owned(), name.clone()));
        let inside: BTreeMap<String, String> = names.iter().filter_map(inside).collect();
        check_method(path, method, &inside)?;
        let (mut found, mut broken) = (BTreeMap::new(), vec![]);
        for (name, stored) in inside {
            if (method.is_beside)(&name) {
                continue;
            }
            let values = file.read(&stored)?;
            broken.extend(NotFinite::count(&stored, &values));
            found.insert(name, (file.shape(&stored).unwrap_or_default(), values));
        }
        if !broken.is_empty() {
            let error = weights::Error::NotFinite { path: path.to_owned(), tensors: broken };
            return Err(error.into());
        }
        Ok(Self { path: path.to_owned(), found, problems: vec![] })
    }

    /// The first dimension of a tensor, a number of channels that the model's sizes follow from; 1
    /// where it is missing, which [`Self::take`] reports.
    pub(super) fn channels(&mut self, name: &str) -> usize {
        let shape = self.found.get(name).map(|(shape, _)| shape);
        match shape.and_then(|shape| shape.first()) {
            None => 1,
            Some(n) if (1..=CHANNELS_MAX).contains(n) => *n,
            Some(n) => {
                self.refuse(format!("{name} has {n} channels, not 1 to {CHANNELS_MAX}"));
                1
            }
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.found.contains_key(name)
    }

    /// The values of a tensor, which must have this shape; zeros where it is missing or has another,
    /// which is noted.
    pub(super) fn take(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        let problem = match self.found.remove(name) {
            Some((found, values)) if found == shape => return values,
            Some((found, _)) => format!("{name} has shape {found:?}, not {shape:?}"),
            None => format!("{name} is missing"),
        };
        self.problems.push(problem);
        vec![0.0; shape.iter().product()]
    }

    /// The value of a scalar.
    pub(super) fn scalar(&mut self, name: &str) -> f32 {
        self.take(name, &[])[0]
    }

    /// Notes that the file cannot be used for this reason.
    pub(super) fn refuse(&mut self, reason: String) {
        self.problems.push(reason);
    }

    /// Ends the reading: an error names what did not fit, and what no one took.
    pub(super) fn finish(mut self, method: &Method) -> Result<(), Error> {
        let left = self.found.into_keys().map(|name| format!("{name} is not expected"));
        self.problems.extend(left);
        if self.problems.is_empty() {
            return Ok(());
        }
        let more = self.problems.len().saturating_sub(SHOWN);
        self.problems.truncate(SHOWN);
        if more > 0 {
            self.problems.push(format!("and {more} more"));
        }
        let problems = self.problems.join("; ");
        Err(Error::Unfit { path: self.path, wanted: method.title, problems })
    }
}

/// Refuses the weights of another method.
fn check_method(
    path: &Path,
    method: &Method,
    names: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let has = |method: &Method| method.mark.is_some_and(|mark| names.contains_key(mark));
    if has(method) {
        return Ok(());
    }
    match METHODS.iter().find(|other| has(other)) {
        Some(other) => Err(Error::OtherMethod {
            path: path.to_owned(),
            found: other.title,
            wanted: method.title,
            name: other.name,
        }),
        // What is missing is said when it is taken.
        None => Ok(()),
    }
}
