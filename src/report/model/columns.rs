//! Decides which columns a table has, and makes the cells of its rows.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::Metrics;
use crate::report::model::group::{Entry, Group, SEED};
use crate::report::model::measure::{self, Measure, Missing, Parts};
use crate::report::model::names::{self, NOTHING, short};
use crate::report::model::suite::{self, Family, Part};
use crate::report::model::table::{Cell, Column, Columns, Data, Kind};
use crate::store::{CellRow, CellScore, CellState, ExperimentRows};

/// Keys of the columns that every table may have; an axis of the same name gets a prefix.
const KEYS: [&str; 15] = [
    "finetuned",
    "pretraining",
    "model",
    "params",
    "params_trained",
    "registers",
    "input_px",
    "tokens",
    "set",
    "protocol",
    "checkpoint",
    "classes",
    "n",
    "n_total",
    "runs",
];

/// The facts about all rows of a table that decide its columns.
pub(super) struct Sweep<'a> {
    pub(super) experiment: &'a ExperimentRows,
    /// Axes that no other column shows.
    axes: Vec<&'a str>,
    pub(super) sets: BTreeSet<&'a str>,
    pub(super) protocols: BTreeSet<&'a str>,
    /// Levels asked for.
    pub(super) severities: BTreeSet<u8>,
    /// Parts of the suite that means are over, the whole suite first.
    pub(super) parts: Vec<Part>,
    pub(super) family: Family,
    /// Classes (present in the ground truth, of all).
    pub(super) classes: BTreeSet<(u32, u32)>,
    /// Whether a checkpoint other than the last was scored.
    pub(super) has_other_checkpoints: bool,
    pub(super) has_replicates: bool,
}

impl<'a> Sweep<'a> {
    pub(in crate::report) fn of(experiment: &'a ExperimentRows, groups: &'a [Group<'a>]) -> Self {
        let entries = || groups.iter().flat_map(|group| &group.entries);
        let scores = || entries().flat_map(|entry| &entry.scores);
        let classes = scores().filter_map(|score| {
            let metrics = &score.made.as_ref()?.metrics;
            Some((metrics.classes_present, metrics.classes_total))
        });
        let mut sweep = Self {
            experiment,
            axes: Vec::new(),
            sets: groups.iter().map(|group| group.set).collect(),
            protocols: groups.iter().map(|group| group.protocol.as_str()).collect(),
            parts: suite::parts(&experiment.suite_corruptions),
            family: Family::of(&experiment.suite_corruptions),
            severities: scores().filter_map(|score| score.planned.condition.severity()).collect(),
            classes: classes.collect(),
            has_other_checkpoints: entries().any(|entry| checkpoint(entry).is_some()),
            has_replicates: groups.iter().any(|group| group.entries.len() > 1),
        };
        sweep.axes = sweep.axes_apart(groups);
        sweep
    }

    /// The set of all rows, where it is one.
    pub(in crate::report) fn set(&self) -> Option<&'a str> {
        let first = self.sets.first().filter(|set| !set.is_empty())?;
        (self.sets.len() == 1).then_some(*first)
    }

    pub(in crate::report) fn columns(&self) -> Vec<Column> {
        let mut columns: Vec<Column> = self.axes.iter().map(|axis| axis_column(axis)).collect();
        columns.extend([
            column("finetuned", "finetuned components", Kind::Text),
            column("pretraining", "pre-training", Kind::Text),
            column("model", "model", Kind::Text),
            column("params", "params", Kind::Count),
            column("params_trained", "trained", Kind::Count),
            column("registers", "registers", Kind::Count),
            column("input_px", "input px (tokens)", Kind::Size),
        ]);
        if self.sets.len() > 1 {
            columns.push(column("set", "dataset", Kind::Text));
        }
        if self.protocols.len() > 1 {
            columns.push(column("protocol", "protocol", Kind::Text));
        }
        if self.has_other_checkpoints {
            columns.push(column("checkpoint", "checkpoint", Kind::Text));
        }
        if self.classes.len() > 1 {
            columns.push(column("classes", "classes", Kind::Text));
        }
        columns.push(column("miou_clean", "mIoU clean", Kind::Score));
        columns.extend(self.corrupted_columns());
        columns.push(column("n", "n", Kind::Replicates));
        columns.push(extra("reference_metric_clean", "ref. metric clean", Kind::Score));
        for level in &self.severities {
            let head = format!("ref. metric L{level}");
            let key = format!("reference_metric_level{level}");
            columns.push(extra(&key, &head, Kind::SuiteScore));
        }
        columns.push(column("runs", "directory", Kind::Runs));
        columns
    }

