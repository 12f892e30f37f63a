//! The training loop: runs epochs of optimiser steps from the newest sound checkpoint to the last
//! step.
//!
//! A worker calls [`Job::run`] with the network, its data and a [`Sink`] for events; the trained
//! network is left in the job, checkpoints on disk.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};

use super::checkpoint::{self, Position};
use super::config::Config;
use super::optimizer::{AdamW, Rates};
use super::rate;
use super::step::{self, Step};
use crate::adapter::About;
use crate::data::loader::{Batch, TrainLoader};
use crate::data::transform::Normal;
use crate::error::with_sources;
use crate::event::{Event, Metrics, TrainStep};
use crate::id::RunId;
use crate::kernel::dropout::Draw;
use crate::model::{Activations, Network};

/// Number of rows of the loss curve that are kept of a long run.
const STEPS_LOGGED: u64 = 2000;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    #[error("cannot load training data")]
    Data(#[from] crate::data::Error),
    #[error("cannot validate")]
    Validate(#[from] crate::eval::score::pass::Error),
    #[error("cannot write the journal")]
    Journal(#[from] io::Error),
    #[error("the loss is {loss} at step {step}: lower `train.lr` or `train.lr_encoder`")]
    Diverged { step: u64, loss: f64 },
    #[error("{reason}: choose another `train.batch_size`, a larger input or another decoder")]
    Batch { reason: String },
}

/// Steps that are started before the loss of the first is looked at, at most: so late is a divergence
/// seen on a GPU.
const PENDING_MAX: usize = 64;

/// Time after which their losses are looked at in any case, and reported.
const PENDING_TIME: Duration = Duration::from_secs(1);

/// Everything one training run works on.
pub struct Job<'a> {
    pub run: RunId,
    /// The parts of the network, for adapter files.
    pub about: About,
    /// Seed of all of the run's randomness.
    pub seed: u64,
    pub config: &'a Config,
    pub network: Network,
    pub loader: TrainLoader,
    pub steps_total: u64,
    /// Height and width.
    pub input_px: [usize; 2],
    pub normal: Normal,
    pub activations: Activations,
    /// Folder of the checkpoints.
    pub checkpoints: PathBuf,
    pub checkpoint_every: Duration,
    /// File of the best network on `dev`, where one is chosen.
    pub best: Option<PathBuf>,
    /// Scores the network while it trains; `None` where there is no split to validate on.
    pub validate: Option<Validate<'a>>,
}

/// A validation pass: the split's name, and the function that scores the network on it. The
/// function returns `None` when it was asked to stop.
pub struct Validate<'a> {
    pub split: String,
    pub score: Box<ScoreFn<'a>>,
    /// Draws what the network sees after an epoch, where that is wanted; returns why it could not.
    pub draw: Option<Box<DrawFn<'a>>>,
}

type DrawFn<'a> = dyn FnMut(&mut Network, u32) -> Result<(), String> + 'a;

type ScoreFn<'a> =
    dyn FnMut(&mut Network) -> Result<Option<Metrics>, crate::eval::score::pass::Error> + 'a;

/// The receiver of training's events: the journal, which also knows its (attempt, bytes).
pub trait Sink {
    fn emit(&mut self, event: Event) -> io::Result<()>;
    /// Flushes all emitted events to the disk (fsync).
    fn sync(&mut self) -> io::Result<()>;
    fn position(&self) -> (u32, u64);
}

/// Steps that were started and not reported yet.
#[derive(Default)]
struct Pending {
    steps: Vec<Started>,
    /// When the device began to work on them.
    since: Option<Instant>,
}

impl Pending {
    /// Waits for all started steps, adds up their losses and reports those that are logged.
    fn settle(&mut self, at: &mut Position, sink: &mut dyn Sink) -> Result<(), Error> {
        let done: Vec<_> = self.steps.drain(..).map(Started::read).collect();
        let images_per_s = {
            let n_images: usize = done.iter().map(|(started, _)| started.n_images).sum();
            let since = self.since.take();
            since.map_or(0.0, |since| n_images as f64 / since.elapsed().as_secs_f64())
        };
        for (Started { step, lr, is_logged, .. }, loss) in done {
            at.loss_sum += loss;
            if !loss.is_finite() {
                return Err(Error::Diverged { step, loss });
            }
            if is_logged {
                let epoch = at.epoch;
                sink.emit(Event::TrainStep(TrainStep { step, epoch, loss, lr, images_per_s }))?;
            }
        }
        Ok(())
    }
}

