//! Adapter files: what training adds to an encoder, in our own format, the reference project's and
//! PEFT's. One reader for all, a writer for each.
//!
//! Every tensor of a file is accounted for, and no code of a file is run.

mod file;
mod peft;
mod reference;
mod sweep;
mod torch;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::RunId;
use crate::model::DecoderConfig;
use crate::model::config::{DinoType, TuneConfig};
pub(crate) use sweep::{KEY, VERSION};

/// An adapter file that was read; its tensors are in memory.
#[derive(Debug, Clone)]
pub struct AdapterFile {
    pub path: PathBuf,
    pub kind: Kind,
    pub about: About,
    /// The run that made it, and the optimiser steps behind it, where known.
    pub run: Option<RunId>,
    pub step: Option<u64>,
    tensors: Tensors,
}

/// Which format a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Our safetensors.
    Sweep,
    /// RobvanGastel/dinov2-finetune's `.pt`.
    Reference,
    /// A folder of Hugging Face's PEFT.
    Peft,
}

/// What a network was made of: enough to build it elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Version of the program that wrote it.
    pub sweep: Option<String>,
    pub encoder: EncoderInfo,
    pub tune: TuneConfig,
    /// `None`: the file holds no decoder.
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

/// What images go through before the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Normalise {
    /// The file does not say.
    Unknown {},
    /// Values in 0 to 1 as they are: the reference project subtracts no mean.
    None {},
    MeanStd {
        mean: [f32; 3],
        std: [f32; 3],
    },
}

/// Tensors by their names in a [`super::Network`].
type Tensors = BTreeMap<String, Stored>;

/// A tensor in file layout.
#[derive(Debug, Clone, PartialEq)]
struct Stored {
    shape: Vec<usize>,
    values: Vec<f32>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read adapter `{path}`")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write adapter `{path}`")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("`{path}` is no adapter file: {reason}")]
    Format { path: PathBuf, reason: String },
    /// For another encoder.
    #[error("adapter `{path}` {reason}")]
    Misfit { path: PathBuf, reason: String },
    #[error("{format} cannot hold adapter `{path}`: {reason}")]
    Inexpressible { path: PathBuf, format: &'static str, reason: String },
}

impl Kind {
    /// As users call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sweep => "sweep",
            Self::Reference => "reference",
            Self::Peft => "peft",
        }
    }
}

#[cfg(test)]
mod tests;
