//! The sentences below a table that say what its numbers are.

use std::collections::BTreeSet;

use crate::report::columns::Sweep;

impl Sweep<'_> {
    pub(super) fn caption(&self) -> Vec<String> {
        let mut sentences = vec![self.scores_sentence()];
        sentences.extend(self.suite_sentence());
        sentences.push(self.protocol_sentence());
        if self.has_replicates {
            let text = "Mean ± sample standard deviation over seeds; n: seeds done, of all.";
            sentences.push(text.to_owned());
        }
        if self.has_stale {
            let text = "Rows marked stale are of a sweep whose numbers were other ones.";
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
        let corruptions = match self.experiment.suite_corruptions.len() {
            0 => "the corruptions asked for".to_owned(),
            n => format!("the {n} corruptions"),
        };
        let suite = self.experiment.suite.as_ref();
        let suite = suite.map_or(String::new(), |suite| format!(" of {suite}"));
        Some(format!(
            "Level {levels}: mean over {corruptions}{suite} (over a part of them only where marked); \
             drop: clean minus level {worst}, in points."
        ))
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
        let scores = self.experiment.cells.iter().flat_map(|cell| &cell.scores);
        let makers: BTreeSet<String> = scores
            .filter_map(|score| {
                let made = score.made.as_ref()?;
                let git = made.git.as_ref().filter(|git| *git != "unknown");
                let git = git.map_or(String::new(), |git| format!(" ({git})"));
                Some(format!("sweep {}{git}", made.version.as_ref()?))
            })
            .collect();
        let makers: Vec<_> = makers.into_iter().collect();
        (!makers.is_empty()).then(|| format!("Scored by {}.", makers.join(", ")))
    }
}
