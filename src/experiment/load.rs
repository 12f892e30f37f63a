//! Loads an experiment from layers of values, from defaults to `--set`; the only module that uses
//! figment.
//!
//! A run's keys come from: defaults, the recipe, the experiment file, `--set`. Keys of `schedule`
//! come from: defaults, the machine file, the experiment file, the environment, `--set`. Keys of
//! `machine` come from: defaults, the machine file, the environment, `--set`. The machine file and
//! the environment may not set anything that would change results.
//!
//! Relative paths (`data.root`, `weights.path`, the machine's folders) are relative to the current
//! folder, and a `~` at the start of a path is the user's home. Whether files exist is found out
//! when they are needed, not here.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::Serialized;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::home::Home;
use super::keys::{self, Owner};
use super::{Experiment, Machine, schedule};
use crate::data::dataset;
use crate::experiment::grid::assign::{self, Assign, CELL, MACHINE, SET, Scope, Target, resolve};
use crate::experiment::grid::draft::{self, Draft};
use crate::experiment::grid::expand::expand;
use crate::experiment::text::problem::{Problem, Problems, nearest};
use crate::experiment::text::tree::{self, Node, Origin, Tree};

/// The layers over the defaults, lowest first.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    pub experiment: &'a Path,
    /// The machine file, from [`machine_file`].
    pub machine_file: Option<&'a Path>,
    /// The environment; names without `SWEEP_` are ignored.
    pub env: &'a [(String, String)],
    /// `key=value` of each `--set`; a value is TOML, or text where it is not.
    pub set: &'a [String],
}

/// Environment variables that other parts of `sweep` read.
const OTHER_VARIABLES: &[&str] = &["SWEEP_LOG"];

const PREFIX: &str = "SWEEP_";

/// Reads an experiment and this machine's keys, or returns all that is wrong with them.
pub fn load(layers: &Layers<'_>) -> Result<(Experiment, Machine), Vec<Problem>> {
    let mut problems = Problems::default();
    let outer = Outer::read(layers.machine_file, layers.env, layers.set, SET, &mut problems);
    let machine = outer.machine(layers.env, &mut problems);
    let draft = read_experiment(layers.experiment, &mut problems);
    let Some(draft) = draft else { return Err(problems.into_list()) };
    let schedule = outer.schedule(&draft.schedule, &mut problems);
    let name = draft.name.clone();
    let set = owned_by(&outer.set, Owner::Run);
    assign::refuse_conflicts(&set, &mut problems);
    let mut expanded = expand(draft, &set, &mut problems);
    for cell in &mut expanded.cells {
        home(layers.env).expand(&mut cell.spec, Owner::Run, &mut problems);
    }
    match (problems.is_empty(), machine, schedule) {
        (true, Some(machine), Some(schedule)) => {
            let (axes, cells, warnings) = (expanded.axes, expanded.cells, expanded.warnings);
            Ok((Experiment { name, axes, cells, schedule, warnings }, machine))
        }
        _ => Err(problems.into_list()),
    }
}

/// The name of the experiment in the file at `path`, even if other keys in it are wrong.
pub fn name_in(path: &Path) -> Result<String, Vec<Problem>> {
    let mut problems = Problems::default();
    let entries = read_file(path, &mut problems);
    let name = entries.map(|entries| draft::read_name(&entries, path, &mut problems));
    name.filter(|_| problems.is_empty()).ok_or_else(|| problems.into_list())
}

/// The dataset that `data.…=value`s describe, checked as in an experiment.
pub fn load_data(
    set: &[String],
    env: &[(String, String)],
) -> Result<dataset::Config, Vec<Problem>> {
    let mut problems = Problems::default();
    let base: Vec<_> = set.iter().flat_map(|text| read_set(text, CELL, &mut problems)).collect();
    assign::refuse_conflicts(&base, &mut problems);
    let expanded = expand(Draft { base, ..Draft::default() }, &[], &mut problems);
    let mut cell = expanded.cells.into_iter().next();
    if let Some(cell) = &mut cell {
        home(env).expand(&mut cell.spec, Owner::Run, &mut problems);
    }
    match cell {
        Some(cell) if problems.is_empty() => Ok(cell.spec.data),
        _ => Err(problems.into_list()),
    }
}

