//! Runs a sweep as an event loop: starts jobs on free slots, handles exits and requests to stop,
//! and ends when nothing is left to do.
//!
//! `sweep run` calls [`run`] with the jobs ([`Sweep`]) and with the interfaces it acts through
//! ([`Ports`]): an executor, an index, the experiment's journal. It owns all state; one `select!`
//! yields a closed `Event`, and one handler takes it. It reports progress as [`News`] and returns
//! a [`Summary`].

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::Slot;
use super::attempt::{self, Terms};
use super::executor::{Executor, Exited, Launch};
use super::journal::ExperimentJournal;
use super::queue::{Queue, Slots, Start, next_start};
use super::remains;
use super::retry::{self, Ending, Verdict};
use super::stop::{self, Stop, Stopping};
use crate::device::Device;
use crate::error::with_sources;
use crate::event::{Event as RunEvent, FailureClass, Line, SweepEvent};
use crate::fs::{FileLock, ResultsDir, RunDir};
use crate::id::RunId;
use crate::resolve::Job;

/// Interval at which the journals of running workers are read.
const POLL: Duration = Duration::from_millis(250);
/// Time after which a worker that has journalled nothing, while its run is locked, is reported as
/// waiting.
const WAITING_AFTER: Duration = Duration::from_secs(2);
/// Time after which an index that failed is tried again: each try may block for a moment.
const INDEX_RESTS: Duration = Duration::from_secs(5);

/// The work of a sweep and its limits.
#[derive(Debug)]
pub struct Sweep {
    pub results: ResultsDir,
    /// The jobs, in the order they start.
    pub jobs: Vec<Job>,
    pub slots: Vec<Slot>,
    pub retries: u32,
    pub terms: Terms,
}

/// The interfaces that a sweep acts through.
pub struct Ports<'a, E, I> {
    pub executor: E,
    pub index: I,
    pub journal: &'a mut ExperimentJournal,
    /// Exits of workers, as the executor reports them.
    pub exits: mpsc::UnboundedReceiver<Exited>,
    /// Requests to stop, one for each signal.
    pub stops: mpsc::UnboundedReceiver<Stop>,
    pub tell: &'a mut dyn FnMut(&News<'_>),
}

/// The index that receives the workers' journal lines; the store, or a fake.
///
/// The sweep does not depend on it: while it fails, nothing of the runs' progress is shown, and
/// what it missed is offered again.
pub trait Index {
    type Error: std::error::Error + Send + Sync + 'static;

    /// Indexes the whole lines that the run's journals got since the last call, and returns them in
    /// order.
    fn ingest(&mut self, dir: &RunDir) -> impl Future<Output = Result<Vec<Line>, Self::Error>>;
}

/// The events of a sweep that are shown to people.
#[derive(Debug)]
pub enum News<'a> {
    Started {
        run: &'a RunId,
        attempt: u32,
        device: Device,
    },
    /// The run's worker waits for a worker of an earlier coordinator, which still holds the run.
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
    /// The sweep cannot go on; its workers are asked to save their state and exit.
    Failing {
        error: &'a Error,
        n_workers: usize,
    },
    /// The index failed and receives no journal lines for now.
    IndexFails {
        error: &'a (dyn std::error::Error + 'static),
    },
    /// The index receives journal lines again.
    IndexWorks,
    Tick,
}

/// The result of a sweep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub done: u32,
    pub failures: Vec<Failure>,
    /// Number of runs that a stop left unfinished.
    pub left: u32,
    pub interrupted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub run: RunId,
    pub reason: String,
    /// Log of the last worker; `None` if no worker was started.
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
        "the results folder cannot be written to (run {run}): {reason}; fix that and run the \
         same command again: nothing is lost"
    )]
    Disk { run: RunId, reason: String },
}

enum Event {
    Exited(Exited),
    Stop(Stop),
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
    /// Number of attempts of each run in this invocation.
    attempts: BTreeMap<RunId, u32>,
    stopping: Stopping,
    /// Time at which the workers were asked to stop.
    asked: Option<Instant>,
    /// Time before which an index that failed is not tried again.
    index_rests: Option<Instant>,
    summary: Summary,
    executor: E,
    index: I,
    journal: &'a mut ExperimentJournal,
    tell: &'a mut dyn FnMut(&News<'_>),
}

struct Running {
    attempt: u32,
    since: Instant,
    /// Whether the run's lock was held when this attempt began, and nobody was told yet.
    blocked: bool,
    /// Whether this attempt has journalled its start; lines before that are an earlier attempt's.
    heard: bool,
}

/// Runs the sweep until every job is done or given up, or until a stop; workers never outlive it,
/// unless it is killed itself.
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
        asked: None,
        index_rests: None,
        summary: Summary::default(),
        executor,
        index,
        journal,
        tell,
    };
    if let Err(error) = work(&mut state, &mut exits, &mut stops).await {
        abandon(&mut state, &error, &mut exits, &mut stops).await;
        return Err(error);
    }
    state.finish()
}

