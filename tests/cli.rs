//! What verbs print and how they end, by the program as users start it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use std::path::{Path, PathBuf};
use std::process::Output;

use dino_sweep::fs::write_atomic;
use serde_json::Value;

/// Runs of a second, on data that is made.
const SHORT: &str = r#"
[model]
dino_type = "dinov2"
size = "tiny"
[weights]
kind = "random"
[decoder]
kind = "linear"
[data]
kind = "shapes"
n_train = 2
n_val = 2
side_px = 48
[train]
epochs = 1
batch_size = 2
input = { tokens = 3 }
validate_every = 1000
[eval]
corruption = { suite = "none" }
[schedule]
devices = "cpu"
jobs = 1
"#;

/// A folder to work in.
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

    /// Writes an experiment: `head` and [`SHORT`].
    fn write(&self, name: &str, head: &str) {
        write_atomic(&self.path(name), format!("{head}{SHORT}").as_bytes()).unwrap();
    }

    fn sweep(&self, arguments: &[&str]) -> Ended {
        Ended::of(&program::sweep(self.folder.path()).args(arguments).output().unwrap())
    }
}

/// What a verb said, and its exit code.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Self { code: output.status.code(), stdout, stderr }
    }
}

#[test]
fn a_plan_shows_its_cells_though_data_and_weights_are_missing() {
    let bench = Bench::new();
    let grid = r#"
[grid]
seed = [0, 1, 2]
[[override]]
when = { seed = 1 }
set = { data = { kind = "voc", train = "train" } }
[[override]]
when = { seed = 2 }
set = { size = "small", weights = { kind = "pretrained" } }
"#;
    bench.write("e.toml", grid);
    let ended = bench.sweep(&["plan", "e.toml"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let rows: Vec<Vec<_>> = ended.stdout.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["cell", "seed", "run", "scores", "action", "reason"]);
    assert_eq!((&rows[2][..2], &rows[2][3..]), (&["0", "0"][..], &["1", "start", "new"][..]));
    assert_eq!(rows[3], ["1", "1", "–", "–", "none", "missing:", "voc"]);
    assert_eq!(rows[4], ["2", "2", "–", "–", "none", "missing:", "dinov2_vits14_reg"]);
    assert!(ended.stdout.contains("3 cells: 1 to start, 2 lack something"), "{ended:?}");
    assert!(ended.stdout.contains("numbers: f32\ndevices: cpu"), "{ended:?}");
    let words = ["needed by cell 1 (seed=1)", "needed by cell 2 (seed=2)", "looked in"];
    assert!(words.iter().all(|words| ended.stderr.contains(words)), "{ended:?}");
}

#[test]
fn an_experiment_is_asked_for_by_its_file_as_by_its_name() {
    let bench = Bench::new();
    bench.write("e.toml", "name = \"grid\"\n");
    let ran = bench.sweep(&["run", "e.toml"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for verb in ["table", "status"] {
        let [by_name, by_file] = ["grid", "e.toml"].map(|text| bench.sweep(&[verb, text]));
        assert_eq!((by_name.code, by_file.code), (Some(0), Some(0)), "{by_file:?}");
        assert_eq!(by_name.stdout, by_file.stdout);
        let unknown = bench.sweep(&[verb, "f"]);
        assert_eq!(unknown.code, Some(2), "{unknown:?}");
        assert!(unknown.stderr.contains("no experiment `f`"), "{unknown:?}");
    }
    let text = "<!-- sweep:table e.toml -->\n<!-- sweep:end -->\n";
    write_atomic(&bench.path("README.md"), text.as_bytes()).unwrap();
    let codes = [&["--check"][..], &[], &["--check"]].map(|flags| {
        let arguments = [&["readme", "README.md"], flags].concat();
        bench.sweep(&arguments).code
    });
    assert_eq!(codes, [Some(1), Some(0), Some(0)]);
}

#[test]
fn replacing_the_table_of_another_experiment_is_said_before_it_is_done() {
    let bench = Bench::new();
    let said = |file: &str, head: &str| {
        bench.write(file, head);
        let ended = bench.sweep(&["run", file]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stderr.contains("of other runs will be replaced")
    };
    assert!(!said("a.toml", "name = \"grid\"\n"));
    // The same, and the same with more.
    assert!(!said("a.toml", "name = \"grid\"\n"));
    assert!(!said("a.toml", "name = \"grid\"\n[grid]\nseed = [1, 0]\n"));
    assert!(said("b.toml", "name = \"grid\"\nseed = 7\n"));
    assert!(!said("b.toml", "name = \"other\"\nseed = 7\n"));
}

#[test]
fn the_adapter_of_a_run_scores_as_the_run_does() {
    let bench = Bench::new();
    bench.write("e.toml", "");
    let spec = fs_err::read_to_string(bench.path("e.toml")).unwrap();
    let spec = spec.replace(r#"size = "tiny""#, r#"size = "custom""#);
    let spec = spec.replace(r#"kind = "random""#, "kind = \"file\"\npath = \"weights\"");
    write_atomic(&bench.path("e.toml"), spec.as_bytes()).unwrap();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/models/v2_reg");
    let bytes = fs_err::read(Path::new(model).join("backbone.safetensors")).unwrap();
    write_atomic(&bench.path("weights/model.safetensors"), &bytes).unwrap();
    let config = br#"{ "model_type": "dinov2_with_registers", "num_attention_heads": 3 }"#;
    write_atomic(&bench.path("weights/config.json"), config).unwrap();
    let ran = bench.sweep(&["run", "e.toml"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let run = fs_err::read_dir(bench.path("results/runs")).unwrap().next().unwrap().unwrap();
    let file = run.path().join("adapter.safetensors");
    let words = "eval --device cpu --weights weights --set data.kind=shapes --set data.n_train=2 \
                 --set data.n_val=2 --set data.side_px=48 --suite none --json --adapter";
    let mut arguments: Vec<_> = words.split_whitespace().collect();
    arguments.push(file.to_str().unwrap());
    let scored = bench.sweep(&arguments);
    assert_eq!(scored.code, Some(0), "{scored:?}");
    let of_file: Value = serde_json::from_str(&scored.stdout).unwrap();
    let shown = bench.sweep(&["show", "latest", "--json"]);
    let of_run: Value = serde_json::from_str(&shown.stdout).unwrap();
    let of_run = &of_run["details"]["scores"][0]["metrics"];
    let of_file = &of_file["scores"][0]["metrics"];
    assert!(of_run["miou"].is_f64(), "{shown:?}");
    assert_eq!(of_file["miou"], of_run["miou"]);
    assert_eq!(of_file["per_class_iou"], of_run["per_class_iou"]);
    assert_eq!(of_file["reference_metric"], of_run["reference_metric"]);
}
