//! Journal lines, versioned: the records that a worker and the coordinator write, and that the
//! index is built from.
//!
//! A worker appends [`Line`]s to `events.<attempt>.jsonl` in its run directory. The coordinator
//! appends [`SweepLine`]s to its experiment's `journal.jsonl`. Rows of the index are keyed
//! (run, kind, step), so a later attempt supersedes what it repeats.

mod condition;
mod metrics;
mod outcome;
mod protocol;
mod score;

use serde::{Deserialize, Serialize};

use crate::device::Device;
use crate::id::{RunId, ScoreId};

pub use condition::{Condition, HalfCondition};
pub use metrics::Metrics;
pub use outcome::{FailureClass, Outcome};
pub use protocol::{Mode, Protocol, Select, Tta};
pub use score::{PlannedScore, ScoreEnded};

/// The version of journal lines, raised when a line's meaning changes; a reader refuses newer lines
/// with an error that names the version.
pub const VERSION: u32 = 1;

/// One line of a run's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub v: u32,
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    pub event: Event,
}

/// The events that a worker reports of its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    AttemptStarted(AttemptStarted),
    ModelBuilt(ModelBuilt),
    /// Training goes on from this checkpoint; journal rows after `step` are superseded.
    Resumed {
        step: u64,
        checkpoint: String,
    },
    /// A checkpoint could not be used, for this reason; the one before it is tried next.
    CheckpointRejected {
        checkpoint: String,
        reason: String,
    },
    TrainStep(TrainStep),
    EpochEnded {
        epoch: u32,
        step: u64,
        loss_mean: f64,
        time_ms: u64,
        /// The part of `time_ms` that training waited for data; `None` in journals older than this
        /// field.
        #[serde(default)]
        wait_ms: Option<u64>,
    },
    /// Scores of the unfinished model on `split` while training ("dev", or an evaluation set).
    Validated {
        epoch: u32,
        step: u64,
        split: String,
        metrics: Metrics,
    },
    CheckpointSaved {
        step: u64,
        epoch: u32,
        checkpoint: String,
        sha256: String,
        bytes: u64,
    },
    /// Training reached its last step and `adapter.safetensors` is on disk.
    TrainingEnded {
        step: u64,
        epoch: u32,
        adapter_sha256: String,
    },
    /// Progress of a scoring pass; not stored in the index.
    Scoring {
        score: ScoreId,
        images_done: u64,
        images_total: u64,
    },
    ScoreEnded(ScoreEnded),
    Warning {
        message: String,
    },
    AttemptEnded {
        outcome: Outcome,
        /// `None` in journals older than this field.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memory: Option<Memory>,
    },
}

/// The largest memory of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Resident bytes of the worker; `None` where the system does not say.
    pub process_bytes: Option<u64>,
    /// Bytes held on the GPU, pools included; `None` on the CPU.
    pub device_bytes: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptStarted {
    pub attempt: u32,
    pub pid: u32,
    pub host: String,
    pub device: Device,
    /// The device in words, e.g. the CPU model.
    pub device_name: String,
    pub threads: u32,
    /// Version of the worker's binary.
    pub version: String,
    /// Commit that the binary was built from, or `unknown`.
    pub git: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelBuilt {
    pub params_total: u64,
    /// Parameters that receive gradients.
    pub params_trained: u64,
    /// Network input, height and width.
    pub input_px: [u32; 2],
    /// Patch grid, rows and columns.
    pub tokens: [u32; 2],
    pub n_classes: u32,
    pub n_train_images: u64,
    pub steps_total: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainStep {
    /// Optimiser steps done, from 1.
    pub step: u64,
    /// Epoch of this step, from 1.
    pub epoch: u32,
    pub loss: f64,
    /// Learning rate of the decoder.
    pub lr: f64,
    pub images_per_s: f64,
}

/// One line of an experiment's journal, written by the coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepLine {
    pub v: u32,
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    pub event: SweepEvent,
}

/// The events of an experiment that only the coordinator sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SweepEvent {
    /// The experiment's cells as planned by this invocation; replaces earlier plans.
    Planned(Planned),
    AttemptStarted {
        run: RunId,
        attempt: u32,
        device: Device,
    },
    /// The worker process is gone. `error` is `None` after success.
    AttemptExited {
        run: RunId,
        attempt: u32,
        error: Option<String>,
        interrupted: bool,
    },
    /// The coordinator came to the end of its queue, or was interrupted.
    SweepEnded {
        done: u32,
        failed: u32,
        interrupted: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    pub experiment: String,
    /// Axis names in the order of the spec.
    pub axes: Vec<String>,
    /// Name and version of the suite asked for, e.g. `imagenet-c-first8 v1`.
    pub suite: Option<String>,
    /// Corruption names that the suite lists, in its order.
    pub suite_corruptions: Vec<String>,
    pub cells: Vec<PlannedCell>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedCell {
    /// Position in the expanded grid, from 0.
    pub index: u32,
    /// The cell's labels, (axis, value), as tables show them.
    pub labels: Vec<(String, String)>,
    pub run: RunId,
    pub scores: Vec<PlannedScore>,
}

/// Title of a grid cell, from its labels (axis, value): values that speak for themselves stand
/// alone.
///
/// `[(size, small), (lora_rank, 4)]` is `small lora_rank=4`.
pub fn title(labels: &[(String, String)]) -> String {
    let words: Vec<_> = labels
        .iter()
        .map(|(axis, value)| {
            let speaks = value.starts_with(|first: char| first.is_ascii_alphabetic())
                && value != "true"
                && value != "false";
            if speaks { value.clone() } else { format!("{axis}={value}") }
        })
        .collect();
    if words.is_empty() { "the only cell".to_owned() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_of_before_waiting_was_measured_is_read() {
        let old = r#"{"v":1,"at_ms":5,"event":{"kind":"epoch_ended","epoch":2,"step":8,"loss_mean":0.5,"time_ms":70}}"#;
        let line: Line = serde_json::from_str(old).unwrap();
        let expect =
            Event::EpochEnded { epoch: 2, step: 8, loss_mean: 0.5, time_ms: 70, wait_ms: None };
        assert_eq!((line.v, line.event), (VERSION, expect));
    }

    #[test]
    fn labels_name_their_axis_where_the_value_does_not_speak() {
        let pairs = |pairs: &[(&str, &str)]| {
            let owned = pairs.iter().map(|(a, v)| ((*a).to_owned(), (*v).to_owned()));
            title(&owned.collect::<Vec<_>>())
        };
        assert_eq!(pairs(&[("size", "small"), ("lora_rank", "4")]), "small lora_rank=4");
        assert_eq!(
            pairs(&[("registers", "true"), ("dino_type", "dinov2")]),
            "registers=true dinov2"
        );
        assert_eq!(pairs(&[]), "the only cell");
    }
}
