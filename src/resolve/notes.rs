//! Notes on data and weights before a run: files that no split has, classes that no training pixel
//! has. `plan` and `run` print them; `data check` lists the same file by file. Of weight files,
//! `plan` notes whose copy they are.

use std::collections::BTreeSet;
use std::path::Path;

use super::Resolved;
use super::sets::key;
use crate::data::Error;
use crate::data::dataset::left_out::summaries;
use crate::data::dataset::{self, EvalSet};
use crate::data::split::AbsentClass;
use crate::fetch::weights::copy_note;
use crate::fs::ResultsDir;
use crate::model::backbone;

/// Notes on the datasets of `cells`, each once. Masks are counted once and remembered in the
/// results folder.
pub fn data_notes(cells: &[Resolved], results: &ResultsDir) -> Vec<String> {
    let cache = results.experiments().join("classes.json");
    let mut looked_at = BTreeSet::new();
    let mut notes: Vec<String> = Vec::new();
    for Resolved { cell, facts, .. } in cells {
        let spec = &cell.spec;
        let mut places = vec![(&spec.data, &facts.data_root, spec.data.train())];
        places.extend(facts.sets.iter().map(|set| match &set.set {
            EvalSet::Own(split) => (&spec.data, &facts.data_root, split.as_str()),
            EvalSet::Other { data, split } => (data, &set.root, split.as_str()),
        }));
        for (config, root, split) in places {
            if !looked_at.insert((key(config), root.clone(), split.to_owned())) {
                continue;
            }
            // What cannot be read is reported by the run that reads it.
            let is_train = config == &spec.data && split == spec.data.train();
            let print = is_train.then_some(facts.train_fingerprint.as_str());
            notes.extend(of_split((config, root, split), print, &cache).unwrap_or_default());
        }
    }
    let mut said = BTreeSet::new();
    notes.retain(|note| said.insert(note.clone()));
    notes
}

/// Notes on the weight files of `cells` that are copies by others, each once.
pub fn weight_notes(cells: &[Resolved]) -> Vec<String> {
    let notes: BTreeSet<_> = cells
        .iter()
        .filter_map(|Resolved { cell, facts, .. }| {
            let path = &facts.weights.as_ref()?.path;
            let variant = backbone::find(&cell.spec.model)?;
            let note = copy_note(variant, path)?;
            Some(format!("the weights of {}, `{}`, are {note}", variant.name, path.display()))
        })
        .collect();
    notes.into_iter().collect()
}

/// Notes on one split; where it is trained on, `train` is its fingerprint.
fn of_split(
    (config, root, split): (&dataset::Config, &Path, &str),
    train: Option<&str>,
    cache: &Path,
) -> Result<Vec<String>, Error> {
    let dataset = dataset::open_at(config, root)?;
    let mut notes = summaries(&dataset.root, &dataset.left_out(&[split.to_owned()])?);
    if let Some(fingerprint) = train {
        let split = dataset.train_split()?;
        let counted = split.class_pixels(fingerprint, Some(cache))?;
        let absent = AbsentClass::all(&split, &counted.pixels, counted.n_255);
        notes.extend(AbsentClass::summary(&absent));
    }
    Ok(notes)
}
