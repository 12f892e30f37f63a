//! Rows of a table: cells that are equal but for the seed, on one set, by one protocol.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::event::{PlannedScore, Protocol};
use crate::id::canonical_json;
use crate::report::model::names::{self, NOTHING};
use crate::store::{CellRow, CellScore, ExperimentRows};

/// The axis that makes replicates of a row.
pub(super) const SEED: &str = "seed";

/// Replicates: the cells of one row, scored on one set by one protocol.
#[derive(Debug)]
pub(in crate::report) struct Group<'a> {
    pub(super) set: &'a str,
    /// The protocol's line without the input's size, which has its own column.
    pub(super) protocol: String,
    /// One entry a run, in the order of the grid.
    pub(super) entries: Vec<Entry<'a>>,
}

#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) cell: &'a CellRow,
    pub(super) scores: Vec<&'a CellScore>,
}

/// The protocol of scores, as far as their plan states it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How<'a> {
    Parts(&'a Protocol),
    /// The line alone, in journals older than the parts.
    Line(&'a str),
    /// A cell that asks for no score.
    Nothing,
}

/// Puts cells that are equal but for the seed together, in the order of the grid.
pub(in crate::report) fn groups(experiment: &ExperimentRows) -> Vec<Group<'_>> {
    // A cell whose run has not started has no spec yet: its labels say which cells it is like.
    let specs: BTreeMap<String, String> = experiment
        .cells
        .iter()
        .filter_map(|cell| Some((labels_but_seed(cell), spec_but_seed(cell)?)))
        .collect();
    let old_lines = old_lines_but_input(experiment);
    // By what the cells are and their set; each protocol with the place of its group.
    let mut places: BTreeMap<(String, &str), Vec<(How<'_>, usize)>> = BTreeMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for cell in &experiment.cells {
        let labels = labels_but_seed(cell);
        let alike = spec_but_seed(cell).or_else(|| specs.get(&labels).cloned()).unwrap_or(labels);
        for (set, how, scores) in by_protocol(cell) {
            let known = places.entry((alike.clone(), set)).or_default();
            let place = known.iter().find(|(other, _)| *other == how).map(|(_, place)| *place);
            let place = place.unwrap_or_else(|| {
                let protocol = match how {
                    How::Parts(protocol) => protocol.line_but_input(),
                    How::Line(line) => old_lines.get(line).map_or(line, String::as_str).to_owned(),
                    How::Nothing => String::new(),
                };
                groups.push(Group { set, protocol, entries: Vec::new() });
                known.push((how, groups.len() - 1));
                groups.len() - 1
            });
            let entries = &mut groups[place].entries;
            if entries.iter().all(|entry| entry.cell.run != cell.run) {
                entries.push(Entry { cell, scores });
            }
        }
    }
    if experiment.cells.iter().any(has_several_sets) {
        in_blocks(&mut groups);
    }
    groups
}

fn has_several_sets(cell: &CellRow) -> bool {
    let mut sets = cell.scores.iter().map(|score| &score.planned.set);
    sets.next().is_some_and(|first| sets.any(|set| set != first))
}

/// Sorts groups into one block of rows per set, so that what is compared stands together.
fn in_blocks(groups: &mut [Group<'_>]) {
    let mut sets: Vec<&str> = Vec::new();
    for group in groups.iter() {
        if !sets.contains(&group.set) {
            sets.push(group.set);
        }
    }
    groups.sort_by_key(|group| sets.iter().position(|set| *set == group.set));
}

/// A cell's scores by set and protocol; one empty part where it asks for none.
fn by_protocol(cell: &CellRow) -> Vec<(&str, How<'_>, Vec<&CellScore>)> {
    let mut parts: Vec<(&str, How<'_>, Vec<&CellScore>)> = Vec::new();
    for score in &cell.scores {
        let (set, how) = (score.planned.set.as_str(), How::of(&score.planned));
        match parts.iter_mut().find(|part| (part.0, part.1) == (set, how)) {
            Some(part) => part.2.push(score),
            None => parts.push((set, how, vec![score])),
        }
    }
    if parts.is_empty() {
        parts.push(("", How::Nothing, Vec::new()));
    }
    parts
}

impl<'a> How<'a> {
    fn of(planned: &'a PlannedScore) -> Self {
        planned.protocol_parts.as_ref().map_or(Self::Line(&planned.protocol), Self::Parts)
    }
}

/// The cell's spec without its seed, and without `eval`, which is that of the run's first
/// experiment: what this one asks for is in its planned scores.
fn spec_but_seed(cell: &CellRow) -> Option<String> {
    let mut spec = serde_json::to_value(&cell.facts.as_ref()?.spec).expect("plain data serialises");
    if let Value::Object(keys) = &mut spec {
        keys.retain(|key, _| key != SEED && key != "eval");
    }
    Some(canonical_json(&spec))
}

fn labels_but_seed(cell: &CellRow) -> String {
    let labels: Vec<_> = cell.labels.iter().filter(|(axis, _)| axis != SEED).collect();
    serde_json::to_string(&labels).expect("plain data serialises")
}

/// Protocol lines of journals older than the parts, each without the size of its cells' input,
/// which is cut out of the text.
fn old_lines_but_input(experiment: &ExperimentRows) -> BTreeMap<&str, String> {
    let mut lines = BTreeMap::new();
    for cell in &experiment.cells {
        let Some(facts) = &cell.facts else { continue };
        let [height, width] = facts.input_px;
        for score in &cell.scores {
            if let How::Line(line) = How::of(&score.planned) {
                let without = line.replace(&names::size([height, width]), "input");
                lines.insert(line, without.replace(&format!("{height}×{width}"), "input"));
            }
        }
    }
    lines
}

impl<'a> Group<'a> {
    pub(in crate::report) fn first(&self) -> &'a CellRow {
        let with_spec = self.entries.iter().find(|entry| entry.cell.facts.is_some());
        with_spec.unwrap_or(&self.entries[0]).cell
    }

    pub(in crate::report) fn label(&self, axis: &str) -> &'a str {
        let labels = &self.first().labels;
        labels.iter().find(|(name, _)| name == axis).map_or(NOTHING, |(_, value)| value)
    }
}
