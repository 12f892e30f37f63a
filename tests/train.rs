//! `sweep train`: a run by the reference project's flags, and training that starts from an adapter.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use std::path::{Path, PathBuf};

use dino_sweep::adapter::{AdapterFile, Kind};

/// A run of a second, on data that is made.
const SHORT: &[&str] = &[
    "--dataset=shapes",
    "--size=tiny",
    "--dino_type=dinov2",
    "--img_dim",
    "42",
    "42",
    "--epochs=1",
    "--batch_size=2",
    "--device=cpu",
    "--set=weights=random",
    "--set=data.n_train=2",
    "--set=data.n_val=2",
    "--set=data.side_px=48",
];

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `sweep train` with [`SHORT`] and these flags says, and its exit code.
    fn train(&self, flags: &[&str]) -> (String, Option<i32>) {
        let mut command = program::sweep(self.folder.path());
        let output = command.arg("train").args(SHORT).args(flags).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (text.concat(), output.status.code())
    }

    /// The adapter of the only run whose experiment is `name`.
    fn adapter(&self, name: &str) -> PathBuf {
        let journal = self.path("results/experiments").join(name).join("journal.jsonl");
        let text = fs_err::read_to_string(journal).unwrap();
        let planned: serde_json::Value =
            serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let run = planned["event"]["cells"][0]["run"].as_str().unwrap().to_owned();
        self.path("results/runs").join(run).join("adapter.safetensors")
    }
}

/// The values of an adapter's tensors that begin with `prefix`, as bits.
fn bits(path: &Path) -> Vec<u8> {
    fs_err::read(path).unwrap()
}

#[test]
fn a_run_by_the_reference_projects_flags_is_a_grid_of_one() {
    let bench = Bench::new();
    let (text, code) = bench.train(&["--exp_name=first", "--use_lora"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("LoRA r=3 + 1x1 decoder"), "{text}");
    assert!(text.contains("unlike the reference project: mIoU is the true one"), "{text}");
    // Once more: nothing is left to do.
    let (text, code) = bench.train(&["--exp_name=first", "--use_lora"]);
    assert!(code == Some(0) && text.contains("1 cell: 1 done"), "{text}");
}

#[test]
fn the_written_file_is_the_same_run() {
    let bench = Bench::new();
    let (text, code) =
        bench.train(&["--exp-name=a", "--use-fpn", "--recipe=modern", "--write-spec=a.toml"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!bench.path("results").exists(), "it does nothing else");
    let sets = SHORT.iter().copied().filter(|flag| flag.starts_with("--set"));
    let mut plan = program::sweep(bench.folder.path());
    let plan = plan.args(["plan", "a.toml"]).args(sets).output().unwrap();
    let plan = String::from_utf8(plan.stdout).unwrap();
    let (text, code) = bench.train(&["--exp-name=a", "--use-fpn", "--recipe=modern"]);
    assert_eq!(code, Some(0), "{text}");
    let run = bench.adapter("a").parent().unwrap().file_name().unwrap().to_owned();
    assert!(plan.contains(run.to_str().unwrap()), "{plan}");
    // A file is not overwritten.
    let (text, code) = bench.train(&["--write-spec=a.toml"]);
    assert!(code == Some(2) && text.contains("`a.toml` exists"), "{text}");
}

#[test]
fn debug_draws_predictions_at_each_validation_and_writes_metrics_under_the_same_id() {
    let bench = Bench::new();
    let longer = ["--set=train.epochs=3", "--set=train.validate_every=2"];
    let (text, code) = bench.train(&["--exp_name=first", "--debug", longer[0], longer[1]]);
    assert_eq!(code, Some(0), "{text}");
    let folder = bench.adapter("first").parent().unwrap().to_owned();
    let mut pictures: Vec<_> = fs_err::read_dir(folder.join("pictures"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    pictures.sort();
    let names: Vec<_> = pictures.iter().map(|path| path.file_name().unwrap()).collect();
    assert_eq!(names, ["epoch_002.png", "epoch_003.png"]);
    // Two images of 48 pixels side by side, three pictures of each below one another.
    let picture = dino_sweep::data::image_io::read_rgb(&pictures[0]).unwrap();
    assert!(picture.width > 96 && picture.height > 144, "{}x{}", picture.width, picture.height);
    let metrics = fs_err::read(bench.path("results/experiments/first/metrics.json")).unwrap();
    let metrics: serde_json::Value = serde_json::from_slice(&metrics).unwrap();
    assert_eq!(metrics["epoch"], serde_json::json!([1, 2, 3]));
    assert_eq!(metrics["train_loss"].as_array().unwrap().len(), 3);
    let iou = metrics["val_iou"].as_array().unwrap();
    assert!(iou[0].is_null() && iou[1].is_number() && iou[2].is_number(), "{iou:?}");
}

#[test]
fn training_starts_from_an_adapter_of_either_format() {
    let bench = Bench::new();
    let (text, code) = bench.train(&["--exp_name=first", "--use_lora"]);
    assert_eq!(code, Some(0), "{text}");
    let first = bench.adapter("first");
    let reference = bench.path("first.pt");
    AdapterFile::open(&first).unwrap().write(Kind::Reference, &reference).unwrap();
    let mut found = vec![];
    for (name, file) in [("again", first.as_path()), ("from_pt", &reference)] {
        let file = format!("--lora_weights={}", file.display());
        // A rate of nearly nothing leaves the values as they were.
        let flags = [&format!("--exp_name={name}"), "--use_lora", "--lr=1e-30", &file];
        let (text, code) = bench.train(&flags);
        assert_eq!(code, Some(0), "{text}");
        found.push(bench.adapter(name));
    }
    assert_ne!(found[0], found[1], "the file is part of the run's id");
    for path in &found {
        let [before, after] = [&first, path].map(|path| AdapterFile::open(path).unwrap());
        let values = |file: &AdapterFile| -> Vec<Vec<f32>> {
            file.tensors().map(|(name, _)| file.values(name).unwrap().to_vec()).collect()
        };
        assert_eq!(values(&before), values(&after));
    }
    assert_ne!(bits(&first), bits(&found[0]), "the runs' names are in the files");
}

#[test]
fn an_adapter_that_does_not_fit_is_refused_before_anything_starts() {
    let bench = Bench::new();
    let (text, code) = bench.train(&["--exp_name=first", "--use_lora"]);
    assert_eq!(code, Some(0), "{text}");
    let file = format!("--lora_weights={}", bench.adapter("first").display());
    let refused = |flags: &[&str], expect: &str| {
        let (text, code) = bench.train(&[&["--exp_name=x", &file], flags].concat());
        assert_eq!(code, Some(3), "{text}");
        assert!(text.contains(expect), "{text}");
        assert!(!bench.path("results/experiments/x/journal.jsonl").exists(), "{text}");
    };
    refused(&["--use_lora", "--r=4"], "its LoRA rank is 3, and the run's is 4");
    refused(&[], "its tuning is LoRA, and the run's is a frozen encoder");
    refused(
        &["--use_lora", "--use_fpn", "--recipe=modern"],
        "its decoder is 1x1 decoder, and the run's is",
    );
    refused(&["--use_lora", "--set=dino_type=dinov3"], "is for ");
    let (text, code) = bench.train(&["--exp_name=x", "--lora_weights=gone.pt"]);
    assert!(code == Some(3) && text.contains("`gone.pt`"), "{text}");
}
