//! `sweep plan EXPERIMENT`: what `run` would do, and why.

use std::path::PathBuf;

use anyhow::Context;

use super::fault::{Exit, OrExit};
use super::grid::grid;
use super::{Globals, index, printer, words};
use crate::fs::ResultsDir;
use crate::plan::{self, Action, PlannedRun};
use crate::resolve::{self, Prepared};

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Experiment file (TOML)
    #[arg(value_name = "EXPERIMENT")]
    pub experiment: PathBuf,
    /// Set a key over all files, e.g. `train.epochs=2`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<Exit> {
    let (experiment, machine) = super::load_experiment(&args.experiment, &args.set, globals)?;
    for warning in experiment.warnings.iter().filter(|_| !globals.quiet) {
        printer::note(&format_args!("note: {warning}"));
    }
    let results = ResultsDir::new(&machine.results);
    let cells = resolve::prepare(&experiment, &machine, &results).or_exit(Exit::Environment)?;
    for note in resolve::data_notes(&cells, &results).iter().filter(|_| !globals.quiet) {
        printer::note(&format_args!("warning: {note}"));
    }
    let states = super::runtime()?
        .block_on(async {
            let store = index::open(&results).await?;
            let states = store.run_status().await?;
            store.close().await;
            anyhow::Ok(states)
        })
        .context("cannot read the index")?;
    let planned = plan::plan(&resolve::wanted(&cells), &states);
    resolve::check_weights(&cells, &planned).or_exit(Exit::Environment)?;
    printer::data(&format!("{}\n", table(&experiment.axes, &cells, &planned)));
    printer::data(&format!("{}\n", counts(&planned)));
    Ok(Exit::Done)
}

/// `8 cells: 5 to start, 1 to resume, 2 done`.
pub fn counts(planned: &[PlannedRun]) -> String {
    let mut counts = [0_usize; 5];
    for run in planned {
        counts[rank(run.action)] += 1;
    }
    let words = ["to start", "to resume", "to score", "stale", "done"];
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
        Action::Stale => 3,
        Action::Reuse => 4,
    }
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::Start => "start",
        Action::Resume { .. } => "resume",
        Action::ScoreOnly { .. } => "score",
        Action::Stale => "stale",
        Action::Reuse => "reuse",
    }
}

fn table(axes: &[String], cells: &[Prepared], planned: &[PlannedRun]) -> String {
    let head = ["cell"].into_iter().chain(axes.iter().map(String::as_str));
    let head: Vec<_> =
        head.chain(["run", "scores", "action", "reason"]).map(str::to_owned).collect();
    let rows = cells.iter().zip(planned).map(|(prepared, planned)| {
        let mut row = vec![prepared.cell.index.to_string()];
        row.extend(axes.iter().map(|axis| {
            let label = prepared.cell.labels.iter().find(|(name, _)| name == axis);
            label.map_or_else(String::new, |(_, value)| value.clone())
        }));
        row.extend([
            prepared.run.to_string(),
            prepared.requests.len().to_string(),
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
    use crate::id::RunId;

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