async fn work<E: Executor, I: Index>(
    state: &mut State<'_, E, I>,
    exits: &mut mpsc::UnboundedReceiver<Exited>,
    stops: &mut mpsc::UnboundedReceiver<Stop>,
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
            Some(stop) = stops.recv() => Event::Stop(stop),
            Some(exited) = exits.recv() => Event::Exited(exited),
            _ = poll.tick() => Event::Tick,
        };
        state.handle(event).await?;
    }
}

/// Ends the sweep after an error of our own: reports it at once, lets the workers save their state,
/// and waits for them; a stop that kills does so here too.
async fn abandon<E: Executor, I: Index>(
    state: &mut State<'_, E, I>,
    error: &Error,
    exits: &mut mpsc::UnboundedReceiver<Exited>,
    stops: &mut mpsc::UnboundedReceiver<Stop>,
) {
    let n_workers = state.running.len();
    (state.tell)(&News::Failing { error, n_workers });
    if state.stopping == Stopping::No {
        state.ask_all_to_stop();
    }
    while !state.running.is_empty() {
        tokio::select! {
            Some(stop) = stops.recv() => state.on_stop(stop),
            exited = exits.recv() => match exited {
                Some(exited) => drop(state.take_out(&exited)),
                None => return,
            },
        }
    }
}

impl<E: Executor, I: Index> State<'_, E, I> {
    async fn handle(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Exited(exited) => self.on_exited(&exited).await,
            Event::Stop(stop) => {
                self.on_stop(stop);
                Ok(())
            }
            Event::Tick => {
                self.on_tick().await;
                Ok(())
            }
        }
    }

    fn on_stop(&mut self, stop: Stop) {
        let since = self.asked.map_or(Duration::ZERO, |asked| asked.elapsed());
        match stop::on_stop(self.stopping, stop, since) {
            Some(Stopping::Asked) => self.ask_all_to_stop(),
            Some(Stopping::Killed) => self.kill_all(),
            Some(Stopping::No) | None => {}
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
        self.running.insert(run, Running { attempt, since, blocked, heard: false });
        Ok(())
    }

    fn give_up_unstarted(&mut self, run: &RunId, error: &attempt::Error) {
        let reason = with_sources(error);
        let ending = Ending::Failed { reason: reason.clone(), class: FailureClass::Input };
        (self.tell)(&News::Ended { run, ending: &ending, verdict: Verdict::GiveUp });
        self.summary.failures.push(Failure { run: run.clone(), reason, log: None });
    }

    async fn on_tick(&mut self) {
        let runs: Vec<_> = self.running.keys().cloned().collect();
        for run in &runs {
            self.take_in(run).await;
            if let Some(running) = self.running.get_mut(run)
                && running.blocked
                && !running.heard
                && self.index_rests.is_none()
                && running.since.elapsed() > WAITING_AFTER
            {
                running.blocked = false;
                (self.tell)(&News::Waiting { run });
            }
        }
        (self.tell)(&News::Tick);
    }

    /// Shows the new lines of the run's journals, once the index has them.
    async fn take_in(&mut self, run: &RunId) {
        if self.index_rests.is_some_and(|until| Instant::now() < until) {
            return;
        }
        match self.index.ingest(&self.results.run(run)).await {
            Ok(lines) => {
                if self.index_rests.take().is_some() {
                    (self.tell)(&News::IndexWorks);
                }
                if let Some(running) = self.running.get_mut(run) {
                    running.hear(&lines);
                }
                if !lines.is_empty() {
                    (self.tell)(&News::Lines { run, lines: &lines });
                }
            }
            Err(error) => {
                if self.index_rests.is_none() {
                    (self.tell)(&News::IndexFails { error: &error });
                }
                self.index_rests = Some(Instant::now() + INDEX_RESTS);
            }
        }
    }

    /// Removes a run whose worker has exited from the running ones, and frees its slot.
    fn take_out(&mut self, exited: &Exited) -> Option<Running> {
        self.executor.forget(exited);
        self.slots.release(&exited.run);
        self.running.remove(&exited.run)
    }

    async fn on_exited(&mut self, exited: &Exited) -> Result<(), Error> {
        let run = &exited.run;
        // First of all: whatever fails below, nobody waits for this exit again.
        let Some(running) = self.take_out(exited) else {
            return Ok(());
        };
        self.take_in(run).await;
        let dir = self.results.run(run);
        let outcome = remains::outcome(&dir, exited.attempt).unwrap_or_else(|error| {
            tracing::warn!(%run, %error, "cannot read the worker's journal");
            None
        });
        let log = dir.log(exited.attempt);
        let log_tail = remains::log_tail(&log);
        let ending = retry::ending(exited.exit, outcome.as_ref(), &log_tail, self.stopping);
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
        self.asked = Some(Instant::now());
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
    /// Notes whether `lines` show that this attempt has begun; lines of an earlier worker come
    /// first.
    fn hear(&mut self, lines: &[Line]) {
        self.heard |= lines.iter().any(|line| {
            let attempt = self.attempt;
            matches!(&line.event, RunEvent::AttemptStarted(started) if started.attempt == attempt)
        });
    }
}

#[cfg(test)]
mod tests;
