//! `sweep status [EXPERIMENT]`: shows the progress of experiments.

use std::collections::BTreeMap;

use serde::Serialize;

use super::context::now_ms;
use super::fault::Exit;
use super::grid::grid;
use super::{Context, experiments, index, printer, words};
use crate::event;
use crate::fs::{FileLock, ResultsDir};
use crate::id::RunId;
use crate::schedule::coordinator;
use crate::store::{CellRow, CellState, ExperimentRows, RunState, Store};

/// Version of the JSON, raised when a field changes its meaning.
const VERSION: u32 = 1;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Name or file (TOML) of an experiment; without it, all are listed
    #[arg(value_name = "EXPERIMENT")]
    pub experiment: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Everything that is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Status {
    version: u32,
    /// Who coordinates now, in words.
    coordinator: Option<String>,
    experiments: Vec<ExperimentStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct ExperimentStatus {
    name: String,
    cells: Vec<CellStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct CellStatus {
    index: u32,
    labels: Vec<(String, String)>,
    run: RunId,
    state: State,
    /// Last step that is on disk.
    step: Option<u64>,
    scores_made: usize,
    scores_planned: usize,
    attempts: u32,
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Done,
    Running,
    Stopped,
    Queued,
    Failed,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let results = context.results()?;
    let name = args.experiment.as_deref().map(experiments::name_of).transpose()?;
    // Asked before the index is opened, as that may take the lock for a moment.
    let coordinator = coordinator_now(&results);
    let experiments = index::ask(&results, async |store| all(store, &results, name).await)?;
    let status = Status { version: VERSION, coordinator, experiments };
    if args.json {
        printer::data(&format!("{}\n", serde_json::to_string_pretty(&status)?));
        return Ok(Exit::Done);
    }
    if let Some(holder) = &status.coordinator {
        printer::data(&format!("running: {holder}\n"));
    }
    if status.experiments.is_empty() {
        printer::data(&format!("no experiment in `{}` yet\n", results.root().display()));
    }
    for experiment in &status.experiments {
        printer::data(&format!("{}\n", summary(experiment)));
        if args.experiment.is_some() {
            printer::data(&format!("{}\n", table(experiment)));
        }
    }
    Ok(Exit::Done)
}

/// The experiment called `name`, or all there are.
async fn all(
    store: &Store,
    results: &ResultsDir,
    name: Option<String>,
) -> anyhow::Result<Vec<ExperimentStatus>> {
    let names = match name {
        Some(name) => vec![name],
        None => store.experiments().await?.into_iter().map(|known| known.name).collect(),
    };
    let states = store.run_status().await?;
    let is_running = |run: &RunId| is_locked(results, run);
    let mut all = Vec::new();
    for name in names {
        let rows = experiments::rows(store, results, &name).await?;
        all.push(status_of(&rows, &states, &is_running));
    }
    Ok(all)
}

fn coordinator_now(results: &ResultsDir) -> Option<String> {
    if !results.lock().exists() {
        return None;
    }
    match FileLock::try_acquire(&results.lock()) {
        Ok(None) => Some(coordinator::describe(coordinator::holder(results).as_ref(), now_ms())),
        // Free; or a folder that cannot be written, where nobody coordinates either.
        Ok(Some(_)) | Err(_) => None,
    }
}

/// Whether a worker holds the run.
fn is_locked(results: &ResultsDir, run: &RunId) -> bool {
    let lock = results.run(run).lock();
    lock.exists() && matches!(FileLock::try_acquire(&lock), Ok(None))
}

fn status_of(
    rows: &ExperimentRows,
    states: &BTreeMap<RunId, RunState>,
    is_running: &dyn Fn(&RunId) -> bool,
) -> ExperimentStatus {
    let none = RunState::default();
    let cells = rows.cells.iter().map(|row| {
        let state = states.get(&row.run).unwrap_or(&none);
        let made = row.scores.iter().filter(|score| score.made.is_some()).count();
        CellStatus {
            index: row.index,
            labels: row.labels.clone(),
            run: row.run.clone(),
            state: state_of(row, state, made, is_running),
            step: row.trained_step.or(state.last_checkpoint_step),
            scores_made: made,
            scores_planned: row.scores.len(),
            attempts: state.attempts,
            error: state.failed.clone(),
        }
    });
    ExperimentStatus { name: rows.name.clone(), cells: cells.collect() }
}

fn state_of(
    row: &CellRow,
    state: &RunState,
    scores_made: usize,
    is_running: &dyn Fn(&RunId) -> bool,
) -> State {
    if row.trained_step.is_some() && scores_made == row.scores.len() {
        return State::Done;
    }
    if is_running(&row.run) {
        return State::Running;
    }
    match (&row.state, state.attempts) {
        (CellState::Failed(_), _) => State::Failed,
        (CellState::Open | CellState::Done, 0) => State::Queued,
        (CellState::Open | CellState::Done, _) => State::Stopped,
    }
}

/// `quickstart: 8 cells: 5 done, 1 running, 2 queued`.
fn summary(experiment: &ExperimentStatus) -> String {
    let mut counts: BTreeMap<State, usize> = BTreeMap::new();
    for cell in &experiment.cells {
        *counts.entry(cell.state).or_default() += 1;
    }
    let parts: Vec<_> = counts.iter().map(|(state, n)| format!("{n} {}", word(*state))).collect();
    let cells = words::count(experiment.cells.len(), "cell");
    format!("{}: {cells}: {}", experiment.name, parts.join(", "))
}

fn word(state: State) -> &'static str {
    match state {
        State::Done => "done",
        State::Running => "running",
        State::Stopped => "stopped",
        State::Queued => "queued",
        State::Failed => "failed",
    }
}

fn table(experiment: &ExperimentStatus) -> String {
    let head = ["cell", "", "run", "state", "step", "scores", "attempts", "error"];
    let rows = experiment.cells.iter().map(|cell| {
        vec![
            cell.index.to_string(),
            event::title(&cell.labels),
            cell.run.to_string(),
            word(cell.state).to_owned(),
            cell.step.map_or_else(String::new, |step| step.to_string()),
            format!("{}/{}", cell.scores_made, cell.scores_planned),
            cell.attempts.to_string(),
            cell.error.clone().unwrap_or_default(),
        ]
    });
    grid(&head.map(str::to_owned), rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunId {
        RunId::parse("00000000000000aa").unwrap()
    }

    fn row(state: CellState, trained_step: Option<u64>) -> CellRow {
        CellRow {
            index: 0,
            labels: vec![("size".to_owned(), "tiny".to_owned())],
            run: run(),
            facts: None,
            state,
            trained_step,
            scores: vec![],
        }
    }

    fn check(row: CellRow, attempts: u32, is_running: bool, expect: State) {
        let rows = ExperimentRows {
            name: "e".to_owned(),
            axes: vec![],
            suite: None,
            suite_corruptions: vec![],
            cells: vec![row],
        };
        let states = BTreeMap::from([(run(), RunState { attempts, ..RunState::default() })]);
        assert_eq!(status_of(&rows, &states, &|_| is_running).cells[0].state, expect);
    }

    #[test]
    fn each_cell_has_its_state() {
        check(row(CellState::Open, None), 0, false, State::Queued);
        check(row(CellState::Open, None), 1, true, State::Running);
        check(row(CellState::Open, None), 1, false, State::Stopped);
        check(row(CellState::Failed("x".to_owned()), None), 1, false, State::Failed);
        check(row(CellState::Failed("x".to_owned()), None), 2, true, State::Running);
        check(row(CellState::Done, Some(9)), 1, false, State::Done);
    }
}