/// This machine's keys, for verbs that need no experiment.
pub fn load_machine(
    machine_file: Option<&Path>,
    env: &[(String, String)],
    set: &[String],
) -> Result<Machine, Vec<Problem>> {
    let mut problems = Problems::default();
    let outer = Outer::read(machine_file, env, set, MACHINE, &mut problems);
    match (outer.machine(env, &mut problems), problems.is_empty()) {
        (Some(machine), true) => Ok(machine),
        _ => Err(problems.into_list()),
    }
}

/// `$XDG_CONFIG_HOME/sweep/config.toml`, or `~/.config/sweep/config.toml`; `None` if there is none.
pub fn machine_file(env: &[(String, String)]) -> Option<PathBuf> {
    // The XDG specification ignores relative folders.
    let xdg = variable(env, "XDG_CONFIG_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let folder = xdg.or_else(|| Some(Path::new(variable(env, "HOME")?).join(".config")))?;
    let path = folder.join("sweep").join("config.toml");
    path.exists().then_some(path)
}

fn home(env: &[(String, String)]) -> Home<'_> {
    Home(variable(env, "HOME"))
}

fn variable<'a>(env: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    found.filter(|value| !value.is_empty())
}

fn read_experiment(path: &Path, problems: &mut Problems) -> Option<Draft> {
    let entries = read_file(path, problems)?;
    Some(draft::read(&entries, path, problems))
}

fn read_file(path: &Path, problems: &mut Problems) -> Option<Vec<tree::Entry>> {
    let parsed = match fs_err::read_to_string(path) {
        Ok(text) => tree::parse(&text, path),
        Err(error) => {
            let message = match error.kind() {
                std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
                _ => format!("cannot be read: {error}"),
            };
            let file = Some(path.to_path_buf());
            Err(Box::new(Problem { file, message, ..Problem::default() }))
        }
    };
    match parsed {
        Ok(entries) => Some(entries),
        Err(problem) => {
            problems.push(*problem);
            None
        }
    }
}

/// The layers around the experiment file.
struct Outer {
    file: Vec<Assign>,
    env: Vec<Assign>,
    set: Vec<Assign>,
}

impl Outer {
    fn read(
        machine_file: Option<&Path>,
        env: &[(String, String)],
        set: &[String],
        scope: Scope,
        problems: &mut Problems,
    ) -> Self {
        let entries = machine_file.and_then(|path| read_file(path, problems)).unwrap_or_default();
        let file = assign::table_assigns(&entries, MACHINE, problems);
        let env = read_env(env, problems);
        let set = set.iter().flat_map(|text| read_set(text, scope, problems)).collect();
        Self { file, env, set }
    }

    fn machine(&self, env: &[(String, String)], problems: &mut Problems) -> Option<Machine> {
        let layers = [&self.file, &self.env, &self.set];
        let mut machine: Machine = merged("machine", layers, problems)?;
        home(env).expand(&mut machine, Owner::Machine, problems);
        Some(machine)
    }

    fn schedule(
        &self,
        experiment: &Vec<Assign>,
        problems: &mut Problems,
    ) -> Option<schedule::Config> {
        merged("schedule", [&self.file, experiment, &self.env, &self.set], problems)
    }
}

