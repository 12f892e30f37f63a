//! Prepares an attempt: writes into the run's directory the spec and the order that its worker
//! reads.

use std::io;
use std::path::PathBuf;

use serde::Serialize;
use thiserror::Error;

use super::Slot;
use crate::experiment::{self, Order, RunFile};
use crate::fs::{RunDir, write_atomic};
use crate::id::RunId;
use crate::resolve::Job;

pub use crate::experiment::schedule::Terms;

#[derive(Debug, Error)]
pub enum Error {
    #[error("`{path}` describes another run than {run}: move its folder away")]
    OtherRun { path: PathBuf, run: RunId },
    #[error("cannot parse `{path}`: move the folder of this run away")]
    Unreadable { path: PathBuf, source: serde_json::Error },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes `spec.json` (or checks the one that is there) and the order of the next attempt; returns
/// its number, from 1.
pub fn prepare(dir: &RunDir, job: &Job, slot: &Slot, terms: Terms) -> Result<u32, Error> {
    fs_err::create_dir_all(dir.root())?;
    write_spec(dir, &job.file)?;
    let attempt = last_attempt(dir)? + 1;
    let order = Order {
        version: experiment::VERSION,
        attempt,
        device: slot.device,
        threads: slot.threads.get(),
        terms,
        facts: job.facts.clone(),
        scores: job.scores.clone(),
    };
    write_atomic(&dir.order(attempt), &json(&order))?;
    Ok(attempt)
}

/// The number of the last attempt that left an order or a journal; 0 if there was none.
pub fn last_attempt(dir: &RunDir) -> io::Result<u32> {
    let mut last = 0;
    for entry in fs_err::read_dir(dir.root())? {
        let name = entry?.file_name();
        last = last.max(name.to_str().and_then(attempt_of).unwrap_or(0));
    }
    Ok(last)
}

fn write_spec(dir: &RunDir, file: &RunFile) -> Result<(), Error> {
    let path = dir.spec();
    if !fs_err::exists(&path)? {
        return Ok(write_atomic(&path, &json(file))?);
    }
    let bytes = fs_err::read(&path)?;
    match serde_json::from_slice::<RunFile>(&bytes) {
        Ok(old) if old.run == file.run && old.identity == file.identity => Ok(()),
        Ok(_) => Err(Error::OtherRun { path, run: file.run.clone() }),
        Err(source) => Err(Error::Unreadable { path, source }),
    }
}

fn attempt_of(name: &str) -> Option<u32> {
    let order = name.strip_prefix("order.").and_then(|rest| rest.strip_suffix(".json"));
    let events = || name.strip_prefix("events.").and_then(|rest| rest.strip_suffix(".jsonl"));
    order.or_else(events)?.parse().ok()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("our own types have string keys");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::schedule::fake;

    fn written(dir: &RunDir, attempt: u32) -> Order {
        serde_json::from_slice(&fs_err::read(dir.order(attempt)).unwrap()).unwrap()
    }

    #[test]
    fn attempts_count_on_from_orders_and_journals() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RunDir::new(temp.path().join("run"));
        let job = fake::job(1);
        assert_eq!(prepare(&dir, &job, &fake::cpu(), Terms::default()).unwrap(), 1);
        assert_eq!(prepare(&dir, &job, &fake::cpu(), Terms::default()).unwrap(), 2);
        write_atomic(&dir.events(11), b"").unwrap();
        write_atomic(&dir.root().join("events.x.jsonl"), b"").unwrap();
        assert_eq!(prepare(&dir, &job, &fake::cpu(), Terms::default()).unwrap(), 12);
        let order = written(&dir, 12);
        assert_eq!((order.attempt, order.device, order.threads), (12, Device::Cpu, 1));
    }

    #[test]
    fn the_spec_of_the_first_attempt_stays() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RunDir::new(temp.path());
        let mut job = fake::job(1);
        prepare(&dir, &job, &fake::cpu(), Terms::default()).unwrap();
        let before = fs_err::read(dir.spec()).unwrap();
        job.file.spec.eval.sets.push("test".into());
        prepare(&dir, &job, &fake::cpu(), Terms::default()).unwrap();
        assert_eq!(fs_err::read(dir.spec()).unwrap(), before);
    }

    #[test]
    fn a_directory_of_another_run_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RunDir::new(temp.path());
        prepare(&dir, &fake::job(1), &fake::cpu(), Terms::default()).unwrap();
        let error = prepare(&dir, &fake::job(2), &fake::cpu(), Terms::default()).unwrap_err();
        assert!(matches!(error, Error::OtherRun { .. }), "{error}");
        write_atomic(&dir.spec(), b"{").unwrap();
        let error = prepare(&dir, &fake::job(1), &fake::cpu(), Terms::default()).unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }), "{error}");
    }
}
