//! The types of the rows that queries of the index return.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::event::{Metrics, Outcome, PlannedScore, ScoreEnded, TrainStep};
use crate::experiment::RunSpec;
use crate::id::{RunId, ScoreId};

/// The state of a run, which planning decides by.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RunState {
    pub trained: bool,
    pub last_checkpoint_step: Option<u64>,
    pub scores: BTreeSet<ScoreId>,
    /// Error of the latest attempt, if it failed.
    pub failed: Option<String>,
    /// Number of the latest attempt; 0 where there was none.
    pub attempts: u32,
    /// Outcome of the latest attempt; `None` where it still runs, or was killed and nobody saw it.
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

/// An experiment as last planned, with the states and scores of its runs.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentRows {
    pub name: String,
    /// Axis names in the order of the spec.
    pub axes: Vec<String>,
    pub suite: Option<String>,
    pub suite_corruptions: Vec<String>,
    /// The cells in the order of the grid.
    pub cells: Vec<CellRow>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CellRow {
    pub index: u32,
    /// The cell's labels, (axis, value), as tables show them.
    pub labels: Vec<(String, String)>,
    pub run: RunId,
    /// Facts of the run's spec and model; `None` until the run's `spec.json` exists.
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
    /// Names of the classes by index; empty where the run is older than this field.
    pub classes: Vec<String>,
    /// Patch grid, rows and columns; this and the parameters are known once the model was built.
    pub tokens: Option<[u32; 2]>,
    pub params_total: Option<u64>,
    pub params_trained: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CellState {
    /// Not started, running, interrupted or killed: something is still to be done.
    Open,
    /// The latest attempt did everything it was asked to do.
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
    /// Version and commit of the `sweep` that made the score.
    pub version: Option<String>,
    pub git: Option<String>,
    /// The device that it was made on, in words.
    pub device_name: Option<String>,
}

/// All facts about one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunDetails {
    pub run: RunId,
    pub facts: Option<RunFacts>,
    /// The reason why `facts` is missing.
    pub problem: Option<String>,
    pub state: RunState,
    /// Experiments whose latest plan contains this run.
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
    /// Step that its training continued from; `None` where it did not train.
    pub train_from_step: Option<u64>,
    /// The largest resident memory of its worker.
    pub memory_process_bytes: Option<u64>,
    /// The most that it held on its GPU.
    pub memory_device_bytes: Option<u64>,
    /// Outcome of the attempt; `None` where it still runs, or was killed and nobody saw it.
    pub outcome: Option<Outcome>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EpochRow {
    pub epoch: u32,
    pub step: u64,
    pub loss_mean: f64,
    pub time_ms: u64,
    /// The part of `time_ms` that training waited for data; `None` in journals older than this
    /// field.
    pub wait_ms: Option<u64>,
    /// Validations at the epoch's end, as (split, mIoU).
    pub validations: Vec<(String, Option<f64>)>,
}
