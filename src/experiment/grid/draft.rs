//! Reads an experiment file into axes, rules and values, for [`super::expand`] to multiply out.

use std::collections::BTreeSet;
use std::path::Path;

use super::assign::{self, Assign, CELL, EXPERIMENT, Target, resolve};
use crate::experiment::keys::{self, Owner};
use crate::experiment::text::problem::{Problem, Problems, nearest, quoted};
use crate::experiment::text::tree::{Entry, Node, Origin, Tree};

/// Largest length of a name: leaves room in file names, which end at 255 bytes.
const NAME_MAX: usize = 64;

#[derive(Debug, Default)]
pub(in crate::experiment) struct Draft {
    pub(in crate::experiment) name: String,
    pub(in crate::experiment) axes: Vec<Axis>,
    /// Keys for every cell.
    pub(in crate::experiment) base: Vec<Assign>,
    pub(in crate::experiment) schedule: Vec<Assign>,
    pub(in crate::experiment) excludes: Vec<Rule>,
    pub(in crate::experiment) includes: Vec<Choice>,
    pub(in crate::experiment) overrides: Vec<Override>,
}

/// One axis of the grid; a zipped one shows a column for each key it sets.
#[derive(Debug)]
pub(in crate::experiment) struct Axis {
    pub(in crate::experiment) name: String,
    pub(in crate::experiment) at: Origin,
    pub(in crate::experiment) choices: Vec<Choice>,
}

/// Values that are set together: one choice of an axis, or one `include`.
#[derive(Debug)]
pub(in crate::experiment) struct Choice {
    /// Labels as (column, value as the table shows it).
    pub(in crate::experiment) labels: Vec<(String, String)>,
    pub(in crate::experiment) assigns: Vec<Assign>,
    pub(in crate::experiment) at: Origin,
}

/// Matches the cells that meet every condition.
#[derive(Debug)]
pub(in crate::experiment) struct Rule {
    pub(in crate::experiment) at: Origin,
    pub(in crate::experiment) conditions: Vec<Condition>,
}

/// Alternatives: met by a cell that has all values of one of them.
#[derive(Debug)]
pub(in crate::experiment) struct Condition {
    name: String,
    at: Origin,
    pub(in crate::experiment) alternatives: Vec<Vec<Assign>>,
}

#[derive(Debug)]
pub(in crate::experiment) struct Override {
    pub(in crate::experiment) when: Rule,
    pub(in crate::experiment) set: Vec<Assign>,
}

/// Reads the entries of an experiment file; `path` gives the default name.
pub(in crate::experiment) fn read(
    entries: &[Entry],
    path: &Path,
    problems: &mut Problems,
) -> Draft {
    let mut draft = Draft::default();
    if entries.is_empty() {
        let message = "sets nothing; allowed: at least one key, such as `size = \"small\"`, or a \
                       name, such as `name = \"defaults\"`";
        let file = Some(path.to_path_buf());
        problems.push(Problem { file, message: message.to_owned(), ..Problem::default() });
    }
    draft.name = read_name(entries, path, problems);
    let mut values = Vec::new();
    for entry in entries {
        match entry.name.as_str() {
            "description" => {
                read_text(entry, problems);
            }
            "grid" => draft.axes = read_grid(entry, problems),
            "include" => {
                let tables = tables_of(entry, problems);
                draft.includes =
                    tables.map(|(at, table)| read_include(at, table, problems)).collect();
            }
            "name" | "exclude" | "override" => {}
            _ => values.push(entry.clone()),
        }
    }
    let assigns = assign::table_assigns(&values, EXPERIMENT, problems);
    (draft.schedule, draft.base) =
        assigns.into_iter().partition(|assign| assign.key.owner() == Owner::Schedule);
    refuse_shared_keys(&draft.axes, problems);
    read_rules(entries, &mut draft, problems);
    draft
}

/// The name that the entries give the experiment, or its file's.
pub(in crate::experiment) fn read_name(
    entries: &[Entry],
    path: &Path,
    problems: &mut Problems,
) -> String {
    let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into());
    let mut name = (stem, Problem { file: Some(path.to_path_buf()), ..Problem::default() });
    for entry in entries.iter().filter(|entry| entry.name == "name") {
        if let Some(text) = read_text(entry, problems) {
            name = (text, entry.node.at.problem("name", ""));
        }
    }
    checked_name(name, problems)
}

