//! The things that an experiment needs and this machine lacks, in words and, where `sweep fetch`
//! can get them, by name.

use std::collections::BTreeSet;

use super::Lacking;
use crate::event;

/// Number of cells named in one complaint; the others are counted.
const CELLS_NAMED: usize = 3;

/// One thing that a cell needs and that is missing, damaged or does not fit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lack {
    /// What is wrong, and what to do about it.
    pub message: String,
    /// Its names for `sweep fetch`; several where one builds on another.
    pub names: Vec<&'static str>,
}

/// What is missing or unreadable, each thing once with the cells that need it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", listed(.0))]
pub struct Missing(Vec<Complaint>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Complaint {
    lack: Lack,
    /// Index and title.
    cells: Vec<(u32, String)>,
}

impl From<String> for Lack {
    fn from(message: String) -> Self {
        Self { message, names: Vec::new() }
    }
}

impl Missing {
    /// What the cells lack; `None` where that is nothing.
    pub fn of<'a>(cells: impl IntoIterator<Item = &'a Lacking>) -> Option<Self> {
        let mut complaints: Vec<Complaint> = Vec::new();
        for Lacking { cell, lacks } in cells {
            let named = (cell.index, event::title(&cell.labels));
            for lack in lacks {
                match complaints.iter_mut().find(|complaint| complaint.lack == *lack) {
                    Some(complaint) => complaint.cells.push(named.clone()),
                    None => complaints
                        .push(Complaint { lack: lack.clone(), cells: vec![named.clone()] }),
                }
            }
        }
        (!complaints.is_empty()).then_some(Self(complaints))
    }

    /// The names of those things that `sweep fetch` knows, each once, in the order to get them.
    pub fn fetchable(&self) -> Vec<&'static str> {
        let names = self.0.iter().flat_map(|complaint| &complaint.lack.names);
        let mut seen = BTreeSet::new();
        names.copied().filter(|name| seen.insert(*name)).collect()
    }
}

fn listed(complaints: &[Complaint]) -> String {
    let lines: Vec<_> = complaints
        .iter()
        .map(|complaint| {
            let named = complaint.cells.iter().take(CELLS_NAMED);
            let named: Vec<_> =
                named.map(|(index, title)| format!("cell {index} ({title})")).collect();
            let rest = match complaint.cells.len().saturating_sub(CELLS_NAMED) {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            format!("{}; needed by {}{rest}", complaint.lack.message, named.join(", "))
        })
        .collect();
    lines.join("\n")
}
