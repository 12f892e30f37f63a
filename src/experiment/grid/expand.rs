//! Makes the cells of a draft, for the loader: axes are multiplied out in order, rules applied,
//! cells checked, equal ones merged.

use std::collections::{BTreeMap, BTreeSet};

use super::assign::{Assign, Target, resolve};
use super::draft::{Axis, Choice, Draft, Rule};
use super::settings::{Ledger, Settings, Unused};
use crate::experiment::check::{combinations, lowered};
use crate::experiment::identity::effective;
use crate::experiment::keys;
use crate::experiment::text::problem::{Problem, Problems};
use crate::experiment::text::tree::Origin;
use crate::experiment::{Cell, RunSpec};
use crate::fs::hash::sha256_bytes;
use crate::id::canonical_json;

/// Largest number of cells: more are a typo in a grid, not a study.
pub const CELLS_MAX: usize = 100_000;

/// Number of merged pairs that a warning names.
const MERGED_NAMED: usize = 3;

#[derive(Debug, Default)]
pub(in crate::experiment) struct Expanded {
    pub(in crate::experiment) axes: Vec<String>,
    pub(in crate::experiment) cells: Vec<Cell>,
    pub(in crate::experiment) warnings: Vec<String>,
}

/// All cells of `draft`, with `set` (from `--set`) on top of each.
pub(in crate::experiment) fn expand(
    mut draft: Draft,
    set: &[Assign],
    problems: &mut Problems,
) -> Expanded {
    if let Some(problem) = too_many(&draft) {
        problems.push(problem);
        return Expanded::default();
    }
    // An axis without choices is reported already; the others can still be checked.
    draft.axes.retain(|axis| !axis.choices.is_empty());
    for axis in &mut draft.axes {
        collapse(axis, set);
    }
    let columns = columns(&draft);
    let mut build = Build {
        draft: &draft,
        set,
        columns,
        ledger: Ledger::default(),
        problems,
        cells: Vec::new(),
        seen: BTreeMap::new(),
        labels_seen: BTreeMap::new(),
        merged: Vec::new(),
        lowered: BTreeSet::new(),
        excluded: BTreeSet::new(),
        overridden: BTreeSet::new(),
    };
    if !draft.axes.is_empty() || draft.includes.is_empty() {
        for_each_choice(&draft.axes, |choices| build.grid_cell(choices));
    }
    for include in &draft.includes {
        build.cell(&[include]);
    }
    build.finish()
}

fn too_many(draft: &Draft) -> Option<Problem> {
    let sizes = draft.axes.iter().map(|axis| axis.choices.len());
    let product = sizes.fold(1usize, usize::saturating_mul);
    let n_cells = product.saturating_add(draft.includes.len());
    (n_cells > CELLS_MAX).then(|| {
        let sizes: Vec<_> =
            draft.axes.iter().map(|axis| format!("{} {}", axis.choices.len(), axis.name)).collect();
        let message =
            format!("too many cells: {} make {n_cells}; allowed: {CELLS_MAX}", sizes.join(" x "));
        let at = draft.axes.first().map(|axis| axis.at.clone());
        at.unwrap_or_else(Origin::default_value).problem("grid", message)
    })
}

/// An axis all of whose keys `--set` gives is no axis any more, but keeps its column.
fn collapse(axis: &mut Axis, set: &[Assign]) {
    let given = |name: &str| set.iter().any(|assign| assign.key.name == name);
    let covered = |name: &'static str| {
        let kind = keys::find(name).and_then(|key| key.of).map(|of| of.key);
        given(name) || kind.is_some_and(given) || keys::excluded_by(name).is_some_and(given)
    };
    if !axis.choices.is_empty() && axis.keys().into_iter().all(covered) {
        axis.choices.truncate(1);
        for choice in &mut axis.choices {
            choice.assigns.clear();
            for (_, label) in &mut choice.labels {
                // Read back from the cell, which has the value of `--set`.
                label.clear();
            }
        }
    }
}

/// Columns of the table: those of the axes, then those that only `include` has.
fn columns(draft: &Draft) -> Vec<String> {
    let choices = draft.axes.iter().flat_map(|axis| &axis.choices).chain(&draft.includes);
    let mut columns: Vec<String> = Vec::new();
    for (column, _) in choices.flat_map(|choice| &choice.labels) {
        if !columns.iter().any(|known| same_column(known, column)) {
            columns.push(column.clone());
        }
    }
    columns
}

/// Whether two names are the same key, e.g. `size` and `model.size`.
fn same_column(a: &str, b: &str) -> bool {
    a == b || resolve(a).name().is_some_and(|name| resolve(b).name() == Some(name))
}

