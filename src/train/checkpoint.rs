//! Reads and writes checkpoints: trained parameters, BatchNorm statistics, AdamW's moments and the
//! position in the run, as one safetensors file each; checksummed, written atomically, the last two
//! kept.
//!
//! Called by the training loop, and by workers for the adapter files that they score.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use bytemuck::cast_slice;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::optimizer::{AdamW, Moments};
use crate::adapter::{About, KEY, VERSION};
use crate::fs::hash::sha256_bytes;
use crate::fs::write_atomic;
use crate::id::RunId;
use crate::model::Network;
use crate::weights::{NotFinite, values};

/// Number of checkpoints kept: the newest, and the one to use if that is damaged.
const KEPT: usize = 2;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot write checkpoint `{path}`")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot read checkpoint `{path}`")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("checkpoint `{path}` {reason}")]
    Damaged { path: PathBuf, reason: String },
    /// Values that are not finite were found on writing or on reading.
    #[error(
        "training diverged, as checkpoint `{path}` shows: {}; lower `train.lr` or `train.lr_encoder`",
        NotFinite::listed(tensors)
    )]
    NotFinite { path: PathBuf, tensors: Vec<NotFinite> },
}

/// The position of a run in its training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Optimiser steps done.
    pub step: u64,
    /// Epoch under way, from 1.
    pub epoch: u32,
    /// Number of batches of that epoch done.
    pub batch: usize,
    /// Sum of the losses of those batches.
    pub loss_sum: f64,
    /// Best mIoU on `dev` so far, and the step it was reached at.
    pub best: Option<(f64, u64)>,
    /// Attempt, and length of its journal in bytes, when this was written.
    pub journal: (u32, u64),
}

/// The JSON in a file's metadata. Version 2 adds `about`, which [`crate::adapter`] reads.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    run: RunId,
    step: u64,
    /// Position in the run; absent in adapter files.
    position: Option<Position>,
    adam_time: usize,
    /// The parts of an adapter's network; absent in checkpoints, and before version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    about: Option<About>,
}

/// The name and checksum of a file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// File name, without folder.
    pub name: String,
    pub sha256: String,
    pub bytes: u64,
}

/// The identity of an adapter file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    pub sha256: String,
    /// Number of optimiser steps it was trained for.
    pub step: u64,
}

impl Position {
    pub fn start() -> Self {
        Self { step: 0, epoch: 1, batch: 0, loss_sum: 0.0, best: None, journal: (0, 0) }
    }
}

/// Writes `step-NNNNNNNN.safetensors` and its checksum into `dir`, then drops older ones.
pub fn save(
    dir: &Path,
    run: &RunId,
    (network, optimizer): (&mut Network, &AdamW),
    position: &Position,
) -> Result<Saved, Error> {
    let (moments, adam_time) = optimizer.state();
    let header = Header {
        version: VERSION,
        run: run.clone(),
        step: position.step,
        position: Some(position.clone()),
        adam_time,
        about: None,
    };
    let path = dir.join(format!("step-{:08}.safetensors", position.step));
    let saved = write(&path, &encode(&path, network, moments, &header)?)?;
    for old in list(dir)?.iter().skip(KEPT) {
        remove(old)?;
    }
    Ok(saved)
}

/// Writes the trained parameters and statistics alone, which scoring needs and users take away.
///
/// `step` is the number of optimiser steps it was trained for; `about` describes the network, so
/// that the file can be used elsewhere.
pub fn save_adapter(
    path: &Path,
    (run, step): (&RunId, u64),
    about: &About,
    network: &mut Network,
) -> Result<Saved, Error> {
    let header = Header {
        version: VERSION,
        run: run.clone(),
        step,
        position: None,
        adam_time: 0,
        about: Some(about.clone()),
    };
    write(path, &encode(path, network, BTreeMap::new(), &header)?)
}

