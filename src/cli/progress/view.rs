//! The state of a sweep in progress, made from journal lines; pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cli::words;
use crate::event::{Event, Line};
use crate::id::RunId;

/// Share of a run's work that is training, until better is known; scoring is the rest.
const TRAINING_SHARE: f64 = 0.6;
/// Share of the work that must be done before an estimate is shown.
const SHOWN_FROM: f64 = 0.01;

/// A run of the sweep, before anything is heard of it.
#[derive(Debug, Clone)]
pub struct RunTitle {
    pub run: RunId,
    /// Labels of its cell on one line.
    pub title: String,
    pub trained: bool,
    pub scores_wanted: u32,
    pub scores_made: u32,
}

/// The whole sweep.
#[derive(Debug)]
pub struct SweepView {
    runs: BTreeMap<RunId, RunView>,
    pub done: u32,
    pub failed: u32,
    /// Work of all runs together when we began; 1 a run.
    work_before: f64,
}

/// One run.
#[derive(Debug, Clone)]
pub struct RunView {
    pub title: String,
    pub state: State,
    epoch: u32,
    step: u64,
    steps_total: Option<u64>,
    loss: Option<f64>,
    images_per_s: Option<f64>,
    scores_made: u32,
    scores_wanted: u32,
    /// Images of the score under way: done, and in all.
    images: Option<(u64, u64)>,
    trained: bool,
    /// Time and work when the present kind of work began, for the run's own estimate.
    since: Option<(u64, f64)>,
    at_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Queued,
    /// An earlier coordinator's worker still holds it.
    Waiting,
    Running,
    Done,
    Failed,
}

impl SweepView {
    pub fn new(titles: &[RunTitle]) -> Self {
        let runs: BTreeMap<_, _> =
            titles.iter().map(|title| (title.run.clone(), RunView::new(title))).collect();
        let work_before = runs.values().map(RunView::work).sum();
        Self { runs, done: 0, failed: 0, work_before }
    }

    /// The view of `run`; `None` for a run that was not announced.
    pub fn run(&self, run: &RunId) -> Option<&RunView> {
        self.runs.get(run)
    }

    pub fn run_mut(&mut self, run: &RunId) -> Option<&mut RunView> {
        self.runs.get_mut(run)
    }

    pub fn running(&self) -> impl Iterator<Item = (&RunId, &RunView)> {
        self.runs.iter().filter(|(_, run)| matches!(run.state, State::Running | State::Waiting))
    }

    pub fn total(&self) -> usize {
        self.runs.len()
    }

    /// Runs that came to an end, well or not.
    pub fn ended(&self) -> u32 {
        self.done + self.failed
    }

    /// Time still needed, if it goes on as it went for `elapsed`.
    pub fn left(&self, elapsed: Duration) -> Option<Duration> {
        let total = self.total() as f64;
        let now: f64 = self.runs.values().map(RunView::work).sum();
        let done = now - self.work_before;
        (done >= SHOWN_FROM * (total - self.work_before).max(SHOWN_FROM))
            .then(|| elapsed.mul_f64(((total - now) / done).max(0.0)))
    }

    /// One line: counts, a bar, times.
    pub fn line(&self, elapsed: Duration) -> String {
        let total = self.total();
        let work: f64 = self.runs.values().map(RunView::work).sum();
        let mut parts =
            vec![format!("{} {}/{total} runs", bar(work / total.max(1) as f64), self.ended())];
        let running = self.running().count();
        if running > 0 {
            parts.push(format!("{running} running"));
        }
        if self.failed > 0 {
            parts.push(format!("{} failed", self.failed));
        }
        parts.push(words::duration(elapsed));
        let left = self.left(elapsed).filter(|left| !left.is_zero());
        parts.extend(left.map(|left| format!("about {} left", words::duration(left))));
        parts.join(", ")
    }
}

impl RunView {
    fn new(title: &RunTitle) -> Self {
        Self {
            title: title.title.clone(),
            state: State::Queued,
            epoch: 0,
            step: 0,
            steps_total: None,
            loss: None,
            images_per_s: None,
            scores_made: title.scores_made,
            scores_wanted: title.scores_wanted,
            images: None,
            trained: title.trained,
            since: None,
            at_ms: 0,
        }
    }

