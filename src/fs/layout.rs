//! The paths of all files in the results folder; no other module joins these names.

use std::path::{Path, PathBuf};

/// The results folder of a project: tables (committed), runs, experiments and the index.
#[derive(Debug, Clone)]
pub struct ResultsDir {
    root: PathBuf,
}

impl ResultsDir {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file of the SQLite index.
    pub fn database(&self) -> PathBuf {
        self.root.join("sweep.db")
    }

    /// The lock file of this folder's one coordinator.
    pub fn lock(&self) -> PathBuf {
        self.root.join("experiments").join("coordinator.lock")
    }

    /// The JSON file that names the process holding [`Self::lock`] (pid, host, heartbeat).
    pub fn holder(&self) -> PathBuf {
        self.root.join("experiments").join("coordinator.json")
    }

    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// The directory of the run with that id (a [`crate::id::RunId`]).
    pub fn run(&self, id: impl AsRef<str>) -> RunDir {
        RunDir::new(self.runs().join(id.as_ref()))
    }

    pub fn experiments(&self) -> PathBuf {
        self.root.join("experiments")
    }

    /// The coordinator's own journal of one experiment.
    pub fn experiment_journal(&self, name: &str) -> PathBuf {
        self.experiments().join(name).join("journal.jsonl")
    }

    /// A rendered table: `results/<experiment>.<extension>`.
    pub fn table(&self, name: &str, extension: &str) -> PathBuf {
        self.root.join(format!("{name}.{extension}"))
    }
}

/// One run's directory: the protocol between coordinator and worker.
#[derive(Debug, Clone)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The resolved spec of the run ([`crate::experiment::RunFile`]).
    pub fn spec(&self) -> PathBuf {
        self.root.join("spec.json")
    }

    /// The coordinator's order to one attempt ([`crate::experiment::Order`]).
    pub fn order(&self, attempt: u32) -> PathBuf {
        self.root.join(format!("order.{attempt}.json"))
    }

    /// The journal of one attempt: a [`crate::event::Line`] on each line.
    pub fn events(&self, attempt: u32) -> PathBuf {
        self.root.join(format!("events.{attempt}.jsonl"))
    }

    /// stdout and stderr of one attempt's worker.
    pub fn log(&self, attempt: u32) -> PathBuf {
        self.root.join(format!("worker.{attempt}.log"))
    }

    /// The lock file that the run's worker holds for its lifetime.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// Per-image counts of one score ([`crate::id::ScoreId`]), for bootstrap intervals.
    pub fn confusion(&self, score: &str) -> PathBuf {
        self.root.join("confusion").join(format!("{score}.safetensors"))
    }

    /// LoRA and decoder after the last step: the file that `eval` reads and users take away.
    pub fn adapter(&self) -> PathBuf {
        self.root.join("adapter.safetensors")
    }

    /// What the network saw in some images when epoch `epoch` was validated.
    pub fn picture(&self, epoch: u32) -> PathBuf {
        self.root.join("pictures").join(format!("epoch_{epoch:03}.png"))
    }

    /// LoRA and decoder at the best validation on `dev`, where the spec selects it.
    pub fn adapter_best(&self) -> PathBuf {
        self.root.join("adapter_best.safetensors")
    }
}
