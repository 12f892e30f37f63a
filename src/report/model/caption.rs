//! The sentences below a table that say what its numbers are.

use std::collections::BTreeSet;

use crate::report::model::columns::Sweep;
use crate::report::model::suite::{self, Family};

impl Sweep<'_> {
    pub(in crate::report) fn caption(&self) -> Vec<String> {
        let mut sentences = vec![self.scores_sentence()];
        sentences.extend(self.suite_sentence());
        sentences.push(self.protocol_sentence());
        if self.has_replicates {
            let text = "Mean ± sample standard deviation over seeds; n: seeds done, of all.";
            sentences.push(text.to_owned());
        }
        sentences.extend(self.made_by_sentence());
        sentences
    }

    fn scores_sentence(&self) -> String {
        let classes = match self.classes.first() {
            Some((present, total)) if self.classes.len() == 1 => format!("{present}/{total} "),
            _ => String::new(),
        };
        let sets: Vec<_> = self.sets.iter().filter(|set| !set.is_empty()).copied().collect();
        let on = if sets.is_empty() { String::new() } else { format!(" on {}", sets.join(", ")) };
        format!(
            "mIoU in %{on}: the mean over the {classes}classes present in the ground truth, from \
             one confusion matrix over the whole set."
        )
    }

    fn suite_sentence(&self) -> Option<String> {
        let worst = self.severities.last()?;
        let levels: Vec<_> = self.severities.iter().map(u8::to_string).collect();
        let levels = levels.join(", ");
        let suite = self.experiment.suite.as_ref();
        let suite = suite.map_or(String::new(), |suite| format!(" of {suite}"));
        let names = &self.experiment.suite_corruptions;
        let count = self.count(&self.parts[0]);
        let drop = format!("drop: clean minus level {worst}{count}, in points.");
        if self.family == Family::ReferenceDraws {
            return Some(format!(
                "One-of level {levels}: the reference project's pipeline, one random operation an \
                 image: mean over the {} draws{suite} (over a part of them only where marked), no \
                 ImageNet-C; ± draws: sample standard deviation over them; {drop}",
                names.len()
            ));
        }
        let corruptions = match names.len() {
            0 => "the corruptions asked for".to_owned(),
            n => format!("the {n} corruptions"),
        };
        let ice = match self.parts[0].n_left_out {
            0 => "",
            _ => " without frost*, which is procedural ice",
        };
        let mut sentence = format!(
            "Level {levels}{count}: mean over {corruptions}{suite}{ice} (over a part of them only \
             where marked)"
        );
        for part in &self.parts[1..] {
            let count = part.count();
            let what = match part.key {
                "_of12" => format!("the 15 without {}", suite::moving(names).join(", ")),
                _ => "over those of ImageNet-C".to_owned(),
            };
            sentence = format!("{sentence}; ({count}): {what}");
        }
        if !suite::moving(names).is_empty() {
            sentence += ", which move pixels while labels stay";
        }
        Some(format!("{sentence}; {drop}"))
    }

    fn protocol_sentence(&self) -> String {
        let protocols: Vec<_> = self.protocols.iter().filter(|text| !text.is_empty()).collect();
        let checkpoint = if self.has_other_checkpoints { "as the column says" } else { "the last" };
        match protocols[..] {
            [] => format!("Checkpoint: {checkpoint}."),
            [protocol] => format!("Protocol: {protocol}; checkpoint: {checkpoint}."),
            _ => format!("Protocol: as the column says; checkpoint: {checkpoint}."),
        }
    }

    fn made_by_sentence(&self) -> Option<String> {
        let cells = self.experiment.cells.iter();
        let scores = cells.flat_map(|cell| cell.scores.iter().map(move |score| (cell, score)));
        let makers: BTreeSet<String> = scores
            .filter_map(|(cell, score)| {
                let made = score.made.as_ref()?;
                let git = made.git.as_ref().filter(|git| *git != "unknown");
                let git = git.map_or(String::new(), |git| format!(" ({git})"));
                let device = made.device_name.as_ref().filter(|name| !name.is_empty());
                let device = device.map_or(String::new(), |name| format!(" on {name}"));
                let precision = cell.facts.as_ref().map_or(String::new(), |facts| {
                    format!(" in {}", facts.spec.train.precision.resolved())
                });
                Some(format!("sweep {}{git}{device}{precision}", made.version.as_ref()?))
            })
            .collect();
        let makers: Vec<_> = makers.into_iter().collect();
        (!makers.is_empty()).then(|| format!("Scored by {}.", makers.join(", ")))
    }
}
