//! Reads written values into assignments of keys, for files, `--set` and the environment: short
//! names, `kind` strings and nested tables go in, one [`Assign`] a key comes out.

use serde_json::Value;

use crate::experiment::keys::{self, Compound, Key, Owner};
use crate::experiment::text::problem::{Problems, nearest, quoted};
use crate::experiment::text::tree::{Entry, Node, Origin, Source, Tree};

/// One key set to one value that its type accepts.
#[derive(Debug, Clone)]
pub(in crate::experiment) struct Assign {
    pub(in crate::experiment) key: &'static Key,
    pub(in crate::experiment) value: Value,
    pub(in crate::experiment) at: Origin,
}

/// Which keys may be set in a place, and what to call the place.
#[derive(Debug, Clone, Copy)]
pub(in crate::experiment) struct Scope {
    pub(in crate::experiment) run: bool,
    pub(in crate::experiment) schedule: bool,
    pub(in crate::experiment) machine: bool,
    /// Names that are allowed here without being keys, for messages.
    pub(in crate::experiment) others: &'static [&'static str],
}

/// The top level of an experiment file.
pub(in crate::experiment) const EXPERIMENT: Scope = Scope {
    run: true,
    schedule: true,
    machine: false,
    others: &["name", "description", "grid", "exclude", "include", "override"],
};
/// The parts that differ between cells: axes, `include`, `override`, conditions.
pub(in crate::experiment) const CELL: Scope =
    Scope { run: true, schedule: false, machine: false, others: &[] };
/// The machine file and the environment.
pub(in crate::experiment) const MACHINE: Scope =
    Scope { run: false, schedule: true, machine: true, others: &[] };
/// `--set`.
pub(in crate::experiment) const SET: Scope =
    Scope { run: true, schedule: true, machine: true, others: &[] };

/// The thing that a written name stands for.
#[derive(Debug, Clone)]
pub(in crate::experiment) enum Target {
    Key(&'static Key),
    /// A table of keys, by its dotted name.
    Table(String),
    /// Several keys at once.
    Compound(&'static Compound),
    Unknown,
}

pub(in crate::experiment) fn resolve(path: &str) -> Target {
    if let Some(compound) = keys::compounds().find(|compound| compound.name == path) {
        return Target::Compound(compound);
    }
    let name = keys::full_name(path);
    match keys::find(&name) {
        Some(key) => Target::Key(key),
        None if keys::is_table(&name) => Target::Table(name),
        None => Target::Unknown,
    }
}

impl Target {
    /// The full name of what is set; `None` for an unknown name.
    pub(in crate::experiment) fn name(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key.name),
            Self::Table(name) => Some(name),
            Self::Compound(compound) => Some(compound.name),
            Self::Unknown => None,
        }
    }
}

/// The `kind` key of a table that has one.
pub(in crate::experiment) fn kind_key(table: &str) -> Option<&'static Key> {
    keys::find(&format!("{table}.kind"))
}

/// Reads `node`, written under the name `path`, into assignments.
pub(in crate::experiment) fn assigns(
    path: &str,
    node: &Node,
    scope: Scope,
    problems: &mut Problems,
) -> Vec<Assign> {
    let mut found = Vec::new();
    read(path, node, scope, &mut Sink { found: &mut found, problems });
    found
}

/// Reads the entries of a table that sets keys by full names, aliases or nested tables.
pub(in crate::experiment) fn table_assigns(
    entries: &[Entry],
    scope: Scope,
    problems: &mut Problems,
) -> Vec<Assign> {
    let mut found = Vec::new();
    for entry in entries {
        let mut sink = Sink { found: &mut found, problems };
        if known(&entry.name, &entry.at, scope, &mut sink) {
            read(&entry.name, &entry.node, scope, &mut sink);
        }
    }
    refuse_conflicts(&found, problems);
    found
}

