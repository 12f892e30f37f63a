//! Results folders for tests, written as workers and coordinators would write them.

use std::io::Write;

use serde_json::{Value, json};
use sqlx::Row;

use crate::event::{
    AttemptStarted, Condition, Event, Line, Metrics, Mode, ModelBuilt, Outcome, Planned,
    PlannedCell, PlannedScore, Protocol, ScoreEnded, Select, SweepEvent, SweepLine, TrainStep, Tta,
    VERSION,
};
use crate::experiment::{self, RunFile, RunSpec};
use crate::fs::{ResultsDir, RunDir};
use crate::id::{RunId, ScoreId};
use crate::store::Store;

pub(crate) const SUITE: [&str; 3] = ["fog", "contrast", "jpeg"];

/// A results folder that is deleted when its value is dropped.
#[derive(Debug)]
pub(crate) struct Fake {
    /// Deletes the folder when dropped.
    _folder: tempfile::TempDir,
    pub(crate) results: ResultsDir,
}

impl Fake {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let results = ResultsDir::new(folder.path().join("results"));
        Self { _folder: folder, results }
    }

    /// Writes the run's `spec.json`.
    pub(crate) fn run(&self, spec: &RunSpec) -> RunId {
        let file = run_file(spec);
        let bytes = serde_json::to_vec_pretty(&file).unwrap();
        // Not `write_atomic`: a thousand runs would be a thousand forced writes.
        fs_err::create_dir_all(self.dir(&file.run).root()).unwrap();
        fs_err::write(self.dir(&file.run).spec(), &bytes).unwrap();
        file.run
    }

    pub(crate) fn dir(&self, run: &RunId) -> RunDir {
        self.results.run(run)
    }

    pub(crate) fn append(&self, run: &RunId, attempt: u32, events: Vec<Event>) {
        let lines = events.into_iter().map(|event| {
            let line = Line { v: VERSION, at_ms: 1_000, event };
            serde_json::to_string(&line).unwrap() + "\n"
        });
        self.append_raw(run, attempt, &lines.collect::<String>());
    }

    pub(crate) fn append_raw(&self, run: &RunId, attempt: u32, text: &str) {
        append(&self.dir(run).events(attempt), text);
    }

    /// Writes a run that is trained and scored, clean and on the first `n_corruptions` of the
    /// suite.
    pub(crate) fn finished(&self, spec: &RunSpec, miou: f64, n_corruptions: usize) -> RunId {
        let run = self.run(spec);
        let mut events = vec![started(1), built()];
        events.extend((1..=3).map(step));
        events.extend([epoch(1, 3), validated(1, 3, 0.25), checkpoint(3), ended(3)]);
        events.push(score(&run, None, miou));
        for name in &SUITE[..n_corruptions] {
            events.push(score(&run, Some(name), miou / 2.0));
        }
        events.push(Event::AttemptEnded { outcome: Outcome::Done, memory: None });
        self.append(&run, 1, events);
        run
    }

    /// Plans an experiment whose cells are these labels and runs.
    pub(crate) fn plan(&self, name: &str, axes: &[&str], cells: &[(&[&str], &RunId)]) {
        let cells = cells.iter().zip(0..).map(|((values, run), index)| PlannedCell {
            index,
            labels: axes.iter().zip(*values).map(|(a, v)| ((*a).into(), (*v).into())).collect(),
            run: (*run).clone(),
            scores: std::iter::once(None)
                .chain(SUITE.iter().copied().map(Some))
                .map(|corruption| PlannedScore {
                    score: score_id(run, corruption),
                    set: "shapes/val".into(),
                    protocol: PROTOCOL.into(),
                    protocol_parts: Some(protocol()),
                    condition: condition(corruption),
                })
                .collect(),
        });
        let plan = Planned {
            experiment: name.into(),
            axes: axes.iter().map(|axis| (*axis).to_owned()).collect(),
            suite: Some("test-3 v1".into()),
            suite_corruptions: SUITE.iter().map(|name| (*name).to_owned()).collect(),
            cells: cells.collect(),
        };
        self.sweep(name, SweepEvent::Planned(plan));
    }

    pub(crate) fn sweep(&self, name: &str, event: SweepEvent) {
        let line = SweepLine { v: VERSION, at_ms: 2_000, event };
        let text = serde_json::to_string(&line).unwrap() + "\n";
        append(&self.results.experiment_journal(name), &text);
    }
}

pub(crate) fn protocol() -> Protocol {
    Protocol {
        mode: Mode::Whole {},
        tta: Tta::default(),
        input_px: [56, 56],
        select: Select::Last,
        reference_batch: 4,
    }
}

/// The protocol's line as plans had it before [`Protocol`] existed.
pub(crate) const PROTOCOL: &str = "whole 56x56, labels at native size";

