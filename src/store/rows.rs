//! What the index answers with.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::event::{Metrics, Outcome, PlannedScore, ScoreEnded, TrainStep};
use crate::experiment::RunSpec;
use crate::id::{RunId, ScoreId};

/// How far a run is; what planning needs of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RunState {
    pub trained: bool,
    pub last_checkpoint_step: Option<u64>,
    pub scores: BTreeSet<ScoreId>,
    /// Why the latest attempt failed.
    pub failed: Option<String>,
    /// The highest attempt so far; 0: none.
    pub attempts: u32,
    /// How the latest attempt ended; `None` where it runs or was killed unseen.
    pub last_outcome: Option<Outcome>,
}

/// An experiment in a list of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExperimentSummary {
    pub name: String,
    pub n_cells: u32,
    /// Milliseconds since the Unix epoch of the latest plan.
    pub planned_at_ms: Option<u64>,
}

/// An experiment as last planned, with all that was made of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentRows {
    pub name: String,
    /// Axis names in the order of the spec.
    pub axes: Vec<String>,
    pub suite: Option<String>,
    pub suite_corruptions: Vec<String>,
    /// In the order of the grid.
    pub cells: Vec<CellRow>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CellRow {
    pub index: u32,
    /// (axis, value) as the table shows them.
    pub labels: Vec<(String, String)>,
    pub run: RunId,
    /// `None` until the run's `spec.json` is there.
    pub facts: Option<RunFacts>,
    pub state: CellState,
    /// Step after which training ended.
    pub trained_step: Option<u64>,
    pub scores: Vec<CellScore>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunFacts {
    pub spec: RunSpec,
    /// Height and width.
    pub input_px: [u32; 2],
    pub n_classes: u32,
    /// Names by index; empty where the run is older than they are.
    pub classes: Vec<String>,
    /// Rows and columns; this and the parameters are known once the model was built.
    pub tokens: Option<[u32; 2]>,
    pub params_total: Option<u64>,
    pub params_trained: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CellState {
    /// Not started, running, interrupted or killed: something is still to come.
    Open,
    /// The latest attempt did all that was asked of it.
    Done,
    Failed(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct CellScore {
    pub planned: PlannedScore,
    pub made: Option<MadeScore>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MadeScore {
    pub metrics: Metrics,
    pub checkpoint_step: u64,
    pub checkpoint_sha256: String,
    /// Version and commit of the sweep that made it.
    pub version: Option<String>,
    pub git: Option<String>,
}

/// All about one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunDetails {
    pub run: RunId,
    pub facts: Option<RunFacts>,
    /// Why `facts` is missing.
    pub problem: Option<String>,
    pub state: RunState,
    /// Experiments whose latest plan has this run.
    pub experiments: Vec<String>,
    pub steps_total: Option<u64>,
    pub attempts: Vec<AttemptRow>,
    /// The latest logged steps, oldest first.
    pub last_steps: Vec<TrainStep>,
    pub epochs: Vec<EpochRow>,
    pub scores: Vec<ScoreEnded>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttemptRow {
    pub attempt: u32,
    pub started_at_ms: Option<u64>,
    pub ended_at_ms: Option<u64>,
    pub host: Option<String>,
    pub device: Option<String>,
    pub device_name: Option<String>,
    pub threads: Option<u32>,
    pub version: Option<String>,
    pub git: Option<String>,
    /// Step that its training went on from; `None` where it did not train.
    pub train_from_step: Option<u64>,
    /// `None` where it runs or was killed unseen.
    pub outcome: Option<Outcome>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EpochRow {
    pub epoch: u32,
    pub step: u64,
    pub loss_mean: f64,
    pub time_ms: u64,
    /// Of it, the time that training waited for data; `None` in journals older than it.
    pub wait_ms: Option<u64>,
    /// (split, mIoU) of the validations at its end.
    pub validations: Vec<(String, Option<f64>)>,
}