/// Calls `each` with one choice of every axis, the last axis varying fastest; no axis is empty.
fn for_each_choice<'a>(axes: &'a [Axis], mut each: impl FnMut(&[&'a Choice])) {
    let mut at = vec![0; axes.len()];
    loop {
        let choices: Vec<_> = axes.iter().zip(&at).map(|(axis, i)| &axis.choices[*i]).collect();
        each(&choices);
        let Some(next) = (0..axes.len()).rev().find(|i| at[*i] + 1 < axes[*i].choices.len()) else {
            return;
        };
        at[next] += 1;
        at[next + 1..].fill(0);
    }
}

struct Build<'a> {
    draft: &'a Draft,
    set: &'a [Assign],
    columns: Vec<String>,
    ledger: Ledger,
    problems: &'a mut Problems,
    cells: Vec<Cell>,
    /// Cells kept, by the hash of their resolved values.
    seen: BTreeMap<String, usize>,
    labels_seen: BTreeMap<Vec<(String, String)>, u32>,
    /// Merged pairs as (left out, kept), in labels.
    merged: Vec<(String, String)>,
    lowered: BTreeSet<String>,
    /// Indices of `exclude` rules that matched a cell.
    excluded: BTreeSet<usize>,
    /// Indices of `override` rules that matched a cell.
    overridden: BTreeSet<usize>,
}

impl<'a> Build<'a> {
    fn grid_cell(&mut self, choices: &[&'a Choice]) {
        if !self.draft.excludes.is_empty() {
            let layers = self.layers(choices, &[]);
            let settings = Settings::of(&layers, &mut Ledger::default());
            let mut rules = self.draft.excludes.iter().enumerate();
            if let Some((i, _)) = rules.find(|(_, rule)| matches(rule, &settings)) {
                self.excluded.insert(i);
                return;
            }
        }
        self.cell(choices);
    }

    fn layers(&self, choices: &[&'a Choice], over: &[&'a [Assign]]) -> Vec<Vec<&'a [Assign]>> {
        let mut layers = vec![vec![self.draft.base.as_slice()]];
        layers.push(choices.iter().map(|choice| choice.assigns.as_slice()).collect());
        layers.extend(over.iter().map(|assigns| vec![*assigns]));
        layers.push(vec![self.set]);
        layers
    }