pub(crate) fn append(path: &std::path::Path, text: &str) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = fs_err::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// The spec of a tiny DINOv2 with LoRA and random weights; `changes` replace keys of it.
pub(crate) fn spec_with(changes: &Value) -> RunSpec {
    let mut spec = json!({
        "seed": 0,
        "model": { "dino_type": "dinov2", "size": "tiny" },
        "weights": { "kind": "random" },
        "tune": { "kind": "lora", "rank": 4 },
        "decoder": { "kind": "linear" },
        "data": { "kind": "shapes" },
        "train": {
            "recipe": "modern", "epochs": 1, "batch_size": 4, "lr": 1e-3, "lr_encoder": 2e-4,
            "weight_decay": 0.01, "schedule": { "kind": "constant" }, "flip": 0.5,
            "input": { "tokens": 4 }, "normalise": "backbone", "void_label": "ignore",
            "dev": {}, "precision": "f32", "validate_every": 1,
        },
        "eval": { "corruption": { "suite": "imagenet-c-first8", "severities": [5] } },
    });
    for (key, value) in changes.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

pub(crate) fn seeded(seed: u64) -> RunSpec {
    spec_with(&json!({ "seed": seed }))
}

fn run_file(spec: &RunSpec) -> RunFile {
    let identity = serde_json::to_value(spec).unwrap();
    RunFile {
        version: experiment::VERSION,
        run: RunId::of(&identity),
        identity,
        spec: spec.clone(),
        input_px: [56, 56],
        n_classes: 3,
        classes: ["sky", "sea", "land"].map(str::to_owned).to_vec(),
    }
}

pub(crate) fn started(attempt: u32) -> Event {
    Event::AttemptStarted(AttemptStarted {
        attempt,
        pid: 7,
        host: "host".into(),
        device: crate::device::Device::Cpu,
        device_name: "a CPU".into(),
        threads: 2,
        version: "0.1.0".into(),
        git: "abc".into(),
    })
}

pub(crate) fn built() -> Event {
    Event::ModelBuilt(ModelBuilt {
        params_total: 304_372_736,
        params_trained: 21_525,
        input_px: [56, 56],
        tokens: [4, 4],
        n_classes: 3,
        n_train_images: 8,
        steps_total: 6,
    })
}

pub(crate) fn step(step: u64) -> Event {
    Event::TrainStep(TrainStep {
        step,
        epoch: 1,
        loss: 0.1 + 1.0 / step as f64,
        lr: 1e-3,
        images_per_s: 3.5,
    })
}

pub(crate) fn epoch(epoch: u32, step: u64) -> Event {
    Event::EpochEnded { epoch, step, loss_mean: 0.7, time_ms: 12, wait_ms: Some(3) }
}

pub(crate) fn validated(epoch: u32, step: u64, miou: f64) -> Event {
    Event::Validated { epoch, step, split: "val".into(), metrics: metrics(miou) }
}

pub(crate) fn checkpoint(step: u64) -> Event {
    Event::CheckpointSaved {
        step,
        epoch: 1,
        checkpoint: format!("step-{step}"),
        sha256: "c0".into(),
        bytes: 10,
    }
}

pub(crate) fn resumed(step: u64) -> Event {
    Event::Resumed { step, checkpoint: format!("step-{step}") }
}

pub(crate) fn ended(step: u64) -> Event {
    Event::TrainingEnded { step, epoch: 1, adapter_sha256: "ad".into() }
}

pub(crate) fn score(run: &RunId, corruption: Option<&str>, miou: f64) -> Event {
    Event::ScoreEnded(ScoreEnded {
        score: score_id(run, corruption),
        checkpoint_sha256: "ad".into(),
        checkpoint_step: 3,
        protocol: PROTOCOL.into(),
        set: "shapes/val".into(),
        set_fingerprint: "f1".into(),
        suite: corruption.map(|_| "test-3 v1".into()),
        condition: condition(corruption),
        metrics: metrics(miou),
        time_ms: 5,
    })
}

/// The condition clean, or a corruption at level 5.
pub(crate) fn condition(corruption: Option<&str>) -> Condition {
    corruption.map_or(Condition::Clean, |effect| Condition::Corrupted {
        effect: effect.to_owned(),
        severity: 5,
    })
}

pub(crate) fn score_id(run: &RunId, corruption: Option<&str>) -> ScoreId {
    ScoreId::of(&json!([run, corruption]))
}

pub(crate) fn metrics(miou: f64) -> Metrics {
    Metrics {
        miou: Some(miou),
        classes_present: 2,
        classes_total: 3,
        iou_per_class: vec![Some(miou), None, Some(miou)],
        pixel_accuracy: Some(0.9),
        accuracy_mean: Some(0.8),
        reference_metric: Some(0.95),
        n_images: 4,
        n_pixels: 4000,
        iou_frequency_weighted: Some(0.7),
        miou_union: Some(miou / 2.0),
    }
}

impl Store {
    /// Every row of every table, as text: they must not depend on how the index was made.
    pub(crate) async fn dump(&self) -> Vec<String> {
        let tables = sqlx::query(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\'",
        );
        let mut lines = Vec::new();
        for table in tables.fetch_all(&self.pool).await.unwrap() {
            let table: String = table.get("name");
            let columns = sqlx::query("SELECT name FROM pragma_table_info(?)").bind(&table);
            let columns: Vec<String> =
                columns.fetch_all(&self.pool).await.unwrap().iter().map(|c| c.get(0)).collect();
            let fields: Vec<_> = columns.iter().map(|c| format!("quote(\"{c}\")")).collect();
            let sql = format!("SELECT {} AS line FROM {table}", fields.join(" || ', ' || "));
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&self.pool).await.unwrap();
            lines.extend(rows.iter().map(|row| format!("{table}: {}", row.get::<String, _>(0))));
        }
        lines
    }
}
