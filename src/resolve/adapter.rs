//! Finds what scoring an adapter file takes: its encoder, the sets, conditions and protocol.
//!
//! `sweep eval --adapter` calls [`scoring`] with the opened file and the request; data and weights
//! are found and compared with the file before anything is computed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sets::refuse_other_classes;
use crate::adapter::{AdapterFile, Kind};
use crate::corrupt::frost::{self, Source};
use crate::corrupt::{self, Corruption, Corruptor, Severity};
use crate::data;
use crate::data::dataset::{self, Dataset, EvalSet};
use crate::data::split::Split;
use crate::data::transform::Normal;
use crate::eval::infer::Request;
use crate::eval::score::pass::Protocol;
use crate::eval::score::reference_metric::VoidIs;
use crate::eval::{Mode, Tta};
use crate::event::Condition;
use crate::experiment::RunSpec;
use crate::host;
use crate::weights::{self, Identified};

/// Input and batch size of the reference project's adapters, which its files do not state: its
/// code's default input, and the batch over which its metric is averaged.
const REFERENCE_PX: u32 = 490;
const REFERENCE_BATCH: u32 = 12;
/// Side of the input, in patches, where neither the file nor the user gives it.
const INPUT_TOKENS: u32 = 37;

/// The request: the adapter to score, and the settings.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub adapter: &'a AdapterFile,
    /// Weights of its encoder: a file or a folder.
    pub weights: &'a Path,
    /// Height and width of the input, where it is not the adapter's own.
    pub px: Option<[u32; 2]>,
    /// Spec whose keys `data` and `eval` are used.
    pub spec: &'a RunSpec,
    pub data_dirs: &'a [PathBuf],
}

/// All that the scores are made from.
#[derive(Debug)]
pub struct Scoring {
    pub encoder: Identified,
    pub protocol: Protocol,
    pub sets: Vec<Set>,
    /// Clean, then each corruption of the suite at each level.
    pub conditions: Vec<Sight>,
}

/// A set to score.
#[derive(Debug)]
pub struct Set {
    /// Dataset and split, e.g. `voc/val`.
    pub name: String,
    pub split: Arc<Split>,
}

/// A condition to score under, with the corruptor that makes it from clean images.
#[derive(Debug)]
pub struct Sight {
    pub condition: Condition,
    pub corruptor: Option<Corruptor>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{}` has no decoder: nothing can be scored", path.display())]
    NoDecoder { path: PathBuf },
    #[error(
        "`{}` has {n_adapter} classes, but the dataset `{}` has {n_dataset}: choose another \
         dataset with --set data.kind=… and --set data.root=…",
        path.display(), root.display()
    )]
    OtherClasses { path: PathBuf, n_adapter: usize, root: PathBuf, n_dataset: usize },
    #[error("{0}")]
    OtherSet(String),
    #[error(transparent)]
    Data(#[from] data::Error),
    #[error(transparent)]
    Weights(#[from] weights::Error),
}

impl Error {
    /// Whether the request is at fault, and not this machine.
    pub fn is_of_the_request(&self) -> bool {
        match self {
            Self::NoDecoder { .. } | Self::OtherClasses { .. } | Self::OtherSet(_) => true,
            Self::Data(_) | Self::Weights(_) => false,
        }
    }
}

/// Finds all that scoring an adapter takes, or says what is missing or does not fit.
pub fn scoring(asked: Asked<'_>) -> Result<Scoring, Error> {
    let Asked { adapter, weights, spec, data_dirs, .. } = asked;
    let path = || adapter.path.clone();
    let Some(n_adapter) = adapter.about.n_classes.filter(|_| adapter.decoder().is_some()) else {
        return Err(Error::NoDecoder { path: path() });
    };
    let own = dataset::open(&spec.data, data_dirs)?;
    let n_dataset = own.n_classes() as usize;
    if n_dataset != n_adapter {
        return Err(Error::OtherClasses { path: path(), n_adapter, root: own.root, n_dataset });
    }
    let encoder = weights::identify(weights)?;
    let protocol = protocol(asked, &encoder);
    let sets = spec.eval.sets.iter().map(|set| open(set, &own, data_dirs));
    let sets = sets.collect::<Result<_, _>>()?;
    Ok(Scoring { encoder, protocol, sets, conditions: conditions(spec, data_dirs)? })
}

/// Opens a set to score; its classes must be those of `own`, the adapter's dataset.
fn open(set: &EvalSet, own: &Dataset, data_dirs: &[PathBuf]) -> Result<Set, Error> {
    let dataset = match set {
        EvalSet::Own(_) => own.clone(),
        EvalSet::Other { data, .. } => {
            let dataset = dataset::open(data, data_dirs)?;
            refuse_other_classes(own, &dataset).map_err(Error::OtherSet)?;
            dataset
        }
    };
    let split = Arc::new(dataset.split(set.split())?);
    Ok(Set { name: format!("{}/{}", dataset.name, set.split()), split })
}

fn conditions(spec: &RunSpec, data_dirs: &[PathBuf]) -> Result<Vec<Sight>, Error> {
    let mut all = vec![Sight { condition: Condition::Clean, corruptor: None }];
    let Some(suite) = corrupt::suite::suite(&spec.eval.corruption.suite) else { return Ok(all) };
    let has_frost = suite.contains(Corruption::Frost);
    let frost = if has_frost { frost::find(data_dirs)? } else { None };
    let source = if frost.is_some() { Source::Originals } else { Source::Procedural };
    for effect in suite.effects(source) {
        for level in spec.eval.corruption.severities.iter().filter_map(|l| Severity::new(*l)) {
            let corruptor = Corruptor::new(effect, level, frost.as_deref())?;
            let condition = Condition::Corrupted { effect: effect.name(), severity: level.get() };
            all.push(Sight { condition, corruptor: Some(corruptor) });
        }
    }
    Ok(all)
}

/// How an adapter on an encoder predicts: at the size that is asked for, else at that of its training,
/// else at the usual one, lowered to whole patches.
pub fn request(
    adapter: &AdapterFile,
    encoder: &Identified,
    px: Option<[u32; 2]>,
    (mode, tta): (Mode, Tta),
) -> Request {
    let patch = encoder.arch.patch as u32;
    let trained = adapter.about.input_px.map(|px| px.map(|side| side as u32));
    let is_reference = adapter.kind == Kind::Reference;
    let default = if is_reference { REFERENCE_PX } else { INPUT_TOKENS * patch };
    let px = px.or(trained).unwrap_or([default; 2]);
    let own = Normal { mean: encoder.mean, std: encoder.std };
    Request {
        mode,
        tta,
        input_px: px.map(|side| (side / patch).max(1) * patch),
        patch_px: patch,
        normal: adapter.normalise().or(own),
    }
}

fn protocol(asked: Asked<'_>, encoder: &Identified) -> Protocol {
    let Asked { adapter, spec, .. } = asked;
    let is_reference = adapter.kind == Kind::Reference;
    let views = (spec.eval.mode, spec.eval.tta.clone());
    let is_voc = matches!(spec.data, dataset::Config::Voc(_));
    Protocol {
        request: request(adapter, encoder, asked.px, views),
        reference_batch: if is_reference { REFERENCE_BATCH } else { spec.train.batch_size },
        reference_void: if is_reference && is_voc { VoidIs::Background } else { VoidIs::LeftOut },
        threads: host::cores().get() as usize,
    }
}
