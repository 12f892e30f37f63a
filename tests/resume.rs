//! A run that is stopped after every step, loses its newest checkpoint to damage, or finds a
//! stranger's, ends in the same bytes as one that was left alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use dino_sweep::data::dataset;
use dino_sweep::data::transform::{Config as Transform, crop};
use dino_sweep::event::{Event, Line, Metrics};
use dino_sweep::experiment::schedule::Terms;
use dino_sweep::experiment::{Facts, Order, RunFile, RunSpec, ScoreRequest, SetFacts};
use dino_sweep::fs::{RunDir, write_atomic};
use dino_sweep::id::RunId;
use dino_sweep::model::Activations;
use dino_sweep::train::checkpoint;
use dino_sweep::worker::{self, Exit};
use serde_json::json;

fn spec(dino: &str, decoder: &str, tune: &serde_json::Value) -> RunSpec {
    serde_json::from_value(json!({
        "seed": 5,
        "model": { "dino_type": dino, "size": "tiny" },
        "weights": { "kind": "random" },
        "tune": tune,
        "decoder": { "kind": decoder },
        "data": { "kind": "shapes", "n_train": 8, "n_val": 3, "side_px": 48 },
        "train": {
            "recipe": "modern", "epochs": 2, "batch_size": 3, "lr": 1e-3, "lr_encoder": 1e-3,
            "weight_decay": 0.05, "schedule": { "kind": "cosine", "warmup_percent": 10 },
            "flip": 0.5, "input": { "tokens": 3 }, "normalise": "backbone",
            "void_label": "ignore", "dev": { "fraction": 0.2, "seed": 0 }, "precision": "f32",
            "validate_every": 1
        },
        "eval": {}
    }))
    .unwrap()
}

/// A results folder with one run of `spec` in it.
struct Bench {
    folder: tempfile::TempDir,
    spec: RunSpec,
    facts: Facts,
}

impl Bench {
    fn new(spec: RunSpec) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = dataset::open(&spec.data, &[folder.path().join("data")]).unwrap();
        let patch = dino_sweep::model::backbone::find(&spec.model).unwrap().arch.patch as u32;
        let facts = Facts {
            frost: None,
            init: None,
            data_root: data.root.clone(),
            n_classes: data.n_classes(),
            classes: data.classes.clone(),
            train_fingerprint: "t".into(),
            sets: vec![SetFacts {
                set: "val".into(),
                name: "shapes/val".into(),
                root: data.root.clone(),
                fingerprint: "v".into(),
            }],
            weights: None,
            input_px: [3 * patch; 2],
        };
        Self { folder, spec, facts }
    }

    fn run_id() -> RunId {
        RunId::of(&json!("the run"))
    }

    fn dir(&self, name: &str) -> RunDir {
        let dir = RunDir::new(self.folder.path().join(name));
        let file = RunFile {
            version: 1,
            run: Self::run_id(),
            identity: json!("the run"),
            spec: self.spec.clone(),
            input_px: self.facts.input_px,
            n_classes: self.facts.n_classes,
            classes: self.facts.classes.clone(),
        };
        write_atomic(&dir.spec(), &serde_json::to_vec(&file).unwrap()).unwrap();
        dir
    }

    fn attempt(&self, dir: &RunDir, attempt: u32, stop: bool) -> Exit {
        let suite = dino_sweep::experiment::SuiteRef {
            label: "s".into(),
            corruptions: vec!["gaussian_noise".into()],
        };
        let scores: Vec<ScoreRequest> = dino_sweep::experiment::score_requests(
            &self.spec,
            &self.facts,
            &Self::run_id(),
            Some(&suite),
        );
        let order = Order {
            version: 1,
            attempt,
            device: dino_sweep::device::Device::Cpu,
            threads: 2,
            terms: Terms {
                checkpoint_every_s: 3600,
                // Of the first attempt none: no number depends on it.
                cache_mb: u64::from(attempt.is_multiple_of(3)),
                cache_disk_mb: u64::from(attempt.is_multiple_of(2)),
                activations: match attempt % 2 {
                    0 => Activations::Recompute,
                    _ => Activations::Keep,
                },
                pictures: 0,
            },
            facts: self.facts.clone(),
            scores,
        };
        write_atomic(&dir.order(attempt), &serde_json::to_vec(&order).unwrap()).unwrap();
        worker::run(dir, attempt, &Arc::new(AtomicBool::new(stop)))
    }
}

