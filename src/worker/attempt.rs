//! Runs one attempt from its lock to its outcome: reads spec and order, trains if training is not
//! finished, makes the missing scores.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::inputs::Work;
use super::journal::{Earlier, Journal};
use super::{Error, Exit};
use crate::device;
use crate::error::with_sources;
use crate::event::{AttemptStarted, Event, FailureClass, Memory, Outcome};
use crate::experiment::{Order, RunFile};
use crate::fs::{FileLock, RunDir, read_json};
use crate::host;
use crate::train::checkpoint;
use crate::train::run::{End, Sink};

/// Trains and scores the run in `dir` as `order.<attempt>.json` asks; blocks while an earlier
/// worker holds the run. Sets nothing outside `dir`. `stop` asks for a checkpoint and the end.
pub fn run(dir: &RunDir, attempt: u32, stop: &Arc<AtomicBool>) -> Exit {
    let lock = match FileLock::acquire(&dir.lock()) {
        Ok(lock) => lock,
        Err(error) => {
            let class = FailureClass::of_environment(&error);
            return Exit::Failed { message: format!("cannot lock the run: {error}"), class };
        }
    };
    let result = work(dir, attempt, stop);
    drop(lock);
    match result {
        Ok(End::Finished) => Exit::Done,
        Ok(End::Interrupted) => Exit::Interrupted,
        Err(error) => Exit::Failed { message: with_sources(&error), class: error.class() },
    }
}

fn work(dir: &RunDir, attempt: u32, stop: &AtomicBool) -> Result<End, Error> {
    let file: RunFile = read(dir.spec())?;
    let order: Order = read(dir.order(attempt))?;
    let mut journal = Journal::open(dir, attempt)?;
    journal.emit(Event::AttemptStarted(started(&order)))?;
    let (result, device_bytes) = match Work::new(dir, &file, &order) {
        Ok(work) => (work.run(&mut journal, stop), work.held_bytes.get()),
        Err(error) => (Err(error), None),
    };
    let outcome = match &result {
        Ok(End::Finished) => Outcome::Done,
        Ok(End::Interrupted) => Outcome::Interrupted,
        Err(error) => Outcome::Failed { message: with_sources(error), class: error.class() },
    };
    let memory = Memory { process_bytes: host::peak_memory_bytes(), device_bytes };
    journal.emit(Event::AttemptEnded { outcome, memory: Some(memory) })?;
    journal.sync()?;
    result
}

impl Work<'_> {
    fn run(&self, journal: &mut Journal, stop: &AtomicBool) -> Result<End, Error> {
        let earlier = Earlier::read(self.dir)?;
        let mut network = self.network()?;
        let adapter = self.dir.adapter();
        let trained = match checkpoint::load_adapter(&adapter, &self.file.run, &mut network) {
            Ok(_) => true,
            Err(error) => {
                if adapter.exists() {
                    journal.emit(Event::CheckpointRejected {
                        checkpoint: "adapter.safetensors".to_owned(),
                        reason: with_sources(&error),
                    })?;
                }
                false
            }
        };
        if !trained || !earlier.trained {
            let end = self.train(network.clone(), journal, stop)?;
            self.note_memory();
            if end == End::Interrupted {
                return Ok(End::Interrupted);
            }
        }
        let end = self.score_missing(network, &earlier, journal, stop)?;
        self.note_memory();
        Ok(end)
    }

    /// Notes what is held on the GPU: nearly the most so far, for what is freed is kept for reuse.
    fn note_memory(&self) {
        let held = device::held_bytes(&self.device);
        self.held_bytes.set(self.held_bytes.get().max(held));
    }
}

fn read<T: serde::de::DeserializeOwned>(path: PathBuf) -> Result<T, Error> {
    read_json(&path).map_err(|reason| Error::RunFile { path, reason })
}

fn started(order: &Order) -> AttemptStarted {
    AttemptStarted {
        attempt: order.attempt,
        pid: std::process::id(),
        host: host::name(),
        device: order.device,
        device_name: device::name(order.device.seen_alone()),
        threads: order.threads,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        git: env!("BUILT_FROM_COMMIT").to_owned(),
    }
}
