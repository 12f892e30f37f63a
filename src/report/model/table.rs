//! The results table as data: columns, rows of cells, the sentences below them. The formats are
//! made of it ([`crate::report::Format`]).

use std::fmt;
use std::str::FromStr;

use crate::id::RunId;
use crate::report::model::measure::Measure;

/// The choice of columns of a table for people; `csv` and `json` always have all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Columns {
    #[default]
    Usual,
    /// Also the reference project's metric.
    All,
}

/// A table of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub experiment: String,
    /// The set that all rows were scored on; `None` where there are several, or none yet.
    pub set: Option<String>,
    pub columns: Vec<Column>,
    /// Each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
    /// Sentences that explain the numbers.
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
    /// Smallest choice of columns that shows it.
    pub shown: Columns,
}

/// The kind of a column's cells, which decides how `csv` and `json` write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Count,
    /// Height and width in pixels and in tokens.
    Size,
    Score,
    /// A mean over a suite, which may be incomplete.
    SuiteScore,
    /// Number of whole replicates, and of all.
    Replicates,
    Runs,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Text in a table for people.
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
    /// Indices of the columns that `columns` shows.
    pub(in crate::report) fn shown(&self, columns: Columns) -> Vec<usize> {
        let is_shown = |column: &Column| column.shown == Columns::Usual || columns == Columns::All;
        (0..self.columns.len()).filter(|&i| is_shown(&self.columns[i])).collect()
    }
}

impl Kind {
    /// Whether its cells are aligned to the right, as numbers are.
    pub(in crate::report) fn is_right(self) -> bool {
        match self {
            Self::Text | Self::Runs => false,
            Self::Count | Self::Size | Self::Score | Self::SuiteScore | Self::Replicates => true,
        }
    }
}

impl Columns {
    /// All choices, each with its name.
    pub const ALL: [(&str, Self); 2] = [("usual", Self::Usual), ("all", Self::All)];
}

impl FromStr for Columns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|(name, _)| *name == text);
        known.map(|(_, columns)| columns).ok_or_else(|| format!("no choice of columns is `{text}`"))
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.into_iter().find(|(_, columns)| columns == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}
