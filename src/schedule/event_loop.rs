//! The loop: one `select!`, a closed event enum, one handler; it owns all state.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::attempt::{self, Terms};
use super::executor::{Executor, Exited, Launch};
use super::journal::ExperimentJournal;
use super::queue::{Queue, Slots, Start, next_start};
use super::retry::{self, Ending, Stopping, Verdict};
use super::{Job, Slot};
use crate::device::Device;
use crate::error::with_sources;
use crate::event::{Event as RunEvent, FailureClass, Line, Outcome, SweepEvent};
use crate::fs::{FileLock, ResultsDir, RunDir};
use crate::id::RunId;

/// How often the journals of running workers are read.
const POLL: Duration = Duration::from_millis(250);
/// A worker that says nothing for so long, while its run is locked, is said to wait.
const WAITING_AFTER: Duration = Duration::from_secs(2);
/// Of a worker's log, quoted in its failure.
const LOG_TAIL_LINES: usize = 6;
const LOG_TAIL_BYTES: u64 = 4096;

/// What to do.
#[derive(Debug)]
pub struct Sweep {
    pub results: ResultsDir,
    /// In the order they start.
    pub jobs: Vec<Job>,
    pub slots: Vec<Slot>,
    pub retries: u32,
    pub terms: Terms,
}

/// What to do it with.
pub struct Ports<'a, E, I> {
    pub executor: E,
    pub index: I,
    pub journal: &'a mut ExperimentJournal,
    /// Where the executor reports.
    pub exits: mpsc::UnboundedReceiver<Exited>,
    /// One message for each Ctrl-C or termination signal.
    pub stops: mpsc::UnboundedReceiver<()>,
    pub tell: &'a mut dyn FnMut(&News<'_>),
}

/// What takes the workers' journal lines in; the store, or a fake.
pub trait Index {
    type Error: std::error::Error + Send + Sync + 'static;

    /// The whole lines that the run's journals got since the last call, in order.
    fn ingest(&mut self, dir: &RunDir) -> impl Future<Output = Result<Vec<Line>, Self::Error>>;
}

/// What happens, for those who show it.
#[derive(Debug, PartialEq)]
pub enum News<'a> {
    Started {
        run: &'a RunId,
        attempt: u32,
        device: Device,
    },
    /// An earlier coordinator's worker still holds the run.
    Waiting {
        run: &'a RunId,
    },
    Lines {
        run: &'a RunId,
        lines: &'a [Line],
    },
    Ended {
        run: &'a RunId,
        ending: &'a Ending,
        verdict: Verdict,
    },
    Stopping {
        how: Stopping,
        n_workers: usize,
    },
    Tick,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub done: u32,
    pub failures: Vec<Failure>,
    /// Runs that were not brought to an end because of a stop.
    pub left: u32,
    pub interrupted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub run: RunId,
    pub reason: String,
    /// `None` if no worker was started.
    pub log: Option<PathBuf>,
}

#[derive(Debug, Error)]
pub enum Error {
    #[error("cannot write the journal of the experiment")]
    Journal(#[source] io::Error),
    #[error("cannot write into the directory of run {run}")]
    RunDir { run: RunId, source: io::Error },
    #[error("cannot start a worker process")]
    Spawn(#[source] io::Error),
    #[error(
        "the results folder cannot be written to (run {run}): {reason}; mend that and give the \
         same command again: nothing is lost"
    )]
    Disk { run: RunId, reason: String },
    #[error("cannot take the journal of run {run} into the index")]
    Index { run: RunId, source: Box<dyn std::error::Error + Send + Sync> },
}

enum Event {
    Exited(Exited),
    StopAsked,
    Tick,
}

struct State<'a, E, I> {
    results: ResultsDir,
    retries: u32,
    terms: Terms,
    jobs: BTreeMap<RunId, Job>,
    queue: Queue,
    slots: Slots,
    running: BTreeMap<RunId, Running>,
    /// Attempts of this invocation.
    attempts: BTreeMap<RunId, u32>,
    stopping: Stopping,
    summary: Summary,
    executor: E,
    index: I,
    journal: &'a mut ExperimentJournal,
    tell: &'a mut dyn FnMut(&News<'_>),
}

struct Running {
    attempt: u32,
    since: Instant,
    /// The run's lock was held when this attempt began, and nobody was told yet.
    blocked: bool,
    /// This attempt has journalled its start; what came before is of earlier attempts.
    heard: bool,
    outcome: Option<Outcome>,
}

