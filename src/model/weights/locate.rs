//! Finding weight files: the weight folders first, then the usual caches (read only).

use std::path::{Path, PathBuf};

use super::Error;
use crate::model::backbone::Variant;
use crate::model::config::WeightsConfig;

/// The encoder's weight file; `None` for random weights.
///
/// `caches` are folders of torch hub or Hugging Face; see [`caches`].
pub fn locate(
    variant: &Variant,
    config: &WeightsConfig,
    (folders, caches): (&[PathBuf], &[PathBuf]),
) -> Result<Option<PathBuf>, Error> {
    match config {
        WeightsConfig::Random {} => Ok(None),
        WeightsConfig::File { path } => {
            let file = if path.is_dir() { path.join("model.safetensors") } else { path.clone() };
            if file.is_file() {
                return Ok(Some(file));
            }
            Err(Error::NotFound {
                variant: variant.name.to_owned(),
                looked: format!("`{}`", file.display()),
                advice: "check `weights.path` (relative paths start at the current folder)"
                    .to_owned(),
            })
        }
        WeightsConfig::Pretrained {} => pretrained(variant, folders, caches).map(Some),
    }
}

/// Torch hub's and Hugging Face's caches, from the environment's variables as `get` gives them.
pub fn caches(get: impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let home = get("HOME").map(PathBuf::from);
    let cache = get("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| home.as_ref().map(|home| home.join(".cache")));
    let torch = get("TORCH_HOME")
        .map(PathBuf::from)
        .or_else(|| cache.as_ref().map(|cache| cache.join("torch")));
    let hub = get("HF_HUB_CACHE").map(PathBuf::from).or_else(|| {
        get("HF_HOME")
            .map(PathBuf::from)
            .or_else(|| cache.as_ref().map(|cache| cache.join("huggingface")))
            .map(|home| home.join("hub"))
    });
    torch.map(|torch| torch.join("hub").join("checkpoints")).into_iter().chain(hub).collect()
}

fn pretrained(
    variant: &Variant,
    folders: &[PathBuf],
    caches: &[PathBuf],
) -> Result<PathBuf, Error> {
    let mut all = folders.iter().chain(caches);
    if let Some(found) = all.find_map(|folder| find_in(variant, folder)) {
        return Ok(found);
    }
    let looked: Vec<_> =
        folders.iter().chain(caches).map(|folder| format!("`{}`", folder.display())).collect();
    let target = folders.first().map_or_else(String::new, |f| f.display().to_string());
    let advice = match variant.files.first() {
        Some(file) => format!("put {file} into `{target}`; it is at {}", variant.source),
        None => "no such weights exist: use `weights = { kind = \"random\" }`".to_owned(),
    };
    Err(Error::NotFound { variant: variant.name.to_owned(), looked: looked.join(", "), advice })
}

fn find_in(variant: &Variant, folder: &Path) -> Option<PathBuf> {
    let files = variant.files.iter().map(|name| folder.join(name));
    let folders = variant.folders.iter().flat_map(|name| {
        let plain = folder.join(name).join("model.safetensors");
        let snapshots = folder.join(format!("models--facebook--{name}")).join("snapshots");
        std::iter::once(plain).chain(snapshot_files(&snapshots))
    });
    files.chain(folders).find(|path| path.is_file())
}

/// `model.safetensors` of each snapshot of a Hugging Face cache entry, sorted.
fn snapshot_files(snapshots: &Path) -> Vec<PathBuf> {
    // A cache that is not there or cannot be listed holds nothing for us.
    let Ok(entries) = fs_err::read_dir(snapshots) else { return vec![] };
    let mut files: Vec<_> =
        entries.flatten().map(|entry| entry.path().join("model.safetensors")).collect();
    files.sort();
    files
}