    /// Takes in a journal line.
    pub fn hear(&mut self, line: &Line) {
        self.at_ms = line.at_ms;
        match &line.event {
            Event::AttemptStarted(_) => {
                self.state = State::Running;
                self.images = None;
                self.since = None;
            }
            Event::ModelBuilt(built) => self.steps_total = Some(built.steps_total),
            Event::Resumed { step, .. } => self.step = *step,
            Event::TrainStep(step) => {
                (self.step, self.epoch) = (step.step, step.epoch);
                (self.loss, self.images_per_s) = (Some(step.loss), Some(step.images_per_s));
                self.begin();
            }
            Event::TrainingEnded { .. } => {
                self.trained = true;
                self.since = None;
                self.begin();
            }
            Event::Scoring { images_done, images_total, .. } => {
                self.images = Some((*images_done, *images_total));
                self.begin();
            }
            Event::ScoreEnded(_) => {
                self.scores_made = (self.scores_made + 1).min(self.scores_wanted);
                self.images = None;
                self.begin();
            }
            Event::EpochEnded { .. }
            | Event::CheckpointRejected { .. }
            | Event::Validated { .. }
            | Event::CheckpointSaved { .. }
            | Event::Warning { .. }
            | Event::AttemptEnded { .. } => {}
        }
    }

    /// Marks where the estimate counts from, once for each kind of work.
    fn begin(&mut self) {
        if self.since.is_none() {
            self.since = Some((self.at_ms, self.work()));
        }
    }

    /// Work done, 0 to 1.
    pub fn work(&self) -> f64 {
        if self.state == State::Done || self.state == State::Failed {
            return 1.0;
        }
        let training = match (self.trained, self.steps_total) {
            (true, _) => 1.0,
            (false, Some(total)) if total > 0 => (self.step as f64 / total as f64).min(1.0),
            (false, _) => 0.0,
        };
        let part = self.images.map_or(0.0, |(done, total)| done as f64 / total.max(1) as f64);
        let scoring = match self.scores_wanted {
            0 => training,
            wanted => {
                (f64::from(self.scores_made) + part).min(f64::from(wanted)) / f64::from(wanted)
            }
        };
        TRAINING_SHARE * training + (1.0 - TRAINING_SHARE) * scoring
    }

    /// Time until the present kind of work ends, at its own pace.
    pub fn left(&self) -> Option<Duration> {
        let (since_ms, work_then) = self.since?;
        let end = if self.trained { 1.0 } else { TRAINING_SHARE };
        let done = self.work() - work_then;
        let elapsed = Duration::from_millis(self.at_ms.saturating_sub(since_ms));
        (done > 0.0).then(|| elapsed.mul_f64(((end - self.work()) / done).max(0.0)))
    }

    /// One line: the title, then the progress.
    pub fn line(&self) -> String {
        format!("{}: {}", self.title, self.place())
    }

    fn place(&self) -> String {
        match self.state {
            State::Queued => return "queued".to_owned(),
            State::Waiting => return "waiting for an earlier worker to save and exit".to_owned(),
            State::Done => return "done".to_owned(),
            State::Failed => return "failed".to_owned(),
            State::Running => {}
        }
        let mut parts = Vec::new();
        if self.trained {
            let next = (self.scores_made + 1).min(self.scores_wanted);
            parts.push(format!("scoring {next}/{}", self.scores_wanted));
            parts.extend(self.images.map(|(done, total)| format!("image {done}/{total}")));
        } else if self.step == 0 {
            parts.push("preparing".to_owned());
        } else {
            parts.push(format!("epoch {}", self.epoch));
            parts.push(match self.steps_total {
                Some(total) => format!("step {}/{total}", self.step),
                None => format!("step {}", self.step),
            });
            parts.extend(self.loss.map(|loss| format!("loss {loss:.4}")));
            parts.extend(self.images_per_s.map(|rate| format!("{rate:.1} img/s")));
        }
        parts.extend(self.left().map(|left| format!("{} left", words::duration(left))));
        parts.join(", ")
    }
}

fn bar(part: f64) -> String {
    const WIDTH: usize = 20;
    let full = ((part * WIDTH as f64) as usize).min(WIDTH);
    format!("[{}{}]", "#".repeat(full), "-".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests;