/// Checkpoints in `dir`, newest first.
pub fn list(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = |source| Error::Read { path: dir.to_owned(), source };
    if !dir.exists() {
        return Ok(vec![]);
    }
    let mut files = vec![];
    for entry in fs_err::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("step-") && name.ends_with(".safetensors") {
            files.push(path);
        }
    }
    files.sort();
    files.reverse();
    Ok(files)
}

/// Restores network and optimiser from a checkpoint of the same run.
///
/// Nothing is changed unless the whole file is sound and every tensor is accounted for.
pub fn load(
    path: &Path,
    run: &RunId,
    network: &mut Network,
    optimizer: &mut AdamW,
) -> Result<Position, Error> {
    let bytes = read_checked(path)?;
    let (header, mut params, mut moments) = decode(path, &bytes)?;
    check_run(path, run, &header)?;
    let position = header.position.ok_or_else(|| damaged(path, "has no position"))?;
    apply(path, &mut params, network)?;
    let mut restored = BTreeMap::new();
    for (name, first) in std::mem::take(&mut moments.0) {
        let second = moments
            .1
            .remove(&name)
            .ok_or_else(|| damaged(path, &format!("lacks the second moment of {name}")))?;
        restored.insert(name, Moments { first, second });
    }
    optimizer.restore(restored, header.adam_time, &network.device());
    Ok(position)
}

/// Restores a network from an adapter file of the same run.
pub fn load_adapter(path: &Path, run: &RunId, network: &mut Network) -> Result<Adapter, Error> {
    let bytes = read_checked(path)?;
    let (header, mut params, _) = decode(path, &bytes)?;
    check_run(path, run, &header)?;
    apply(path, &mut params, network)?;
    Ok(Adapter { sha256: sha256_bytes(&bytes), step: header.step })
}

fn check_run(path: &Path, run: &RunId, header: &Header) -> Result<(), Error> {
    if header.version > VERSION {
        let reason = format!("was written by a newer sweep (version {})", header.version);
        return Err(damaged(path, &reason));
    }
    if header.run != *run {
        return Err(damaged(path, &format!("belongs to run {}, not to {run}", header.run)));
    }
    Ok(())
}

fn damaged(path: &Path, reason: &str) -> Error {
    Error::Damaged { path: path.to_owned(), reason: reason.to_owned() }
}

fn checksum_path(path: &Path) -> PathBuf {
    path.with_extension("sha256")
}

fn write(path: &Path, bytes: &[u8]) -> Result<Saved, Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let sha256 = sha256_bytes(bytes);
    // The checksum goes first: a file without one, or with an older one, is never trusted.
    write_atomic(&checksum_path(path), format!("{sha256}\n").as_bytes()).map_err(failed)?;
    write_atomic(path, bytes).map_err(failed)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Saved { name, sha256, bytes: bytes.len() as u64 })
}

fn remove(path: &Path) -> Result<(), Error> {
    for path in [path.to_owned(), checksum_path(path)] {
        match fs_err::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::Write { path, source });
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_checked(path: &Path) -> Result<Vec<u8>, Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let bytes = fs_err::read(path).map_err(read)?;
    let sum = fs_err::read_to_string(checksum_path(path)).map_err(read)?;
    if sum.trim() != sha256_bytes(&bytes) {
        return Err(damaged(path, "does not match its checksum: damaged or cut short"));
    }
    Ok(bytes)
}

