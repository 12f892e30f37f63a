//! Nonsense and damage, end to end through the program: each is answered by one clear message that
//! names the file, key or line, by the right exit code, and nothing is lost.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use std::path::{Path, PathBuf};
use std::process::Output;

use dino_sweep::data::dataset::{ShapesConfig, shapes};
use dino_sweep::data::image_io::{voc_palette, write_png_mask, write_png_rgb};
use dino_sweep::data::{Mask, Rgb};
use dino_sweep::fs::{FileLock, ResultsDir, write_atomic};

/// A folder to run in, with a small dataset in VOC layout.
struct Bench {
    folder: tempfile::TempDir,
}

const SPEC: &str = r#"
name = "small"
[grid]
decoder = ["linear", "fpn"]
[model]
dino_type = "dinov2"
size = "tiny"
[weights]
kind = "random"
[data]
kind = "voc"
root = "set"
[train]
epochs = 1
batch_size = 2
input = { tokens = 3 }
validate_every = 1
[eval]
corruption = { suite = "imagenet-c-first8", severities = [5] }
[schedule]
retries = 0
"#;

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        let config =
            ShapesConfig { n_train: 4, n_val: 2, side_px: 48, seed: 0, ..ShapesConfig::default() };
        for (split, n) in [("train", config.n_train), ("val", config.n_val)] {
            let mut stems = String::new();
            for i in 0..n {
                let (image, mask) = shapes::generate(&config, split, i);
                let stem = format!("{split}{i}");
                bench.write(&format!("set/JPEGImages/{stem}.png"), &write_png_rgb(&image));
                let mask = write_png_mask(&mask, &voc_palette());
                bench.write(&format!("set/SegmentationClass/{stem}.png"), &mask);
                stems.push_str(&stem);
                stems.push('\n');
            }
            bench.write(&format!("set/ImageSets/Segmentation/{split}.txt"), stems.as_bytes());
        }
        bench.write("small.toml", SPEC.as_bytes());
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        write_atomic(&self.path(name), bytes).unwrap();
    }

    fn cut_short(&self, name: &str) {
        let bytes = fs_err::read(self.path(name)).unwrap();
        self.write(name, &bytes[..bytes.len() / 2]);
    }

    /// `sweep ARGUMENTS` in the folder, on the CPU, with no settings of this machine's user.
    fn sweep(&self, arguments: &[&str]) -> Output {
        program::sweep(self.folder.path())
            .env("SWEEP_SCHEDULE_DEVICES", "cpu")
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Runs `small.toml` and holds exit code and message.
    fn fails(&self, code: i32, expect: &[&str]) {
        let output = self.sweep(&["run", "small.toml"]);
        check(&output, code, expect);
    }

    fn fails_with(&self, spec: &str, code: i32, expect: &[&str]) {
        self.write("small.toml", spec.as_bytes());
        self.fails(code, expect);
    }
}

