//! Fills an encoder from a weight file.
//!
//! Called by workers and by the verbs that run an encoder, with a path and the architecture that
//! they expect there; returns the encoder, or an error that lists all that does not fit.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;

use super::names::Named;
use super::plan::Plan;
use super::source::Source;
use super::{Error, NotFinite};
use crate::model::params::{Params, Slot};
use crate::model::vit::{Arch, Encoder};

/// Loads an encoder of the given architecture with the weights of `path`.
///
/// `path` is an official `.pth`, a safetensors file in official, Hugging Face's or timm's names,
/// the index of a sharded one, or a folder with one of them. One tensor at a time is in memory
/// beside the encoder. Every value that the encoder takes is checked: one that is not finite is
/// an error that names its tensor.
pub fn load(path: &Path, (name, arch): (&str, Arch), device: &Device) -> Result<Encoder, Error> {
    let (named, plan) = fitting(path, (name, &arch))?;
    let mut encoder = Encoder::zeros(arch, device);
    let mut reader = Reader::new(&named);
    let mut failed = None;
    encoder.each("", &mut |internal, mut slot: Slot<'_>| {
        let Some(source) = plan.sources.get(internal) else { return };
        if failed.is_some() {
            return;
        }
        match reader.read(source) {
            Ok(values) => slot.set_from_file(values, device),
            Err(error) => failed = Some(error),
        }
    });
    match failed {
        Some(error) => Err(error),
        None if reader.not_finite.is_empty() => Ok(encoder),
        None => {
            let (path, tensors) = (named.file.path().to_owned(), reader.not_finite);
            Err(Error::NotFinite { path, tensors })
        }
    }
}

/// Checks that [`load`] would find all that it needs. Only headers are read: the values are not
/// checked.
pub fn check(path: &Path, (name, arch): (&str, &Arch)) -> Result<(), Error> {
    fitting(path, (name, arch)).map(drop)
}

fn fitting(path: &Path, (name, arch): (&str, &Arch)) -> Result<(Named, Plan), Error> {
    let named = Named::open(path)?;
    let plan = Plan::new(&named, path, arch)?;
    if plan.problems.is_empty() {
        return Ok((named, plan));
    }
    Err(Error::Mismatch {
        path: named.file.path().to_owned(),
        variant: name.to_owned(),
        problems: plan.problems.to_string(),
    })
}

/// The reader of sources: reads a tensor that several of ours are parts of only once, and collects
/// values that are not finite.
pub(super) struct Reader<'a> {
    named: &'a Named,
    shared: BTreeMap<String, Vec<f32>>,
    not_finite: Vec<NotFinite>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(named: &'a Named) -> Self {
        Self { named, shared: BTreeMap::new(), not_finite: vec![] }
    }

    pub(super) fn read(&mut self, source: &Source) -> Result<Vec<f32>, Error> {
        match source {
            Source::Whole(name) => self.stored(name),
            Source::AfterZeros(name) => {
                let stored = self.stored(name)?;
                let shape = self.named.shape(name).unwrap_or_default();
                let mut values = vec![0.0; shape.last().copied().unwrap_or(0)];
                values.extend_from_slice(&stored);
                Ok(values)
            }
            Source::Part { name, index, of } => {
                // The last part is always asked for last, so that nothing stays behind.
                let all = match self.shared.remove(name) {
                    Some(all) => all,
                    None => self.stored(name)?,
                };
                let n = all.len() / of;
                let part = all[index * n..(index + 1) * n].to_vec();
                if index + 1 < *of {
                    self.shared.insert(name.clone(), all);
                }
                Ok(part)
            }
            Source::Default(_) => Ok(vec![]),
        }
    }

    fn stored(&mut self, name: &str) -> Result<Vec<f32>, Error> {
        let values = self.named.read(name)?;
        self.not_finite.extend(NotFinite::count(&self.named.in_file(name), &values));
        Ok(values)
    }
}
