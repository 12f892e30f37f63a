//! Resolves the cells of an experiment, one after the other.

use super::world::World;
use super::{Lacking, Resolution, Resolved};
use crate::corrupt::frost::Source;
use crate::corrupt::{self, Effect};
use crate::experiment::{self, Cell, Experiment, Facts, Machine, RunSpec, SuiteRef};
use crate::fs::ResultsDir;
use crate::id::RunId;

/// Opens and fingerprints what the cells need, each thing once. `results` keeps the caches of
/// fingerprints and hashes.
pub fn cells(experiment: &Experiment, machine: &Machine, results: &ResultsDir) -> Resolution {
    let mut world = World::new(machine, results);
    let cells = experiment.cells.iter().map(|cell| match world.facts(&cell.spec) {
        Ok(facts) => Ok(one(cell, facts)),
        Err(lacks) => Err(Lacking { cell: Box::new(cell.clone()), lacks }),
    });
    let cells = cells.collect();
    world.save();
    Resolution { cells }
}

fn one(cell: &Cell, facts: Facts) -> Resolved {
    let identity = experiment::run_identity(&cell.spec, &facts);
    let run = RunId::of(&identity);
    let suite = suite(&cell.spec, &facts);
    let requests = experiment::score_requests(&cell.spec, &facts, &run, suite.as_ref());
    Resolved { cell: cell.clone(), facts, run, identity, requests }
}

/// The suite of a spec; `None` for clean images only.
pub(super) fn suite(spec: &RunSpec, facts: &Facts) -> Option<SuiteRef> {
    let suite = corrupt::suite::suite(&spec.eval.corruption.suite)?;
    let source = if facts.frost.is_some() { Source::Originals } else { Source::Procedural };
    let corruptions = suite.effects(source).into_iter().map(Effect::name).collect();
    Some(SuiteRef { label: suite.label(), corruptions })
}