fn check(output: &Output, code: i32, expect: &[&str]) {
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in expect {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn nonsense_in_the_spec_is_all_named_at_once() {
    let bench = Bench::new();
    let spec = SPEC
        .replace("epochs = 1", "epochs = \"many\"\nepoch = 3")
        .replace("[\"linear\", \"fpn\"]", "[\"linear\", \"fpm\"]\nlora_rank = []")
        .replace("\"dinov2\"", "\"dinov5\"");
    let expect = [
        "small.toml:4",
        "fpm",
        "fpn",
        "lora_rank",
        "empty",
        "dinov5",
        "dinov3",
        "train.epoch",
        "epochs",
        "small.toml:16",
    ];
    bench.fails_with(&spec, 2, &expect);
    bench.fails_with("name = \"small\"\n[grid\n", 2, &["small.toml:2"]);
    assert!(!bench.path("results").exists(), "nothing was started");
    check(&bench.sweep(&["run", "absent.toml"]), 2, &["absent.toml"]);
    check(&bench.sweep(&["run", "small.toml", "--set", "train.lr"]), 2, &["train.lr"]);
}

#[test]
fn sizes_that_do_not_exist_together_name_what_does() {
    let bench = Bench::new();
    let spec = SPEC.replace("\"dinov2\"", "\"dinov3\"").replace("\"tiny\"", "\"giant\"");
    bench.fails_with(&spec, 2, &["giant", "dinov3", "huge_plus"]);
}

/// Four training images in batches of three: the last is one image, of one patch.
#[test]
fn a_last_batch_that_cannot_be_normalised_fails_its_run_before_it_trains() {
    let bench = Bench::new();
    let spec = SPEC
        .replace(r#"decoder = ["linear", "fpn"]"#, r#"decoder = ["linear_bn"]"#)
        .replace("batch_size = 2", "batch_size = 3")
        .replace("tokens = 3", "tokens = 1");
    bench.fails_with(&spec, 1, &["batch normalisation needs more than one value per channel"]);
}

#[test]
fn missing_data_and_weights_are_named_with_what_to_do() {
    let bench = Bench::new();
    bench.fails_with(&SPEC.replace("\"set\"", "\"nowhere\""), 3, &["nowhere"]);
    let spec = SPEC.replace("\"tiny\"", "\"small\"").replace("\"random\"", "\"pretrained\"");
    bench.fails_with(&spec, 3, &["dinov2_vits14_reg4_pretrain.pth", "data/weights"]);
    let weights = "kind = \"file\"\npath = \"gone.pth\"";
    let spec = SPEC.replace("\"tiny\"", "\"small\"").replace("kind = \"random\"", weights);
    bench.fails_with(&spec, 3, &["gone.pth"]);
}

#[test]
fn files_of_the_dataset_that_are_gone_are_counted() {
    let bench = Bench::new();
    fs_err::remove_file(bench.path("set/SegmentationClass/train1.png")).unwrap();
    bench.fails(3, &["train1.png"]);
}

#[test]
fn damaged_images_and_masks_fail_their_runs_by_name() {
    let bench = Bench::new();
    bench.cut_short("set/JPEGImages/train2.png");
    bench.fails(1, &["train2.png", "truncated"]);
    let bench = Bench::new();
    let small = Rgb { width: 8, height: 8, pixels: vec![0; 192] };
    bench.write("set/JPEGImages/val1.png", &write_png_rgb(&small));
    bench.fails(1, &["val1.png", "8x8", "48x48"]);
    let bench = Bench::new();
    let mask = Mask { width: 48, height: 48, classes: vec![77; 48 * 48] };
    bench.write("set/SegmentationClass/train0.png", &write_png_mask(&mask, &voc_palette()));
    bench.fails(1, &["train0.png", "77"]);
}

#[test]
fn a_weight_file_of_another_model_names_the_tensors() {
    let bench = Bench::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/formats/hf_dinov2_noreg_mlp.safetensors");
    fs_err::copy(file, bench.path("other.safetensors")).unwrap();
    let weights = "kind = \"file\"\npath = \"other.safetensors\"";
    let spec = SPEC.replace("\"tiny\"", "\"small\"").replace("kind = \"random\"", weights);
    // Before anything is started.
    let words = ["other.safetensors", "missing", "of another shape", "needed by cell 0"];
    bench.fails_with(&spec, 3, &words);
}

#[test]
fn a_folder_in_use_is_refused() {
    let bench = Bench::new();
    let results = ResultsDir::new(bench.path("results"));
    let lock = FileLock::try_acquire(&results.lock()).unwrap();
    assert!(lock.is_some());
    bench.fails(4, &["results"]);
}

#[test]
fn results_that_cannot_be_written_are_an_environment_fault() {
    let bench = Bench::new();
    bench.write("results", b"a file where the folder should be");
    bench.fails(3, &["results"]);
}

/// `/dev/full` is what a full disk is to a writer.
#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_cannot_write_its_journal_ends_with_the_code_of_the_disk() {
    let bench = Bench::new();
    check(&bench.sweep(&["run", "small.toml", "--set", "eval.corruption.suite=none"]), 0, &[]);
    let run = fs_err::read_dir(bench.path("results/runs")).unwrap().next().unwrap().unwrap().path();
    let events = run.join("events.1.jsonl");
    fs_err::remove_file(&events).unwrap();
    fs_err::os::unix::fs::symlink("/dev/full", &events).unwrap();
    let output = bench.sweep(&["worker", run.to_str().unwrap(), "--attempt", "1"]);
    check(&output, 3, &["events.1.jsonl", "No space left on device"]);
}

/// One sweep, then everything that is asked of a finished one.
#[test]
fn a_finished_sweep_is_reused_extended_and_rebuilt() {
    let bench = Bench::new();
    let first = bench.sweep(&["run", "small.toml"]);
    check(&first, 0, &[]);
    let table = |arguments: &[&str]| {
        let output = bench.sweep(&[&["table", "small"], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let csv = table(&["--format", "csv"]);
    assert_eq!(csv.lines().count(), 3, "{csv}");
    let attempts = || -> usize {
        let runs = fs_err::read_dir(bench.path("results/runs")).unwrap();
        let files = runs.flat_map(|run| fs_err::read_dir(run.unwrap().path()).unwrap());
        let is_events = |name: &str| name.starts_with("events.");
        files.filter(|f| is_events(&f.as_ref().unwrap().file_name().to_string_lossy())).count()
    };
    assert_eq!(attempts(), 2);
    check(&bench.sweep(&["run", "small.toml"]), 0, &[]);
    assert_eq!(attempts(), 2, "a finished sweep starts nothing");

    // Another level: scored, not trained.
    let levels = "eval.corruption.severities=[3, 5]";
    check(&bench.sweep(&["run", "small.toml", "--set", levels]), 0, &[]);
    assert_eq!(attempts(), 4);
    for run in fs_err::read_dir(bench.path("results/runs")).unwrap() {
        let text = fs_err::read_to_string(run.unwrap().path().join("events.2.jsonl")).unwrap();
        assert!(!text.contains("train_step"), "{text}");
        assert_eq!(text.matches("score_ended").count(), 8);
    }

    // The index is only an index.
    check(&bench.sweep(&["run", "small.toml"]), 0, &[]);
    fs_err::remove_file(bench.path("results/sweep.db")).unwrap();
    check(&bench.sweep(&["index", "rebuild"]), 0, &[]);
    assert_eq!(table(&["--format", "csv"]), csv);
    bench.write("results/sweep.db", b"this is no database, and long enough to be looked at");
    check(&bench.sweep(&["run", "small.toml"]), 3, &["sweep.db", "index rebuild"]);
    check(&bench.sweep(&["index", "rebuild"]), 0, &[]);
    assert_eq!(table(&["--format", "csv"]), csv);
}

/// The run ids in the results folder, sorted.
fn runs(bench: &Bench) -> Vec<String> {
    let dirs = fs_err::read_dir(bench.path("results/runs")).unwrap();
    let mut runs: Vec<String> =
        dirs.map(|dir| dir.unwrap().file_name().to_string_lossy().into_owned()).collect();
    runs.sort();
    runs
}

#[test]
fn a_trained_run_is_scored_further_and_compared() {
    let bench = Bench::new();
    check(&bench.sweep(&["run", "small.toml", "--set", "suite=none"]), 0, &[]);
    let runs = runs(&bench);
    let slide = "eval.mode={ kind = 'slide', crop = 48, stride = 24 }";
    let more = ["--suite", "imagenet-c-first8", "--severities", "1,5", "--set", slide];
    for run in &runs {
        let eval = [&["eval", run.as_str(), "--set", "eval.tta.flip=true"], &more[..]].concat();
        check(&bench.sweep(&eval), 0, &["mIoU level 1", "TTA x1 and mirrored"]);
        // Nothing is left to do.
        check(&bench.sweep(&eval), 0, &["1 done"]);
    }
    let journals = |run: &str| {
        let files = fs_err::read_dir(bench.path(&format!("results/runs/{run}"))).unwrap();
        let journals = files.map(|file| file.unwrap().path());
        let texts = journals.filter(|path| path.extension().is_some_and(|e| e == "jsonl"));
        texts.map(|path| fs_err::read_to_string(path).unwrap()).collect::<Vec<_>>().concat()
    };
    let text = journals(&runs[0]);
    assert_eq!(text.matches("score_ended").count(), 1 + 17, "{text}");
    assert_eq!(text.matches("training_ended").count(), 1, "eval trains nothing");
    // The experiment finds its scores done, whoever made them.
    let protocol = ["--set", slide, "--set", "eval.tta.flip=true", "--set", "severities=[1, 5]"];
    check(&bench.sweep(&[&["run", "small.toml"], &protocol[..]].concat()), 0, &["2 done"]);
    check(&bench.sweep(&["diff", &runs[0], &runs[1]]), 0, &["CD ", "fog 5", "["]);
    check(&bench.sweep(&["show", &runs[0]]), 0, &["mPC", "weather"]);
    check(&bench.sweep(&["eval", "zz"]), 2, &["zz"]);
    let other = ["eval", &runs[0], "--set", "train.lr=1"];
    check(&bench.sweep(&other), 2, &["train.lr=1", "only keys of `eval`"]);
    let gap = "eval.mode={ kind = 'slide', crop = 24, stride = 48 }";
    check(&bench.sweep(&["eval", &runs[0], "--set", gap]), 2, &["eval.mode.stride", "gaps"]);
    // Another dataset under the same name is another run.
    bench.write("set/ImageSets/Segmentation/train.txt", b"train0\n");
    check(&bench.sweep(&["eval", &runs[0], "--severities", "2"]), 1, &["changed", "`data`"]);
}

#[test]
fn masks_of_anyone_are_scored() {
    let bench = Bench::new();
    for (name, classes) in [("truth/a.png", [0, 1, 2, 255]), ("pred/a.png", [0, 1, 1, 0])] {
        let mask = Mask { width: 2, height: 2, classes: classes.to_vec() };
        bench.write(name, &write_png_mask(&mask, &voc_palette()));
    }
    let score = ["score", "--pred", "pred", "--truth", "truth", "--classes"];
    let scored = |rest: &[&str]| bench.sweep(&[&score[..], rest].concat());
    check(&scored(&["3"]), 0, &["mIoU 50.00", "3/3", "pixel accuracy 66.67"]);
    let json = scored(&["3", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(value["confusion"], serde_json::json!([[1, 0, 0], [0, 1, 0], [0, 1, 0]]));
    check(&scored(&["2"]), 1, &["truth/a.png", "value 2", "row 1, column 0"]);
    check(&bench.sweep(&["score", "--pred", "no", "--truth", "no", "--classes", "2"]), 3, &["no"]);
}