/// Reports keys that one layer sets twice, and pairs of keys that exclude each other.
pub(in crate::experiment) fn refuse_conflicts(layer: &[Assign], problems: &mut Problems) {
    for (i, assign) in layer.iter().enumerate() {
        let name = assign.key.name;
        for earlier in &layer[..i] {
            if earlier.key.name == name {
                let place = place(&earlier.at);
                problems.taint(name);
                problems.push(assign.at.problem(name, format!("set twice{place}")));
            } else if keys::excluded_by(name) == Some(earlier.key.name) {
                let message = format!(
                    "set together with `{}`{}; give one of them",
                    earlier.key.name,
                    place(&earlier.at)
                );
                problems.push(assign.at.problem(name, message));
            }
        }
    }
}

fn place(at: &Origin) -> String {
    at.line.map_or_else(String::new, |line| format!(", first in line {line}"))
}

struct Sink<'a> {
    found: &'a mut Vec<Assign>,
    problems: &'a mut Problems,
}

impl Sink<'_> {
    fn refuse(&mut self, path: &str, node: &Node, refused: Vec<keys::Refusal>) {
        self.problems.taint(&keys::full_name(path));
        for refusal in refused {
            let mut problem = node.at.problem(path, refusal.message);
            problem.value = Some(node.tree.to_string());
            problem.nearest = refusal.nearest;
            self.problems.push(problem);
        }
    }
}

fn read(path: &str, node: &Node, scope: Scope, sink: &mut Sink<'_>) {
    match resolve(path) {
        Target::Key(key) => {
            if permitted(path, key.owner(), &node.at, scope, sink) {
                read_key(path, key, node, sink);
            }
        }
        Target::Table(table) => read_table(path, &table, node, scope, sink),
        Target::Compound(compound) => {
            if permitted(path, Owner::Run, &node.at, scope, sink) {
                read_compound(path, compound, node, sink);
            }
        }
        Target::Unknown => {
            known(path, &node.at, scope, sink);
        }
    }
}

fn read_key(path: &str, key: &'static Key, node: &Node, sink: &mut Sink<'_>) {
    let accepted = match node.to_json() {
        Ok(value) => key.ty.accept(&value),
        Err(why) => {
            let message = format!("{why}; allowed: {}", key.ty.allowed());
            Err(vec![keys::Refusal::new(message)])
        }
    };
    match accepted {
        Ok(value) => sink.found.push(Assign { key, value, at: node.at.clone() }),
        Err(mut refused) => {
            let is_list = matches!(&node.tree, Tree::List(items) if items.len() > 1);
            if is_list && !key.ty.takes_list() && key.owner() == Owner::Run {
                for refusal in &mut refused {
                    refusal.message += "; a list of choices belongs under [grid]";
                }
            }
            sink.refuse(path, node, refused);
        }
    }
}

fn read_table(path: &str, table: &str, node: &Node, scope: Scope, sink: &mut Sink<'_>) {
    match (&node.tree, kind_key(table)) {
        (Tree::Table(entries), _) => {
            for entry in entries {
                let path = format!("{path}.{}", entry.name);
                if known(&path, &entry.at, scope, sink) {
                    read(&path, &entry.node, scope, sink);
                }
            }
        }
        (Tree::Text(_), Some(key)) => {
            if permitted(path, key.owner(), &node.at, scope, sink) {
                read_key(path, key, node, sink);
            }
        }
        (tree, kind) => {
            let kinds = kind.map_or_else(String::new, |key| format!("{}, or ", key.ty.allowed()));
            let names = quoted(children(table));
            let message = format!("found {}; allowed: {kinds}a table of {names}", tree.noun());
            sink.refuse(path, node, vec![keys::Refusal::new(message)]);
        }
    }
}

