//! Specs from text to cells, and what is said about nonsense.

mod any;
mod cells;
mod files;
mod nonsense;

use std::path::Path;

use super::*;

/// Loads `toml` as `x.toml`, with an environment and `--set`s; without any text, a file that only
/// has a name.
pub(in crate::experiment) fn load_with(
    toml: &str,
    env: &[(&str, &str)],
    set: &[&str],
) -> Result<(Experiment, Machine), Vec<Problem>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.toml");
    fs_err::write(&path, if toml.is_empty() { "name = 'x'" } else { toml }).unwrap();
    let env: Vec<_> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let set: Vec<_> = set.iter().map(|s| (*s).to_owned()).collect();
    let layers = Layers { experiment: &path, machine_file: None, env: &env, set: &set };
    load_experiment(&layers).map_err(|problems| in_place(problems, dir.path()))
}

/// Problems with file names that do not depend on the temporary folder.
pub(super) fn in_place(problems: Vec<Problem>, dir: &Path) -> Vec<Problem> {
    let strip = |problem: Problem| {
        let file = problem
            .file
            .map(|file| file.strip_prefix(dir).map_or_else(|_| file.clone(), Path::to_path_buf));
        Problem { file, ..problem }
    };
    problems.into_iter().map(strip).collect()
}

pub(super) fn load(toml: &str) -> Experiment {
    match load_with(toml, &[], &[]) {
        Ok((experiment, _)) => experiment,
        Err(problems) => panic!("{toml}\n{}", lines(&problems)),
    }
}

pub(super) fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What is said about a spec that must be refused.
pub(super) fn refused(toml: &str) -> String {
    refused_with(toml, &[], &[])
}

pub(super) fn refused_with(toml: &str, env: &[(&str, &str)], set: &[&str]) -> String {
    match load_with(toml, env, set) {
        Ok((experiment, _)) => panic!("accepted {toml}: {} cells", experiment.cells.len()),
        Err(problems) => lines(&problems),
    }
}

/// What is wrong with a spec: values that their keys do not take, and combinations.
pub(super) fn faults(spec: &RunSpec) -> String {
    let json = serde_json::to_value(spec).unwrap();
    let values = keys::all().filter_map(|key| {
        let value = text::table::field(&json, key.field())?;
        Some(format!("{}: {:?}\n", key.name, key.ty.accept(value).err()?))
    });
    let combinations = check::combinations(spec);
    values.chain(combinations.into_iter().map(|found| format!("{found:?}\n"))).collect()
}

/// The cells' labels, one line each.
pub(super) fn table(experiment: &Experiment) -> String {
    let row = |cell: &Cell| {
        let labels: Vec<_> = cell.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        labels.join(" ")
    };
    experiment.cells.iter().map(row).collect::<Vec<_>>().join("\n")
}

pub(super) fn only(toml: &str) -> RunSpec {
    let experiment = load(toml);
    assert_eq!(experiment.cells.len(), 1, "{}", table(&experiment));
    experiment.cells[0].spec.clone()
}