    /// Means over the suite and its parts, level by level, and the drop to the last level.
    fn corrupted_columns(&self) -> Vec<Column> {
        let mut columns = Vec::new();
        let (prefix, words) = match self.family {
            Family::Corruptions => ("", "mIoU level"),
            Family::ReferenceDraws => ("reference_oneof_", "one-of level"),
        };
        for level in &self.severities {
            for part in &self.parts {
                let key = format!("{prefix}miou_level{level}{}", part.key);
                let head = format!("{words} {level}{}", self.count(part));
                columns.push(column(&key, &head, Kind::SuiteScore));
            }
            if self.family == Family::ReferenceDraws {
                let key = format!("{prefix}miou_level{level}_draws_std");
                columns.push(column(&key, "± draws", Kind::Score));
            }
        }
        if let Some(level) = self.severities.last() {
            let head = if self.severities.len() > 1 {
                format!("drop to level {level}")
            } else {
                "drop".to_owned()
            };
            columns.push(column(&format!("{prefix}drop_level{level}"), &head, Kind::Score));
        }
        columns
    }

    /// The number of corruptions, ` (15)`; empty where the suite alone makes it clear.
    pub(in crate::report) fn count(&self, part: &Part) -> String {
        if self.parts.len() == 1 && part.n_left_out == 0 {
            return String::new();
        }
        format!(" ({})", part.count())
    }

    /// The cells of a row, in the order of [`Self::columns`].
    pub(in crate::report) fn cells(&self, group: &Group<'_>) -> Vec<Cell> {
        let mut cells: Vec<Cell> = self.axes.iter().map(|axis| text(group.label(axis))).collect();
        cells.extend(model_cells(group.first()));
        if self.sets.len() > 1 {
            cells.push(text(group.set));
        }
        if self.protocols.len() > 1 {
            cells.push(text(group.protocol.as_str()));
        }
        if self.has_other_checkpoints {
            cells.push(text(group.entries.iter().find_map(checkpoint).unwrap_or("last".into())));
        }
        if self.classes.len() > 1 {
            cells.push(text(classes(group)));
        }
        cells.extend(self.score_cells(group));
        cells
    }

