//! Finds the folder of a dataset, and checks that it holds what it must.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::data::Error;

/// A dataset that lies in a usual place of the data folders unless `data.root` names another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usual {
    /// The name in messages, such as `VOC`.
    pub(super) title: &'static str,
    /// The usual place, below a data folder.
    pub(super) folder: &'static str,
    /// Folders that it must hold.
    pub(super) parts: &'static [&'static str],
    /// Advice how to get it.
    pub(super) advice: &'static str,
}

impl Usual {
    pub(super) fn find(
        &self,
        root: Option<&Path>,
        data_dirs: &[PathBuf],
    ) -> Result<PathBuf, Error> {
        let candidates = candidates(root, self.folder, data_dirs);
        first_folder(candidates, self.title, self.advice.to_owned())
    }

    /// Refuses a folder that lacks one of the parts.
    pub(super) fn check(&self, root: &Path) -> Result<(), Error> {
        let (dataset, advice) = (self.title, self.advice.to_owned());
        if !root.is_dir() {
            return Err(Error::MissingDataset {
                dataset,
                looked_in: vec![root.to_owned()],
                advice,
            });
        }
        for part in self.parts {
            // What may not be looked at is not missing.
            match fs_err::metadata(root.join(part)) {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        match self.parts.iter().find(|part| !root.join(part).is_dir()) {
            None => Ok(()),
            Some(missing) => {
                let (root, missing) = (root.to_owned(), (*missing).to_owned());
                Err(Error::IncompleteDataset { dataset, root, missing, advice })
            }
        }
    }
}

/// The first of `candidates` that is a folder, or the error that lists them.
pub(super) fn first_folder(
    candidates: Vec<PathBuf>,
    dataset: &'static str,
    advice: String,
) -> Result<PathBuf, Error> {
    match candidates.iter().position(|path| path.is_dir()) {
        Some(index) => Ok(candidates[index].clone()),
        None => Err(match candidates.iter().find(|path| path.exists()) {
            Some(path) => Error::NotAFolder { dataset, path: path.clone(), advice },
            None => Error::MissingDataset { dataset, looked_in: candidates, advice },
        }),
    }
}

/// The candidate places of `root` or, without one, of `default`. A relative `root` is looked for as
/// it stands, then below the data folders.
pub(super) fn candidates(
    root: Option<&Path>,
    default: &str,
    data_dirs: &[PathBuf],
) -> Vec<PathBuf> {
    match root {
        None => data_dirs.iter().map(|dir| dir.join(default)).collect(),
        Some(root) if root.is_absolute() => vec![root.to_owned()],
        Some(root) => std::iter::once(root.to_owned())
            .chain(data_dirs.iter().map(|dir| dir.join(root)))
            .collect(),
    }
}
