//! A cache of what was looked up on this machine, so that a dataset or a weight file that cells
//! share is looked up once.

use std::collections::BTreeSet;

use super::Lack;
use super::init::Adapters;
use super::sets::{self, Sets};
use super::weights::Weights;
use crate::experiment::{self, Facts, Machine, RunSpec};
use crate::fs::ResultsDir;

pub(super) struct World<'a> {
    sets: Sets<'a>,
    weights: Weights<'a>,
    adapters: Adapters,
}

impl<'a> World<'a> {
    pub(super) fn new(machine: &'a Machine, results: &ResultsDir) -> Self {
        Self {
            sets: Sets::new(machine, results),
            weights: Weights::new(machine, results),
            adapters: Adapters::default(),
        }
    }

    /// The facts that the identity of `spec` needs, or all that is missing for them.
    pub(super) fn facts(&mut self, spec: &RunSpec) -> Result<Facts, BTreeSet<Lack>> {
        let mut lacks = BTreeSet::new();
        let weights = keep(self.weights.find(spec), &mut lacks).flatten();
        let frost = keep(self.sets.frost(spec), &mut lacks).flatten();
        let dataset = keep(self.sets.dataset(&spec.data), &mut lacks);
        let Some(dataset) = dataset else { return Err(lacks) };
        let init = keep(self.adapters.find(spec, dataset.n_classes()), &mut lacks).flatten();
        let train = self.sets.fingerprint(&spec.data, &dataset, &dataset.train);
        let train = keep(train, &mut lacks);
        let mut found = Vec::new();
        for set in &spec.eval.sets {
            found.extend(keep(self.sets.set(spec, &dataset, set), &mut lacks));
        }
        let sets = keep(sets::distinct(found).map_err(Lack::from), &mut lacks);
        match (train, sets) {
            (Some(train_fingerprint), Some(sets)) if lacks.is_empty() => Ok(Facts {
                data_root: dataset.root.clone(),
                n_classes: dataset.n_classes(),
                classes: dataset.classes.clone(),
                train_fingerprint,
                sets,
                weights,
                init,
                input_px: experiment::input_px(spec),
                frost,
            }),
            _ => Err(lacks),
        }
    }

    /// Saves the hashes for later invocations.
    pub(super) fn save(&mut self) {
        self.weights.save();
    }
}

fn keep<T>(result: Result<T, Lack>, lacks: &mut BTreeSet<Lack>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(lack) => {
            lacks.insert(lack);
            None
        }
    }
}