/// Encodes the changed tensors of `network` (file layout) and the moments as safetensors bytes for
/// `path`. Values that are not finite are an error: no run could use such a file.
fn encode(
    path: &Path,
    network: &mut Network,
    moments: BTreeMap<String, Moments>,
    header: &Header,
) -> Result<Vec<u8>, Error> {
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = vec![];
    network.each_changed(&mut |name, slot| {
        tensors.push((format!("param.{name}"), slot.file_shape(), slot.to_file()));
    });
    for (name, moments) in moments {
        let n = moments.first.len();
        tensors.push((format!("moment_1.{name}"), vec![n], moments.first));
        tensors.push((format!("moment_2.{name}"), vec![n], moments.second));
    }
    check_finite(path, tensors.iter().map(|(name, _, values)| (name.as_str(), values.as_slice())))?;
    let views = tensors.iter().map(|(name, shape, values)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), cast_slice(values))
            .expect("shapes are the tensors' own");
        (name.as_str(), view)
    });
    let text = serde_json::to_string(header).expect("a header of plain values serialises");
    let metadata = HashMap::from([(KEY.to_owned(), text)]);
    Ok(safetensors::serialize(views, Some(metadata)).expect("names are unique"))
}

fn check_finite<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (&'a str, &'a [f32])>,
) -> Result<(), Error> {
    let tensors: Vec<_> =
        tensors.filter_map(|(name, values)| NotFinite::count(name, values)).collect();
    if tensors.is_empty() {
        return Ok(());
    }
    Err(Error::NotFinite { path: path.to_owned(), tensors })
}

type Named = BTreeMap<String, Vec<f32>>;

/// Decodes header, parameters and (first, second) moments of a file.
fn decode(path: &Path, bytes: &[u8]) -> Result<(Header, Named, (Named, Named)), Error> {
    let broken = |what: &dyn std::fmt::Display| damaged(path, &format!("is broken: {what}"));
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| broken(&e))?;
    let text = metadata.metadata().as_ref().and_then(|map| map.get(KEY));
    let text = text.ok_or_else(|| damaged(path, "was not written by sweep"))?;
    let header: Header = serde_json::from_str(text).map_err(|e| broken(&e))?;
    let (mut params, mut first, mut second) = (Named::new(), Named::new(), Named::new());
    let mut not_finite = vec![];
    for (name, view) in SafeTensors::deserialize(bytes).map_err(|e| broken(&e))?.tensors() {
        let dtype = format!("{:?}", view.dtype()).to_lowercase();
        let values = values::decode(&dtype, view.data())
            .map_err(|reason| broken(&format!("tensor {name} {reason}")))?;
        not_finite.extend(NotFinite::count(&name, &values));
        let (kind, name) =
            name.split_once('.').ok_or_else(|| broken(&format!("unexpected tensor {name}")))?;
        let target = match kind {
            "param" => &mut params,
            "moment_1" => &mut first,
            "moment_2" => &mut second,
            _ => return Err(broken(&format!("unexpected tensor {kind}.{name}"))),
        };
        target.insert(name.to_owned(), values);
    }
    if !not_finite.is_empty() {
        return Err(Error::NotFinite { path: path.to_owned(), tensors: not_finite });
    }
    Ok((header, params, (first, second)))
}

/// Sets every changed tensor of `network`; all of them, and nothing else, must be in `params`.
fn apply(path: &Path, params: &mut Named, network: &mut Network) -> Result<(), Error> {
    let mut problems = vec![];
    network.each_changed(&mut |name, slot| match params.get(name) {
        None => problems.push(format!("lacks {name}")),
        Some(values) if values.len() != slot.n_elements() => problems.push(format!(
            "has {} values for {name}, which has {}",
            values.len(),
            slot.n_elements()
        )),
        Some(_) => {}
    });
    let mut known = std::collections::BTreeSet::new();
    network.each_changed(&mut |name, _| {
        known.insert(name.to_owned());
    });
    problems.extend(
        params
            .keys()
            .filter(|name| !known.contains(*name))
            .map(|name| format!("has {name}, which this model lacks")),
    );
    if !problems.is_empty() {
        return Err(damaged(path, &problems.join("; ")));
    }
    let device = network.device();
    network.each_changed(&mut |name, mut slot| {
        let trained = slot.is_trained();
        let values = params.remove(name).expect("checked above");
        slot.set_from_file(values, &device);
        if trained {
            slot.train();
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests;
