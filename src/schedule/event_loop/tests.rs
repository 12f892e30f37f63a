use super::*;
use crate::fs::write_atomic;
use crate::schedule::executor::WorkerExit;
use crate::schedule::fake::{self, FakeExecutor, FakeIndex, Script};

const CRASH: Script = Script::Exit(WorkerExit::Signal(11), None);

fn failing(class: FailureClass) -> Script {
    let outcome = Outcome::Failed { message: "bad mask".to_owned(), class };
    Script::Exit(WorkerExit::Code(1), Some(outcome))
}

/// A sweep over fake workers, and what it left behind.
struct Played {
    result: Result<Summary, Error>,
    calls: Vec<String>,
    /// Kinds of the coordinator's journal lines.
    journal: Vec<String>,
    news: Vec<String>,
    _results: tempfile::TempDir,
}

struct Play<'a> {
    n_jobs: u8,
    n_slots: usize,
    scripts: &'a [(u8, &'a [Script])],
    /// The sweep is stopped when this call to the executor has been seen, once for each time.
    stops_after: &'a [&'a str],
    index: FakeIndex,
}

impl Default for Play<'_> {
    fn default() -> Self {
        let index = FakeIndex::default();
        Self { n_jobs: 3, n_slots: 1, scripts: &[], stops_after: &[], index }
    }
}

impl Play<'_> {
    async fn play(self) -> Played {
        self.play_in(tempfile::tempdir().unwrap()).await
    }

    async fn play_in(self, temp: tempfile::TempDir) -> Played {
        let results = ResultsDir::new(temp.path());
        let path = results.experiment_journal("e");
        let mut journal = ExperimentJournal::open(&path, || 1).unwrap();
        let (send_exit, exits) = mpsc::unbounded_channel();
        let (send_stop, stops) = mpsc::unbounded_channel();
        let executor = FakeExecutor::new(send_exit, self.scripts);
        let calls = executor.calls.clone();
        let mut news = Vec::new();
        let mut waited_for: Vec<_> = self.stops_after.to_vec();
        let mut tell = |heard: &News<'_>| {
            match heard {
                News::Ended { verdict, .. } => news.push(format!("{verdict:?}")),
                News::Stopping { how, n_workers } => news.push(format!("{how:?} {n_workers}")),
                _ => {}
            }
            let calls = calls.borrow();
            if waited_for.first().is_some_and(|call| calls.iter().any(|made| made == call)) {
                waited_for.remove(0);
                send_stop.send(()).unwrap();
            }
        };
        let sweep = Sweep {
            results,
            jobs: (1..=self.n_jobs).map(fake::job).collect(),
            slots: vec![fake::cpu(); self.n_slots],
            retries: 1,
            terms: Terms::default(),
        };
        let index = self.index;
        let ports = Ports { executor, index, journal: &mut journal, exits, stops, tell: &mut tell };
        let result = run(sweep, ports).await;
        let text = fs_err::read_to_string(&path).unwrap();
        let kinds = text.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["event"]["kind"].as_str().unwrap().to_owned()
        });
        let journal = kinds.collect();
        let calls = calls.borrow().clone();
        Played { result, calls, journal, news, _results: temp }
    }
}

#[tokio::test]
async fn every_job_runs_once_in_order() {
    let played = Play::default().play().await;
    assert_eq!(played.result.unwrap(), Summary { done: 3, ..Summary::default() });
    assert_eq!(played.calls, ["spawn 1", "spawn 2", "spawn 3"]);
    let attempt = ["attempt_started", "attempt_exited"];
    assert_eq!(played.journal, [&attempt[..], &attempt, &attempt, &["sweep_ended"]].concat());
}

#[tokio::test]
async fn slots_bound_the_workers_at_once() {
    let until = [Script::UntilAsked];
    let scripts: [(u8, &[Script]); 3] = [(1, &until), (2, &until), (3, &until)];
    let play = Play { n_slots: 2, scripts: &scripts, stops_after: &["spawn 2"], ..Play::default() };
    let played = play.play().await;
    assert_eq!(played.calls, ["spawn 1", "spawn 2", "stop 1", "stop 2"]);
}

#[tokio::test]
async fn a_failing_run_does_not_stop_the_others() {
    let scripts: [(u8, &[Script]); 1] = [(2, &[failing(FailureClass::Input)])];
    let played = Play { scripts: &scripts, ..Play::default() }.play().await;
    let summary = played.result.unwrap();
    assert_eq!((summary.done, summary.interrupted), (2, false));
    assert_eq!(summary.failures.len(), 1);
    assert_eq!(summary.failures[0].run, fake::id(2));
    assert_eq!(summary.failures[0].reason, "bad mask");
    assert!(summary.failures[0].log.as_ref().unwrap().ends_with("worker.1.log"));
    assert_eq!(played.calls, ["spawn 1", "spawn 2", "spawn 3"]);
    assert_eq!(played.news, ["Finished", "GiveUp", "Finished"]);
}

#[tokio::test]
async fn a_crash_is_retried_behind_the_others_and_then_given_up() {
    let passing = Play { scripts: &[(1, &[CRASH])], ..Play::default() }.play().await;
    assert_eq!(passing.result.unwrap().done, 3);
    assert_eq!(passing.calls, ["spawn 1", "spawn 2", "spawn 3", "spawn 1"]);

    let failing = Play { n_jobs: 1, scripts: &[(1, &[CRASH, CRASH])], ..Play::default() };
    let failing = failing.play().await;
    assert_eq!(failing.calls, ["spawn 1", "spawn 1"]);
    assert_eq!(failing.result.unwrap().failures.len(), 1);
    assert_eq!(failing.news, ["Retry", "GiveUp"]);
}