/// Rules come last: they may name any axis, wherever it is written.
fn read_rules(entries: &[Entry], draft: &mut Draft, problems: &mut Problems) {
    for entry in entries {
        match entry.name.as_str() {
            "exclude" => {
                for (at, table) in tables_of(entry, problems).collect::<Vec<_>>() {
                    let rule = read_rule("exclude", at, table, draft, problems);
                    draft.excludes.push(rule);
                }
            }
            "override" => {
                for (at, table) in tables_of(entry, problems).collect::<Vec<_>>() {
                    if let Some(change) = read_override(at, table, draft, problems) {
                        draft.overrides.push(change);
                    }
                }
            }
            _ => {}
        }
    }
}

fn read_text(entry: &Entry, problems: &mut Problems) -> Option<String> {
    if let Tree::Text(text) = &entry.node.tree {
        return Some(text.clone());
    }
    let message = format!("found {}; allowed: text", entry.node.tree.noun());
    problems.push(entry.node.at.problem(&entry.name, message));
    None
}

/// Checks a name: it becomes a folder and a part of file names, so it must be plain.
fn checked_name((name, place): (String, Problem), problems: &mut Problems) -> String {
    let plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-');
    let is_flag = name.starts_with('-');
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) || is_flag {
        let from = if place.key.is_none() { ", the file's name," } else { "" };
        let (why, first) = if is_flag {
            (": commands would read it as a flag", ", not beginning with -")
        } else {
            ("", "")
        };
        problems.push(Problem {
            key: Some("name".to_owned()),
            message: format!(
                "`{name}`{from} cannot name an experiment{why}; allowed: 1 to {NAME_MAX} of a-z, \
                 0-9, _ and -{first}"
            ),
            value: Some(name.clone()),
            ..place
        });
    }
    name
}

/// The tables of `[[name]]`.
fn tables_of<'a>(
    entry: &'a Entry,
    problems: &mut Problems,
) -> impl Iterator<Item = (&'a Origin, &'a [Entry])> + use<'a> {
    let items: &[Node] = match &entry.node.tree {
        Tree::List(items) => items,
        _ => &[],
    };
    let all_tables = items.iter().all(|item| matches!(item.tree, Tree::Table(_)));
    if !all_tables || !matches!(entry.node.tree, Tree::List(_)) {
        let message = format!(
            "found {}; allowed: tables, each under [[{}]]",
            entry.node.tree.noun(),
            entry.name
        );
        problems.push(entry.at.problem(&entry.name, message));
    }
    items.iter().filter_map(|item| match &item.tree {
        Tree::Table(entries) => Some((&item.at, entries.as_slice())),
        _ => None,
    })
}

fn read_grid(entry: &Entry, problems: &mut Problems) -> Vec<Axis> {
    let Tree::Table(entries) = &entry.node.tree else {
        let message = format!("found {}; allowed: a table of axes", entry.node.tree.noun());
        problems.push(entry.node.at.problem("grid", message));
        return Vec::new();
    };
    let mut axes = Vec::new();
    for entry in entries {
        read_axes(&entry.name, &entry.at, &entry.node, &mut axes, problems);
    }
    axes
}

/// One axis, or those of a nested table (`[grid.train] lr = […]`).
fn read_axes(path: &str, at: &Origin, node: &Node, axes: &mut Vec<Axis>, problems: &mut Problems) {
    if let (Target::Table(_), Tree::Table(entries)) = (resolve(path), &node.tree) {
        for entry in entries {
            let path = format!("{path}.{}", entry.name);
            read_axes(&path, &entry.at, &entry.node, axes, problems);
        }
        return;
    }
    let choices = match (&node.tree, resolve(path)) {
        (Tree::List(items), Target::Unknown)
            if !items.is_empty() && items.iter().all(|i| matches!(i.tree, Tree::Table(_))) =>
        {
            items.iter().filter_map(|item| read_zipped(item, problems)).collect()
        }
        (_, Target::Unknown) => {
            assign::assigns(path, node, CELL, problems);
            return;
        }
        _ => read_choices(path, node, problems),
    };
    refuse_repeats(path, &choices, problems);
    axes.push(Axis { name: path.to_owned(), at: at.clone(), choices });
}

