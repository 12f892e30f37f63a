//! `sweep plan EXPERIMENT`: shows what `run` would do, and why.

mod machine;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::fault::Exit;
use super::grid::grid;
use super::{Context, fetch, index, printer, words};
use crate::experiment::{Cell, Experiment};
use crate::fs::ResultsDir;
use crate::id::RunId;
use crate::plan::{self, Action, PlannedRun};
use crate::resolve::{self, Lack, Lacking, Missing, Resolved};
use crate::store::RunState;
use crate::train::TRAIN_NUMERICS;

/// Number of older runs that a note names; the others are counted.
const OLDER_NAMED: usize = 3;
/// Stands for the run and the scores of a cell that lacks something: they are not known.
const NOTHING: &str = "–";

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Experiment file (TOML)
    #[arg(value_name = "EXPERIMENT")]
    pub experiment: PathBuf,
    /// Set a key, overriding all files, e.g. `train.epochs=2`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let (experiment, machine) = context.experiment(&args.experiment, &args.set)?;
    for warning in &experiment.warnings {
        printer::aside(&format_args!("note: {warning}"));
    }
    let results = ResultsDir::new(&machine.results);
    let (cells, mut lacking) = resolve::cells(&experiment, &machine, &results).parts();
    for note in resolve::weight_notes(&cells) {
        printer::aside(&format_args!("note: {note}"));
    }
    for note in resolve::data_notes(&cells, &results) {
        printer::aside(&format_args!("warning: {note}"));
    }
    let states = index::ask(&results, async |store| Ok(store.run_status().await?))?;
    let mut planned = plan::plan(&resolve::wanted(&cells), &states);
    if let Some(note) = older_note(&cells, &planned, &states) {
        printer::aside(&format_args!("note: {note}"));
    }
    let misfits = resolve::misfits(&cells, &plan::with_work(&planned));
    planned.retain(|run| misfits.iter().all(|lacking| lacking.cell.index != run.cell));
    lacking.extend(misfits);
    let rows = rows(&experiment, &cells, &planned, &lacking);
    printer::data(&format!("{}\n", table(&experiment.axes, rows)));
    printer::data(&format!("{}\n", counts(&planned, lacking.len())));
    printer::data(&format!("{}\n", machine::lines(&experiment, &cells)));
    Missing::of(&lacking).map_or(Ok(Exit::Done), |missing| Err(fetch::lacking(&missing)))
}

/// The note on finished runs that differ from starting cells only by an older numerics version;
/// `None` if there are none.
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
            "{} of an older numerics version {matches} these cells: {}{more}; {are} kept but not \
             reused (`sweep show ID`)",
            words::count(runs.len(), "finished run"),
            named.join(", ")
        )
    })
}

/// `8 cells: 5 to start, 1 to resume, 1 done, 1 lacks something`.
pub fn counts(planned: &[PlannedRun], n_lacking: usize) -> String {
    let mut counts = [0_usize; 4];
    for run in planned {
        counts[rank(run.action)] += 1;
    }
    let words = ["to start", "to resume", "to score", "done"];
    let known = counts.into_iter().zip(words);
    let lack = if n_lacking == 1 { "lacks something" } else { "lack something" };
    let parts: Vec<_> = known
        .chain([(n_lacking, lack)])
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{n} {word}"))
        .collect();
    let cells = words::count(planned.len() + n_lacking, "cell");
    format!("{cells}: {}", parts.join(", "))
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

/// One cell of the grid: what is known of its run, or what it lacks.
struct Row<'a> {
    cell: &'a Cell,
    /// Run, scores, action, reason.
    texts: [String; 4],
}

/// A row for each cell, in the order of the grid.
fn rows<'a>(
    experiment: &'a Experiment,
    cells: &[Resolved],
    planned: &[PlannedRun],
    lacking: &[Lacking],
) -> impl Iterator<Item = Row<'a>> {
    let mut texts = BTreeMap::new();
    for (index, lacking) in lacking.iter().map(|lacking| (lacking.cell.index, lacking)) {
        texts.insert(index, [NOTHING, NOTHING, "none", &lacks(lacking)].map(str::to_owned));
    }
    let resolved: BTreeMap<_, _> = cells.iter().map(|one| (one.cell.index, one)).collect();
    for run in planned {
        let scores = resolved[&run.cell].requests.len().to_string();
        let action = verb(run.action).to_owned();
        texts.insert(run.cell, [run.run.to_string(), scores, action, run.reason.clone()]);
    }
    let row = move |cell: &'a Cell| Row {
        cell,
        texts: texts.remove(&cell.index).expect("each cell is planned or lacks something"),
    };
    experiment.cells.iter().map(row)
}

/// What a cell lacks: as `sweep fetch` calls it, or in words.
fn lacks(lacking: &Lacking) -> String {
    let one = |lack: &Lack| match lack.names.as_slice() {
        [] => lack.message.clone(),
        names => names.join(", "),
    };
    let all: Vec<_> = lacking.lacks.iter().map(one).collect();
    format!("missing: {}", all.join("; "))
}

fn table<'a>(axes: &[String], rows: impl Iterator<Item = Row<'a>>) -> String {
    let head = ["cell"].into_iter().chain(axes.iter().map(String::as_str));
    let head: Vec<_> =
        head.chain(["run", "scores", "action", "reason"]).map(str::to_owned).collect();
    let rows = rows.map(|Row { cell, texts }| {
        let mut row = vec![cell.index.to_string()];
        row.extend(axes.iter().map(|axis| {
            let label = cell.labels.iter().find(|(name, _)| name == axis);
            label.map_or_else(String::new, |(_, value)| value.clone())
        }));
        row.extend(texts);
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
        insta::assert_snapshot!(words(1).unwrap(), @"1 finished run of an older numerics version matches these cells: 0000000000000001; it is kept but not reused (`sweep show ID`)");
        insta::assert_snapshot!(words(5).unwrap(), @"5 finished runs of an older numerics version match these cells: 0000000000000001, 0000000000000002, 0000000000000003 and 2 more; they are kept but not reused (`sweep show ID`)");
    }

    #[test]
    fn counts_name_only_what_there_is() {
        let run = RunId::parse("00000000000000aa").unwrap();
        let planned =
            |action| PlannedRun { run: run.clone(), cell: 0, action, reason: String::new() };
        let actions = [Action::Start, Action::Reuse, Action::Start, Action::Resume { step: 3 }];
        let planned: Vec<_> = actions.into_iter().map(planned).collect();
        assert_eq!(counts(&planned, 0), "4 cells: 2 to start, 1 to resume, 1 done");
        assert_eq!(counts(&planned[1..2], 0), "1 cell: 1 done");
        assert_eq!(counts(&planned[1..2], 1), "2 cells: 1 done, 1 lacks something");
        assert_eq!(counts(&[], 2), "2 cells: 2 lack something");
    }
}
