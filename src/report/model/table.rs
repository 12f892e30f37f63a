//! The results table: from the rows of the store to rows, columns and cells.

use crate::id::RunId;
use crate::report::Columns;
use crate::report::model::columns::Sweep;
use crate::report::model::group;
use crate::report::model::measure::Measure;
use crate::store::{CellState, ExperimentRows};

/// The text of a cell that has nothing to say.
pub(in crate::report) const NOTHING: &str = "–";

/// A table of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub experiment: String,
    pub columns: Vec<Column>,
    /// Each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
    /// Sentences that say what the numbers are.
    pub caption: Vec<String>,
    /// Why runs failed: for the terminal only.
    pub failures: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name in `csv` and `json`.
    pub key: String,
    /// Name in a table for people.
    pub head: String,
    pub kind: Kind,
    /// From which choice of columns on it is shown.
    pub shown: Columns,
}

/// What a column's cells hold, and so how they are written in `csv` and `json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Count,
    /// Height and width in pixels and in tokens.
    Size,
    Score,
    /// A mean over a suite, which may be incomplete.
    SuiteScore,
    /// Whole replicates of all.
    Replicates,
    Runs,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// As a table for people shows it.
    pub text: String,
    pub data: Data,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    Text,
    Count(Option<u64>),
    Size { px: Option<[u32; 2]>, tokens: Option<[u32; 2]> },
    Score(Measure),
    Replicates { done: u32, total: u32 },
    Runs(Vec<RunId>),
}

impl Table {
    pub fn new(experiment: &ExperimentRows) -> Self {
        let groups = group::groups(experiment);
        let sweep = Sweep::of(experiment, &groups);
        Self {
            experiment: experiment.name.clone(),
            columns: sweep.columns(),
            rows: groups.iter().map(|group| sweep.cells(group)).collect(),
            caption: sweep.caption(),
            failures: failures(experiment),
        }
    }

    /// The places of the columns that `columns` shows.
    pub(in crate::report) fn shown(&self, columns: Columns) -> Vec<usize> {
        let is_shown = |column: &Column| column.shown == Columns::Usual || columns == Columns::All;
        (0..self.columns.len()).filter(|&i| is_shown(&self.columns[i])).collect()
    }
}

/// One line a failed run.
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

/// The part of a run's id that tables show; `sweep show` takes it.
pub(in crate::report) fn short(run: &RunId) -> &str {
    &run.as_str()[..8]
}