/// The choices of an axis or a condition; a single value is one choice.
fn read_choices(path: &str, node: &Node, problems: &mut Problems) -> Vec<Choice> {
    let items: Vec<&Node> = match &node.tree {
        Tree::List(items) => items.iter().collect(),
        _ => vec![node],
    };
    if items.is_empty() {
        problems.taint(&doubtful(path));
        problems.push(node.at.problem(path, "the list of choices is empty; give at least one"));
    }
    let is_list_key = matches!(resolve(path), Target::Key(key) if key.ty.is_list());
    if is_list_key && !items.iter().all(|item| matches!(item.tree, Tree::List(_))) {
        let message = format!(
            "found `{}`; allowed: a list of lists, as in [[…], […]], because each value is a list",
            node.tree
        );
        problems.taint(&doubtful(path));
        problems.push(node.at.problem(path, message));
        return Vec::new();
    }
    let choice = |item: &Node| {
        let assigns = assign::assigns(path, item, CELL, problems);
        assign::refuse_conflicts(&assigns, problems);
        let labels = vec![(path.to_owned(), written_label(path, item, &assigns))];
        Choice { labels, assigns, at: item.at.clone() }
    };
    items.into_iter().map(choice).collect()
}

/// The key or the table behind a name, to mark its values as unknown.
fn doubtful(path: &str) -> String {
    match resolve(path) {
        Target::Compound(compound) => compound.group.to_owned(),
        target => target.name().unwrap_or(path).to_owned(),
    }
}

/// A table of an axis without a key of its own, which sets several keys together.
fn read_zipped(item: &Node, problems: &mut Problems) -> Option<Choice> {
    let Tree::Table(entries) = &item.tree else { return None };
    Some(read_include(&item.at, entries, problems))
}

fn read_include(at: &Origin, entries: &[Entry], problems: &mut Problems) -> Choice {
    let assigns = assign::table_assigns(entries, CELL, problems);
    if entries.is_empty() {
        problems.push(Problem { key: None, ..at.problem("", "the table sets no key") });
    }
    let mut labels = Vec::new();
    for entry in entries {
        columns(&entry.name, &entry.node, &assigns, &mut labels);
    }
    Choice { labels, assigns, at: at.clone() }
}

/// Columns of one entry of a table; a group without a `kind` is shown key by key.
fn columns(path: &str, node: &Node, assigns: &[Assign], labels: &mut Vec<(String, String)>) {
    match (resolve(path), &node.tree) {
        (Target::Table(group), Tree::Table(entries)) if assign::kind_key(&group).is_none() => {
            for entry in entries {
                columns(&format!("{path}.{}", entry.name), &entry.node, assigns, labels);
            }
        }
        _ => labels.push((path.to_owned(), written_label(path, node, assigns))),
    }
}

/// The value as the table shows it, in the canonical form of its key.
fn written_label(path: &str, node: &Node, assigns: &[Assign]) -> String {
    if let Target::Key(key) = resolve(path)
        && let Some(assign) = assigns.iter().find(|assign| assign.key.name == key.name)
    {
        return assign.key.ty.label(&assign.value);
    }
    node.label()
}

fn refuse_repeats(path: &str, choices: &[Choice], problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for choice in choices.iter().filter(|choice| !choice.assigns.is_empty()) {
        let values =
            choice.assigns.iter().map(|assign| (assign.key.name, assign.value.to_string()));
        if !seen.insert(values.collect::<Vec<_>>()) {
            let shown: Vec<_> = choice.labels.iter().map(|(_, value)| value.as_str()).collect();
            let message = format!("`{}` is listed twice", shown.join(" "));
            problems.push(choice.at.problem(path, message));
        }
    }
}

/// Reports axes that set the same key: labels of their cells would be wrong.
fn refuse_shared_keys(axes: &[Axis], problems: &mut Problems) {
    for (i, axis) in axes.iter().enumerate() {
        for earlier in &axes[..i] {
            let others = earlier.keys();
            let clash = axis.keys().into_iter().find_map(|key| {
                let excluded = keys::excluded_by(key).filter(|other| others.contains(other));
                Some((key, others.get(key).copied().or(excluded)?))
            });
            let Some((key, other)) = clash else { continue };
            let message = if key == other {
                format!("sets `{key}`, which the axis `{}` sets too", earlier.name)
            } else {
                format!(
                    "sets `{key}`, and the axis `{}` sets `{other}`; give one of them",
                    earlier.name
                )
            };
            problems.taint(&doubtful(&axis.name));
            problems.taint(&doubtful(&earlier.name));
            problems.push(axis.at.problem(&axis.name, message));
        }
    }
}

impl Axis {
    /// Keys that some choice of the axis sets.
    pub(in crate::experiment) fn keys(&self) -> BTreeSet<&'static str> {
        let assigns = self.choices.iter().flat_map(|choice| &choice.assigns);
        assigns.map(|assign| assign.key.name).collect()
    }
}

