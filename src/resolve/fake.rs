//! Jobs for tests.

use serde_json::json;

use super::Job;
use crate::experiment::{self, Facts, RunFile, RunSpec};
use crate::id::RunId;

pub(crate) fn id(n: u8) -> RunId {
    RunId::parse(&format!("{n:016x}")).unwrap()
}

pub(crate) fn job(n: u8) -> Job {
    let input_px = [28, 28];
    let spec: RunSpec = serde_json::from_value(json!({
        "seed": n,
        "model": { "dino_type": "dinov2", "size": "tiny" },
        "weights": { "kind": "random" },
        "tune": { "kind": "frozen" },
        "decoder": { "kind": "linear" },
        "data": { "kind": "shapes" },
        "train": {
            "recipe": "modern", "epochs": 1, "batch_size": 4, "lr": 1e-3, "lr_encoder": 1e-4,
            "weight_decay": 0.01, "schedule": { "kind": "constant" }, "flip": 0.5,
            "input": { "px": 28 }, "normalise": "backbone", "void_label": "ignore",
            "dev": {}, "precision": "f32", "validate_every": 1
        },
        "eval": {}
    }))
    .unwrap();
    let file = RunFile {
        version: experiment::VERSION,
        run: id(n),
        identity: json!({ "seed": n }),
        spec,
        input_px,
        n_classes: 6,
        classes: vec![],
    };
    let facts = Facts {
        frost: None,
        init: None,
        data_root: "data".into(),
        n_classes: 6,
        classes: vec![],
        train_fingerprint: "f".to_owned(),
        sets: vec![],
        weights: None,
        input_px,
    };
    Job { file, facts, scores: vec![] }
}
