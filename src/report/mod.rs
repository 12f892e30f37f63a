//! Tables of an experiment: for the terminal, for files, for READMEs.
//!
//! Everything here is pure: rows of the store come in, text goes out.

pub mod readme;
pub mod model;
mod render;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

use crate::fs::{ResultsDir, write_atomic};

pub use model::measure::{Measure, Missing, Partial, Replicate};
pub use model::table::Table;
pub use render::csv::csv;
pub use render::json::json;
pub use render::markdown::markdown;
pub use render::terminal::terminal;

/// Which columns a table for people has; `csv` and `json` always have all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Columns {
    #[default]
    Usual,
    /// Also the reference project's metric.
    All,
}

/// Writes `<experiment>.md` and `<experiment>.csv` into the results folder; returns their paths.
///
/// The same rows give the same bytes.
pub fn write_files(results: &ResultsDir, table: &Table) -> io::Result<[PathBuf; 2]> {
    let paths = [results.table(&table.experiment, "md"), results.table(&table.experiment, "csv")];
    for (path, text) in paths.iter().zip([markdown(table, Columns::Usual), csv(table)]) {
        // What is committed keeps its time stamp where nothing changed.
        if fs_err::read(path).is_ok_and(|old| old == text.as_bytes()) {
            continue;
        }
        write_atomic(path, text.as_bytes())?;
    }
    Ok(paths)
}
