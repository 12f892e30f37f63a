//! The scores of a run as text: the clean ones by class, the corrupted ones as a matrix.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::words::percent;
use crate::corrupt::{self, Corruption, Family};
use crate::eval::score::robustness::{self, Scores, Summary};
use crate::event::ScoreEnded;
use crate::store::RunDetails;

const CLASSES_A_LINE: usize = 8;
/// Marks procedural frost.
const DRAWN: char = '*';

/// Scores that may be compared: of one set, protocol and checkpoint.
struct Group<'a> {
    scores: Vec<&'a ScoreEnded>,
    classes: &'a [String],
}

/// A title and its lines for each set, protocol and checkpoint; with `all` also what each corrupted
/// score says beyond its mIoU.
pub(super) fn sections(details: &RunDetails, all: bool) -> Vec<(String, Vec<String>)> {
    let mut groups: BTreeMap<(&str, &str, u64), Vec<&ScoreEnded>> = BTreeMap::new();
    for score in &details.scores {
        let key = (score.set.as_str(), score.protocol.as_str(), score.checkpoint_step);
        groups.entry(key).or_default().push(score);
    }
    let classes = details.facts.as_ref().map_or(&[][..], |facts| &facts.classes);
    let section = |((set, protocol, step), scores): ((&str, &str, u64), Vec<&ScoreEnded>)| {
        let title = format!("scores on {set} in % ({protocol}; checkpoint of step {step})");
        (title, Group { scores, classes }.lines(all))
    };
    groups.into_iter().map(section).collect()
}

impl Group<'_> {
    fn lines(&self, all: bool) -> Vec<String> {
        let shown = self.scores.iter().filter(|score| all || score.condition.is_clean());
        let mut lines: Vec<String> = shown.flat_map(|score| self.whole(score)).collect();
        if let Some(summary) = robustness::summary(&self.matrix()) {
            lines.extend(corrupted(&self.matrix(), &summary));
        } else {
            lines.extend(rows(&self.matrix()));
        }
        lines
    }

    /// The lines of one score in full.
    fn whole(&self, score: &ScoreEnded) -> Vec<String> {
        let metrics = &score.metrics;
        let mut lines = vec![format!(
            "{}: mIoU {} ({}/{} classes), fwIoU {}, pixels {}, mean accuracy {}, \
             ref. metric {} (not an mIoU)",
            score.condition,
            percent(metrics.miou),
            metrics.classes_present,
            metrics.classes_total,
            percent(metrics.iou_frequency_weighted),
            percent(metrics.pixel_accuracy),
            percent(metrics.accuracy_mean),
            percent(metrics.reference_metric),
        )];
        let classes = metrics.iou_per_class.iter().enumerate().map(|(i, iou)| {
            let iou = iou.map_or_else(|| "–".to_owned(), |iou| format!("{:.1}", 100.0 * iou));
            self.classes.get(i).map_or_else(|| format!("{i} {iou}"), |name| format!("{name} {iou}"))
        });
        let classes: Vec<_> = classes.collect();
        lines.extend(classes.chunks(CLASSES_A_LINE).map(|part| format!("  {}", part.join(" · "))));
        lines
    }

    fn matrix(&self) -> Scores {
        let mut matrix = Scores::default();
        for score in &self.scores {
            if let Some(miou) = score.metrics.miou {
                matrix.add(&score.condition, miou);
            }
        }
        matrix
    }
}

/// The matrix corruption x level, and its means.
fn corrupted(matrix: &Scores, summary: &Summary) -> Vec<String> {
    let mut lines = rows(matrix);
    let levels = levels(matrix);
    lines.push(row(&format!("mean of {}", counted(matrix)), &levels, &summary.levels));
    let mut in_place = matrix.clone();
    in_place
        .corrupted
        .retain(|name, _| !Corruption::parse(name).is_some_and(Corruption::moves_pixels));
    let n_in_place = counted(&in_place);
    if n_in_place < counted(matrix)
        && let Some(summary) = robustness::summary(&in_place)
    {
        lines.push(row(&format!("mean of {n_in_place} in place"), &levels, &summary.levels));
    }
    let families = summary.families.iter().map(|(name, x)| format!("{name} {:.2}", 100.0 * x));
    lines.push(families.collect::<Vec<_>>().join(", "));
    let rpc = summary.rpc.map_or(String::new(), |rpc| format!(", rPC {:.2}", 100.0 * rpc));
    let over: Vec<_> = levels.iter().map(u8::to_string).collect();
    let over = if over.len() == 1 { "level" } else { "levels" }.to_owned() + " " + &over.join(", ");
    lines.push(format!("mPC {:.2}{rpc} ({over})", 100.0 * summary.mpc));
    if let Some(name) = matrix.corrupted.keys().find(|name| name.ends_with(DRAWN)) {
        lines.push(format!("{name}: procedural, in no mean"));
    }
    if n_in_place < counted(matrix) {
        let moving = corrupt::TABLE.iter().filter(|row| row.moves_pixels).map(|row| row.name);
        let moving: Vec<_> = moving.filter(|name| matrix.corrupted.contains_key(*name)).collect();
        lines.push(format!(
            "in place: without {}, which move pixels while labels stay",
            moving.join(", ")
        ));
    }
    lines
}

