//! What a weight folder holds: one file or shards behind an index, and Hugging Face's
//! `config.json` beside them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::Error;

/// Files that hold a model's weights, by their usual names, best first.
pub const FILES: &[&str] =
    &["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"];

/// PEFT's name of an adapter's weights.
const ADAPTER: &str = "adapter_model.safetensors";

/// The weight file in a folder; a file is itself.
pub fn weight_file(path: &Path) -> Result<PathBuf, Error> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    if let Some(found) = find(path) {
        return Ok(found);
    }
    let reason = if path.join(ADAPTER).exists() {
        "the folder holds an adapter, not a backbone".to_owned()
    } else {
        format!("the folder holds no weights; looked for {}", FILES.join(", "))
    };
    Err(Error::Format { path: path.to_owned(), reason })
}

/// The weight file in a folder, if it has one.
pub fn find(folder: &Path) -> Option<PathBuf> {
    FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

pub fn is_index(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".index.json"))
}

/// Hugging Face's `config.json` that belongs to `path`: in the folder, or beside a file of a usual
/// name.
pub fn config(path: &Path) -> Option<PathBuf> {
    let folder = if path.is_dir() {
        path
    } else {
        let name = path.file_name()?.to_str()?;
        FILES.contains(&name).then_some(path.parent()?)?
    };
    let config = folder.join("config.json");
    config.is_file().then_some(config)
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Tensor name -> shard, of an index file.
pub fn weight_map(index: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
    let failed = |reason: String| Error::Format { path: index.to_owned(), reason };
    let bytes =
        fs_err::read(index).map_err(|source| Error::Read { path: index.to_owned(), source })?;
    let Index { weight_map } = serde_json::from_slice(&bytes)
        .map_err(|error| failed(format!("a broken index, or cut short: {error}")))?;
    if weight_map.is_empty() {
        return Err(failed("an index without tensors".to_owned()));
    }
    let folder = index.parent().unwrap_or(Path::new("."));
    let place = |(name, shard): (String, String)| {
        let parts: Vec<_> = Path::new(&shard).components().collect();
        match parts.as_slice() {
            [Component::Normal(_)] => Ok((name, folder.join(&shard))),
            _ => Err(failed(format!("`{shard}` is no file of its own folder"))),
        }
    };
    weight_map.into_iter().map(place).collect()
}
