//! Finds and checks the adapters that training starts from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Lack;
use crate::adapter::AdapterFile;
use crate::error::with_sources;
use crate::experiment::{RunSpec, WeightsFile};
use crate::fs::hash::sha256_file;
use crate::model::backbone;

/// The adapters that were opened, each once.
#[derive(Debug, Default)]
pub(super) struct Adapters(BTreeMap<PathBuf, Result<(AdapterFile, WeightsFile), String>>);

impl Adapters {
    /// The adapter file that a spec names, which fits what the spec trains; `None` where it names
    /// none.
    pub(super) fn find(
        &mut self,
        spec: &RunSpec,
        n_classes: u32,
    ) -> Result<Option<WeightsFile>, Lack> {
        let Some(path) = &spec.init.adapter else { return Ok(None) };
        let opened = self.0.entry(path.clone()).or_insert_with(|| open(path));
        let (adapter, file) = opened.as_ref().map_err(String::clone)?;
        let variant = backbone::find(&spec.model);
        let arch = variant.map(|variant| &variant.arch);
        let trained = (&spec.tune, &spec.decoder, n_classes as usize);
        adapter.check_start(arch, trained).map_err(|error| with_sources(&error))?;
        Ok(Some(file.clone()))
    }
}

fn open(path: &Path) -> Result<(AdapterFile, WeightsFile), String> {
    let adapter = AdapterFile::open(path).map_err(|error| with_sources(&error))?;
    if path.is_dir() {
        return Err(format!("`init.adapter` takes a file, and `{}` is a folder", path.display()));
    }
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    let sha256 = sha256_file(&path).map_err(|error| error.to_string())?;
    Ok((adapter, WeightsFile { path, sha256 }))
}
