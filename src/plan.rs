//! Decides about each cell of an experiment: start, resume, score, reuse, each with its reason.
//!
//! `sweep run` and `sweep plan` call [`plan`] with what the cells want and with how far their runs
//! are in the index; the runs [`with_work`] become the scheduler's jobs. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::experiment;
use crate::id::{RunId, ScoreId};
use crate::resolve::{Resolved, Wanted};
use crate::store::RunState;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Start,
    /// Train on from the checkpoint of this step.
    Resume {
        step: u64,
    },
    /// Score only: the run is trained, and this many scores are missing.
    ScoreOnly {
        missing: u32,
    },
    /// Nothing to do, or done under an earlier cell with the same run.
    Reuse,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRun {
    pub run: RunId,
    pub cell: u32,
    pub action: Action,
    pub reason: String,
}

/// Decides what to do about each cell, in the order of `wanted`.
///
/// Cells may share a run (they differ in what is scored, or in paths): the first of them stands for
/// all, with the scores of all ([`scores_by_run`]), and the others reuse it.
pub fn plan(wanted: &[Wanted], states: &BTreeMap<RunId, RunState>) -> Vec<PlannedRun> {
    let scores = scores_by_run(wanted);
    let mut first_cells = BTreeMap::new();
    wanted
        .iter()
        .map(|cell| {
            let (action, reason) = match first_cells.get(&cell.run) {
                Some(first) => (Action::Reuse, format!("the same run as cell {first}")),
                None => decide(&scores[&cell.run], states.get(&cell.run)),
            };
            first_cells.entry(&cell.run).or_insert(cell.cell);
            PlannedRun { run: cell.run.clone(), cell: cell.cell, action, reason }
        })
        .collect()
}

/// The runs that need a worker, in the order of the plan.
pub fn with_work(planned: &[PlannedRun]) -> Vec<RunId> {
    planned.iter().filter(|run| run.action.is_work()).map(|run| run.run.clone()).collect()
}

impl Action {
    /// Tells whether the action needs a worker.
    pub fn is_work(self) -> bool {
        match self {
            Self::Start | Self::Resume { .. } | Self::ScoreOnly { .. } => true,
            Self::Reuse => false,
        }
    }
}

/// Identities of the runs that start, in the order of the plan.
pub fn starting<'a>(
    cells: &'a [Resolved],
    planned: &'a [PlannedRun],
) -> impl Iterator<Item = &'a Value> {
    let pairs = cells.iter().zip(planned);
    let starts = pairs.filter(|(_, planned)| planned.action == Action::Start);
    starts.map(|(resolved, _)| &resolved.identity)
}

/// The scores that any cell wants of each run, in the order of the cells.
pub fn scores_by_run(wanted: &[Wanted]) -> BTreeMap<RunId, Vec<ScoreId>> {
    let mut scores: BTreeMap<RunId, Vec<ScoreId>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for cell in wanted {
        let of_run = scores.entry(cell.run.clone()).or_default();
        of_run.extend(cell.scores.iter().filter(|id| seen.insert((&cell.run, *id))).cloned());
    }
    scores
}

/// The finished runs that differ from one of `starting` (identities of runs that start) only by an
/// older version of the numbers, from 1 to before `current` ([`crate::train::TRAIN_NUMERICS`]).
///
/// They are other runs than those that start, and their scores are never mixed with theirs.
pub fn finished_under_older_numerics<'a>(
    starting: impl IntoIterator<Item = &'a Value>,
    current: u32,
    states: &BTreeMap<RunId, RunState>,
) -> BTreeSet<RunId> {
    let is_finished = |run: &RunId| states.get(run).is_some_and(|state| state.trained);
    let older = |identity: &'a Value| {
        (1..current).map(|numerics| RunId::of(&experiment::with_numerics(identity, numerics)))
    };
    starting.into_iter().flat_map(older).filter(is_finished).collect()
}

fn decide(scores: &[ScoreId], state: Option<&RunState>) -> (Action, String) {
    let Some(state) = state else { return (Action::Start, "new".to_owned()) };
    let missing = scores.iter().filter(|id| !state.scores.contains(id)).count();
    let again = again(state);
    if state.trained {
        let total = scores.len();
        return match missing {
            0 => (Action::Reuse, format!("trained, all {total} scores made")),
            _ => (
                Action::ScoreOnly { missing: missing as u32 },
                format!("trained, {missing} of {total} scores missing{again}"),
            ),
        };
    }
    match state.last_checkpoint_step {
        Some(step) => (Action::Resume { step }, format!("stopped after step {step}{again}")),
        None if state.attempts == 0 => (Action::Start, "new".to_owned()),
        None => (Action::Start, format!("stopped before the first checkpoint{again}")),
    }
}

