//! Turns resolved cells into the plan's input, the plan's entry in the experiment's journal, and
//! the scheduler's jobs.

use std::collections::BTreeMap;

use super::cells::suite;
use super::{Job, Resolved, Wanted};
use crate::event::{self, Planned, PlannedCell, PlannedScore, Protocol};
use crate::experiment::{self, Experiment, RunFile, ScoreRequest};
use crate::id::RunId;

/// The plan's input, cell by cell.
pub fn wanted(cells: &[Resolved]) -> Vec<Wanted> {
    cells
        .iter()
        .map(|resolved| Wanted {
            run: resolved.run.clone(),
            cell: resolved.cell.index,
            scores: resolved.requests.iter().map(|request| request.score.clone()).collect(),
        })
        .collect()
}

/// The title of each run: that of the first of its cells.
pub fn titles(cells: &[Resolved]) -> BTreeMap<&RunId, String> {
    let mut titles = BTreeMap::new();
    for Resolved { cell, run, .. } in cells {
        titles.entry(run).or_insert_with(|| event::title(&cell.labels));
    }
    titles
}

/// The entry of this plan in the experiment's journal.
pub fn planned(experiment: &Experiment, cells: &[Resolved]) -> Planned {
    let suite = cells.iter().find_map(|resolved| suite(&resolved.cell.spec, &resolved.facts));
    Planned {
        experiment: experiment.name.clone(),
        axes: experiment.axes.clone(),
        suite: suite.as_ref().map(|suite| suite.label.clone()),
        suite_corruptions: suite.map(|suite| suite.corruptions).unwrap_or_default(),
        cells: cells.iter().map(planned_cell).collect(),
    }
}

fn planned_cell(resolved: &Resolved) -> PlannedCell {
    let protocol = experiment::protocol(&resolved.cell.spec, &resolved.facts);
    PlannedCell {
        index: resolved.cell.index,
        labels: resolved.cell.labels.clone(),
        run: resolved.run.clone(),
        scores: resolved.requests.iter().map(|one| planned_score(one, &protocol)).collect(),
    }
}

fn planned_score(request: &ScoreRequest, protocol: &Protocol) -> PlannedScore {
    PlannedScore {
        protocol_parts: Some(protocol.clone()),
        score: request.score.clone(),
        set: request.set.clone(),
        protocol: request.protocol.clone(),
        condition: request.condition.clone(),
    }
}

/// The jobs of `runs`, in their order; cells that share a run are one job with the scores of all.
pub fn jobs(cells: &[Resolved], runs: &[RunId]) -> Vec<Job> {
    let mut sharing: BTreeMap<&RunId, Vec<&Resolved>> = BTreeMap::new();
    for resolved in cells {
        sharing.entry(&resolved.run).or_default().push(resolved);
    }
    runs.iter().filter_map(|run| job(sharing.get(run)?)).collect()
}

/// One job of the cells that share a run; `None` if there is no cell.
fn job(sharing: &[&Resolved]) -> Option<Job> {
    let (first, others) = sharing.split_first()?;
    let mut job = Job {
        file: RunFile {
            version: experiment::VERSION,
            run: first.run.clone(),
            identity: first.identity.clone(),
            spec: first.cell.spec.clone(),
            input_px: first.facts.input_px,
            n_classes: first.facts.n_classes,
            classes: first.facts.classes.clone(),
        },
        facts: first.facts.clone(),
        scores: first.requests.clone(),
    };
    for other in others {
        for request in &other.requests {
            if job.scores.iter().all(|known| known.score != request.score) {
                job.scores.push(request.clone());
            }
        }
        for set in &other.facts.sets {
            if !job.facts.sets.contains(set) {
                job.facts.sets.push(set.clone());
            }
        }
    }
    Some(job)
}
