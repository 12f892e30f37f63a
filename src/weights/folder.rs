//! Finds the files of a weight folder: one weight file or shards behind an index, and Hugging
//! Face's `config.json` beside them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::Error;
use super::cause::{self, Listing};

/// Usual names of files that hold a model's weights, best first.
pub const FILES: &[&str] =
    &["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"];

/// Names of the files of PEFT's adapters: settings, and weights in two formats.
const ADAPTER: &[&str] = &["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"];

/// The weight file of a folder; a path to a file is returned unchanged. A folder without one is an
/// error that names what it holds instead.
pub fn weight_file(path: &Path) -> Result<PathBuf, Error> {
    if cause::is_absent(path) {
        return Err(Error::Absent { path: path.to_owned(), reason: cause::absent(path) });
    }
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    if let Some(found) = find(path) {
        return Ok(found);
    }
    let reason = if ADAPTER.iter().any(|name| path.join(name).exists()) {
        "the folder holds an adapter, not a backbone".to_owned()
    } else {
        let listing =
            Listing::of(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let instead = listing.instead(path, FILES);
        format!("the folder holds no weights; looked for {}; {instead}", FILES.join(", "))
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

/// The `config.json` of Hugging Face that belongs to `path`: in the folder, or beside a file of a
/// usual name.
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

/// Reads an index file: the shard of each tensor, by the tensor's name.
pub fn weight_map(index: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
    let failed = |reason: String| Error::Format { path: index.to_owned(), reason };
    let bytes =
        fs_err::read(index).map_err(|source| Error::Read { path: index.to_owned(), source })?;
    let Index { weight_map } = serde_json::from_slice(&bytes)
        .map_err(|error| failed(cause::of_json(index, &bytes, &error)))?;
    if weight_map.is_empty() {
        return Err(failed("it is an index that lists no tensors".to_owned()));
    }
    let folder = index.parent().unwrap_or(Path::new("."));
    let place = |(name, shard): (String, String)| {
        let parts: Vec<_> = Path::new(&shard).components().collect();
        match parts.as_slice() {
            [Component::Normal(_)] => Ok((name, folder.join(&shard))),
            _ => Err(failed(format!("its shard `{shard}` is not a file name in its own folder"))),
        }
    };
    weight_map.into_iter().map(place).collect()
}
