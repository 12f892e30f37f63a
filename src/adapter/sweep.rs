//! Our own adapter format: safetensors whose metadata holds, in one key, the parts of the network.
//!
//! Tensors are named `param.<name in a network>`. Files of version 1 do not describe their network,
//! so only the run that wrote them can use them (`train::checkpoint`).

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::stored::{self, Tensors};
use super::{About, AdapterFile, Error, Kind};
use crate::fs::write_atomic;
use crate::id::RunId;
use crate::weights::TensorFile;

/// The metadata key whose value is the file's description, a JSON object.
pub(crate) const KEY: &str = "sweep";
pub(crate) const VERSION: u32 = 2;

/// The JSON of a file's metadata. Checkpoints have more in it.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    version: u32,
    /// The run that made the adapter; `None` where it was converted from another format.
    run: Option<RunId>,
    step: Option<u64>,
    #[serde(default)]
    about: Option<serde_json::Value>,
}

pub(super) fn read(file: &TensorFile) -> Result<AdapterFile, Error> {
    let format = |reason: String| Error::Format { path: file.path().to_owned(), reason };
    let broken = |error: serde_json::Error| format(format!("its metadata cannot be read: {error}"));
    let text = file.metadata().get(KEY).ok_or_else(|| {
        format("it was not written by sweep; to open a PEFT adapter, name its folder".to_owned())
    })?;
    let header: Header = serde_json::from_str(text).map_err(broken)?;
    if header.version > VERSION {
        let version = header.version;
        return Err(format(format!("it was written by a newer sweep (version {version})")));
    }
    let about = header.about.ok_or_else(|| {
        format(
            "it does not describe its network (training checkpoints and adapters of version 1 do \
             not): only the run that wrote it can use it"
                .to_owned(),
        )
    })?;
    let about: About = serde_json::from_value(about).map_err(broken)?;
    let mut tensors = Tensors::new();
    for (name, stored) in stored::read(file)? {
        let ours = name
            .strip_prefix("param.")
            .ok_or_else(|| format(format!("unexpected tensor {name}")))?;
        tensors.insert(ours.to_owned(), stored);
    }
    let path = file.path().to_owned();
    let (run, step) = (header.run, header.step);
    Ok(AdapterFile { path, kind: Kind::Sweep, about, run, step, tensors })
}

pub(super) fn write(adapter: &AdapterFile, path: &Path) -> Result<Vec<String>, Error> {
    let about = serde_json::to_value(&adapter.about).expect("plain data");
    let (run, step) = (adapter.run.clone(), adapter.step);
    let header = Header { version: VERSION, run, step, about: Some(about) };
    let text = serde_json::to_string(&header).expect("plain data");
    let tensors = adapter.tensors.iter().map(|(name, s)| (format!("param.{name}"), s));
    let bytes = stored::to_safetensors(tensors, (KEY, text));
    write_atomic(path, &bytes).map_err(|source| Error::Write { path: path.to_owned(), source })?;
    Ok(vec![])
}
