//! An executor for tests, whose workers only write journals and report exits.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Slot;
use super::event_loop::Index;
use super::executor::{Executor, Exited, Launch, WorkerExit};
use crate::device::Device;
use crate::event::{self, AttemptStarted, Event, Line, Outcome};
use crate::fs::RunDir;
use crate::fs::atomic::LineLog;
use crate::id::RunId;

pub(crate) use crate::resolve::fake::{id, job};

pub(crate) fn cpu() -> Slot {
    Slot { device: Device::Cpu, visible: None, threads: NonZeroU32::MIN }
}

/// The behaviour of a fake worker.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    /// Journals its start and this outcome, then exits.
    Exit(WorkerExit, Option<Outcome>),
    /// Runs until it is asked to stop, then exits with 130.
    UntilAsked,
    /// Runs until it is asked to stop, and exits with 130 so long after that.
    Saves { ms: u64 },
    /// Runs until it is killed.
    UntilKilled,
    /// Cannot be started at all.
    NoSpawn,
}

/// The calls made to the executor, in order.
pub(crate) type Calls = Rc<RefCell<Vec<String>>>;

/// An executor that plays each run's scripts, attempt by attempt; runs without a script succeed.
pub(crate) struct FakeExecutor {
    pub(crate) scripts: BTreeMap<RunId, VecDeque<Script>>,
    pub(crate) calls: Calls,
    /// Number of workers that were started and not forgotten.
    pub(crate) n_kept: Rc<Cell<i64>>,
    exits: mpsc::UnboundedSender<Exited>,
    alive: BTreeMap<RunId, (u32, Script)>,
}

impl FakeExecutor {
    pub(crate) fn new(exits: mpsc::UnboundedSender<Exited>, scripts: &[(u8, &[Script])]) -> Self {
        let scripts =
            scripts.iter().map(|(n, scripts)| (id(*n), scripts.iter().cloned().collect()));
        Self {
            scripts: scripts.collect(),
            calls: Calls::default(),
            n_kept: Rc::default(),
            exits,
            alive: BTreeMap::new(),
        }
    }

    fn exit(&mut self, run: &RunId, exit: WorkerExit) {
        let (attempt, _) = self.alive.remove(run).unwrap();
        self.exits.send(Exited { run: run.clone(), attempt, exit }).unwrap();
    }

    fn call(&self, verb: &str, run: &RunId) {
        let n = run.as_str().trim_start_matches('0');
        self.calls.borrow_mut().push(format!("{verb} {n}"));
    }
}

impl Executor for FakeExecutor {
    fn spawn(&mut self, launch: &Launch) -> io::Result<()> {
        let run = &launch.run;
        self.call("spawn", run);
        assert!(!self.alive.contains_key(run), "two workers on one run");
        let script = self.scripts.get_mut(run).and_then(VecDeque::pop_front);
        let script = script.unwrap_or(Script::Exit(WorkerExit::Code(0), Some(Outcome::Done)));
        if matches!(script, Script::NoSpawn) {
            return Err(io::Error::other("no more processes"));
        }
        self.n_kept.set(self.n_kept.get() + 1);
        self.alive.insert(run.clone(), (launch.attempt, script.clone()));
        let mut log = LineLog::open(&launch.dir.events(launch.attempt))?;
        append(&mut log, Event::AttemptStarted(started(launch)))?;
        if let Script::Exit(exit, outcome) = script {
            if let Some(outcome) = outcome {
                append(&mut log, Event::AttemptEnded { outcome, memory: None })?;
            }
            self.exit(run, exit);
        }
        Ok(())
    }

    fn ask_to_stop(&mut self, run: &RunId) {
        self.call("stop", run);
        match self.alive.get(run) {
            Some((_, Script::UntilAsked)) => self.exit(run, WorkerExit::Code(130)),
            Some((attempt, Script::Saves { ms })) => {
                let (ms, exits) = (*ms, self.exits.clone());
                let exit = WorkerExit::Code(130);
                let exited = Exited { run: run.clone(), attempt: *attempt, exit };
                self.alive.remove(run);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    exits.send(exited).unwrap();
                });
            }
            _ => {}
        }
    }

    fn kill(&mut self, run: &RunId) {
        self.call("kill", run);
        self.exit(run, WorkerExit::Signal(9));
    }

    fn forget(&mut self, exited: &Exited) {
        self.n_kept.set(self.n_kept.get() - 1);
        assert!(!self.alive.contains_key(&exited.run), "a live worker is forgotten");
    }
}

fn started(launch: &Launch) -> AttemptStarted {
    AttemptStarted {
        attempt: launch.attempt,
        pid: 1,
        host: "h".to_owned(),
        device: launch.slot.device,
        device_name: "X".to_owned(),
        threads: 1,
        version: "0".to_owned(),
        git: "unknown".to_owned(),
    }
}

fn append(log: &mut LineLog, event: Event) -> io::Result<()> {
    let line = Line { v: event::VERSION, at_ms: 1, event };
    log.append(&serde_json::to_string(&line).unwrap())
}

/// An index that reads journals from the start of each file it has not seen yet.
#[derive(Default)]
pub(crate) struct FakeIndex {
    pub(crate) lines_read: BTreeMap<std::path::PathBuf, usize>,
    /// The reads that fail, as (number of good ones before, number of failures).
    pub(crate) fails: Option<(u32, u32)>,
}

impl Index for FakeIndex {
    type Error = io::Error;

    async fn ingest(&mut self, dir: &RunDir) -> io::Result<Vec<Line>> {
        match &mut self.fails {
            Some((0, 0)) | None => {}
            Some((0, failures)) => {
                *failures -= 1;
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            Some((good, _)) => *good -= 1,
        }
        let mut new = Vec::new();
        for attempt in 1..=super::attempt::last_attempt(dir)? {
            let path = dir.events(attempt);
            let Ok(text) = fs_err::read_to_string(&path) else { continue };
            let read = self.lines_read.entry(path).or_default();
            let lines: Vec<_> = text.lines().collect();
            new.extend(lines[*read..].iter().map(|line| serde_json::from_str(line).unwrap()));
            *read = lines.len();
        }
        Ok(new)
    }
}
