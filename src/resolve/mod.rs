//! Resolves an experiment on this machine: finds, opens, fingerprints and hashes its datasets and
//! weights, each once, and gives runs and scores their ids.
//!
//! Verbs call [`cells`] with an experiment, the machine's keys and the results folder. Out come the
//! cells with their facts, ids and score requests ([`Resolved`]), or what each lacks
//! ([`Lacking`]); from those [`wanted`] for the plan, [`jobs`] for the scheduler and [`planned`]
//! for the experiment's journal. [`adapter`] does the same for an adapter file. Nothing is printed
//! and no run's folder is touched.

mod missing;
mod notes;
mod weights;
mod init;
mod sets;
mod world;
mod cells;
mod fit;
mod jobs;
pub mod adapter;
pub mod trained;
#[cfg(test)]
pub(crate) mod fake;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::experiment::{Cell, Facts, RunFile, ScoreRequest};
use crate::id::{RunId, ScoreId};

pub use cells::cells;
pub use fit::misfits;
pub use jobs::{jobs, planned, titles, wanted};
pub use missing::{Lack, Missing};
pub use notes::{data_notes, weight_notes};

/// A cell with all that identifies its run and scores.
#[derive(Debug, Clone)]
pub struct Resolved {
    pub cell: Cell,
    pub facts: Facts,
    pub run: RunId,
    /// The JSON whose hash is `run`.
    pub identity: Value,
    pub requests: Vec<ScoreRequest>,
}

/// A cell that this machine cannot work on.
#[derive(Debug, Clone)]
pub struct Lacking {
    pub cell: Box<Cell>,
    pub lacks: BTreeSet<Lack>,
}

/// The cells of an experiment, as far as this machine has what they need.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// In the order of the grid.
    pub cells: Vec<Result<Resolved, Lacking>>,
}

/// A cell's run and the scores that its table needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub run: RunId,
    /// Index of the cell.
    pub cell: u32,
    pub scores: Vec<ScoreId>,
}

/// One run to be worked on: what goes into its directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub file: RunFile,
    pub facts: Facts,
    /// Every score asked of the run, by all cells that share it.
    pub scores: Vec<ScoreRequest>,
}

impl Resolution {
    /// All cells, or everything that is missing.
    pub fn all(self) -> Result<Vec<Resolved>, Missing> {
        let (resolved, lacking) = self.parts();
        Missing::of(&lacking).map_or(Ok(resolved), Err)
    }

    /// The cells that can be worked on, and those that cannot.
    pub fn parts(self) -> (Vec<Resolved>, Vec<Lacking>) {
        let (mut resolved, mut lacking) = (Vec::new(), Vec::new());
        for cell in self.cells {
            match cell {
                Ok(cell) => resolved.push(cell),
                Err(cell) => lacking.push(cell),
            }
        }
        (resolved, lacking)
    }
}

#[cfg(test)]
mod tests;