/// The clause about failed attempts, for the reason of the next one.
fn again(state: &RunState) -> String {
    match (&state.failed, state.attempts) {
        (None, _) => String::new(),
        (Some(error), 1) => format!("; 1 attempt failed: {error}"),
        (Some(error), n) => format!("; {n} attempts, the last failed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(name: &str) -> RunId {
        RunId::of(&json!(name))
    }

    fn score(name: &str) -> ScoreId {
        ScoreId::of(&json!(name))
    }

    fn want(name: &str, cell: u32, scores: &[&str]) -> Wanted {
        Wanted { run: run(name), cell, scores: scores.iter().map(|s| score(s)).collect() }
    }

    fn stopped(step: Option<u64>) -> RunState {
        RunState { last_checkpoint_step: step, attempts: 1, ..RunState::default() }
    }

    fn trained(scores: &[&str]) -> RunState {
        let scores = scores.iter().map(|s| score(s)).collect();
        RunState { trained: true, scores, attempts: 1, ..RunState::default() }
    }

    /// Checks the decision for a cell that wants the scores `clean` and `fog`.
    fn check(state: Option<RunState>, action: Action, reason: &str) {
        let states = state.map(|state| (run("r"), state)).into_iter().collect();
        let planned = plan(&[want("r", 0, &["clean", "fog"])], &states);
        assert_eq!((planned[0].action, planned[0].reason.as_str()), (action, reason));
    }

    #[test]
    fn each_state_has_its_action_and_reason() {
        use Action::{Resume, Reuse, ScoreOnly, Start};
        let failed = |state: RunState| RunState { failed: Some("disk full".into()), ..state };
        check(None, Start, "new");
        check(Some(RunState::default()), Start, "new");
        check(Some(stopped(None)), Start, "stopped before the first checkpoint");
        check(Some(stopped(Some(7))), Resume { step: 7 }, "stopped after step 7");
        check(
            Some(failed(stopped(Some(7)))),
            Resume { step: 7 },
            "stopped after step 7; 1 attempt failed: disk full",
        );
        check(
            Some(RunState { attempts: 3, ..failed(stopped(None)) }),
            Start,
            "stopped before the first checkpoint; 3 attempts, the last failed: disk full",
        );
        check(Some(trained(&[])), ScoreOnly { missing: 2 }, "trained, 2 of 2 scores missing");
        check(
            Some(failed(trained(&["fog"]))),
            ScoreOnly { missing: 1 },
            "trained, 1 of 2 scores missing; 1 attempt failed: disk full",
        );
        check(Some(trained(&["fog", "clean"])), Reuse, "trained, all 2 scores made");
        check(Some(trained(&["fog", "clean", "snow"])), Reuse, "trained, all 2 scores made");
    }

    #[test]
    fn cells_of_one_run_share_one_action_that_counts_the_scores_of_all() {
        let wanted =
            [want("r", 0, &["clean"]), want("s", 1, &["clean"]), want("r", 2, &["clean", "fog"])];
        let states = BTreeMap::from([(run("r"), trained(&[]))]);
        let planned = plan(&wanted, &states);
        let actions: Vec<_> = planned.iter().map(|p| (p.cell, p.action)).collect();
        let expect =
            [(0, Action::ScoreOnly { missing: 2 }), (1, Action::Start), (2, Action::Reuse)];
        assert_eq!(actions, expect);
        assert_eq!(planned[2].reason, "the same run as cell 0");
        assert_eq!(scores_by_run(&wanted)[&run("r")], [score("clean"), score("fog")]);
    }

    #[test]
    fn nothing_is_done_about_reused_runs() {
        let wanted = [
            want("new", 0, &[]),
            want("done", 1, &[]),
            want("half", 2, &["fog"]),
            want("half", 3, &[]),
        ];
        let states = BTreeMap::from([(run("done"), trained(&[]))]);
        assert_eq!(with_work(&plan(&wanted, &states)), [run("new"), run("half")]);
    }

    #[test]
    fn finished_runs_of_older_numerics_are_found_and_no_others() {
        let identity = |seed: u32, numerics: u32| json!({ "seed": seed, "numerics": numerics });
        let id = |seed, numerics| RunId::of(&identity(seed, numerics));
        let states = BTreeMap::from([
            (id(0, 1), trained(&[])),
            (id(0, 2), stopped(Some(7))),
            (id(1, 2), trained(&["clean"])),
            (id(0, 3), trained(&[])),
            (id(2, 1), trained(&[])),
        ]);
        let starting = [identity(0, 3), identity(1, 3)];
        let found = |current| finished_under_older_numerics(&starting, current, &states);
        assert_eq!(found(3), BTreeSet::from([id(0, 1), id(1, 2)]));
        assert_eq!(found(2), BTreeSet::from([id(0, 1)]));
        assert_eq!(found(1), BTreeSet::new());
        assert_eq!(finished_under_older_numerics(&[], 3, &states), BTreeSet::new());
    }

    #[test]
    fn running_twice_is_a_no_op() {
        let wanted = [want("r", 0, &["clean"]), want("s", 1, &["clean"])];
        let done = |name| (run(name), trained(&["clean"]));
        let planned = plan(&wanted, &BTreeMap::from([done("r"), done("s")]));
        assert!(planned.iter().all(|p| p.action == Action::Reuse));
    }
}