/// Works until every job is done or given up, or until a stop; workers never outlive it, unless
/// it is killed itself.
///
/// Only what stops everything (a full disk, say) is an error; failures of runs are in the summary.
pub async fn run<E: Executor, I: Index>(
    sweep: Sweep,
    ports: Ports<'_, E, I>,
) -> Result<Summary, Error> {
    let Ports { executor, index, journal, mut exits, mut stops, tell } = ports;
    let mut state = State {
        results: sweep.results,
        retries: sweep.retries,
        terms: sweep.terms,
        queue: Queue::new(sweep.jobs.iter().map(|job| job.file.run.clone())),
        jobs: sweep.jobs.into_iter().map(|job| (job.file.run.clone(), job)).collect(),
        slots: Slots::new(sweep.slots),
        running: BTreeMap::new(),
        attempts: BTreeMap::new(),
        stopping: Stopping::No,
        summary: Summary::default(),
        executor,
        index,
        journal,
        tell,
    };
    if let Err(error) = work(&mut state, &mut exits, &mut stops).await {
        abandon(&mut state, &mut exits, &mut stops).await;
        return Err(error);
    }
    state.finish()
}

async fn work<E: Executor, I: Index>(
    state: &mut State<'_, E, I>,
    exits: &mut mpsc::UnboundedReceiver<Exited>,
    stops: &mut mpsc::UnboundedReceiver<()>,
) -> Result<(), Error> {
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        state.start_all()?;
        if state.is_over() {
            return Ok(());
        }
        // A stop is seen before an exit, so that Ctrl-C never starts one more worker.
        let event = tokio::select! {
            biased;
            Some(()) = stops.recv() => Event::StopAsked,
            Some(exited) = exits.recv() => Event::Exited(exited),
            _ = poll.tick() => Event::Tick,
        };
        state.handle(event).await?;
    }
}

/// After an error of our own: lets the workers save their state; a stop kills them.
async fn abandon<E: Executor, I: Index>(
    state: &mut State<'_, E, I>,
    exits: &mut mpsc::UnboundedReceiver<Exited>,
    stops: &mut mpsc::UnboundedReceiver<()>,
) {
    state.ask_all_to_stop();
    while !state.running.is_empty() {
        tokio::select! {
            Some(()) = stops.recv() => state.kill_all(),
            exited = exits.recv() => match exited {
                Some(exited) => drop(state.running.remove(&exited.run)),
                None => return,
            },
        }
    }
}

