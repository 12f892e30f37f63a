//! Opens what was trained, for predictions of any image: a run's last weights, or an adapter file.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};

use super::adapter::request;
use crate::adapter::{self, AdapterFile};
use crate::data;
use crate::data::dataset::{self, Dataset, EvalSet};
use crate::data::split::Split;
use crate::data::transform::Normal;
use crate::eval::infer::Request;
use crate::eval::{Mode, Tta};
use crate::experiment::{Facts, Order, RunFile, RunSpec, SetFacts};
use crate::fs::{RunDir, read_json};
use crate::model::backbone::{self, Backbone};
use crate::model::vit::Encoder;
use crate::model::{Network, Size, init};
use crate::train::{Normalise, Precision};
use crate::weights;

/// A trained network and the way it predicts.
pub struct Trained {
    /// Without gradients, LoRA merged into the encoder.
    pub network: Network,
    pub request: Request,
    /// Names of the classes by index; empty where the file does not say.
    pub classes: Vec<String>,
    pub n_classes: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read `{path}`: {reason}; the run's folder is damaged")]
    RunFile { path: PathBuf, reason: String },
    #[error("the run in `{dir}` is not fully trained: `sweep run` its experiment first")]
    NotTrained { dir: PathBuf },
    #[error("this program knows no encoder as the run in `{dir}` has it")]
    Unknown { dir: PathBuf },
    #[error("the run was trained in {0}, which this device cannot compute in: choose another one")]
    Precision(Precision),
    #[error(transparent)]
    Weights(#[from] weights::Error),
    #[error(transparent)]
    Adapter(#[from] adapter::Error),
}

impl Trained {
    /// The last weights of the run in `dir`, as scores use them, and its own protocol.
    pub fn of_run(dir: &RunDir, device: &Device) -> Result<Self, Error> {
        let (file, order) = files_of(dir)?;
        let spec = &file.spec;
        let unknown = || Error::Unknown { dir: dir.root().to_owned() };
        let backbone = backbone_of(spec, &order.facts)?.ok_or_else(unknown)?;
        let encoder = encoder_of(spec, &order.facts, &backbone, device)?;
        let mut network = AdapterFile::open(&dir.adapter())?.build(encoder)?;
        let dtype = spec.train.precision.dtype();
        if !device.supports_dtype(DType::from(dtype)) {
            return Err(Error::Precision(spec.train.precision));
        }
        network.compute_in(dtype);
        let request = Request {
            mode: spec.eval.mode,
            tta: spec.eval.tta.clone(),
            input_px: file.input_px,
            patch_px: backbone.arch.patch as u32,
            normal: match spec.train.normalise {
                Normalise::Backbone => Normal { mean: backbone.mean, std: backbone.std },
                Normalise::None => Normal::NONE,
            },
        };
        let n_classes = file.n_classes as usize;
        Ok(Self { network: network.merged(), request, classes: file.classes, n_classes })
    }

    /// The network of an adapter file on the encoder whose weights are at `weights`; one plain view
    /// at the adapter's own input size, where `px` is not another.
    pub fn of_adapter(
        adapter: &Path,
        weights: &Path,
        px: Option<[u32; 2]>,
        device: &Device,
    ) -> Result<Self, Error> {
        let file = AdapterFile::open(adapter)?;
        let found = weights::identify(weights)?;
        let encoder = weights::load(weights, (found.name.as_str(), found.arch), device)?;
        let network = file.build(encoder)?.merged();
        let request = request(&file, &found, px, (Mode::Whole {}, Tta::default()));
        let n_classes = file.about.n_classes.unwrap_or_default();
        let classes = file.about.class_names.unwrap_or_default();
        Ok(Self { network, request, classes, n_classes })
    }
}

/// What the trained run in `dir` is, and the order of its last attempt.
pub fn files_of(dir: &RunDir) -> Result<(RunFile, Order), Error> {
    let not_trained = || Error::NotTrained { dir: dir.root().to_owned() };
    if !dir.adapter().exists() {
        return Err(not_trained());
    }
    let attempts = (1..).take_while(|attempt| dir.order(*attempt).exists());
    let last = attempts.last().ok_or_else(not_trained)?;
    Ok((read(dir.spec())?, read(dir.order(last))?))
}

/// The split of a set to score, of the run's own dataset or of another.
pub fn split_of(set: &SetFacts, own: &Dataset) -> Result<Split, data::Error> {
    match &set.set {
        EvalSet::Own(split) => own.split(split),
        EvalSet::Other { data, split } => dataset::open_at(data, &set.root)?.split(split),
    }
}

/// The encoder that a spec names; a `custom` one is identified from its folder. `None` where there
/// is none such.
pub fn backbone_of(spec: &RunSpec, facts: &Facts) -> Result<Option<Backbone>, weights::Error> {
    if spec.model.size != Size::CUSTOM {
        return Ok(backbone::find(&spec.model).map(Backbone::from));
    }
    let Some(folder) = &facts.weights else { return Ok(None) };
    weights::custom(&spec.model, &folder.path).map(Some)
}

/// The encoder of a run before it is adapted: with the weights of its file, or drawn from its seed.
pub fn encoder_of(
    spec: &RunSpec,
    facts: &Facts,
    backbone: &Backbone,
    device: &Device,
) -> Result<Encoder, weights::Error> {
    if let Some(file) = &facts.weights {
        return weights::load(&file.path, (backbone.name.as_str(), backbone.arch), device);
    }
    let mut encoder = Encoder::zeros(backbone.arch, device);
    init::encoder(&mut encoder, spec.seed);
    Ok(encoder)
}

fn read<T: serde::de::DeserializeOwned>(path: PathBuf) -> Result<T, Error> {
    read_json(&path).map_err(|reason| Error::RunFile { path, reason })
}
