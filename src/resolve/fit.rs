//! Whether weight files hold what the models take, before a worker is started that would find out.

use std::collections::{BTreeMap, BTreeSet};

use super::{Complaint, Missing, Prepared, complain, has_work};
use crate::event;
use crate::id::RunId;
use crate::model::Size;
use crate::model::backbone::{self, Backbone};
use crate::plan::PlannedRun;
use crate::train::run::with_sources;
use crate::weights;

/// Holds the headers of the weight files against the models of the runs that have something to do,
/// each pair once. Where nothing is to be done nothing is read.
pub fn check_weights(cells: &[Prepared], planned: &[PlannedRun]) -> Result<(), Missing> {
    let runs: BTreeSet<&RunId> =
        planned.iter().filter(|run| has_work(run)).map(|run| &run.run).collect();
    let mut known = BTreeMap::new();
    let mut complaints: Vec<Complaint> = Vec::new();
    for prepared in cells.iter().filter(|prepared| runs.contains(&prepared.run)) {
        let Some(file) = &prepared.facts.weights else { continue };
        let model = prepared.cell.spec.model;
        let key = (file.path.clone(), serde_json::to_string(&model).expect("plain data"));
        let found = known.entry(key).or_insert_with(|| check(prepared));
        if let Err(message) = found {
            let cell = (prepared.cell.index, event::title(&prepared.cell.labels));
            complain(&mut complaints, message.clone(), cell);
        }
    }
    if complaints.is_empty() { Ok(()) } else { Err(Missing(complaints)) }
}

fn check(prepared: &Prepared) -> Result<(), String> {
    let (model, file) = (&prepared.cell.spec.model, prepared.facts.weights.as_ref());
    let Some(file) = file else { return Ok(()) };
    let text = |error: weights::Error| with_sources(&error);
    let backbone = if model.size == Size::CUSTOM {
        Some(weights::custom(model, &file.path).map_err(text)?)
    } else {
        backbone::find(model).map(Backbone::from)
    };
    let Some(backbone) = backbone else { return Ok(()) };
    weights::check(&file.path, (&backbone.name, &backbone.arch)).map_err(text)
}