impl<E: Executor, I: Index> State<'_, E, I> {
    async fn handle(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Exited(exited) => self.on_exited(&exited).await,
            Event::StopAsked => {
                match self.stopping {
                    Stopping::No => self.ask_all_to_stop(),
                    Stopping::Asked => self.kill_all(),
                    Stopping::Killed => {}
                }
                Ok(())
            }
            Event::Tick => self.on_tick().await,
        }
    }

    fn is_over(&self) -> bool {
        self.running.is_empty() && (self.queue.is_empty() || self.stopping != Stopping::No)
    }

    fn start_all(&mut self) -> Result<(), Error> {
        while self.stopping == Stopping::No
            && let Some(start) = next_start(&self.queue, &self.slots)
        {
            self.queue.remove(&start.run);
            self.start(&start)?;
        }
        Ok(())
    }

    fn start(&mut self, start: &Start) -> Result<(), Error> {
        let run = start.run.clone();
        let dir = self.results.run(&run);
        let job = self.jobs.get(&run).expect("the queue holds runs of the jobs only");
        let slot = self.slots.slot(start.slot_idx).clone();
        let run_dir_error = |source| Error::RunDir { run: run.clone(), source };
        let attempt = match attempt::prepare(&dir, job, &slot, self.terms) {
            Ok(attempt) => attempt,
            Err(attempt::Error::Io(source)) => return Err(run_dir_error(source)),
            Err(error @ (attempt::Error::OtherRun { .. } | attempt::Error::Unreadable { .. })) => {
                self.give_up_unstarted(&run, &error);
                return Ok(());
            }
        };
        let blocked = FileLock::try_acquire(&dir.lock()).map_err(run_dir_error)?.is_none();
        self.record(SweepEvent::AttemptStarted { run: run.clone(), attempt, device: slot.device })?;
        (self.tell)(&News::Started { run: &run, attempt, device: slot.device });
        let launch = Launch { run: run.clone(), attempt, dir, slot };
        self.executor.spawn(&launch).map_err(Error::Spawn)?;
        *self.attempts.entry(run.clone()).or_default() += 1;
        self.slots.occupy(start);
        let since = Instant::now();
        self.running.insert(run, Running { attempt, since, blocked, heard: false, outcome: None });
        Ok(())
    }

    fn give_up_unstarted(&mut self, run: &RunId, error: &attempt::Error) {
        let reason = with_sources(error);
        let ending = Ending::Failed { reason: reason.clone(), class: FailureClass::Input };
        (self.tell)(&News::Ended { run, ending: &ending, verdict: Verdict::GiveUp });
        self.summary.failures.push(Failure { run: run.clone(), reason, log: None });
    }

    async fn on_tick(&mut self) -> Result<(), Error> {
        let runs: Vec<_> = self.running.keys().cloned().collect();
        for run in &runs {
            self.take_in(run).await?;
            if let Some(running) = self.running.get_mut(run)
                && running.blocked
                && !running.heard
                && running.since.elapsed() > WAITING_AFTER
            {
                running.blocked = false;
                (self.tell)(&News::Waiting { run });
            }
        }
        (self.tell)(&News::Tick);
        Ok(())
    }

    async fn take_in(&mut self, run: &RunId) -> Result<(), Error> {
        let lines = self
            .index
            .ingest(&self.results.run(run))
            .await
            .map_err(|source| Error::Index { run: run.clone(), source: Box::new(source) })?;
        if let Some(running) = self.running.get_mut(run) {
            running.hear(&lines);
        }
        if !lines.is_empty() {
            (self.tell)(&News::Lines { run, lines: &lines });
        }
        Ok(())
    }

    async fn on_exited(&mut self, exited: &Exited) -> Result<(), Error> {
        let run = &exited.run;
        self.take_in(run).await?;
        let Some(running) = self.running.remove(run) else {
            return Ok(());
        };
        self.slots.release(run);
        let log = self.results.run(run).log(exited.attempt);
        let ending =
            retry::ending(exited.exit, running.outcome.as_ref(), &log_tail(&log), self.stopping);
        let attempts = self.attempts.get(run).copied().unwrap_or(0);
        let verdict = retry::on_exit(&ending, attempts, self.retries, self.stopping);
        self.record(SweepEvent::AttemptExited {
            run: run.clone(),
            attempt: running.attempt,
            error: ending.error().map(str::to_owned),
            interrupted: ending == Ending::Interrupted,
        })?;
        if ending.is_of_the_disk() && self.stopping == Stopping::No {
            let reason = ending.error().unwrap_or_default().to_owned();
            return Err(Error::Disk { run: run.clone(), reason });
        }
        match verdict {
            Verdict::Finished => self.summary.done += 1,
            Verdict::Retry => self.queue.push(run.clone()),
            Verdict::GiveUp => {
                let reason = ending.error().unwrap_or("ended from outside").to_owned();
                self.summary.failures.push(Failure { run: run.clone(), reason, log: Some(log) });
            }
            Verdict::Leave => self.summary.left += 1,
        }
        (self.tell)(&News::Ended { run, ending: &ending, verdict });
        Ok(())
    }

    fn ask_all_to_stop(&mut self) {
        self.stopping = Stopping::Asked;
        for run in self.running.keys() {
            self.executor.ask_to_stop(run);
        }
        self.tell_stopping();
    }

    fn kill_all(&mut self) {
        self.stopping = Stopping::Killed;
        for run in self.running.keys() {
            self.executor.kill(run);
        }
        self.tell_stopping();
    }

    fn tell_stopping(&mut self) {
        let n_workers = self.running.len();
        if n_workers > 0 {
            (self.tell)(&News::Stopping { how: self.stopping, n_workers });
        }
    }

    fn record(&mut self, event: SweepEvent) -> Result<(), Error> {
        self.journal.append(event).map_err(Error::Journal)
    }

    fn finish(mut self) -> Result<Summary, Error> {
        self.summary.left += self.queue.len() as u32;
        self.summary.interrupted = self.stopping != Stopping::No;
        self.record(SweepEvent::SweepEnded {
            done: self.summary.done,
            failed: self.summary.failures.len() as u32,
            interrupted: self.summary.interrupted,
        })?;
        Ok(self.summary)
    }
}

impl Running {
    /// Notes what this attempt says of its own end; lines of an earlier worker come first.
    fn hear(&mut self, lines: &[Line]) {
        for line in lines {
            match &line.event {
                RunEvent::AttemptStarted(started) if started.attempt == self.attempt => {
                    self.heard = true;
                }
                RunEvent::AttemptEnded { outcome } if self.heard => {
                    self.outcome = Some(outcome.clone());
                }
                _ => {}
            }
        }
    }
}

/// The last lines of a log, as one line; empty if it cannot be read, as it only explains.
fn log_tail(path: &Path) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> io::Result<Vec<u8>> {
        let mut file = fs_err::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    // Backtraces bury the message that precedes them.
    let text = text.split("\nstack backtrace:").next().unwrap_or_default();
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join(" | ")
}

#[cfg(test)]
mod tests;
