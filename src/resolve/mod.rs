//! Everything that planning must know of the world: datasets, weights, ids, score requests.

mod fit;
mod sets;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::corrupt::frost::{self, Source};
use crate::corrupt::{self, Corruption, Effect};
use crate::data::dataset::{self, Dataset, EvalSet};
use crate::event;
use crate::event::{Planned, PlannedCell, PlannedScore};
use crate::experiment::{
    self, Cell, Experiment, Facts, Machine, RunFile, RunSpec, ScoreRequest, SetFacts, SuiteRef,
    WeightsFile,
};
use crate::fs::{HashCache, ResultsDir};
use crate::id::RunId;
use crate::model::{self, Size, TuneConfig, WeightsConfig, backbone};
use crate::plan::{self, Wanted};
use crate::schedule::Job;
use crate::train::run::with_sources;
use crate::weights;

pub use fit::check_weights;

/// Cells named in one complaint; the others are counted.
const CELLS_NAMED: usize = 3;

/// A cell with all that its run and scores are known by.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub cell: Cell,
    pub facts: Facts,
    pub run: RunId,
    pub identity: Value,
    pub requests: Vec<ScoreRequest>,
}

/// What is missing or unreadable, each with the cells that need it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", listed(.0))]
pub struct Missing(Vec<Complaint>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Complaint {
    message: String,
    /// Index and title.
    cells: Vec<(u32, String)>,
}

/// Opens and fingerprints what the cells need, each thing once; all that is missing is reported.
pub fn prepare(
    experiment: &Experiment,
    machine: &Machine,
    results: &ResultsDir,
) -> Result<Vec<Prepared>, Missing> {
    let mut world = World::new(machine, results);
    let mut prepared = Vec::new();
    let mut complaints: Vec<Complaint> = Vec::new();
    for cell in &experiment.cells {
        match world.facts(&cell.spec) {
            Ok(facts) => prepared.push(one(cell, facts)),
            Err(messages) => {
                let named = (cell.index, event::title(&cell.labels));
                for message in messages {
                    complain(&mut complaints, message, named.clone());
                }
            }
        }
    }
    if let Err(error) = world.hashes.save() {
        // It only costs time to hash again; a folder that cannot be written is met later.
        tracing::warn!(%error, "cannot write the cache of hashes");
    }
    if complaints.is_empty() { Ok(prepared) } else { Err(Missing(complaints)) }
}

fn one(cell: &Cell, facts: Facts) -> Prepared {
    let identity = experiment::run_identity(&cell.spec, &facts);
    let run = RunId::of(&identity);
    let suite = suite(&cell.spec, &facts);
    let requests = experiment::score_requests(&cell.spec, &facts, &run, suite.as_ref());
    Prepared { cell: cell.clone(), facts, run, identity, requests }
}

/// The suite of a spec; `None` for clean images only.
fn suite(spec: &RunSpec, facts: &Facts) -> Option<SuiteRef> {
    let suite = corrupt::suite::suite(&spec.eval.corruption.suite)?;
    let source = if facts.frost.is_some() { Source::Originals } else { Source::Procedural };
    let corruptions = suite.effects(source).into_iter().map(Effect::name).collect();
    Some(SuiteRef { label: suite.label(), corruptions })
}

/// What was looked up already.
struct World<'a> {
    machine: &'a Machine,
    caches: Vec<PathBuf>,
    fingerprint_cache: PathBuf,
    hashes: HashCache,
    /// By the JSON of the `data` key.
    datasets: BTreeMap<String, Result<Dataset, String>>,
    /// By the JSON of the `data` key and the split.
    fingerprints: BTreeMap<(String, String), Result<String, String>>,
    sha256s: BTreeMap<PathBuf, Result<String, String>>,
    looked_into: BTreeSet<PathBuf>,
    /// Folder of frost's original textures, once it was looked for.
    frost: Option<Result<Option<PathBuf>, String>>,
}

impl<'a> World<'a> {
    fn new(machine: &'a Machine, results: &ResultsDir) -> Self {
        Self {
            machine,
            caches: weights::locate::caches(|name| std::env::var(name).ok()),
            fingerprint_cache: results.experiments().join("fingerprints.json"),
            hashes: HashCache::open(results.experiments().join("hashes.json")),
            datasets: BTreeMap::new(),
            fingerprints: BTreeMap::new(),
            sha256s: BTreeMap::new(),
            looked_into: BTreeSet::new(),
            frost: None,
        }
    }