    fn score_cells(&self, group: &Group<'_>) -> Vec<Cell> {
        let is_whole = |entry: &&Entry<'_>| {
            !entry.scores.is_empty() && entry.scores.iter().all(|score| score.made.is_some())
        };
        let done = group.entries.iter().filter(is_whole).count() as u32;
        let total = group.entries.len() as u32;
        let n_row = (total > 1).then_some(done);
        let score =
            |measure: Measure| Cell { text: measure.text(n_row), data: Data::Score(measure) };
        let miou = |metrics: &Metrics| metrics.miou;
        let clean = clean_score(group, miou);
        let whole = |level: u8, value| self.level(group, level, &self.parts[0], value);
        let drop = self.severities.last().map(|&level| clean.minus(&whole(level, miou)));
        let mut cells = vec![score(clean)];
        for &level in &self.severities {
            let parts = self.parts.iter().map(|part| self.level(group, level, part, miou));
            cells.extend(parts.map(score));
            if self.family == Family::ReferenceDraws {
                cells.push(score(self.spread(group, level)));
            }
        }
        cells.extend(drop.map(score));
        let n = if done == total { total.to_string() } else { format!("{done}/{total}") };
        cells.push(Cell { text: n, data: Data::Replicates { done, total } });
        let reference = |metrics: &Metrics| metrics.reference_metric;
        cells.push(score(clean_score(group, reference)));
        cells.extend(self.severities.iter().map(|&level| score(whole(level, reference))));
        cells.push(directories(group));
        cells
    }

    /// The mean over a part of the suite, or over the corruptions asked for where there is no
    /// suite.
    fn level(
        &self,
        group: &Group<'_>,
        level: u8,
        part: &Part,
        value: fn(&Metrics) -> Option<f64>,
    ) -> Measure {
        let has_suite = !self.experiment.suite_corruptions.is_empty();
        let is_asked = |score: &CellScore| {
            let condition = &score.planned.condition;
            let is_listed = |name: &str| !has_suite || part.names.iter().any(|n| n == name);
            condition.severity() == Some(level) && condition.effect().is_some_and(is_listed)
        };
        let n_asked = |entry: &Entry<'_>| entry.scores.iter().filter(|s| is_asked(s)).count();
        let total = if has_suite {
            part.names.len()
        } else {
            group.entries.iter().map(n_asked).max().unwrap_or(0)
        };
        measure(group, total as u32, value, is_asked)
    }

    /// The sample standard deviation over the draws of a run.
    fn spread(&self, group: &Group<'_>, level: u8) -> Measure {
        let is_draw = |score: &CellScore| score.planned.condition.severity() == Some(level);
        let draws = parts(group, self.parts[0].names.len() as u32, |m| m.miou, is_draw);
        let spreads: Vec<_> = draws
            .into_iter()
            .map(|draws| {
                let is_whole = draws.values.len() as u32 == draws.total;
                let spread = measure::std(&draws.values).filter(|_| is_whole);
                Parts { values: spread.into_iter().collect(), total: 1, ..draws }
            })
            .collect();
        Measure::over(&spreads)
    }

    /// The axes that tell rows apart which the other columns do not, in the order of the spec.
    fn axes_apart(&self, groups: &'a [Group<'a>]) -> Vec<&'a str> {
        let mut keys: Vec<Vec<String>> = groups.iter().map(|group| described(group)).collect();
        let mut axes = Vec::new();
        for axis in self.experiment.axes.iter().filter(|axis| *axis != SEED) {
            let mut values: BTreeMap<&[String], BTreeSet<&str>> = BTreeMap::new();
            for (key, group) in keys.iter().zip(groups) {
                values.entry(key).or_default().insert(group.label(axis));
            }
            if values.values().any(|values| values.len() > 1) {
                axes.push(axis.as_str());
                for (key, group) in keys.iter_mut().zip(groups) {
                    key.push(group.label(axis).to_owned());
                }
            }
        }
        axes
    }
}

/// The cells of the columns from `finetuned` to `input_px`.
fn model_cells(cell: &CellRow) -> [Cell; 7] {
    let Some(facts) = &cell.facts else {
        // Not started: the labels are all that is known.
        let labels = cell.labels.iter().filter(|(axis, _)| axis != SEED);
        let labels: Vec<_> = labels.map(|(axis, value)| format!("{axis}={value}")).collect();
        let size = Cell { text: NOTHING.into(), data: Data::Size { px: None, tokens: None } };
        return [
            text(labels.join(", ")),
            text(NOTHING),
            text(NOTHING),
            count(None, names::parameters),
            count(None, names::parameters),
            count(None, names::parameters),
            size,
        ];
    };
    let spec = &facts.spec;
    let patch = names::patch_px(spec.model);
    let tokens = facts.tokens.unwrap_or(facts.input_px.map(|px| px / patch));
    let size = format!("{} ({})", names::size(facts.input_px), names::size(tokens));
    [
        text(names::finetuned(spec)),
        text(names::pretraining(spec)),
        text(names::model(spec.model)),
        count(facts.params_total, names::parameters),
        count(facts.params_trained, names::parameters),
        count(Some(names::registers(spec.model)), |n| n.to_string()),
        Cell { text: size, data: Data::Size { px: Some(facts.input_px), tokens: Some(tokens) } },
    ]
}

