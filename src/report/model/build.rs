//! Builds a table from the rows of the store.

use crate::report::model::columns::Sweep;
use crate::report::model::group;
use crate::report::model::names::short;
use crate::report::model::table::Table;
use crate::store::{CellState, ExperimentRows};

impl Table {
    /// The table of an experiment: one row for the cells that differ in their seed alone.
    pub fn new(experiment: &ExperimentRows) -> Self {
        let groups = group::groups(experiment);
        let sweep = Sweep::of(experiment, &groups);
        Self {
            experiment: experiment.name.clone(),
            set: sweep.set().map(str::to_owned),
            columns: sweep.columns(),
            rows: groups.iter().map(|group| sweep.cells(group)).collect(),
            caption: sweep.caption(),
            failures: failures(experiment),
        }
    }
}

/// One line for each failed run.
fn failures(experiment: &ExperimentRows) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for cell in &experiment.cells {
        let CellState::Failed(message) = &cell.state else { continue };
        let reason = message.lines().next().unwrap_or_default();
        let line = format!("{} failed: {reason}", short(&cell.run));
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}
