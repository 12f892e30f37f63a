//! From written values to assignments of keys: aliases, `kind` strings, nested tables.

use serde_json::Value;

use crate::experiment::keys::{self, ALIASES, KEYS, Key, Owner};
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
    /// Names that are no keys but may stand here, for messages.
    pub(in crate::experiment) others: &'static [&'static str],
}

/// The top of an experiment file.
pub(in crate::experiment) const EXPERIMENT: Scope = Scope {
    run: true,
    schedule: true,
    machine: false,
    others: &["name", "description", "grid", "exclude", "include", "override"],
};
/// What differs between cells: axes, `include`, `override`, conditions.
pub(in crate::experiment) const CELL: Scope =
    Scope { run: true, schedule: false, machine: false, others: &[] };
/// The machine file and the environment.
pub(in crate::experiment) const MACHINE: Scope =
    Scope { run: false, schedule: true, machine: true, others: &[] };
/// `--set`.
pub(in crate::experiment) const SET: Scope =
    Scope { run: true, schedule: true, machine: true, others: &[] };

/// Names that set several keys at once.
pub(in crate::experiment) const COMPOUND: &[&str] = &["backbone", "lora_rank"];

/// What a written name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::experiment) enum Target {
    Key(&'static str),
    /// A table of keys, by its dotted name.
    Group(String),
    /// Encoder by its official name, e.g. `dinov2_vitl14_reg`: all of `model`.
    Backbone,
    /// 0: frozen; else LoRA of this rank.
    LoraRank,
    Unknown,
}

/// The dotted name behind an alias.
fn canonical(path: &str) -> String {
    let (first, rest) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
    let Some((_, full)) = ALIASES.iter().find(|(alias, _)| *alias == first) else {
        return path.to_owned();
    };
    rest.map_or_else(|| (*full).to_owned(), |rest| format!("{full}.{rest}"))
}

pub(in crate::experiment) fn resolve(path: &str) -> Target {
    match path {
        "backbone" => return Target::Backbone,
        "lora_rank" => return Target::LoraRank,
        _ => {}
    }
    let name = canonical(path);
    match keys::find(&name) {
        Some(key) => Target::Key(key.name),
        None if keys::is_group(&name) => Target::Group(name),
        None => Target::Unknown,
    }
}

/// The `kind` key of a group that has one.
pub(in crate::experiment) fn kind_key(group: &str) -> Option<&'static Key> {
    keys::find(&format!("{group}.kind"))
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

/// Reports keys that one layer sets twice, and pairs of which a run has only one.
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
    fn refuse(&mut self, path: &str, node: &Node, refusal: keys::Refusal) {
        let mut problem = node.at.problem(path, refusal.message);
        problem.value = Some(node.tree.to_string());
        problem.nearest = refusal.nearest;
        self.problems.taint(&canonical(path));
        self.problems.push(problem);
    }

    fn set(&mut self, name: &'static str, value: Value, at: &Origin) {
        let key = keys::find(name).expect("named in the key table");
        self.found.push(Assign { key, value, at: at.clone() });
    }
}

