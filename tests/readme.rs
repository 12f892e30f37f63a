//! What README.md and docs/ tell users to write is held to the program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use dino_sweep::data::dataset::Config;
use dino_sweep::experiment::{self, Experiment, Layers};

const README: &str = include_str!("../README.md");
const EXPERIMENT_FILE: &str = include_str!("../docs/experiment-file.md");
const DATASETS: &str = include_str!("../docs/datasets.md");
const QUICKSTART: &str = include_str!("../docs/quickstart.md");

/// The text of the TOML blocks of a page.
fn blocks(page: &str) -> Vec<&str> {
    page.split("\n```").filter_map(|part| part.strip_prefix("toml\n")).collect()
}

/// Writes the only block of a page that starts with `first_line` to a file, and gives its path.
fn file(dir: &Path, page: &str, first_line: &str) -> PathBuf {
    let mut found = blocks(page);
    found.retain(|block| block.starts_with(first_line));
    assert_eq!(found.len(), 1, "blocks that start with `{first_line}`");
    let path = dir.join("my_grid.toml");
    fs_err::write(&path, found[0]).unwrap();
    path
}

fn loaded(page: &str, first_line: &str) -> Experiment {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), page, first_line);
    let layers = Layers { experiment: &path, machine_file: None, env: &[], set: &[] };
    experiment::load_experiment(&layers).unwrap().0
}

#[test]
fn every_toml_block_is_tried_here() {
    let counts = [README, EXPERIMENT_FILE, DATASETS, QUICKSTART].map(|page| blocks(page).len());
    assert_eq!(counts, [1, 2, 1, 1]);
}

#[test]
fn the_readme_fits_its_size() {
    assert!(README.len() <= 8 * 1024, "{} bytes", README.len());
}

#[test]
fn the_short_experiments_are_read_as_they_say() {
    let experiment = loaded(README, "# experiments/my_grid.toml");
    assert_eq!(experiment.cells.len(), 2 * 2 * 3 * 2 * 3);
    assert_eq!(experiment.warnings, Vec::<String>::new());
    let experiment = loaded(QUICKSTART, "# experiments/my_folder.toml");
    assert_eq!(experiment.cells.len(), 2);
}

#[test]
fn the_experiment_file_is_read_as_its_comments_say() {
    let experiment = loaded(EXPERIMENT_FILE, "# experiments/my_grid.toml");
    // 3 sizes, 2 families, 3 ranks, 2 decoders, 2 datasets, 3 seeds, less the excluded, and one.
    assert_eq!(experiment.cells.len(), 3 * 2 * 3 * 2 * 2 * 3 - 3 * 2 * 2 * 3 + 1);
    assert_eq!(experiment.warnings, Vec::<String>::new());
    let steps =
        experiment.cells.iter().filter(|cell| cell.spec.train.steps == Some(40_000)).count();
    assert_eq!(steps, 90);
}

#[test]
fn the_folder_of_any_layout_is_read() {
    let experiment = loaded(DATASETS, "# experiments/my_folder.toml");
    let Config::Folder(folder) = &experiment.cells[0].spec.data else { panic!("another kind") };
    assert_eq!((folder.label_map.len(), folder.fractions["val"]), (4, 0.2));
}

#[test]
fn the_machine_file_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), EXPERIMENT_FILE, "# ~/.config/sweep/config.toml");
    let env = [("HOME".to_owned(), "/home/me".to_owned())];
    let machine = experiment::load_machine(Some(&path), &env, &[]).unwrap();
    assert_eq!(machine.data_dirs, [Path::new("/home/me/data")]);
    assert_eq!(machine.results, Path::new("results"));
}