/// The texts that tell a row from others without its axes. Parameters follow from the rest.
fn described(group: &Group<'_>) -> Vec<String> {
    let cells = model_cells(group.first());
    let cells = cells.into_iter().filter(|cell| !matches!(cell.data, Data::Count(_)));
    let mut key: Vec<String> = cells.map(|cell| cell.text).collect();
    key.extend(
        group.first().facts.as_ref().map(|facts| names::registers(facts.spec.model).to_string()),
    );
    key.extend([group.set.to_owned(), group.protocol.clone()]);
    key
}

fn clean_score(group: &Group<'_>, value: fn(&Metrics) -> Option<f64>) -> Measure {
    measure(group, 1, value, |score| score.planned.condition.is_clean())
}

/// A score of `group` that is the mean of `value` over the scores that `is_part` picks.
fn measure(
    group: &Group<'_>,
    total: u32,
    value: fn(&Metrics) -> Option<f64>,
    is_part: impl Fn(&CellScore) -> bool,
) -> Measure {
    Measure::over(&parts(group, total, value, is_part))
}

/// The parts of such a score that each replicate has.
fn parts(
    group: &Group<'_>,
    total: u32,
    value: fn(&Metrics) -> Option<f64>,
    is_part: impl Fn(&CellScore) -> bool,
) -> Vec<Parts> {
    let parts = |entry: &Entry<'_>| {
        let asked = || entry.scores.iter().filter(|score| is_part(score));
        let missing = match entry.cell.state {
            _ if asked().next().is_none() => Missing::NotAsked,
            CellState::Failed(_) => Missing::Failed,
            _ if asked().all(|s| s.made.as_ref().is_some_and(|m| value(&m.metrics).is_none())) => {
                Missing::Undefined
            }
            CellState::Open | CellState::Done => Missing::Open,
        };
        Parts {
            seed: entry.cell.facts.as_ref().map(|facts| facts.spec.seed),
            run: entry.cell.run.clone(),
            values: asked().filter_map(|s| value(&s.made.as_ref()?.metrics)).collect(),
            total,
            missing,
        }
    };
    group.entries.iter().map(parts).collect()
}

/// The scored checkpoint where it is not the last.
fn checkpoint(entry: &Entry<'_>) -> Option<String> {
    let mut steps = entry.scores.iter().filter_map(|s| Some(s.made.as_ref()?.checkpoint_step));
    let step = steps.find(|&step| Some(step) != entry.cell.trained_step)?;
    Some(format!("step {step}"))
}

fn classes(group: &Group<'_>) -> String {
    let made = group.entries.iter().flat_map(|entry| &entry.scores).find_map(|s| s.made.as_ref());
    made.map_or_else(
        || NOTHING.to_owned(),
        |made| format!("{}/{}", made.metrics.classes_present, made.metrics.classes_total),
    )
}

fn directories(group: &Group<'_>) -> Cell {
    let runs: Vec<_> = group.entries.iter().map(|entry| entry.cell.run.clone()).collect();
    let first = short(&runs[0]);
    let others = if runs.len() > 1 { format!(" +{}", runs.len() - 1) } else { String::new() };
    Cell { text: format!("{first}{others}"), data: Data::Runs(runs) }
}

fn axis_column(axis: &str) -> Column {
    let is_taken =
        KEYS.contains(&axis) || axis.starts_with("miou_") || axis.starts_with("reference_oneof_");
    let key = if is_taken { format!("axis.{axis}") } else { axis.to_owned() };
    column(&key, axis, Kind::Text)
}

fn column(key: &str, head: &str, kind: Kind) -> Column {
    Column { key: key.to_owned(), head: head.to_owned(), kind, shown: Columns::Usual }
}

fn extra(key: &str, head: &str, kind: Kind) -> Column {
    Column { shown: Columns::All, ..column(key, head, kind) }
}

fn text(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), data: Data::Text }
}

fn count(value: Option<u64>, text: impl FnOnce(u64) -> String) -> Cell {
    Cell { text: value.map_or_else(|| NOTHING.to_owned(), text), data: Data::Count(value) }
}
