//! `sweep plan EXPERIMENT`: what `run` would do, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::fault::{Exit, OrExit};
use super::grid::grid;
use super::{Context, fetch, index, printer, words};
use crate::fs::ResultsDir;
use crate::id::RunId;
use crate::plan::{self, Action, PlannedRun};
use crate::resolve::{self, Resolved};
use crate::store::RunState;
use crate::train::TRAIN_NUMERICS;

/// Older runs that a note names; the others are counted.
const OLDER_NAMED: usize = 3;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Experiment file (TOML)
    #[arg(value_name = "EXPERIMENT")]
    pub experiment: PathBuf,
    /// Set a key over all files, e.g. `train.epochs=2`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let (experiment, machine) = context.experiment(&args.experiment, &args.set)?;
    for warning in &experiment.warnings {
        printer::aside(&format_args!("note: {warning}"));
    }
    let results = ResultsDir::new(&machine.results);
    let cells = fetch::complete(resolve::cells(&experiment, &machine, &results))?;
    for note in resolve::weight_notes(&cells) {
        printer::aside(&format_args!("note: {note}"));
    }
    for note in resolve::data_notes(&cells, &results) {
        printer::aside(&format_args!("warning: {note}"));
    }
    let states = index::ask(&results, async |store| Ok(store.run_status().await?))?;
    let planned = plan::plan(&resolve::wanted(&cells), &states);
    resolve::check_weights(&cells, &plan::with_work(&planned)).or_exit(Exit::Environment)?;
    if let Some(note) = older_note(&cells, &planned, &states) {
        printer::aside(&format_args!("note: {note}"));
    }
    printer::data(&format!("{}\n", table(&experiment.axes, &cells, &planned)));
    printer::data(&format!("{}\n", counts(&planned)));
    Ok(Exit::Done)
}

/// What is said of finished runs that cells which start would have been in an older version of
/// `sweep`, if there are any.
pub(super) fn older_note(
    cells: &[Resolved],
    planned: &[PlannedRun],
    states: &BTreeMap<RunId, RunState>,
) -> Option<String> {
    let starting = plan::starting(cells, planned);
    older_words(&plan::finished_under_older_numerics(starting, TRAIN_NUMERICS, states))
}

fn older_words(runs: &BTreeSet<RunId>) -> Option<String> {
    let named: Vec<_> = runs.iter().take(OLDER_NAMED).map(RunId::as_str).collect();
    let more = match runs.len().saturating_sub(OLDER_NAMED) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let (matches, are) = if runs.len() == 1 { ("matches", "it is") } else { ("match", "they are") };
    (!runs.is_empty()).then(|| {
        format!(
            "{} of an older numerics version {matches} these cells: {}{more}; {are} kept and not \
             mixed in (`sweep show ID`)",
            words::count(runs.len(), "finished run"),
            named.join(", ")
        )
    })
}

/// `8 cells: 5 to start, 1 to resume, 2 done`.
pub fn counts(planned: &[PlannedRun]) -> String {
    let mut counts = [0_usize; 4];
    for run in planned {
        counts[rank(run.action)] += 1;
    }
    let words = ["to start", "to resume", "to score", "done"];
    let parts: Vec<_> = counts
        .iter()
        .zip(words)
        .filter(|(n, _)| **n > 0)
        .map(|(n, word)| format!("{n} {word}"))
        .collect();
    format!("{}: {}", words::count(planned.len(), "cell"), parts.join(", "))
}

fn rank(action: Action) -> usize {
    match action {
        Action::Start => 0,
        Action::Resume { .. } => 1,
        Action::ScoreOnly { .. } => 2,
        Action::Reuse => 3,
    }
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::Start => "start",
        Action::Resume { .. } => "resume",
        Action::ScoreOnly { .. } => "score",
        Action::Reuse => "reuse",
    }
}

fn table(axes: &[String], cells: &[Resolved], planned: &[PlannedRun]) -> String {
    let head = ["cell"].into_iter().chain(axes.iter().map(String::as_str));
    let head: Vec<_> =
        head.chain(["run", "scores", "action", "reason"]).map(str::to_owned).collect();
    let rows = cells.iter().zip(planned).map(|(resolved, planned)| {
        let mut row = vec![resolved.cell.index.to_string()];
        row.extend(axes.iter().map(|axis| {
            let label = resolved.cell.labels.iter().find(|(name, _)| name == axis);
            label.map_or_else(String::new, |(_, value)| value.clone())
        }));
        row.extend([
            resolved.run.to_string(),
            resolved.requests.len().to_string(),
            verb(planned.action).to_owned(),
            planned.reason.clone(),
        ]);
        row
    });
    grid(&head, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_runs_are_named_and_counted() {
        let run = |i: usize| RunId::parse(&format!("{i:016x}")).unwrap();
        let words = |n: usize| older_words(&(1..=n).map(run).collect());
        assert_eq!(words(0), None);
        insta::assert_snapshot!(words(1).unwrap(), @"1 finished run of an older numerics version matches these cells: 0000000000000001; it is kept and not mixed in (`sweep show ID`)");
        insta::assert_snapshot!(words(5).unwrap(), @"5 finished runs of an older numerics version match these cells: 0000000000000001, 0000000000000002, 0000000000000003 and 2 more; they are kept and not mixed in (`sweep show ID`)");
    }

    #[test]
    fn counts_name_only_what_there_is() {
        let run = RunId::parse("00000000000000aa").unwrap();
        let planned =
            |action| PlannedRun { run: run.clone(), cell: 0, action, reason: String::new() };
        let actions = [Action::Start, Action::Reuse, Action::Start, Action::Resume { step: 3 }];
        let planned: Vec<_> = actions.into_iter().map(planned).collect();
        assert_eq!(counts(&planned), "4 cells: 2 to start, 1 to resume, 1 done");
        assert_eq!(counts(&planned[1..2]), "1 cell: 1 done");
    }
}