fn read(path: &str, node: &Node, scope: Scope, sink: &mut Sink<'_>) {
    match resolve(path) {
        Target::Key(name) => {
            let key = keys::find(name).expect("resolved to it");
            if permitted(path, key.owner(), &node.at, scope, sink) {
                read_key(path, key, node, sink);
            }
        }
        Target::Group(group) => read_group(path, &group, node, scope, sink),
        Target::Backbone => {
            if permitted(path, Owner::Run, &node.at, scope, sink) {
                read_backbone(path, node, sink);
            }
        }
        Target::LoraRank => {
            if permitted(path, Owner::Run, &node.at, scope, sink) {
                read_lora_rank(path, node, sink);
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
        Err(why) => Err(keys::Refusal {
            message: format!("{why}; allowed: {}", key.ty.allowed()),
            nearest: None,
        }),
    };
    match accepted {
        Ok(value) => sink.found.push(Assign { key, value, at: node.at.clone() }),
        Err(mut refusal) => {
            let is_list = matches!(&node.tree, Tree::List(items) if items.len() > 1);
            let takes_list = matches!(
                key.ty,
                keys::Type::List(_)
                    | keys::Type::Range { .. }
                    | keys::Type::Interval { .. }
                    | keys::Type::Data(_)
            );
            if is_list && !takes_list && key.owner() == Owner::Run {
                refusal.message += "; a list of choices belongs under [grid]";
            }
            sink.refuse(path, node, refusal);
        }
    }
}

fn read_group(path: &str, group: &str, node: &Node, scope: Scope, sink: &mut Sink<'_>) {
    match (&node.tree, kind_key(group)) {
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
            let names = quoted(children(group));
            let message = format!("found {}; allowed: {kinds}a table of {names}", tree.noun());
            sink.refuse(path, node, keys::Refusal { message, nearest: None });
        }
    }
}

/// Reports a name that is no key; true if it is one.
fn known(path: &str, at: &Origin, scope: Scope, sink: &mut Sink<'_>) -> bool {
    if resolve(path) != Target::Unknown {
        return true;
    }
    let name = canonical(path);
    let mut problem = at.problem(path, format!("unknown key; {}", allowed_at(&name, scope)));
    let permitted = KEYS.iter().filter(|key| scope.permits(key.owner())).map(|key| key.name);
    let top = [scope.others.to_vec(), groups(scope), short_names(scope)].concat();
    problem.nearest = nearest(&name, top.into_iter().chain(permitted));
    let meant = problem.nearest.as_deref().map_or_else(|| name.clone(), canonical);
    sink.problems.taint(&meant);
    sink.problems.push(problem);
    false
}

/// The names that may stand where `name`, which is unknown, stands.
fn allowed_at(name: &str, scope: Scope) -> String {
    let parent = name.rsplit_once('.').map(|(parent, _)| parent).filter(|p| keys::is_group(p));
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

/// The names directly below a group.
fn children(group: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in keys::below(group) {
        let rest = &key.name[group.len() + 1..];
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
    for key in KEYS.iter().filter(|key| scope.permits(key.owner())) {
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
        let mut behind = KEYS.iter().filter(|key| key.name.starts_with(full));
        behind.any(|key| scope.permits(key.owner()))
    };
    let aliases = ALIASES.iter().filter(|(_, full)| permitted(full)).map(|(alias, _)| *alias);
    let compound = COMPOUND.iter().copied().filter(|_| scope.run);
    compound.chain(aliases).collect()
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

/// Reports a key that is not for this place; true if it is.
fn permitted(path: &str, owner: Owner, at: &Origin, scope: Scope, sink: &mut Sink<'_>) -> bool {
    if scope.permits(owner) {
        return true;
    }
    let message = match owner {
        Owner::Run if matches!(*at.source, Source::Set(_)) => {
            "is a key of a run, and there is no experiment here"
        }
        Owner::Run => {
            "would change numbers, so it may not hide in the machine file or the environment; \
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

fn read_lora_rank(path: &str, node: &Node, sink: &mut Sink<'_>) {
    let ty = keys::Type::Int { min: 0, max: 1024 };
    let json = node.to_json().map_err(|why| keys::Refusal { message: why, nearest: None });
    match json.and_then(|value| ty.accept(&value)) {
        Ok(rank) if rank == 0 => sink.set("tune.kind", "frozen".into(), &node.at),
        Ok(rank) => {
            sink.set("tune.kind", "lora".into(), &node.at);
            sink.set("tune.rank", rank, &node.at);
        }
        Err(mut refusal) => {
            refusal.message += " (0: frozen encoder)";
            sink.problems.taint("tune");
            sink.refuse(path, node, refusal);
        }
    }
}

/// Official names of the encoders, by `size` key.
const DINOV2_NAMES: &[(&str, &str)] =
    &[("vits14", "small"), ("vitb14", "base"), ("vitl14", "large"), ("vitg14", "giant")];
const DINOV3_NAMES: &[(&str, &str)] = &[
    ("vits16", "small"),
    ("vits16plus", "small_plus"),
    ("vitb16", "base"),
    ("vitl16", "large"),
    ("vitl16plus", "large_plus"),
    ("vith16plus", "huge_plus"),
    ("vit7b16", "7b"),
];

fn read_backbone(path: &str, node: &Node, sink: &mut Sink<'_>) {
    let known = backbone_names();
    let choice = match &node.tree {
        Tree::Text(text) => known.iter().find(|backbone| backbone.name == *text),
        _ => None,
    };
    let Some(backbone) = choice else {
        let names: Vec<_> = known.iter().map(|backbone| backbone.name.as_str()).collect();
        let message =
            format!("`{}` is not known; allowed: {}", node.tree, quoted(names.iter().copied()));
        let near = nearest(&node.tree.to_string(), names);
        sink.problems.taint("model");
        sink.refuse(path, node, keys::Refusal { message, nearest: near });
        return;
    };
    sink.set("model.dino_type", backbone.dino_type.into(), &node.at);
    sink.set("model.size", backbone.size.into(), &node.at);
    sink.set("model.registers", backbone.registers.into(), &node.at);
    sink.set("model.pretraining", backbone.pretraining.into(), &node.at);
}

struct Backbone {
    name: String,
    dino_type: &'static str,
    size: &'static str,
    registers: bool,
    pretraining: &'static str,
}

/// The other images that some of DINOv3's were trained on.
const SAT: &str = "sat493m";
const LVD: &str = "lvd1689m";
const SAT_NAMES: &[(&str, &str)] = &[("vitl16_sat493m", "large"), ("vit7b16_sat493m", "7b")];

fn backbone_names() -> Vec<Backbone> {
    let v2 = DINOV2_NAMES.iter().flat_map(|(name, size)| {
        ["", "_reg"].map(|suffix| Backbone {
            name: format!("dinov2_{name}{suffix}"),
            dino_type: "dinov2",
            size,
            registers: suffix == "_reg",
            pretraining: LVD,
        })
    });
    let lvd = DINOV3_NAMES.iter().map(|row| (row, LVD));
    let v3 =
        lvd.chain(SAT_NAMES.iter().map(|row| (row, SAT))).map(|((name, size), pretraining)| {
            let name = format!("dinov3_{name}");
            Backbone { name, dino_type: "dinov3", size, registers: true, pretraining }
        });
    v2.chain(v3).collect()
}

/// The official name of an encoder, for labels.
pub(in crate::experiment) fn backbone_name(
    (dino_type, size): (&str, &str),
    registers: bool,
    pretraining: &str,
) -> Option<String> {
    let is_named = |b: &Backbone| {
        (b.dino_type, b.size, b.registers) == (dino_type, size, registers)
            && (b.pretraining == pretraining || dino_type == "dinov2")
    };
    backbone_names().into_iter().find(is_named).map(|b| b.name)
}
