//! Weight files: where they lie, what is in them, and how their names map to ours.
//!
//! Every tensor of the file and of the encoder is accounted for: what is missing, unexpected or
//! of another shape is an error that names it.

pub mod folder;
pub mod file;
mod maps;
pub mod names;
pub mod hf_config;
pub mod plan;
pub mod identify;
pub mod digest;
pub mod inspect;
pub mod locate;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;

use crate::model::params::{Params, Slot};
use crate::model::vit::{Arch, Encoder};
pub use digest::{check_release, digest};
pub use file::TensorFile;
pub use identify::{Identified, custom, identify};
pub use inspect::{Inspection, inspect};
pub use locate::locate;
pub use names::Naming;
use names::{Named, Source};
use plan::Plan;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read weights `{path}`")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{path}` is no weight file: {reason}")]
    Format { path: PathBuf, reason: String },
    #[error("`{path}` does not fit the spec: {reason}")]
    Unfit { path: PathBuf, reason: String },
    #[error("`{path}` is not {variant}:{problems}")]
    Mismatch { path: PathBuf, variant: String, problems: String },
    #[error("weights of {variant} not found; looked in {looked}; {advice}")]
    NotFound { variant: String, looked: String, advice: String },
    #[error(
        "`{path}` is not the released file: its sha256 is {found}, it should begin with {expected}; \
         fetch it again, or, if it is meant, name it with \
         weights = {{ kind = \"file\", path = \"…\" }}"
    )]
    Checksum { path: PathBuf, expected: String, found: String },
}

/// An encoder of the given architecture with the weights of `path`.
///
/// `path` is an official `.pth`, a safetensors file in official, Hugging Face's or timm's names,
/// the index of a sharded one, or a folder with one of them. One tensor at a time is in memory
/// beside the encoder.
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
    failed.map_or(Ok(encoder), Err)
}

/// Whether [`load`] would find all that it needs; only headers are read.
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

/// Reads sources, a tensor that is taken apart only once.
struct Reader<'a> {
    named: &'a Named,
    shared: BTreeMap<String, Vec<f32>>,
}

impl<'a> Reader<'a> {
    fn new(named: &'a Named) -> Self {
        Self { named, shared: BTreeMap::new() }
    }

    fn read(&mut self, source: &Source) -> Result<Vec<f32>, Error> {
        match source {
            Source::Whole(name) => self.named.read(name),
            Source::AfterZeros(name) => {
                let stored = self.named.read(name)?;
                let shape = self.named.shape(name).unwrap_or_default();
                let mut values = vec![0.0; shape.last().copied().unwrap_or(0)];
                values.extend_from_slice(&stored);
                Ok(values)
            }
            Source::Part { name, index, of } => {
                // The last part is always asked for last, so that nothing stays behind.
                let all = match self.shared.remove(name) {
                    Some(all) => all,
                    None => self.named.read(name)?,
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
}
