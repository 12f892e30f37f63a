//! What README.md tells users to write and type is held to the program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use dino_sweep::data::dataset::Config;
use dino_sweep::experiment::{self, Layers};

const README: &str = include_str!("../README.md");

/// The text of the fenced blocks in `language`.
fn blocks(language: &str) -> Vec<String> {
    let parts = README.split("\n```");
    parts
        .filter_map(|part| part.strip_prefix(language)?.strip_prefix('\n'))
        .map(str::to_owned)
        .collect()
}

/// Writes the block that starts with `first_line` to a file, and gives its path.
fn file(dir: &Path, first_line: &str) -> PathBuf {
    let found: Vec<_> =
        blocks("toml").into_iter().filter(|block| block.starts_with(first_line)).collect();
    assert_eq!(found.len(), 1, "blocks that start with `{first_line}`");
    let path = dir.join("my_grid.toml");
    fs_err::write(&path, &found[0]).unwrap();
    path
}

#[test]
fn every_toml_block_is_tried_here() {
    assert_eq!(blocks("toml").len(), 3);
}

#[test]
fn the_experiment_file_is_read_as_its_comments_say() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "# experiments/my_grid.toml");
    let layers = Layers { experiment: &path, machine_file: None, env: &[], set: &[] };
    let (experiment, _) = experiment::load_experiment(&layers).unwrap();
    // 3 sizes, 2 families, 3 ranks, 2 decoders, 2 datasets, 3 seeds, less the excluded, and one.
    assert_eq!(experiment.cells.len(), 3 * 2 * 3 * 2 * 2 * 3 - 3 * 2 * 2 * 3 + 1);
    assert_eq!(experiment.warnings, Vec::<String>::new());
    let steps =
        experiment.cells.iter().filter(|cell| cell.spec.train.steps == Some(40_000)).count();
    assert_eq!(steps, 90);
}

#[test]
fn the_folder_of_any_layout_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "# experiments/my_folder.toml");
    let layers = Layers { experiment: &path, machine_file: None, env: &[], set: &[] };
    let (experiment, _) = experiment::load_experiment(&layers).unwrap();
    let Config::Folder(folder) = &experiment.cells[0].spec.data else { panic!("another kind") };
    assert_eq!((folder.label_map.len(), folder.fractions["val"]), (4, 0.2));
}

#[test]
fn the_machine_file_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "# ~/.config/sweep/config.toml");
    let env = [("HOME".to_owned(), "/home/me".to_owned())];
    let machine = experiment::load_machine(Some(&path), &env, &[]).unwrap();
    assert_eq!(machine.data_dirs, [Path::new("/home/me/data")]);
    assert_eq!(machine.results, Path::new("results"));
}

#[test]
fn the_commands_are_those_of_the_program() {
    let output = Command::new(env!("CARGO_BIN_EXE_sweep")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let verbs = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let verbs = verbs.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let verbs = verbs.filter_map(|line| line.split_whitespace().next());
    let verbs: BTreeSet<_> = verbs.filter(|verb| *verb != "help").collect();
    let rows = README.lines().filter_map(|line| line.strip_prefix("| `sweep "));
    let rows: BTreeSet<_> = rows.filter_map(|row| row.split([' ', '`']).next()).collect();
    assert_eq!(rows, verbs, "{help}");
}
