//! Weight files: where they lie, what is in them, and how their names map to ours.
//!
//! Every tensor of the file and of the encoder is accounted for: what is missing, unexpected or
//! of another shape is an error that names it.

pub mod file;
pub mod locate;
pub mod names;
pub mod release;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::tensor::Device;

use super::params::Params;
use super::vit::{Arch, Encoder};
pub use file::TensorFile;
pub use locate::locate;
use names::Source;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read weights `{path}`")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{path}` is no weight file: {reason}")]
    Format { path: PathBuf, reason: String },
    #[error("`{path}` is not {variant}:{problems}")]
    Mismatch { path: PathBuf, variant: String, problems: String },
    #[error("weights of {variant} not found; looked in {looked}; {advice}")]
    NotFound { variant: String, looked: String, advice: String },
}

/// An encoder of the given architecture with the weights of `path`.
///
/// `path` is an official `.pth`, a safetensors file in Hugging Face or official names, or a
/// folder with a `model.safetensors`.
pub fn load(path: &Path, (name, arch): (&str, Arch), device: &Device) -> Result<Encoder, Error> {
    let file = TensorFile::open(path)?;
    let naming = names::detect(&file).ok_or_else(|| Error::Format {
        path: file.path().to_owned(),
        reason: format!(
            "its names are neither the official ones nor Hugging Face's (first: {})",
            file.names().into_iter().next().unwrap_or_else(|| "none".to_owned())
        ),
    })?;
    let mut encoder = Encoder::zeros(arch, device);
    let mut problems = Problems::default();
    let mut used = BTreeSet::new();
    let mut failed = None;
    encoder.each("", &mut |internal, mut slot| {
        let Some(source) = naming.source(&file, internal) else {
            problems.missing.push(naming.expected(internal));
            return;
        };
        used.extend(source.names().map(str::to_owned));
        if matches!(source, Source::Default) {
            return;
        }
        let shape = slot.file_shape();
        let found = source.shape(&file);
        let same = found == shape || squeezed(&found) == squeezed(&shape);
        if !same {
            let name = source.names().next().unwrap_or(internal);
            problems.shaped.push(format!("{name} is {found:?}, not {shape:?}"));
            return;
        }
        match source.read(&file) {
            Ok(values) => slot.set_from_file(values, device),
            Err(error) => failed = failed.take().or(Some(error)),
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    problems.unexpected =
        file.names().into_iter().filter(|n| !used.contains(n) && !names::is_unused(n)).collect();
    if problems.is_empty() {
        return Ok(encoder);
    }
    Err(Error::Mismatch {
        path: file.path().to_owned(),
        variant: name.to_owned(),
        problems: problems.to_string(),
    })
}

fn squeezed(shape: &[usize]) -> Vec<usize> {
    shape.iter().copied().filter(|n| *n != 1).collect()
}

#[derive(Debug, Default)]
struct Problems {
    missing: Vec<String>,
    unexpected: Vec<String>,
    shaped: Vec<String>,
}

impl Problems {
    fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.shaped.is_empty()
    }
}

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 8;
        for (what, names) in [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("of another shape", &self.shaped),
        ] {
            if names.is_empty() {
                continue;
            }
            write!(f, " {} {what} ({}", names.len(), names[..names.len().min(SHOWN)].join(", "))?;
            f.write_str(if names.len() > SHOWN { ", …);" } else { ");" })?;
        }
        Ok(())
    }
}