/// Whether a name is unknown; reports one that is.
fn known(path: &str, at: &Origin, scope: Scope, sink: &mut Sink<'_>) -> bool {
    if !matches!(resolve(path), Target::Unknown) {
        return true;
    }
    let name = keys::full_name(path);
    let mut problem = at.problem(path, format!("unknown key; {}", allowed_at(&name, scope)));
    let permitted = keys::all().filter(|key| scope.permits(key.owner())).map(|key| key.name);
    let top = [scope.others.to_vec(), groups(scope), short_names(scope)].concat();
    problem.nearest = nearest(&name, top.into_iter().chain(permitted));
    let meant = problem.nearest.as_deref().map_or_else(|| name.clone(), keys::full_name);
    sink.problems.taint(&meant);
    sink.problems.push(problem);
    false
}

/// The names that may stand where `name`, which is unknown, stands.
fn allowed_at(name: &str, scope: Scope) -> String {
    let parent = name.rsplit_once('.').map(|(parent, _)| parent).filter(|p| keys::is_table(p));
    if let Some(parent) = parent {
        return format!("allowed in `{parent}`: {}", quoted(children(parent)));
    }
    let short = short_names(scope);
    // All of a run's short names would hide the answer.
    let (shown, more) =
        if scope.run { (&short[..4], "or a short name such as ") } else { (&short[..], "") };
    let names = [scope.others.to_vec(), groups(scope)].concat();
    format!("allowed: {}, {more}{}", quoted(names), quoted(shown.iter().copied()))
}

/// The names directly below a table.
fn children(table: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in keys::below(table) {
        let rest = &key.name[table.len() + 1..];
        let first = rest.split('.').next().unwrap_or(rest);
        if !names.contains(&first) {
            names.push(first);
        }
    }
    names
}

/// First segments of the keys of a scope.
fn groups(scope: Scope) -> Vec<&'static str> {
    let mut groups = Vec::new();
    for key in keys::all().filter(|key| scope.permits(key.owner())) {
        let first = key.name.split('.').next().unwrap_or(key.name);
        if !groups.contains(&first) {
            groups.push(first);
        }
    }
    groups
}

/// Aliases of the keys of a scope.
fn short_names(scope: Scope) -> Vec<&'static str> {
    let permitted = |full: &str| {
        let mut behind = keys::all().filter(|key| key.name.starts_with(full));
        behind.any(|key| scope.permits(key.owner()))
    };
    let aliases = keys::aliases().filter(|(_, full)| permitted(full)).map(|(alias, _)| alias);
    let compounds = keys::compounds().map(|compound| compound.name).filter(|_| scope.run);
    compounds.chain(aliases).collect()
}

impl Scope {
    fn permits(self, owner: Owner) -> bool {
        match owner {
            Owner::Run => self.run,
            Owner::Schedule => self.schedule,
            Owner::Machine => self.machine,
        }
    }
}

/// Whether a key is allowed in this place; reports one that is not.
fn permitted(path: &str, owner: Owner, at: &Origin, scope: Scope, sink: &mut Sink<'_>) -> bool {
    if scope.permits(owner) {
        return true;
    }
    let message = match owner {
        Owner::Run if matches!(*at.source, Source::Set(_)) => {
            "is a key of a run, which cannot be set without an experiment"
        }
        Owner::Run => {
            "would change results, so it cannot be set in the machine file or the environment; \
             set it in the experiment file or with `--set`"
        }
        Owner::Schedule => "is the same for all cells; set it under [schedule]",
        Owner::Machine => {
            "is about this machine; set it in the machine file (~/.config/sweep/config.toml), \
             in the environment or with `--set`"
        }
    };
    sink.problems.push(at.problem(path, message));
    false
}

fn read_compound(path: &str, compound: &'static Compound, node: &Node, sink: &mut Sink<'_>) {
    let json = node.to_json().map_err(|why| {
        let message = format!("{why}; allowed: {}", (compound.allowed)());
        vec![keys::Refusal::new(message)]
    });
    match json.and_then(|value| (compound.expand)(&value)) {
        Ok(values) => {
            for (name, value) in values {
                let key = keys::find(name).expect("compounds set keys");
                sink.found.push(Assign { key, value, at: node.at.clone() });
            }
        }
        Err(refused) => {
            sink.problems.taint(compound.group);
            sink.refuse(path, node, refused);
        }
    }
}
