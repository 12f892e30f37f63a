use super::*;
use crate::event::{FailureClass, Outcome};
use crate::fs::write_atomic;
use crate::schedule::executor::WorkerExit;
use crate::schedule::fake::{self, FakeExecutor, FakeIndex, Script};

const CRASH: Script = Script::Exit(WorkerExit::Signal(11), None);

fn failing(class: FailureClass) -> Script {
    let outcome = Outcome::Failed { message: "bad mask".to_owned(), class };
    Script::Exit(WorkerExit::Code(1), Some(outcome))
}

/// A sweep that was run with fake workers, and its results.
struct Played {
    result: Result<Summary, Error>,
    calls: Vec<String>,
    /// Kinds of the coordinator's journal lines, in order.
    journal: Vec<String>,
    news: Vec<String>,
    /// Number of workers that the executor still keeps something of.
    n_kept: i64,
    _results: tempfile::TempDir,
}

struct Play<'a> {
    n_jobs: u8,
    n_slots: usize,
    scripts: &'a [(u8, &'a [Script])],
    /// Stops, each sent so long after its call to the executor was seen.
    stops: &'a [(&'a str, u64, Stop)],
    index: FakeIndex,
}

/// A time in milliseconds after which a second stop no longer counts as the first.
const LATER: u64 = 1200;

impl Default for Play<'_> {
    fn default() -> Self {
        let index = FakeIndex::default();
        Self { n_jobs: 3, n_slots: 1, scripts: &[], stops: &[], index }
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
        let (calls, n_kept) = (executor.calls.clone(), executor.n_kept.clone());
        let mut news = Vec::new();
        let mut waited_for: Vec<_> = self.stops.to_vec();
        let mut tell = |heard: &News<'_>| {
            match heard {
                News::Ended { verdict, .. } => news.push(format!("{verdict:?}")),
                News::Stopping { how, n_workers } => news.push(format!("{how:?} {n_workers}")),
                News::Failing { n_workers, .. } => news.push(format!("Failing {n_workers}")),
                News::IndexFails { .. } => news.push("IndexFails".to_owned()),
                News::IndexWorks => news.push("IndexWorks".to_owned()),
                _ => {}
            }
            let calls = calls.borrow();
            while let Some((call, after_ms, stop)) = waited_for.first().copied()
                && calls.iter().any(|made| made == call)
            {
                waited_for.remove(0);
                let send_stop = send_stop.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(after_ms)).await;
                    // A sweep that is over hears no more of it.
                    let _ = send_stop.send(stop);
                });
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
        Played { result, calls, journal, news, n_kept: n_kept.get(), _results: temp }
    }
}

#[tokio::test(start_paused = true)]
async fn every_job_runs_once_in_order() {
    let played = Play::default().play().await;
    assert_eq!(played.result.unwrap(), Summary { done: 3, ..Summary::default() });
    assert_eq!(played.calls, ["spawn 1", "spawn 2", "spawn 3"]);
    let attempt = ["attempt_started", "attempt_exited"];
    assert_eq!(played.journal, [&attempt[..], &attempt, &attempt, &["sweep_ended"]].concat());
}

#[tokio::test(start_paused = true)]
async fn slots_bound_the_workers_at_once() {
    let until = [Script::UntilAsked];
    let scripts: [(u8, &[Script]); 3] = [(1, &until), (2, &until), (3, &until)];
    let play = Play {
        n_slots: 2,
        scripts: &scripts,
        stops: &[("spawn 2", 0, Stop::Interrupt)],
        ..Play::default()
    };
    let played = play.play().await;
    assert_eq!(played.calls, ["spawn 1", "spawn 2", "stop 1", "stop 2"]);
}

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
async fn one_stop_lets_workers_save_and_leaves_the_rest() {
    let scripts: [(u8, &[Script]); 1] = [(1, &[Script::UntilAsked])];
    let play =
        Play { scripts: &scripts, stops: &[("spawn 1", 0, Stop::Terminate)], ..Play::default() };
    let played = play.play().await;
    let expect = Summary { left: 3, interrupted: true, ..Summary::default() };
    assert_eq!(played.result.unwrap(), expect);
    assert_eq!(played.calls, ["spawn 1", "stop 1"]);
    assert_eq!(played.news, ["Asked 1", "Leave"]);
    assert_eq!(played.journal, ["attempt_started", "attempt_exited", "sweep_ended"]);
}

#[tokio::test(start_paused = true)]
async fn a_later_interrupt_kills() {
    let scripts: [(u8, &[Script]); 1] = [(1, &[Script::UntilKilled])];
    let stops = [("spawn 1", 0, Stop::Terminate), ("stop 1", LATER, Stop::Interrupt)];
    let played = Play { scripts: &scripts, stops: &stops, ..Play::default() }.play().await;
    let expect = Summary { left: 3, interrupted: true, ..Summary::default() };
    assert_eq!(played.result.unwrap(), expect);
    assert_eq!(played.calls, ["spawn 1", "stop 1", "kill 1"]);
    assert_eq!(played.news, ["Asked 1", "Killed 1", "Leave"]);
}

