//! The SQLite index over the journals, and the only SQL.
//!
//! Workers' and coordinators' journals go in; planning and reports read rows out. It holds nothing
//! that the journals do not: [`Store::rebuild`] makes it again, equal row for row.

mod error;
mod filesystem;
mod ingest;
mod journal;
mod open;
mod query;
mod rows;
mod show;
mod write;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

use sqlx::SqlitePool;

use crate::fs::ResultsDir;

pub use error::Error;
pub use rows::{
    AttemptRow, CellRow, CellScore, CellState, EpochRow, ExperimentRows, ExperimentSummary,
    MadeScore, RunDetails, RunFacts, RunState,
};

/// The index of one results folder, open.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
    results: ResultsDir,
}
