//! Adapter files: the weights that training adds to an encoder, in our own format, the reference
//! project's and PEFT's. One reader and one check for all, a writer for each.
//!
//! The verbs that take `--adapter`, and `sweep adapter`, call it with a path; it returns the file
//! in memory, an adapted encoder, a network, or the same adapter in another format. Every tensor of
//! a file is accounted for and finite, and no code of a file is run.

mod stored;
mod torch;
mod sweep;
mod reference;
mod peft;
mod encoder_info;
mod check;
mod file;
mod start;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::transform::Normal;
use crate::id::RunId;
use crate::model::DecoderConfig;
use crate::model::config::{DinoType, TuneConfig};
use crate::weights::{self, NotFinite};
use stored::Tensors;
pub(crate) use sweep::{KEY, VERSION};

/// An adapter file in memory.
#[derive(Debug, Clone)]
pub struct AdapterFile {
    pub path: PathBuf,
    pub kind: Kind,
    pub about: About,
    /// The run that made the adapter, and the optimiser steps it was trained for; `None` where the
    /// file does not say.
    pub run: Option<RunId>,
    pub step: Option<u64>,
    tensors: Tensors,
}

/// The formats of adapter files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Safetensors as `sweep` writes them.
    Sweep,
    /// The `.pt` file of RobvanGastel/dinov2-finetune.
    Reference,
    /// A folder as Hugging Face's PEFT writes it.
    Peft,
}

/// The parts of a network: enough to build it elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Version of the `sweep` that wrote the file.
    pub sweep: Option<String>,
    pub encoder: EncoderInfo,
    pub tune: TuneConfig,
    /// The decoder; `None` where the file holds none.
    pub decoder: Option<DecoderConfig>,
    pub n_classes: Option<usize>,
    pub class_names: Option<Vec<String>>,
    /// Height and width of the input it was trained at.
    pub input_px: Option<[usize; 2]>,
    pub normalise: Normalise,
}

/// The encoder that an adapter belongs to, as far as its file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderInfo {
    /// Official name, e.g. `dinov2_vits14_reg`.
    pub name: Option<String>,
    pub dino_type: Option<DinoType>,
    pub patch: Option<usize>,
    pub dim: Option<usize>,
    pub depth: Option<usize>,
    pub heads: Option<usize>,
    /// Inner width of the feed-forward network.
    pub hidden: Option<usize>,
    pub registers: Option<usize>,
    pub weights_sha256: Option<String>,
}

/// The normalisation that images go through before the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Normalise {
    /// Unknown: the file does not say.
    Unknown {},
    /// None: values in 0 to 1 go in as they are, as in the reference project.
    None {},
    MeanStd {
        mean: [f32; 3],
        std: [f32; 3],
    },
}

impl Normalise {
    /// The mean and standard deviation; `other` where they are unknown.
    pub fn or(self, other: Normal) -> Normal {
        match self {
            Self::Unknown {} => other,
            Self::None {} => Normal::NONE,
            Self::MeanStd { mean, std } => Normal { mean, std },
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read adapter `{path}`")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot read adapter `{path}`: {reason}")]
    Absent { path: PathBuf, reason: String },
    #[error("cannot write adapter `{path}`")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("`{path}` is not an adapter file: {reason}")]
    Format { path: PathBuf, reason: String },
    #[error(
        "adapter `{path}` is damaged, or was saved by a training that diverged: {}",
        NotFinite::listed(tensors)
    )]
    NotFinite { path: PathBuf, tensors: Vec<NotFinite> },
    /// The file is for another encoder, or is not what its description says.
    #[error("adapter `{path}` {reason}")]
    Misfit { path: PathBuf, reason: String },
    #[error("{format} cannot hold adapter `{path}`: {reason}")]
    Inexpressible { path: PathBuf, format: &'static str, reason: String },
}

impl From<weights::Error> for Error {
    fn from(error: weights::Error) -> Self {
        match error {
            weights::Error::Read { path, source } => Self::Read { path, source },
            weights::Error::Absent { path, reason } => Self::Absent { path, reason },
            weights::Error::NotFinite { path, tensors } => Self::NotFinite { path, tensors },
            weights::Error::Format { path, reason }
            | weights::Error::Unfit { path, reason }
            | weights::Error::Mismatch { path, problems: reason, .. } => {
                Self::Format { path, reason }
            }
            weights::Error::NotFound { looked, advice, .. } => {
                Self::Absent { path: looked.into(), reason: advice }
            }
            weights::Error::Checksum { path, expected, found } => {
                let reason = format!("its sha256 is {found}, it should begin with {expected}");
                Self::Format { path, reason }
            }
        }
    }
}

impl Kind {
    /// The format's name as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sweep => "sweep",
            Self::Reference => "reference",
            Self::Peft => "peft",
        }
    }
}

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod tests;