#[tokio::test(start_paused = true)]
async fn however_many_terminations_come_nothing_is_killed() {
    // Saves for a while after it was asked.
    let scripts: [(u8, &[Script]); 1] = [(1, &[Script::Saves { ms: 10_000 }])];
    let stops = [
        ("spawn 1", 0, Stop::Terminate),
        ("spawn 1", 0, Stop::Terminate),
        ("spawn 1", 0, Stop::Interrupt),
        ("stop 1", LATER, Stop::Terminate),
        ("stop 1", 3 * LATER, Stop::Terminate),
    ];
    let played = Play { scripts: &scripts, stops: &stops, ..Play::default() }.play().await;
    let expect = Summary { left: 3, interrupted: true, ..Summary::default() };
    assert_eq!(played.result.unwrap(), expect);
    assert_eq!(played.calls, ["spawn 1", "stop 1"]);
    assert_eq!(played.news, ["Asked 1", "Leave"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_workers_that_are_gone() {
    let played = Play { n_jobs: 9, n_slots: 2, ..Play::default() }.play().await;
    assert_eq!((played.result.unwrap().done, played.n_kept), (9, 0));
}

#[tokio::test(start_paused = true)]
async fn a_broken_index_is_said_once_and_ends_nothing() {
    let index = FakeIndex { fails: Some((0, u32::MAX)), ..FakeIndex::default() };
    let scripts: [(u8, &[Script]); 2] = [(1, &[failing(FailureClass::Input)]), (2, &[CRASH])];
    let played = Play { scripts: &scripts, index, ..Play::default() }.play().await;
    let summary = played.result.unwrap();
    // The decisions rest on the journals themselves.
    assert_eq!((summary.done, summary.failures.len()), (2, 1));
    assert_eq!(summary.failures[0].reason, "bad mask");
    assert_eq!(played.news, ["IndexFails", "GiveUp", "Retry", "Finished", "Finished"]);
}

#[tokio::test(start_paused = true)]
async fn an_index_that_was_locked_gets_all_that_it_missed() {
    let index = FakeIndex { fails: Some((1, 2)), ..FakeIndex::default() };
    let scripts: [(u8, &[Script]); 1] = [(1, &[Script::UntilAsked])];
    let stops = [("spawn 1", 30_000, Stop::Interrupt)];
    let play = Play { scripts: &scripts, stops: &stops, index, ..Play::default() };
    let played = play.play().await;
    assert!(played.result.unwrap().interrupted);
    assert_eq!(played.news, ["IndexFails", "IndexWorks", "Asked 1", "Leave"]);
}

#[tokio::test(start_paused = true)]
async fn success_that_the_journal_does_not_tell_of_is_a_failure() {
    let unsaid = Script::Exit(WorkerExit::Code(0), None);
    let scripts: [(u8, &[Script]); 1] = [(1, &[unsaid.clone(), unsaid])];
    let played = Play { n_jobs: 1, scripts: &scripts, ..Play::default() }.play().await;
    let summary = played.result.unwrap();
    assert_eq!((summary.done, summary.failures.len()), (0, 1));
    assert!(summary.failures[0].reason.contains("moved or deleted"), "{:?}", summary.failures);
    assert_eq!(played.news, ["Retry", "GiveUp"]);
}

#[tokio::test(start_paused = true)]
async fn after_an_error_of_our_own_only_an_interrupt_kills() {
    let scripts: [(u8, &[Script]); 2] = [(1, &[Script::UntilKilled]), (2, &[Script::NoSpawn])];
    let stops = [("stop 1", LATER, Stop::Terminate), ("stop 1", 2 * LATER, Stop::Interrupt)];
    let play = Play { n_slots: 2, scripts: &scripts, stops: &stops, ..Play::default() };
    let played = play.play().await;
    assert!(matches!(played.result, Err(Error::Spawn(_))), "{:?}", played.result);
    assert_eq!(played.calls, ["spawn 1", "spawn 2", "stop 1", "kill 1"]);
    assert_eq!(played.news, ["Failing 1", "Asked 1", "Killed 1"]);
}

#[tokio::test(start_paused = true)]
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
    // Said before the workers have saved; and the one that is gone is not waited for.
    assert_eq!(
        (played.news.as_slice(), played.n_kept),
        (&["Failing 1", "Asked 1"].map(String::from)[..], 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_start_ends_the_sweep() {
    let scripts: [(u8, &[Script]); 2] = [(1, &[Script::UntilAsked]), (2, &[Script::NoSpawn])];
    let played = Play { n_slots: 2, scripts: &scripts, ..Play::default() }.play().await;
    let error = played.result.unwrap_err();
    assert!(matches!(error, Error::Spawn(_)), "{error}");
    assert_eq!(played.calls, ["spawn 1", "spawn 2", "stop 1"]);
}

#[tokio::test(start_paused = true)]
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
fn only_this_attempt_says_that_it_has_begun() {
    let line = |event| Line { v: 1, at_ms: 0, event };
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
    let mut running = Running { attempt: 2, since: Instant::now(), blocked: true, heard: false };
    let ended = line(RunEvent::AttemptEnded { outcome: Outcome::Interrupted, memory: None });
    running.hear(&[started(1), ended]);
    assert!(!running.heard, "an orphan's");
    running.hear(&[started(2)]);
    assert!(running.heard);
}