/// How many corruptions the means are over.
fn counted(matrix: &Scores) -> usize {
    matrix.corrupted.keys().filter(|name| Corruption::parse(name).is_some()).count()
}

/// A line for each corruption, in the benchmark's order, the family before its first one.
fn rows(matrix: &Scores) -> Vec<String> {
    if matrix.corrupted.is_empty() {
        return Vec::new();
    }
    let levels = levels(matrix);
    let heads: Vec<_> = levels.iter().map(|level| format!("{:>6}", format!("L{level}"))).collect();
    let mut lines = vec![format!("{:<26} {}", "", heads.join(" "))];
    let mut names: Vec<&String> = matrix.corrupted.keys().collect();
    names.sort_by_key(|name| place(name));
    let mut before = None;
    for name in names {
        let (family, _) = place(name);
        let new = (before != Some(family)).then_some(family);
        before = Some(family);
        let new = new.flatten().map_or("", robustness::family_name);
        lines.push(row(&format!("{new:<8}{name}"), &levels, &matrix.corrupted[name]));
    }
    lines
}

/// Family and index in the benchmark; the pipeline of the reference project comes first.
fn place(name: &str) -> (Option<Family>, usize) {
    let name = name.trim_end_matches(DRAWN);
    let row = corrupt::TABLE.iter().enumerate().find(|(_, row)| row.name == name);
    row.map_or((None, 0), |(i, row)| (Some(row.family), i))
}

fn row(name: &str, levels: &[u8], values: &BTreeMap<u8, f64>) -> String {
    let cells = levels.iter().map(|level| {
        values.get(level).map_or_else(|| "     –".to_owned(), |x| format!("{:6.2}", 100.0 * x))
    });
    format!("{name:<26} {}", cells.collect::<Vec<_>>().join(" "))
}

fn levels(matrix: &Scores) -> Vec<u8> {
    let levels: BTreeSet<u8> =
        matrix.corrupted.values().flat_map(BTreeMap::keys).copied().collect();
    levels.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_is_in_the_benchmarks_order_and_says_what_each_mean_is_over() {
        let mut matrix = Scores { clean: Some(0.5), ..Scores::default() };
        for (name, miou) in [("fog", 0.1), ("zoom_blur", 0.8), ("shot_noise", 0.3), ("frost*", 0.9)]
        {
            matrix.corrupted.insert(name.to_owned(), BTreeMap::from([(1, miou), (5, miou / 2.0)]));
        }
        let summary = robustness::summary(&matrix).unwrap();
        insta::assert_snapshot!(corrupted(&matrix, &summary).join("\n"), @"
                                       L1     L5
        noise   shot_noise          30.00  15.00
        blur    zoom_blur           80.00  40.00
        weather frost*              90.00  45.00
                fog                 10.00   5.00
        mean of 3                   40.00  20.00
        mean of 2 in place          20.00  10.00
        blur 60.00, noise 22.50, weather 7.50
        mPC 30.00, rPC 60.00 (levels 1, 5)
        frost*: procedural, in no mean
        in place: without zoom_blur, which move pixels while labels stay
        ");
    }

    #[test]
    fn draws_of_the_reference_project_have_no_means() {
        let mut matrix = Scores::default();
        matrix.corrupted.insert("oneof_0".to_owned(), BTreeMap::from([(5, 0.25)]));
        assert_eq!(robustness::summary(&matrix), None);
        assert_eq!(rows(&matrix)[1].trim(), "oneof_0             25.00");
    }
}
