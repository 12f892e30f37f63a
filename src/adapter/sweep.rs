//! Our own format: safetensors whose metadata holds, in one key, what the network is made of.
//!
//! Tensors are named `param.<name in a network>`. Files of version 1 do not say what they are made
//! of; they can be used by the run that wrote them only (`train::checkpoint`).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bytemuck::cast_slice;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::{About, AdapterFile, Error, Kind, Stored};
use crate::fs::write_atomic;
use crate::id::RunId;

/// Metadata key; one key only, because the header's order of several is not fixed.
pub(crate) const KEY: &str = "sweep";
pub(crate) const VERSION: u32 = 2;

/// The JSON in a file's metadata. Checkpoints have more in it.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    version: u32,
    /// `None`: converted from another format.
    run: Option<RunId>,
    step: Option<u64>,
    #[serde(default)]
    about: Option<serde_json::Value>,
}

pub(super) fn read(path: &Path) -> Result<AdapterFile, Error> {
    let format = |reason: String| Error::Format { path: path.to_owned(), reason };
    let broken =
        |error: &dyn std::fmt::Display| format(format!("it is broken or cut short: {error}"));
    let bytes =
        fs_err::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| broken(&error))?;
    let text = metadata.metadata().as_ref().and_then(|map| map.get(KEY)).ok_or_else(|| {
        format("it has no metadata of sweep; a PEFT adapter is opened by its folder".to_owned())
    })?;
    let header: Header = serde_json::from_str(text).map_err(|error| broken(&error))?;
    if header.version > VERSION {
        let version = header.version;
        return Err(format(format!("it was written by a newer sweep (version {version})")));
    }
    let about = header.about.ok_or_else(|| {
        format(
            "it does not say what it is made of (training checkpoints and adapters of version 1 \
             do not): it can be used by its own run only"
                .to_owned(),
        )
    })?;
    let about: About = serde_json::from_value(about).map_err(|error| broken(&error))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in SafeTensors::deserialize(&bytes).map_err(|error| broken(&error))?.tensors()
    {
        let ours = name
            .strip_prefix("param.")
            .ok_or_else(|| format(format!("unexpected tensor {name}")))?;
        let stored = stored(&view).map_err(|reason| format(format!("tensor {name} {reason}")))?;
        tensors.insert(ours.to_owned(), stored);
    }
    let path = path.to_owned();
    let (run, step) = (header.run, header.step);
    Ok(AdapterFile { path, kind: Kind::Sweep, about, run, step, tensors })
}

pub(super) fn write(adapter: &AdapterFile, path: &Path) -> Result<Vec<String>, Error> {
    let about = serde_json::to_value(&adapter.about).expect("plain data");
    let (run, step) = (adapter.run.clone(), adapter.step);
    let header = Header { version: VERSION, run, step, about: Some(about) };
    let text = serde_json::to_string(&header).expect("plain data");
    let names: Vec<_> = adapter.tensors.keys().map(|name| format!("param.{name}")).collect();
    let views = names.iter().zip(adapter.tensors.values()).map(|(name, stored)| {
        let view = TensorView::new(Dtype::F32, stored.shape.clone(), cast_slice(&stored.values));
        (name.as_str(), view.expect("shapes are the tensors' own"))
    });
    let metadata = HashMap::from([(KEY.to_owned(), text)]);
    let bytes = safetensors::serialize(views, Some(metadata)).expect("names are unique");
    write_atomic(path, &bytes).map_err(|source| Error::Write { path: path.to_owned(), source })?;
    Ok(vec![])
}

/// A tensor as f32, or what is wrong with it.
pub(super) fn stored(view: &TensorView<'_>) -> Result<Stored, String> {
    let values = match view.dtype() {
        Dtype::F32 => super::torch::f32s(view.data()),
        Dtype::F16 => super::torch::f16s(view.data()),
        Dtype::BF16 => super::torch::bf16s(view.data()),
        other => return Err(format!("is {other:?}; f32, f16 and bf16 can be read")),
    };
    Stored::new(view.shape().to_vec(), values).ok_or_else(|| "has a broken shape".to_owned())
}
