//! Finds, opens and fingerprints the datasets of the cells and the sets that runs are scored on,
//! and checks that they fit a run and each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Lack;
use crate::corrupt::{self, Corruption, frost};
use crate::data::Error;
use crate::data::dataset::{self, Dataset, EvalSet};
use crate::error::with_sources;
use crate::experiment::{Machine, RunSpec, SetFacts};
use crate::fetch;
use crate::fetch::dataset::catalog::{ROWS, Row};
use crate::fs::ResultsDir;

/// Number of differences that a message lists.
const LISTED_MAX: usize = 5;

pub(super) struct Sets<'a> {
    machine: &'a Machine,
    fingerprint_cache: PathBuf,
    /// By the JSON of the `data` key.
    datasets: BTreeMap<String, Result<Dataset, Lack>>,
    /// By the JSON of the `data` key and the split.
    fingerprints: BTreeMap<(String, String), Result<String, Lack>>,
    /// Folder of frost's original textures, once it was looked for.
    frost: Option<Result<Option<PathBuf>, Lack>>,
}

impl<'a> Sets<'a> {
    pub(super) fn new(machine: &'a Machine, results: &ResultsDir) -> Self {
        Self {
            machine,
            fingerprint_cache: results.experiments().join("fingerprints.json"),
            datasets: BTreeMap::new(),
            fingerprints: BTreeMap::new(),
            frost: None,
        }
    }

    pub(super) fn dataset(&mut self, config: &dataset::Config) -> Result<Dataset, Lack> {
        let dirs = &self.machine.data_dirs;
        let open = || dataset::open(config, dirs).map_err(|error| lack(&error, config));
        self.datasets.entry(key(config)).or_insert_with(open).clone()
    }

    /// Opens a set that a run on `own` is to be scored on.
    pub(super) fn set(
        &mut self,
        spec: &RunSpec,
        own: &Dataset,
        set: &EvalSet,
    ) -> Result<SetFacts, Lack> {
        let (config, dataset) = match set {
            EvalSet::Own(_) => (&spec.data, own.clone()),
            EvalSet::Other { data, .. } => {
                let dataset = self.dataset(data)?;
                refuse_other_classes(own, &dataset)?;
                (data, dataset)
            }
        };
        let split = set.split();
        let fingerprint = self.fingerprint(config, &dataset, split)?;
        let name = format!("{}/{split}", dataset.name);
        Ok(SetFacts { set: set.clone(), name, root: dataset.root, fingerprint })
    }

    pub(super) fn fingerprint(
        &mut self,
        config: &dataset::Config,
        dataset: &Dataset,
        split: &str,
    ) -> Result<String, Lack> {
        let cache = Some(self.fingerprint_cache.as_path());
        let take = || {
            dataset
                .split(split)
                .and_then(|split| split.fingerprint(cache))
                .map_err(|error| lack(&error, config))
        };
        let key = (key(config), split.to_owned());
        self.fingerprints.entry(key).or_insert_with(take).clone()
    }

    /// The folder of frost's original textures, where the suite has frost and a data folder has it.
    pub(super) fn frost(&mut self, spec: &RunSpec) -> Result<Option<PathBuf>, Lack> {
        let suite = corrupt::suite::suite(&spec.eval.corruption.suite);
        if !suite.is_some_and(|suite| suite.contains(Corruption::Frost)) {
            return Ok(None);
        }
        let dirs = &self.machine.data_dirs;
        let find = || frost::find(dirs).map_err(|error| Lack::from(with_sources(&error)));
        self.frost.get_or_insert_with(find).clone()
    }
}

/// The error in words, and the names for `sweep fetch` of what is missing; none where the spec
/// names the folder, as the user put the data there.
fn lack(error: &Error, config: &dataset::Config) -> Lack {
    let rows = match error {
        _ if config.root().is_some() => Vec::new(),
        Error::MissingDataset { .. } => {
            let row = fetch::dataset::find(config.kind());
            row.into_iter().chain(rows_of_split(config, config.train())).collect()
        }
        Error::MissingSplit { name, .. } => rows_of_split(config, name).collect(),
        _ => Vec::new(),
    };
    Lack { message: with_sources(error), names: rows.iter().map(|row| row.name).collect() }
}

/// Rows of the catalogue that add a split to the dataset, as `sbd` adds `trainaug` to `voc`.
fn rows_of_split<'a>(
    config: &dataset::Config,
    split: &'a str,
) -> impl Iterator<Item = &'static Row> + use<'a> {
    let base = fetch::dataset::find(config.kind()).map(|row| Path::new(row.target));
    ROWS.iter().filter(move |row| {
        let target = Path::new(row.target);
        base.is_some_and(|base| target != base && target.starts_with(base))
            && target.file_stem().is_some_and(|stem| stem == split)
    })
}

pub(super) fn key(config: &dataset::Config) -> String {
    serde_json::to_string(config).expect("a config is plain data")
}

/// Refuses a dataset whose classes differ in name or order: a prediction of class 3 must mean the
/// same in both.
pub(super) fn refuse_other_classes(own: &Dataset, other: &Dataset) -> Result<(), String> {
    if own.classes == other.classes {
        return Ok(());
    }
    let lacks = |a: &Dataset, b: &Dataset| {
        let names: Vec<_> = a.classes.iter().filter(|name| !b.classes.contains(name)).collect();
        let shown: Vec<_> = names.iter().take(LISTED_MAX).map(|name| format!("`{name}`")).collect();
        let more = names.len().saturating_sub(LISTED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!names.is_empty()).then(|| format!("{} has no {}{more}", b.name, shown.join(", ")))
    };
    let mut differences: Vec<String> =
        [lacks(own, other), lacks(other, own)].into_iter().flatten().collect();
    let pairs = own.classes.iter().zip(&other.classes).enumerate();
    if differences.is_empty() {
        let moved = pairs.filter(|(_, (a, b))| a != b).take(LISTED_MAX);
        differences
            .extend(moved.map(|(i, (a, b))| format!("class {i} is `{a}` here, `{b}` there")));
    }
    Err(format!(
        "`{}` ({} classes) cannot be scored by a run on `{}` ({} classes): {}; the class lists must \
         agree by name and order (a `folder` dataset can map its labels)",
        other.name,
        other.classes.len(),
        own.name,
        own.classes.len(),
        differences.join("; ")
    ))
}

/// Leaves out a set that is listed twice; refuses two different ones of one name, as tables know
/// sets by their names.
pub(super) fn distinct(sets: Vec<SetFacts>) -> Result<Vec<SetFacts>, String> {
    let mut kept: Vec<SetFacts> = Vec::new();
    for set in sets {
        match kept.iter().find(|known| known.name == set.name) {
            None => kept.push(set),
            Some(known) if known.fingerprint == set.fingerprint => {}
            Some(known) => {
                return Err(format!(
                    "two sets to score would both be called `{}`: those in `{}` and `{}`; rename \
                     one folder",
                    set.name,
                    known.root.display(),
                    set.root.display()
                ));
            }
        }
    }
    Ok(kept)
}
