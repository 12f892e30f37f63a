//! Journal lines, versioned: what a worker and the coordinator write down, and what the index is
//! built from.
//!
//! A worker appends [`Line`]s to `events.<attempt>.jsonl` in its run directory. The coordinator
//! appends [`SweepLine`]s to its experiment's `journal.jsonl`. Rows of the index are keyed
//! (run, kind, step), so a later attempt supersedes what it repeats.

use serde::{Deserialize, Serialize};

use crate::id::{RunId, ScoreId};

/// Raised when a line's meaning changes; a reader refuses newer lines by name.
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

/// What a worker reports of its run.
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
    /// A checkpoint that could not be used, and why; the one before it is tried next.
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
        /// Of it, the time that training waited for data; `None` in journals older than it.
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
    /// How far a scoring pass is; not stored.
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
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptStarted {
    pub attempt: u32,
    pub pid: u32,
    pub host: String,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// The device in words, e.g. the CPU model.
    pub device_name: String,
    pub threads: u32,
    /// Version of this binary.
    pub version: String,
    /// Commit it was built from, or `unknown`.
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

/// Scores of one pass over an evaluation set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Mean IoU over the classes present in the ground truth, 0 to 1. This and the other means are
    /// `None` (null on the wire) where nothing is labelled: 0/0 is no score, and never 0.
    pub miou: Option<f64>,
    pub classes_present: u32,
    pub classes_total: u32,
    /// IoU of each class; `None` where the class is absent from the ground truth.
    pub iou_per_class: Vec<Option<f64>>,
    /// Correct pixels over labelled pixels.
    pub pixel_accuracy: Option<f64>,
    /// Mean over present classes of per-class recall.
    pub accuracy_mean: Option<f64>,
    /// The reference project's own number (bitwise and/or of class ids); **not** an mIoU.
    pub reference_metric: Option<f64>,
    pub n_images: u64,
    /// Labelled (not void) pixels.
    pub n_pixels: u64,
    /// IoU weighted by each class's share of the ground truth; `None` in journals older than it.
    #[serde(default)]
    pub iou_frequency_weighted: Option<f64>,
    /// mmseg's mean, over the classes that the ground truth or the prediction has.
    #[serde(default)]
    pub miou_union: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreEnded {
    pub score: ScoreId,
    /// sha256 of the adapter file that was scored.
    pub checkpoint_sha256: String,
    pub checkpoint_step: u64,
    /// The protocol in one line: mode, input, label size, reference metric's batch.
    pub protocol: String,
    /// Dataset and split, e.g. `voc/val`.
    pub set: String,
    pub set_fingerprint: String,
    /// Suite this was asked under, e.g. `imagenet-c-first8 v1`; `None` for clean.
    pub suite: Option<String>,
    /// Corruption name; `None` for clean.
    pub corruption: Option<String>,
    /// 1 to 5; `None` for clean.
    pub severity: Option<u8>,
    pub metrics: Metrics,
    pub time_ms: u64,
}

/// How an attempt ended, in the worker's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    Done,
    /// Stopped on request; state saved.
    Interrupted,
    Failed {
        message: String,
        class: FailureClass,
    },
}

/// What a caller may do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The data, weights or spec are wrong: trying again gives the same.
    Input,
    /// Disk full, device lost, out of memory: may pass.
    Environment,
    /// Our own bug.
    Bug,
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

/// What only the coordinator knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SweepEvent {
    /// The experiment's cells as planned by this invocation; replaces earlier plans.
    Planned(Planned),
    AttemptStarted {
        run: RunId,
        attempt: u32,
        device: String,
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
    /// Place in the expanded grid, from 0.
    pub index: u32,
    /// (axis, value) as the table shows them.
    pub labels: Vec<(String, String)>,
    pub run: RunId,
    pub scores: Vec<PlannedScore>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedScore {
    pub score: ScoreId,
    /// Dataset and split, e.g. `voc/val`.
    pub set: String,
    pub protocol: String,
    /// `None` for clean.
    pub corruption: Option<String>,
    pub severity: Option<u8>,
}

/// Title of a grid cell, from its labels (axis, value): values that speak for themselves stand alone.
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