/// The table `group` from its defaults and the layers, lowest first.
fn merged<'a, T: Default + Serialize + DeserializeOwned>(
    group: &str,
    layers: impl IntoIterator<Item = &'a Vec<Assign>>,
    problems: &mut Problems,
) -> Option<T> {
    let mut figment = Figment::from(Serialized::defaults(T::default()));
    for assign in layers.into_iter().flatten() {
        if let Some(name) = assign.key.field().strip_prefix(group).and_then(|n| n.strip_prefix('.'))
        {
            figment = figment.merge(Serialized::default(name, &assign.value));
        }
    }
    match figment.extract() {
        Ok(table) => Some(table),
        // The key table has checked each value; this is the backstop.
        Err(error) => {
            let message = format!("not a valid {group} table: {error}");
            problems.push(Problem { message, ..Problem::default() });
            None
        }
    }
}

fn owned_by(assigns: &[Assign], owner: Owner) -> Vec<Assign> {
    assigns.iter().filter(|assign| assign.key.owner() == owner).cloned().collect()
}

fn read_set(text: &str, scope: Scope, problems: &mut Problems) -> Vec<Assign> {
    let Some((path, value)) = text.split_once('=') else {
        problems.push(Problem {
            value: Some(text.to_owned()),
            message: format!("`--set {text}` is not of the form key=value"),
            ..Problem::default()
        });
        return Vec::new();
    };
    let (path, at) = (path.trim(), Origin::set(text));
    assign::assigns(path, &value_of(path, value.trim(), &at), scope, problems)
}

/// A value given as text: where the key takes text it need not be quoted.
fn value_of(path: &str, text: &str, at: &Origin) -> Node {
    match resolve(path) {
        Target::Key(key) => key.parse(text, at),
        _ => tree::parse_value(text, at),
    }
}

fn read_env(env: &[(String, String)], problems: &mut Problems) -> Vec<Assign> {
    let ours = env.iter().filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty());
    let ours = ours.filter(|(name, _)| !OTHER_VARIABLES.contains(&name.as_str()));
    ours.flat_map(|(name, value)| read_variable(name, value, problems)).collect()
}

fn read_variable(name: &str, value: &str, problems: &mut Problems) -> Vec<Assign> {
    let at = Origin::env(name);
    let key = keys::all().find(|key| variable_of(key.name, key.owner()) == name);
    let Some(key) = key else {
        let aliases = keys::aliases().map(|(alias, _)| alias);
        let mut short = aliases.chain(keys::compounds().map(|compound| compound.name));
        let is_short = short.any(|short| variable_of(short, Owner::Run) == name);
        problems.push(unknown_variable(name, is_short));
        return Vec::new();
    };
    let node = if key.ty.is_list() {
        let paths = value.split(':').filter(|path| !path.is_empty());
        let items = paths.map(|path| tree::text_node(path, &at)).collect();
        Node { tree: Tree::List(items), at }
    } else {
        key.parse(value, &at)
    };
    assign::assigns(key.name, &node, MACHINE, problems)
}

/// The name of a key's variable, such as `SWEEP_RESULTS` or `SWEEP_SCHEDULE_DEVICES`.
fn variable_of(key: &str, owner: Owner) -> String {
    let name = match owner {
        Owner::Machine => key.trim_start_matches("machine."),
        Owner::Schedule | Owner::Run => key,
    };
    format!("{PREFIX}{}", name.replace('.', "_").to_uppercase())
}

fn unknown_variable(name: &str, changes_numbers: bool) -> Problem {
    let mut known: Vec<String> = keys::all()
        .filter(|key| key.owner() != Owner::Run)
        .map(|key| variable_of(key.name, key.owner()))
        .collect();
    known.extend(OTHER_VARIABLES.iter().map(|name| (*name).to_owned()));
    let message = if changes_numbers {
        "the variable would change results; set the key in the experiment file or with `--set`"
            .to_owned()
    } else {
        format!("unknown variable; allowed: {}", known.join(", "))
    };
    let nearest = nearest(name, known.iter().map(String::as_str));
    let nearest = if changes_numbers { None } else { nearest };
    Problem { key: Some(name.to_owned()), message, nearest, ..Problem::default() }
}
