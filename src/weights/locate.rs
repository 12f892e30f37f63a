//! Finds weight files: in the weight folders first, then in the usual caches (read only).
//!
//! Called when an experiment is resolved, and by `fetch` and `doctor`.

use std::path::{Path, PathBuf};

use super::{Error, folder};
use crate::model::backbone::Variant;
use crate::model::config::WeightsConfig;

/// Finds the encoder's weight file, or the index of a sharded one; `None` for random weights.
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
            if path.exists() {
                return folder::weight_file(path).map(Some);
            }
            Err(absent(variant.name, path))
        }
        WeightsConfig::Pretrained {} => pretrained(variant, folders, caches).map(Some),
    }
}

/// Finds the folder of `size = "custom"`: all of it counts, `config.json` included.
pub fn locate_custom(path: &Path) -> Result<PathBuf, Error> {
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    if path.exists() {
        let reason = "`size = \"custom\"` needs a folder with a `config.json`, not a file";
        return Err(Error::Unfit { path: path.to_owned(), reason: reason.to_owned() });
    }
    Err(absent("a custom size", path))
}

fn absent(variant: &str, path: &Path) -> Error {
    Error::NotFound {
        variant: variant.to_owned(),
        looked: format!("`{}`", path.display()),
        advice: "check `weights.path` (relative paths start at the current folder)".to_owned(),
    }
}

/// The caches of Torch hub and Hugging Face, from the environment variables as `get` gives them.
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
        Some(file) => format!("get {file} from {} and put it into `{target}`", variant.source),
        None => "no such weights exist: use `weights = { kind = \"random\" }`".to_owned(),
    };
    Err(Error::NotFound { variant: variant.name.to_owned(), looked: looked.join(", "), advice })
}

fn find_in(variant: &Variant, folder: &Path) -> Option<PathBuf> {
    let file = variant.files.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    let hubs = [("facebook", variant.folders), ("timm", variant.timm)];
    let repositories =
        || hubs.into_iter().flat_map(|(owner, names)| names.iter().map(move |name| (owner, *name)));
    file.or_else(|| repositories().find_map(|(_, name)| folder::find(&folder.join(name))))
        .or_else(|| repositories().find_map(|(owner, name)| cached(folder, owner, name)))
}

/// The weights of a repository in Hugging Face's cache: of the revision that `main` was when it was
/// last fetched, else of any revision, sorted.
fn cached(cache: &Path, owner: &str, name: &str) -> Option<PathBuf> {
    let repository = cache.join(format!("models--{owner}--{name}"));
    let snapshots = repository.join("snapshots");
    // A cache that is not there or cannot be read holds nothing for us.
    let main = fs_err::read_to_string(repository.join("refs").join("main")).unwrap_or_default();
    let Ok(entries) = fs_err::read_dir(&snapshots) else { return None };
    let mut folders: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    folders.sort_by_key(|folder| (!folder.ends_with(main.trim()), folder.clone()));
    folders.iter().find_map(|folder| folder::find(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::backbone::variants;

    fn row(name: &str) -> &'static Variant {
        variants().find(|v| v.name == name).unwrap()
    }

    fn touch(path: &Path) -> PathBuf {
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, b"x").unwrap();
        path.to_owned()
    }

    /// Checks that `name` is found where `file` alone exists, in a weight folder or a cache.
    fn check(name: &str, file: &str) {
        let temp = tempfile::tempdir().unwrap();
        let folders = [temp.path().to_owned()];
        let found = || locate(row(name), &WeightsConfig::Pretrained {}, (&[], &folders));
        assert!(matches!(found(), Err(Error::NotFound { .. })));
        let path = touch(&temp.path().join(file));
        assert_eq!(found().unwrap(), Some(path), "{name}");
    }

    #[test]
    fn files_and_folders_of_every_hub_are_found() {
        check("dinov2_vits14", "dinov2_vits14_pretrain.pth");
        check("dinov2_vits14_reg", "dinov2-with-registers-small/model.safetensors");
        check("dinov2_vitb14", "dinov2-base/pytorch_model.bin");
        check("dinov3_vit7b16", "dinov3-vit7b16-pretrain-lvd1689m/model.safetensors.index.json");
        check("dinov3_vitl16_sat493m", "dinov3_vitl16_pretrain_sat493m-eadcf0ff.pth");
        check("dinov3_vitb16", "vit_base_patch16_dinov3.lvd1689m/model.safetensors");
        check(
            "dinov3_vitl16_sat493m",
            "models--facebook--dinov3-vitl16-pretrain-sat493m/snapshots/a1/model.safetensors",
        );
        check(
            "dinov2_vitl14_reg",
            "models--timm--vit_large_patch14_reg4_dinov2.lvd142m/snapshots/a1/model.safetensors",
        );
    }

    #[test]
    fn the_snapshot_that_main_names_comes_first() {
        let temp = tempfile::tempdir().unwrap();
        let cache = temp.path().join("models--facebook--dinov2-small");
        let [_, b] = ["a", "b"]
            .map(|commit| touch(&cache.join(format!("snapshots/{commit}/model.safetensors"))));
        fs_err::create_dir_all(cache.join("refs")).unwrap();
        fs_err::write(cache.join("refs/main"), "b\n").unwrap();
        let caches = [temp.path().to_owned()];
        let found = locate(row("dinov2_vits14"), &WeightsConfig::Pretrained {}, (&[], &caches));
        assert_eq!(found.unwrap(), Some(b));
    }

    #[test]
    fn a_folder_given_by_path_is_its_weight_file() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("mine");
        let config = WeightsConfig::File { path: path.clone() };
        let found = || locate(row("dinov2_vits14"), &config, (&[], &[]));
        assert!(found().unwrap_err().to_string().contains("check `weights.path`"));
        let index = touch(&path.join("model.safetensors.index.json"));
        assert_eq!(found().unwrap(), Some(index));
    }
}
