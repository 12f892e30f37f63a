//! Whether weight files hold what the models take, before a worker is started that would find out.

use std::collections::{BTreeMap, BTreeSet};

use super::{Lack, Lacking, Missing, Resolved};
use crate::error::with_sources;
use crate::id::RunId;
use crate::model::Size;
use crate::model::backbone::{self, Backbone};

use crate::weights;

/// Holds the headers of the weight files against the models of `runs`, each pair once. Of other
/// runs nothing is read.
pub fn check_weights(cells: &[Resolved], runs: &[RunId]) -> Result<(), Missing> {
    let runs: BTreeSet<&RunId> = runs.iter().collect();
    let mut known = BTreeMap::new();
    let mut lacking = Vec::new();
    for resolved in cells.iter().filter(|resolved| runs.contains(&resolved.run)) {
        let Some(file) = &resolved.facts.weights else { continue };
        let model = resolved.cell.spec.model;
        let key = (file.path.clone(), serde_json::to_string(&model).expect("plain data"));
        let found = known.entry(key).or_insert_with(|| check(resolved));
        if let Err(message) = found {
            let lacks = BTreeSet::from([Lack::from(message.clone())]);
            lacking.push(Lacking { cell: Box::new(resolved.cell.clone()), lacks });
        }
    }
    Missing::of(&lacking).map_or(Ok(()), Err)
}

fn check(resolved: &Resolved) -> Result<(), String> {
    let (model, file) = (&resolved.cell.spec.model, resolved.facts.weights.as_ref());
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
