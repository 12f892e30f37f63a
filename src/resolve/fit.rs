//! Checks that weight files fit their models, before a worker is started that would fail on them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Lack, Lacking, Resolved};
use crate::error::with_sources;
use crate::id::RunId;
use crate::model::Size;
use crate::model::backbone::{self, Backbone};
use crate::weights;

/// The cells among those of `runs` whose weight file does not hold what their model takes. Headers
/// are read, each pair of file and model once; of other runs nothing is read.
pub fn misfits(cells: &[Resolved], runs: &[RunId]) -> Vec<Lacking> {
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
    lacking
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