#[tokio::test]
async fn one_stop_lets_workers_save_and_leaves_the_rest() {
    let scripts: [(u8, &[Script]); 1] = [(1, &[Script::UntilAsked])];
    let play = Play { scripts: &scripts, stops_after: &["spawn 1"], ..Play::default() };
    let played = play.play().await;
    let expect = Summary { left: 3, interrupted: true, ..Summary::default() };
    assert_eq!(played.result.unwrap(), expect);
    assert_eq!(played.calls, ["spawn 1", "stop 1"]);
    assert_eq!(played.news, ["Asked 1", "Leave"]);
    assert_eq!(played.journal, ["attempt_started", "attempt_exited", "sweep_ended"]);
}

#[tokio::test]
async fn a_second_stop_kills() {
    let scripts: [(u8, &[Script]); 1] = [(1, &[Script::UntilKilled])];
    let stops_after = ["spawn 1", "stop 1"];
    let played =
        Play { scripts: &scripts, stops_after: &stops_after, ..Play::default() }.play().await;
    let expect = Summary { left: 3, interrupted: true, ..Summary::default() };
    assert_eq!(played.result.unwrap(), expect);
    assert_eq!(played.calls, ["spawn 1", "stop 1", "kill 1"]);
    assert_eq!(played.news, ["Asked 1", "Killed 1", "Leave"]);
}

#[tokio::test]
async fn a_broken_index_ends_the_sweep_after_its_workers() {
    let scripts: [(u8, &[Script]); 2] = [(1, &[Script::UntilAsked]), (2, &[Script::UntilAsked])];
    let index = FakeIndex { reads_left: Some(0), ..FakeIndex::default() };
    let played = Play { n_slots: 2, scripts: &scripts, index, ..Play::default() }.play().await;
    let error = played.result.unwrap_err();
    assert!(matches!(error, Error::Index { .. }), "{error}");
    assert_eq!(played.calls, ["spawn 1", "spawn 2", "stop 1", "stop 2"]);
}

#[tokio::test]
async fn a_full_disk_ends_the_sweep_instead_of_failing_every_run() {
    full_disk(Some(Outcome::Failed { message: "full".to_owned(), class: FailureClass::Disk }))
        .await;
    // Not even the journal could be written.
    full_disk(None).await;
}

async fn full_disk(outcome: Option<Outcome>) {
    let full = [Script::Exit(WorkerExit::Code(3), outcome)];
    let scripts: [(u8, &[Script]); 2] = [(1, &full), (2, &[Script::UntilAsked])];
    let played = Play { n_slots: 2, scripts: &scripts, ..Play::default() }.play().await;
    let error = played.result.unwrap_err();
    assert!(matches!(error, Error::Disk { .. }), "{error}");
    assert_eq!(played.calls, ["spawn 1", "spawn 2", "stop 2"]);
}

#[tokio::test]
async fn a_worker_that_cannot_start_ends_the_sweep() {
    let scripts: [(u8, &[Script]); 2] = [(1, &[Script::UntilAsked]), (2, &[Script::NoSpawn])];
    let played = Play { n_slots: 2, scripts: &scripts, ..Play::default() }.play().await;
    let error = played.result.unwrap_err();
    assert!(matches!(error, Error::Spawn(_)), "{error}");
    assert_eq!(played.calls, ["spawn 1", "spawn 2", "stop 1"]);
}

#[tokio::test]
async fn a_directory_of_another_run_fails_that_run_only() {
    let temp = tempfile::tempdir().unwrap();
    write_atomic(&ResultsDir::new(temp.path()).run(fake::id(2)).spec(), b"{}").unwrap();
    let played = Play::default().play_in(temp).await;
    let summary = played.result.unwrap();
    assert_eq!((summary.done, summary.failures.len()), (2, 1));
    assert!(summary.failures[0].reason.contains("spec.json"), "{:?}", summary.failures);
    assert_eq!(played.calls, ["spawn 1", "spawn 3"]);
}

#[test]
fn only_this_attempt_speaks_of_its_end() {
    let line = |event| Line { v: 1, at_ms: 0, event };
    let ended = |outcome| line(RunEvent::AttemptEnded { outcome });
    let started = |attempt| {
        line(RunEvent::AttemptStarted(crate::event::AttemptStarted {
            attempt,
            pid: 1,
            host: String::new(),
            device: Device::Cpu,
            device_name: String::new(),
            threads: 1,
            version: String::new(),
            git: String::new(),
        }))
    };
    let new = || Running {
        attempt: 2,
        since: Instant::now(),
        blocked: true,
        heard: false,
        outcome: None,
    };
    let mut orphan_only = new();
    orphan_only.hear(&[started(1), ended(Outcome::Interrupted)]);
    assert_eq!((orphan_only.heard, orphan_only.outcome), (false, None));
    let mut both = new();
    both.hear(&[ended(Outcome::Interrupted), started(2), ended(Outcome::Done)]);
    assert_eq!((both.heard, both.outcome), (true, Some(Outcome::Done)));
}

#[test]
fn the_tail_of_a_log_stops_before_the_backtrace() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("log");
    let long = format!(
        "{}\n\nthread 'main' panicked:\nindex 7\nstack backtrace:\n  0: x\n",
        "x\n".repeat(9000)
    );
    write_atomic(&path, long.as_bytes()).unwrap();
    assert_eq!(log_tail(&path), "x | x | x | x | thread 'main' panicked: | index 7");
    assert_eq!(log_tail(&temp.path().join("none")), "");
}