/// A step that the device may still be working on.
struct Started {
    /// Number of steps done after it.
    step: u64,
    lr: f64,
    n_images: usize,
    is_logged: bool,
    /// `[1]`
    loss: Tensor<1>,
}

impl Started {
    /// Waits for the loss.
    fn read(self) -> (Self, f64) {
        let loss = self.loss.clone().into_scalar();
        (self, loss)
    }
}

/// The way training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Finished,
    /// Training was asked to stop; a checkpoint is on disk.
    Interrupted,
}

impl Job<'_> {
    /// Trains from the newest sound checkpoint (or the start) to the last step.
    pub fn run(&mut self, sink: &mut dyn Sink, stop: &AtomicBool) -> Result<End, Error> {
        self.check_batches()?;
        let mut optimizer = AdamW::new(self.config.weight_decay);
        let mut at = self.resume(&mut optimizer, sink)?;
        let mut pending = Pending::default();
        let mut saved = Instant::now();
        // An epoch under way has batches done even where its last step was the run's last.
        while at.step < self.steps_total || at.batch > 0 {
            let started = Instant::now();
            let left = (self.steps_total - at.step) as usize;
            let mut batches = self.loader.epoch(at.epoch, at.batch);
            for batch in batches.by_ref().take(left) {
                self.step(&mut optimizer, (&mut at, &mut pending), &batch?, sink)?;
                let stopped = stop.load(Ordering::Relaxed);
                if stopped || saved.elapsed() >= self.checkpoint_every {
                    pending.settle(&mut at, sink)?;
                    self.save(&optimizer, &mut at, sink)?;
                    saved = Instant::now();
                }
                if stopped {
                    return Ok(End::Interrupted);
                }
            }
            pending.settle(&mut at, sink)?;
            let times = (started.elapsed(), batches.waited());
            // Its threads end before validation begins with its own.
            drop(batches);
            if let Some(message) = self.loader.take_warning() {
                sink.emit(Event::Warning { message })?;
            }
            if self.end_epoch(&mut at, times, sink)? == End::Interrupted {
                return Ok(End::Interrupted);
            }
            self.save(&optimizer, &mut at, sink)?;
            saved = Instant::now();
        }
        Ok(End::Finished)
    }

    /// Checks that every batch can be trained on; the last of an epoch may be small.
    fn check_batches(&self) -> Result<(), Error> {
        let loader = self.loader.config();
        let (n_images, full) = (loader.split.len(), loader.batch_size);
        let is_last_met = self.steps_total >= self.loader.batches_per_epoch() as u64;
        let smallest = match n_images % full {
            last if last > 0 && is_last_met => last,
            _ => full.min(n_images),
        };
        let checked = self.network.check_batch(smallest, self.input_px);
        checked.map_err(|reason| Error::Batch { reason })
    }

    /// Starts a step, and reports the started ones where that is due: to read a loss is to wait for
    /// the device, which then waits for the host.
    fn step(
        &mut self,
        optimizer: &mut AdamW,
        (at, pending): (&mut Position, &mut Pending),
        batch: &Batch,
        sink: &mut dyn Sink,
    ) -> Result<(), Error> {
        if pending.steps.is_empty() {
            pending.since = Some(Instant::now());
        }
        let factor = rate::factor(self.config.schedule, at.step, self.steps_total);
        let rates =
            Rates { decoder: self.config.lr * factor, encoder: self.config.lr_encoder * factor };
        let dropout = Draw { seed: self.seed, step: at.step };
        let step = Step {
            input_px: self.input_px,
            normal: self.normal,
            rates,
            dropout,
            activations: self.activations,
        };
        let loss = step::start(&mut self.network, optimizer, batch, step);
        at.step += 1;
        at.batch += 1;
        let every = self.steps_total.div_ceil(STEPS_LOGGED);
        let is_logged = at.step.is_multiple_of(every) || at.step == self.steps_total;
        pending.steps.push(Started {
            step: at.step,
            lr: rates.decoder,
            n_images: batch.n,
            is_logged,
            loss,
        });
        // The processor is done when it returns; a GPU is left to work while the host goes on.
        let is_due = self.network.device() == Device::flex()
            || pending.steps.len() == PENDING_MAX
            || pending.since.is_some_and(|since| since.elapsed() >= PENDING_TIME);
        if is_due { pending.settle(at, sink) } else { Ok(()) }
    }

    /// Reports the epoch with its time and its waiting for data, validates where due, and moves on
    /// to the next one.
    fn end_epoch(
        &mut self,
        at: &mut Position,
        (time, wait): (Duration, Duration),
        sink: &mut dyn Sink,
    ) -> Result<End, Error> {
        sink.emit(Event::EpochEnded {
            epoch: at.epoch,
            step: at.step,
            loss_mean: at.loss_sum / at.batch as f64,
            time_ms: time.as_millis() as u64,
            wait_ms: Some(wait.as_millis() as u64),
        })?;
        let every = self.config.validate_every;
        let is_due = every > 0 && at.epoch.is_multiple_of(every);
        if is_due || at.step == self.steps_total {
            // Stopped within the pass: the last checkpoint is before it, so that it is repeated.
            if self.validate(at, sink)? == End::Interrupted {
                return Ok(End::Interrupted);
            }
        }
        at.epoch += 1;
        at.batch = 0;
        at.loss_sum = 0.0;
        Ok(End::Finished)
    }

    fn validate(&mut self, at: &mut Position, sink: &mut dyn Sink) -> Result<End, Error> {
        let Some(validate) = &mut self.validate else { return Ok(End::Finished) };
        let mut network = self.network.merged();
        let Some(metrics) = (validate.score)(&mut network)? else {
            return Ok(End::Interrupted);
        };
        if let Some(Err(reason)) = validate.draw.as_mut().map(|draw| draw(&mut network, at.epoch)) {
            // Pictures are not worth a training.
            let message = format!("no picture of epoch {}: {reason}", at.epoch);
            sink.emit(Event::Warning { message })?;
        }
        let miou = metrics.miou;
        let split = validate.split.clone();
        sink.emit(Event::Validated { epoch: at.epoch, step: at.step, split, metrics })?;
        let better = match (miou, at.best) {
            (Some(miou), Some((best, _))) => miou > best,
            // Until a score is defined the last weights are the best that are known.
            (_, None) => true,
            (None, Some(_)) => false,
        };
        if let (Some(path), true) = (&self.best, better) {
            let named = (&self.run, at.step);
            checkpoint::save_adapter(path, named, &self.about, &mut self.network)?;
            at.best = miou.map(|miou| (miou, at.step));
        }
        Ok(End::Finished)
    }

    fn save(
        &mut self,
        optimizer: &AdamW,
        at: &mut Position,
        sink: &mut dyn Sink,
    ) -> Result<(), Error> {
        sink.sync()?;
        at.journal = sink.position();
        let saved =
            checkpoint::save(&self.checkpoints, &self.run, (&mut self.network, optimizer), at)?;
        sink.emit(Event::CheckpointSaved {
            step: at.step,
            epoch: at.epoch,
            checkpoint: saved.name,
            sha256: saved.sha256,
            bytes: saved.bytes,
        })?;
        Ok(sink.sync()?)
    }

    /// Restores the newest sound checkpoint and returns its position; the start where there is
    /// none.
    fn resume(&mut self, optimizer: &mut AdamW, sink: &mut dyn Sink) -> Result<Position, Error> {
        for path in checkpoint::list(&self.checkpoints)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match checkpoint::load(&path, &self.run, &mut self.network, optimizer) {
                Ok(position) => {
                    sink.emit(Event::Resumed { step: position.step, checkpoint: name })?;
                    return Ok(position);
                }
                Err(error) => {
                    let reason = with_sources(&error);
                    sink.emit(Event::CheckpointRejected { checkpoint: name, reason })?;
                }
            }
        }
        Ok(Position::start())
    }
}