    fn facts(&mut self, spec: &RunSpec) -> Result<Facts, BTreeSet<String>> {
        let mut problems = BTreeSet::new();
        let weights = keep(self.weights(spec), &mut problems).flatten();
        let frost = keep(self.frost(spec), &mut problems).flatten();
        let dataset = keep(self.dataset(&spec.data), &mut problems);
        let Some(dataset) = dataset else { return Err(problems) };
        let train = self.fingerprint(&spec.data, &dataset, &dataset.train);
        let train = keep(train, &mut problems);
        let mut found = Vec::new();
        for set in &spec.eval.sets {
            found.extend(keep(self.set(spec, &dataset, set), &mut problems));
        }
        let sets = keep(sets::distinct(found), &mut problems);
        match (train, sets) {
            (Some(train_fingerprint), Some(sets)) if problems.is_empty() => Ok(Facts {
                data_root: dataset.root.clone(),
                n_classes: dataset.n_classes(),
                classes: dataset.classes.clone(),
                train_fingerprint,
                sets,
                weights,
                input_px: experiment::input_px(spec),
                frost,
            }),
            _ => Err(problems),
        }
    }

    fn dataset(&mut self, config: &dataset::Config) -> Result<Dataset, String> {
        let dirs = &self.machine.data_dirs;
        let open = || dataset::open(config, dirs).map_err(|error| with_sources(&error));
        self.datasets.entry(key(config)).or_insert_with(open).clone()
    }

    fn set(&mut self, spec: &RunSpec, own: &Dataset, set: &EvalSet) -> Result<SetFacts, String> {
        let (config, dataset) = match set {
            EvalSet::Own(_) => (&spec.data, own.clone()),
            EvalSet::Other { data, .. } => {
                let dataset = self.dataset(data)?;
                sets::refuse_other_classes(own, &dataset)?;
                (data, dataset)
            }
        };
        let split = set.split();
        let fingerprint = self.fingerprint(config, &dataset, split)?;
        let name = format!("{}/{split}", dataset.name);
        Ok(SetFacts { set: set.clone(), name, root: dataset.root, fingerprint })
    }

    fn fingerprint(
        &mut self,
        config: &dataset::Config,
        dataset: &Dataset,
        split: &str,
    ) -> Result<String, String> {
        let cache = Some(self.fingerprint_cache.as_path());
        let take = || {
            dataset
                .split(split)
                .and_then(|split| split.fingerprint(cache))
                .map_err(|error| with_sources(&error))
        };
        let key = (key(config), split.to_owned());
        self.fingerprints.entry(key).or_insert_with(take).clone()
    }

    fn weights(&mut self, spec: &RunSpec) -> Result<Option<WeightsFile>, String> {
        if spec.weights == (WeightsConfig::Random {}) {
            return Ok(None);
        }
        let text = |error: weights::Error| with_sources(&error);
        if let (Size::CUSTOM, WeightsConfig::File { path }) = (spec.model.size, &spec.weights) {
            let path = weights::locate::locate_custom(path).map_err(text)?;
            let custom = weights::custom(&spec.model, &path).map_err(text)?;
            if let TuneConfig::Lora(lora) = &spec.tune {
                lora.check((&custom.name, &custom.arch))?;
            }
            spec.decoder.check_depth(custom.arch.depth)?;
            return self.hashed(&path).map(Some);
        }
        let variant =
            backbone::find(&spec.model).ok_or_else(|| "there is no such backbone".to_owned())?;
        let folders = (self.machine.weight_dirs.as_slice(), self.caches.as_slice());
        let found = weights::locate(variant, &spec.weights, folders);
        let Some(path) = found.map_err(text)? else { return Ok(None) };
        let file = self.hashed(&path)?;
        if matches!(spec.weights, WeightsConfig::File { .. }) {
            self.note_other_images(&file.path, spec.model);
        }
        if spec.weights == (WeightsConfig::Pretrained {}) {
            weights::check_release(variant, &path, &file.sha256).map_err(text)?;
        }
        Ok(Some(file))
    }

    /// Says once a file if its weights are of the other images, whose mean is another: no shape
    /// shows that.
    fn note_other_images(&mut self, path: &Path, model: model::Config) {
        if !self.looked_into.insert(path.to_owned()) {
            return;
        }
        // A file that cannot be read is met when it is loaded.
        let Ok(found) = weights::identify(path) else { return };
        let images = found.variant.map(|variant| (variant.dino_type, variant.pretraining));
        if let Some((dino_type, pretraining)) = images
            && dino_type == model.dino_type
            && pretraining != model.pretraining
        {
            let (file, name) = (path.display(), found.name);
            tracing::warn!("`{file}` seems to be {name}: `model.pretraining` says otherwise");
        }
    }

    fn hashed(&mut self, path: &Path) -> Result<WeightsFile, String> {
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        let sha256 = self.sha256(&path)?;
        Ok(WeightsFile { path, sha256 })
    }

    /// The original textures, where a suite has frost and a data folder has them.
    fn frost(&mut self, spec: &RunSpec) -> Result<Option<PathBuf>, String> {
        let suite = corrupt::suite::suite(&spec.eval.corruption.suite);
        if !suite.is_some_and(|suite| suite.contains(Corruption::Frost)) {
            return Ok(None);
        }
        let dirs = &self.machine.data_dirs;
        let find = || frost::find(dirs).map_err(|error| with_sources(&error));
        self.frost.get_or_insert_with(find).clone()
    }