    fn cell(&mut self, choices: &[&'a Choice]) {
        let mut over: Vec<&'a [Assign]> = Vec::new();
        if !self.draft.overrides.is_empty() {
            let layers = self.layers(choices, &[]);
            let before = Settings::of(&layers, &mut Ledger::default());
            for (i, change) in self.draft.overrides.iter().enumerate() {
                if matches(&change.when, &before) {
                    self.overridden.insert(i);
                    over.push(&change.set);
                }
            }
        }
        let layers = self.layers(choices, &over);
        let settings = Settings::of(&layers, &mut self.ledger);
        let labels = self.labels(choices, &settings);
        match settings.spec() {
            Ok(spec) => {
                self.report(&spec, &settings);
                let at = choices.last().map(|choice| choice.at.clone());
                self.keep(spec, labels, &at.unwrap_or_else(Origin::default_value));
            }
            Err(found) => {
                for problem in found {
                    if !problem.key.as_deref().is_some_and(|key| self.problems.is_tainted(key)) {
                        self.problems.push(problem);
                    }
                }
            }
        }
    }

    fn labels(&self, choices: &[&Choice], settings: &Settings<'_>) -> Vec<(String, String)> {
        let written = |column: &str| {
            let (choice, label) = choices.iter().find_map(|choice| {
                let label = choice.labels.iter().find(|(name, _)| same_column(name, column))?;
                Some((choice, &label.1))
            })?;
            (!label.is_empty() && !self.is_replaced(choice, settings)).then(|| label.clone())
        };
        let label = |column: &String| {
            (column.clone(), written(column).unwrap_or_else(|| shown(column, settings)))
        };
        self.columns.iter().map(label).collect()
    }

    /// Whether `--set` has replaced values of the choice.
    fn is_replaced(&self, choice: &Choice, settings: &Settings<'_>) -> bool {
        let given = |name: &str| self.set.iter().any(|assign| assign.key.name == name);
        choice.assigns.iter().filter(|assign| given(assign.key.name)).any(|assign| {
            settings.effective(assign.key.name).is_some_and(|value| *value != assign.value)
        })
    }

    fn report(&mut self, spec: &RunSpec, settings: &Settings<'_>) {
        for finding in combinations(spec) {
            if finding.keys.iter().any(|key| self.problems.is_tainted(key)) {
                continue;
            }
            let at = settings.origin(finding.keys).cloned().unwrap_or_else(Origin::default_value);
            let problem = at.problem(finding.keys[0], finding.message);
            self.problems.push(Problem { value: Some(finding.value), ..problem });
        }
        self.lowered.extend(lowered(spec));
    }

    fn keep(&mut self, spec: RunSpec, labels: Vec<(String, String)>, at: &Origin) {
        let value = sha256_bytes(canonical_json(&effective(&spec)).as_bytes());
        if let Some(first) = self.seen.get(&value) {
            self.merged.push((written(&labels), written(&self.cells[*first].labels)));
            return;
        }
        let index = self.cells.len() as u32;
        if let Some(other) = self.labels_seen.insert(labels.clone(), index) {
            let message = format!(
                "two different cells are called `{}`: numbers {other} and {index}",
                written(&labels)
            );
            self.problems.push(at.problem("grid", message));
        }
        self.seen.insert(value, self.cells.len());
        self.cells.push(Cell { index, labels, spec });
    }

    fn finish(mut self) -> Expanded {
        let mut warnings: Vec<_> = self.lowered.iter().cloned().collect();
        warnings.extend(merge_warning(&self.merged));
        warnings.extend(self.unused());
        warnings.extend(self.idle_rules());
        if self.cells.is_empty() && self.problems.is_empty() {
            let message = "no cell is left: [[exclude]] drops them all";
            let at = self.draft.excludes.first().map(|rule| rule.at.clone());
            let at = at.unwrap_or_else(Origin::default_value);
            self.problems.push(at.problem("grid", message));
        }
        Expanded { axes: self.columns, cells: self.cells, warnings }
    }

    /// Warnings about rules that match no cell: allowed, as a grid may be cut down for a trial.
    fn idle_rules(&self) -> impl Iterator<Item = String> {
        let excludes = self.draft.excludes.iter().enumerate();
        let excludes = excludes.filter(|(i, _)| !self.excluded.contains(i));
        let excludes =
            excludes.map(|(_, rule)| at_line("[[exclude]]", &rule.at, "matches no cell"));
        let overrides = self.draft.overrides.iter().enumerate();
        let overrides = overrides.filter(|(i, _)| !self.overridden.contains(i));
        let idle = |when: &Rule| at_line("[[override]]", &when.at, "matches no cell");
        excludes.chain(overrides.map(move |(_, change)| idle(&change.when)))
    }

    /// Reports keys that were set but have an effect in no cell: an error where the spec alone
    /// shows it, a warning where another `kind` replaced theirs.
    fn unused(&mut self) -> Vec<String> {
        let choices = self.draft.axes.iter().flat_map(|axis| &axis.choices);
        let cells = choices.chain(&self.draft.includes).map(|choice| &choice.assigns);
        let overrides = self.draft.overrides.iter().map(|o| &o.set);
        let all = std::iter::once(&self.draft.base).chain(cells).chain(overrides);
        let mut warnings = Vec::new();
        for assign in all.flatten() {
            let name = assign.key.name;
            let Some(of) = assign.key.of else { continue };
            let why = self.ledger.unused(assign);
            if why.is_none() || self.problems.is_tainted(name) {
                continue;
            }
            let message = format!(
                "has no effect: no cell with it has {} = {}",
                of.key,
                keys::one_of(&assign.key.kinds())
            );
            if why == Some(Unused::NeverApplied) && self.set.is_empty() {
                self.problems.push(assign.at.problem(name, message));
            } else {
                warnings.push(at_line(name, &assign.at, &message));
            }
        }
        warnings
    }
}

fn at_line(what: &str, at: &Origin, message: &str) -> String {
    match at.line {
        Some(line) => format!("{what} in line {line} {message}"),
        None => format!("{what} {message}"),
    }
}

fn matches(rule: &Rule, settings: &Settings<'_>) -> bool {
    let has = |assign: &Assign| settings.effective(assign.key.name) == Some(&assign.value);
    rule.conditions.iter().all(|condition| {
        condition.alternatives.iter().any(|assigns| {
            // An alternative whose value was refused is empty: it matches nothing.
            !assigns.is_empty() && assigns.iter().all(has)
        })
    })
}

fn merge_warning(merged: &[(String, String)]) -> Option<String> {
    let named: Vec<_> = merged
        .iter()
        .take(MERGED_NAMED)
        .map(|(left_out, kept)| format!("({left_out}) as ({kept})"))
        .collect();
    let more = match merged.len().saturating_sub(MERGED_NAMED) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let cells = if merged.len() == 1 { "cell comes" } else { "cells come" };
    (!merged.is_empty()).then(|| {
        format!(
            "{} {cells} out the same as an earlier one and {} left out: {}{more}",
            merged.len(),
            if merged.len() == 1 { "is" } else { "are" },
            named.join(", ")
        )
    })
}

/// Labels in one line, for messages.
fn written(labels: &[(String, String)]) -> String {
    let labels: Vec<_> = labels.iter().map(|(column, value)| format!("{column}={value}")).collect();
    labels.join(" ")
}

/// The value that a cell has in a column that its own choices do not set.
fn shown(column: &str, settings: &Settings<'_>) -> String {
    let label = match resolve(column) {
        Target::Key(key) => settings.effective(key.name).map(|value| key.ty.label(value)),
        Target::Table(table) => shown_table(&table, settings),
        Target::Compound(compound) => (compound.shown)(&|name| settings.effective(name).cloned()),
        Target::Unknown => None,
    };
    label.unwrap_or_else(|| "-".to_owned())
}

/// The table's `kind`, and what is set beside it.
fn shown_table(table: &str, settings: &Settings<'_>) -> Option<String> {
    let kind = settings.text(&format!("{table}.kind")).map(str::to_owned);
    let rest = keys::below(table).filter(|key| !key.is_kind()).filter_map(|key| {
        let value = key.ty.label(settings.set(key.name)?);
        Some(format!("{}={value}", &key.name[table.len() + 1..]))
    });
    let parts: Vec<_> = kind.into_iter().chain(rest).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}