fn events(dir: &RunDir, attempts: u32) -> Vec<Event> {
    (1..=attempts)
        .flat_map(|attempt| {
            let text = fs_err::read_to_string(dir.events(attempt)).unwrap();
            text.lines()
                .map(|line| serde_json::from_str::<Line>(line).unwrap().event)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// (score or step, metrics) of every score and validation.
fn metrics(events: &[Event]) -> Vec<(String, Metrics)> {
    let mut found: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::ScoreEnded(score) => Some((score.score.to_string(), score.metrics.clone())),
            Event::Validated { step, metrics, .. } => Some((step.to_string(), metrics.clone())),
            _ => None,
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn adapters(dir: &RunDir) -> [Vec<u8>; 2] {
    [dir.adapter(), dir.adapter_best()].map(|path| fs_err::read(path).unwrap())
}

/// Damages `path` the way a cut-off write or a flipped bit would.
fn cut_short(path: &Path) {
    let bytes = fs_err::read(path).unwrap();
    write_atomic(path, &bytes[..bytes.len() - 7]).unwrap();
}

fn newest(dir: &RunDir) -> PathBuf {
    checkpoint::list(&dir.checkpoints()).unwrap().remove(0)
}

fn check(spec: RunSpec) {
    let bench = Bench::new(spec);
    let alone = bench.dir("alone");
    assert!(matches!(bench.attempt(&alone, 1, false), Exit::Done));
    let expect = metrics(&events(&alone, 1));
    assert_eq!(expect.len(), 2 + 2, "two validations, clean and one corruption");

    // One step an attempt; damage in between; then to the end.
    let stopped = bench.dir("stopped");
    for attempt in 1..=6 {
        if attempt == 4 {
            cut_short(&newest(&stopped));
        }
        assert!(matches!(bench.attempt(&stopped, attempt, true), Exit::Interrupted));
    }
    let seen = events(&stopped, 6);
    assert!(seen.iter().any(|event| matches!(
        event,
        Event::CheckpointRejected { reason, .. } if reason.contains("checksum")
    )));
    assert_eq!(checkpoint::list(&stopped.checkpoints()).unwrap().len(), 2);
    assert!(matches!(bench.attempt(&stopped, 7, false), Exit::Done));
    assert_eq!(adapters(&alone), adapters(&stopped));
    let mut seen = metrics(&events(&stopped, 7));
    seen.dedup();
    assert_eq!(expect, seen);

    // A finished run asked again does nothing; one whose adapter is damaged mends it.
    assert!(matches!(bench.attempt(&stopped, 8, false), Exit::Done));
    let again = fs_err::read_to_string(stopped.events(8)).unwrap();
    assert_eq!(again.lines().count(), 2, "started and ended only: {again}");
    cut_short(&stopped.adapter());
    assert!(matches!(bench.attempt(&stopped, 9, false), Exit::Done));
    assert_eq!(adapters(&alone), adapters(&stopped));
}

#[test]
fn lora_with_a_linear_decoder_resumes_bit_for_bit() {
    check(spec("dinov3", "linear", &json!({ "kind": "lora", "rank": 2 })));
}

#[test]
fn frozen_with_an_fpn_resumes_bit_for_bit() {
    check(spec("dinov2", "fpn", &json!({ "kind": "frozen" })));
}

#[test]
fn crops_and_colours_resume_bit_for_bit() {
    let mut cropped = spec("dinov2", "linear", &json!({ "kind": "lora", "rank": 2 }));
    cropped.train.transform = Transform::Crop(crop::Config::default());
    cropped.train.photometric = true;
    check(cropped);
}

#[test]
fn full_fine_tuning_resumes_bit_for_bit() {
    check(spec("dinov2", "linear", &json!({ "kind": "full" })));
}

#[test]
fn another_runs_checkpoint_is_named_and_not_used() {
    let bench = Bench::new(spec("dinov3", "linear", &json!({ "kind": "lora", "rank": 2 })));
    let other = Bench::new(spec("dinov2", "fpn", &json!({ "kind": "lora", "rank": 2 })));
    let (ours, theirs) = (bench.dir("ours"), other.dir("theirs"));
    assert!(matches!(other.attempt(&theirs, 1, true), Exit::Interrupted));
    fs_err::create_dir_all(ours.checkpoints()).unwrap();
    for extension in ["safetensors", "sha256"] {
        let from = newest(&theirs).with_extension(extension);
        fs_err::copy(&from, ours.checkpoints().join(from.file_name().unwrap())).unwrap();
    }
    assert!(matches!(bench.attempt(&ours, 1, false), Exit::Done));
    assert!(events(&ours, 1).iter().any(|event| matches!(
        event,
        Event::CheckpointRejected { reason, .. } if reason.contains("lacks")
    )));
}