fn read_override(
    at: &Origin,
    entries: &[Entry],
    draft: &Draft,
    problems: &mut Problems,
) -> Option<Override> {
    let mut tables = [None, None];
    let mut is_misspelt = false;
    for entry in entries {
        let place = match entry.name.as_str() {
            "when" => 0,
            "set" => 1,
            other => {
                let mut problem = entry.at.problem(
                    &format!("override.{other}"),
                    "unknown key; allowed: `when` (which cells) and `set` (which keys)",
                );
                problem.nearest = nearest(other, ["when", "set"]);
                problems.push(problem);
                is_misspelt = true;
                continue;
            }
        };
        match &entry.node.tree {
            Tree::Table(entries) => tables[place] = Some((&entry.node.at, entries.as_slice())),
            tree => {
                let message = format!("found {}; allowed: a table", tree.noun());
                problems.push(entry.node.at.problem(&format!("override.{}", entry.name), message));
                return None;
            }
        }
    }
    let [Some((when_at, when)), Some((_, set))] = tables else {
        if !is_misspelt {
            problems.push(at.problem("override", "both `when` and `set` are needed"));
        }
        return None;
    };
    let when = read_rule("when", when_at, when, draft, problems);
    Some(Override { when, set: assign::table_assigns(set, CELL, problems) })
}

fn read_rule(
    what: &str,
    at: &Origin,
    entries: &[Entry],
    draft: &Draft,
    problems: &mut Problems,
) -> Rule {
    let mut conditions = Vec::new();
    for entry in entries {
        read_conditions(&entry.name, &entry.node, &mut conditions, draft, problems);
    }
    if entries.is_empty() {
        problems.push(at.problem(what, "no condition: it would match every cell"));
    }
    for condition in &conditions {
        refuse_unvaried(condition, draft, problems);
    }
    Rule { at: at.clone(), conditions }
}

fn read_conditions(
    path: &str,
    node: &Node,
    conditions: &mut Vec<Condition>,
    draft: &Draft,
    problems: &mut Problems,
) {
    match (resolve(path), &node.tree) {
        (Target::Table(group), Tree::Table(entries)) if assign::kind_key(&group).is_none() => {
            for entry in entries {
                let path = format!("{path}.{}", entry.name);
                read_conditions(&path, &entry.node, conditions, draft, problems);
            }
        }
        (Target::Unknown, _) => {
            let names = axis_names(draft);
            let mut problem = node.at.problem(path, unknown_axis(&names));
            problem.nearest = nearest(path, names);
            problems.push(problem);
        }
        _ => {
            let choices = read_choices(path, node, problems);
            let alternatives = choices.into_iter().map(|choice| choice.assigns).collect();
            let (name, at) = (path.to_owned(), node.at.clone());
            conditions.push(Condition { name, at, alternatives });
        }
    }
}

/// Reports a condition on a key that is the same in all cells: it holds for all or for none.
fn refuse_unvaried(condition: &Condition, draft: &Draft, problems: &mut Problems) {
    let axis_keys = draft.axes.iter().flat_map(Axis::keys);
    let include_keys = draft.includes.iter().flat_map(|i| i.assigns.iter().map(|a| a.key.name));
    let varied: Vec<_> = axis_keys.chain(include_keys).collect();
    let mut named =
        condition.alternatives.iter().flatten().map(|assign| assign.key.name).peekable();
    if named.peek().is_none() || named.any(|name| varied.contains(&name)) {
        return;
    }
    let names = axis_names(draft);
    let mut problem = condition.at.problem(&condition.name, unknown_axis(&names));
    problem.nearest = nearest(&condition.name, names);
    problems.push(problem);
}

fn unknown_axis(names: &[&str]) -> String {
    match names {
        [] => "no axis sets it; the grid has no axes".to_owned(),
        _ => format!("no axis sets it; allowed: {}", quoted(names.iter().copied())),
    }
}

/// Columns of the grid and of `include`.
fn axis_names(draft: &Draft) -> Vec<&str> {
    let choices = draft.axes.iter().flat_map(|axis| &axis.choices).chain(&draft.includes);
    let empty = draft.axes.iter().filter(|axis| axis.choices.is_empty());
    let mut names: Vec<&str> = empty.map(|axis| axis.name.as_str()).collect();
    for (column, _) in choices.flat_map(|choice| &choice.labels) {
        if !names.contains(&column.as_str()) {
            names.push(column);
        }
    }
    names
}
