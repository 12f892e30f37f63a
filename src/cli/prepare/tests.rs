use super::*;
use crate::data::dataset::{ShapesConfig, VocConfig};
use crate::plan::{Action, PlannedRun};
use crate::schedule::fake;
use crate::spec::schedule;

fn spec() -> RunSpec {
    let mut spec = fake::job(1).file.spec;
    let shapes = ShapesConfig { n_train: 4, n_val: 2, side_px: 32, seed: 0 };
    spec.data = dataset::Config::Shapes(shapes);
    spec
}

fn experiment(specs: Vec<RunSpec>) -> Experiment {
    let cells = specs.into_iter().enumerate().map(|(index, spec)| Cell {
        index: index as u32,
        labels: vec![("cell".to_owned(), format!("c{index}"))],
        spec,
    });
    Experiment {
        name: "e".to_owned(),
        axes: vec!["cell".to_owned()],
        cells: cells.collect(),
        schedule: schedule::Config::default(),
        warnings: vec![],
    }
}

/// Prepares cells in a folder of their own; data and weights are looked for in it alone.
fn prepare_in(temp: &Path, specs: Vec<RunSpec>) -> Result<Vec<Prepared>, Missing> {
    let machine = Machine {
        data_dirs: vec![temp.join("data")],
        weight_dirs: vec![temp.join("weights")],
        results: temp.join("results"),
    };
    prepare(&experiment(specs), &machine, &ResultsDir::new(&machine.results))
}

fn planned_run(run: &RunId, action: Action) -> PlannedRun {
    PlannedRun { run: run.clone(), cell: 0, action, reason: String::new() }
}

#[test]
fn cells_get_facts_ids_and_score_requests() {
    let temp = tempfile::tempdir().unwrap();
    let mut other = spec();
    other.seed = 2;
    let cells = prepare_in(temp.path(), vec![spec(), other]).unwrap();
    assert_ne!(cells[0].run, cells[1].run);
    assert_eq!(cells[0].facts, cells[1].facts);
    assert_eq!(cells[0].facts.input_px, [28, 28]);
    assert_eq!(cells[0].requests.len(), 16, "clean and 15 corruptions");
    let planned = planned(&experiment(vec![spec()]), &cells);
    assert_eq!(planned.suite.as_deref(), Some("imagenet-c-15 v1"));
    assert_eq!(planned.suite_corruptions.len(), 15);
    assert_eq!(planned.cells[1].scores.len(), 16);
}

#[test]
fn frost_is_procedural_without_its_textures_and_damaged_ones_are_named() {
    let temp = tempfile::tempdir().unwrap();
    let cells = prepare_in(temp.path(), vec![spec()]).unwrap();
    assert_eq!(cells[0].facts.frost, None);
    let has = |cells: &[Prepared], name: &str| {
        cells[0].requests.iter().any(|request| request.corruption.as_deref() == Some(name))
    };
    assert!(has(&cells, "frost*") && !has(&cells, "frost"));
    crate::files::write_atomic(&temp.path().join("data/frost/frost4.jpg"), b"ice").unwrap();
    let missing = prepare_in(temp.path(), vec![spec()]).unwrap_err().to_string();
    assert!(missing.contains("frost1.png") && missing.contains("frost4.jpg"), "{missing}");
    // A suite without frost does not look.
    let mut first8 = spec();
    first8.eval.corruption.suite = "imagenet-c-first8".to_owned();
    assert!(prepare_in(temp.path(), vec![first8]).is_ok());
}

#[test]
fn everything_missing_is_named_once_with_its_cells() {
    let temp = tempfile::tempdir().unwrap();
    let mut no_data = spec();
    no_data.data = dataset::Config::Voc(VocConfig {
        root: Some(temp.path().join("nowhere")),
        train: "train".to_owned(),
    });
    let mut no_weights = spec();
    no_weights.weights = WeightsConfig::File { path: temp.path().join("none.pth") };
    let specs = vec![no_data.clone(), no_weights, spec(), no_data];
    let missing = prepare_in(temp.path(), specs).unwrap_err().to_string();
    let lines: Vec<_> = missing.lines().collect();
    assert_eq!(lines.len(), 2, "{missing}");
    assert!(lines[0].contains("nowhere"), "{missing}");
    assert!(lines[0].ends_with("needed by cell 0 (c0), cell 3 (c3)"), "{missing}");
    assert!(lines[1].contains("none.pth"), "{missing}");
    assert!(lines[1].ends_with("needed by cell 1 (c1)"), "{missing}");
}

#[test]
fn a_missing_split_is_an_error_of_the_cells_that_score_it() {
    let temp = tempfile::tempdir().unwrap();
    let mut other = spec();
    other.eval.sets = vec!["val".to_owned(), "test".to_owned()];
    let missing = prepare_in(temp.path(), vec![spec(), other]).unwrap_err().to_string();
    assert!(missing.contains("test"), "{missing}");
    assert!(missing.ends_with("needed by cell 1 (c1)"), "{missing}");
}

#[test]
fn cells_that_share_a_run_are_one_job_with_the_scores_of_all() {
    let temp = tempfile::tempdir().unwrap();
    let mut other = spec();
    other.eval.corruption.severities = vec![1, 5];
    let mut third = spec();
    third.seed = 3;
    let cells = prepare_in(temp.path(), vec![spec(), other, third]).unwrap();
    assert_eq!(cells[0].run, cells[1].run);
    let planned = [
        planned_run(&cells[0].run, Action::ScoreOnly { missing: 17 }),
        planned_run(&cells[1].run, Action::Reuse),
        planned_run(&cells[2].run, Action::Reuse),
    ];
    let jobs = jobs(&cells, &planned);
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].scores.len(), 31, "clean, and 15 corruptions at two levels");
}

#[test]
fn nothing_is_done_about_reused_and_stale_runs() {
    let temp = tempfile::tempdir().unwrap();
    let cells = prepare_in(temp.path(), vec![spec()]).unwrap();
    let run = &cells[0].run;
    assert_eq!(jobs(&cells, &[planned_run(run, Action::Reuse)]), []);
    assert_eq!(jobs(&cells, &[planned_run(run, Action::Stale)]), []);
    assert_eq!(jobs(&cells, &[planned_run(run, Action::Resume { step: 1 })]).len(), 1);
}

#[test]
fn weights_are_hashed_into_the_run_and_remembered() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("w.pth");
    crate::files::write_atomic(&path, b"weights").unwrap();
    let mut with_weights = spec();
    with_weights.weights = WeightsConfig::File { path: path.clone() };
    let cells = prepare_in(temp.path(), vec![with_weights.clone(), spec()]).unwrap();
    let weights = cells[0].facts.weights.clone().unwrap();
    assert_eq!(weights.sha256, crate::files::hash::sha256_bytes(b"weights"));
    assert_ne!(cells[0].run, cells[1].run);
    crate::files::write_atomic(&path, b"Weights").unwrap();
    let changed = prepare_in(temp.path(), vec![with_weights]).unwrap();
    assert_ne!(changed[0].run, cells[0].run);
}