    fn sha256(&mut self, path: &Path) -> Result<String, String> {
        let hashes = &mut self.hashes;
        let take = || {
            weights::digest(path, &mut |file| hashes.sha256(file))
                .map_err(|error| with_sources(&error))
        };
        self.sha256s.entry(path.to_owned()).or_insert_with(take).clone()
    }
}

/// What the experiment's journal says of this plan.
pub fn planned(experiment: &Experiment, cells: &[Prepared]) -> Planned {
    let suite = cells.iter().find_map(|prepared| suite(&prepared.cell.spec, &prepared.facts));
    Planned {
        experiment: experiment.name.clone(),
        axes: experiment.axes.clone(),
        suite: suite.as_ref().map(|suite| suite.label.clone()),
        suite_corruptions: suite.map(|suite| suite.corruptions).unwrap_or_default(),
        cells: cells
            .iter()
            .map(|prepared| PlannedCell {
                index: prepared.cell.index,
                labels: prepared.cell.labels.clone(),
                run: prepared.run.clone(),
                scores: prepared.requests.iter().map(planned_score).collect(),
            })
            .collect(),
    }
}

fn planned_score(request: &ScoreRequest) -> PlannedScore {
    PlannedScore {
        score: request.score.clone(),
        set: request.set.clone(),
        protocol: request.protocol.clone(),
        corruption: request.corruption.clone(),
        severity: request.severity,
    }
}

pub fn wanted(cells: &[Prepared]) -> Vec<Wanted> {
    cells
        .iter()
        .map(|prepared| Wanted {
            run: prepared.run.clone(),
            cell: prepared.cell.index,
            scores: prepared.requests.iter().map(|request| request.score.clone()).collect(),
        })
        .collect()
}

fn has_work(run: &plan::PlannedRun) -> bool {
    match run.action {
        plan::Action::Start | plan::Action::Resume { .. } | plan::Action::ScoreOnly { .. } => true,
        plan::Action::Reuse | plan::Action::Stale => false,
    }
}

/// The runs that have something to do, in the order of the plan; cells that share a run are one
/// job with the scores of all.
pub fn jobs(cells: &[Prepared], planned: &[plan::PlannedRun]) -> Vec<Job> {
    let mut sharing: BTreeMap<&RunId, Vec<&Prepared>> = BTreeMap::new();
    for prepared in cells {
        sharing.entry(&prepared.run).or_default().push(prepared);
    }
    let with_work = planned.iter().filter(|run| has_work(run));
    with_work.filter_map(|run| job(sharing.get(&run.run)?)).collect()
}

/// One job of the cells that share a run; `None` if there is no cell.
fn job(sharing: &[&Prepared]) -> Option<Job> {
    let (first, others) = sharing.split_first()?;
    let mut job = Job {
        file: RunFile {
            version: experiment::VERSION,
            run: first.run.clone(),
            identity: first.identity.clone(),
            spec: first.cell.spec.clone(),
            input_px: first.facts.input_px,
            n_classes: first.facts.n_classes,
            classes: first.facts.classes.clone(),
        },
        facts: first.facts.clone(),
        scores: first.requests.clone(),
    };
    for other in others {
        for request in &other.requests {
            if job.scores.iter().all(|known| known.score != request.score) {
                job.scores.push(request.clone());
            }
        }
        for set in &other.facts.sets {
            if !job.facts.sets.contains(set) {
                job.facts.sets.push(set.clone());
            }
        }
    }
    Some(job)
}

fn keep<T>(result: Result<T, String>, problems: &mut BTreeSet<String>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(message) => {
            problems.insert(message);
            None
        }
    }
}

fn complain(complaints: &mut Vec<Complaint>, message: String, cell: (u32, String)) {
    match complaints.iter_mut().find(|complaint| complaint.message == message) {
        Some(complaint) => complaint.cells.push(cell),
        None => complaints.push(Complaint { message, cells: vec![cell] }),
    }
}

fn listed(complaints: &[Complaint]) -> String {
    let lines: Vec<_> = complaints
        .iter()
        .map(|complaint| {
            let named = complaint.cells.iter().take(CELLS_NAMED);
            let named: Vec<_> =
                named.map(|(index, title)| format!("cell {index} ({title})")).collect();
            let rest = match complaint.cells.len().saturating_sub(CELLS_NAMED) {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            format!("{}; needed by {}{rest}", complaint.message, named.join(", "))
        })
        .collect();
    lines.join("\n")
}

fn key(config: &dataset::Config) -> String {
    serde_json::to_string(config).expect("a config is plain data")
}

#[cfg(test)]
mod tests;
