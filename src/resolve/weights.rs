//! Finds and hashes the weight files of the cells, and compares them with the released ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Lack;
use crate::error::with_sources;
use crate::experiment::{Machine, RunSpec, WeightsFile};
use crate::fetch;
use crate::fs::{HashCache, ResultsDir};
use crate::model::{self, Size, TuneConfig, WeightsConfig, backbone};
use crate::weights::{self, Error};

pub(super) struct Weights<'a> {
    machine: &'a Machine,
    caches: Vec<PathBuf>,
    hashes: HashCache,
    sha256s: BTreeMap<PathBuf, Result<String, String>>,
    looked_into: BTreeSet<PathBuf>,
}

impl<'a> Weights<'a> {
    pub(super) fn new(machine: &'a Machine, results: &ResultsDir) -> Self {
        Self {
            machine,
            caches: weights::locate::caches(|name| std::env::var(name).ok()),
            hashes: HashCache::open(results.experiments().join("hashes.json")),
            sha256s: BTreeMap::new(),
            looked_into: BTreeSet::new(),
        }
    }

    /// The weight file of a spec; `None` for random weights.
    pub(super) fn find(&mut self, spec: &RunSpec) -> Result<Option<WeightsFile>, Lack> {
        if spec.weights == (WeightsConfig::Random {}) {
            return Ok(None);
        }
        let text = |error: Error| with_sources(&error);
        if let (Size::CUSTOM, WeightsConfig::File { path }) = (spec.model.size, &spec.weights) {
            let path = weights::locate::locate_custom(path).map_err(text)?;
            let custom = weights::custom(&spec.model, &path).map_err(text)?;
            if let TuneConfig::Lora(lora) = &spec.tune {
                lora.check((&custom.name, &custom.arch))?;
            }
            spec.decoder.check_depth(custom.arch.depth)?;
            return Ok(self.hashed(&path).map(Some)?);
        }
        let variant =
            backbone::find(&spec.model).ok_or_else(|| "there is no such backbone".to_owned())?;
        let folders = (self.machine.weight_dirs.as_slice(), self.caches.as_slice());
        let found = weights::locate(variant, &spec.weights, folders);
        let found = found.map_err(|error| lack(&error, variant, &spec.weights))?;
        let Some(path) = found else { return Ok(None) };
        let file = self.hashed(&path)?;
        if matches!(spec.weights, WeightsConfig::File { .. }) {
            self.note_other_images(&file.path, spec.model);
        }
        if spec.weights == (WeightsConfig::Pretrained {}) {
            weights::check_release(variant, &path, &file.sha256).map_err(text)?;
        }
        Ok(Some(file))
    }

    /// Warns, once per file, if its weights were pretrained on other images than the spec says:
    /// these are normalised by another mean, which no shape shows.
    fn note_other_images(&mut self, path: &Path, model: model::Config) {
        if !self.looked_into.insert(path.to_owned()) {
            return;
        }
        // A file that cannot be read is reported when it is loaded.
        let Ok(found) = weights::identify(path) else { return };
        let images = found.variant.map(|variant| (variant.dino_type, variant.pretraining));
        if let Some((dino_type, pretraining)) = images
            && dino_type == model.dino_type
            && pretraining != model.pretraining
        {
            let (file, name) = (path.display(), found.name);
            tracing::warn!("`{file}` seems to be {name}: check `model.pretraining`, which differs");
        }
    }

    fn hashed(&mut self, path: &Path) -> Result<WeightsFile, String> {
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        let sha256 = self.sha256(&path)?;
        Ok(WeightsFile { path, sha256 })
    }

    fn sha256(&mut self, path: &Path) -> Result<String, String> {
        let hashes = &mut self.hashes;
        let take = || {
            weights::digest(path, &mut |file| hashes.sha256(file))
                .map_err(|error| with_sources(&error))
        };
        self.sha256s.entry(path.to_owned()).or_insert_with(take).clone()
    }

    /// Saves the hashes for later invocations.
    pub(super) fn save(&mut self) {
        if let Err(error) = self.hashes.save() {
            // Hashing again only costs time; a folder that cannot be written is reported later.
            tracing::warn!(%error, "cannot write the cache of hashes");
        }
    }
}

fn lack(error: &Error, variant: &'static backbone::Variant, config: &WeightsConfig) -> Lack {
    let is_absent =
        matches!((error, config), (Error::NotFound { .. }, WeightsConfig::Pretrained {}));
    let release = fetch::weights::find(variant.name).filter(|_| is_absent);
    let names = release.map(|release| release.variant.name).into_iter().collect();
    Lack { message: with_sources(error), names }
}
