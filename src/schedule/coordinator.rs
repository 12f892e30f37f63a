//! Makes this process the one coordinator of a results folder: by its lock, its name and its
//! heartbeat.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::fs::{FileLock, ResultsDir, write_atomic};
use crate::host;

/// The version of [`Holder`]'s file, raised when its meaning changes.
pub const VERSION: u32 = 1;

const HEARTBEAT: Duration = Duration::from_secs(5);
/// Longest time that verbs which only read hold the lock, to bring the index up to date.
const BRIEF: Duration = Duration::from_secs(2);

/// The process that holds a results folder, as written to its file: `experiments/coordinator.json`.
///
/// Fields of later versions are ignored: to be named is better than to be unreadable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub version: u32,
    pub pid: u32,
    pub host: String,
    pub experiment: String,
    /// Milliseconds since the Unix epoch.
    pub started_at_ms: u64,
    pub heartbeat_at_ms: u64,
}

#[derive(Debug, Error)]
pub enum Error {
    #[error("the results folder `{folder}` is held by another coordinator: {holder}")]
    Held { folder: String, holder: String },
    #[error("cannot lock the results folder `{folder}`")]
    Io { folder: String, source: io::Error },
}

/// The right to coordinate a results folder, held until it is dropped; a thread writes the
/// heartbeat.
#[derive(Debug)]
pub struct Coordinator {
    _lock: FileLock,
    /// Channel that is closed to end the thread.
    stop: Option<mpsc::Sender<()>>,
    heart: Option<JoinHandle<()>>,
}

impl Coordinator {
    /// Takes the folder's lock and writes this process's name, or returns an error that names the
    /// holder.
    pub fn acquire(
        results: &ResultsDir,
        experiment: &str,
        clock: fn() -> u64,
    ) -> Result<Self, Error> {
        let folder = results.root().display().to_string();
        let io_error = |source| Error::Io { folder: folder.clone(), source };
        let Some(lock) = lock(results, clock).map_err(io_error)? else {
            let holder = describe(holder(results).as_ref(), clock());
            return Err(Error::Held { folder, holder });
        };
        let mut holder = Holder {
            version: VERSION,
            pid: std::process::id(),
            host: host::name(),
            experiment: experiment.to_owned(),
            started_at_ms: clock(),
            heartbeat_at_ms: clock(),
        };
        write(results, &holder).map_err(io_error)?;
        let (stop, stopped) = mpsc::channel();
        let results = results.clone();
        let heart = std::thread::spawn(move || {
            while stopped.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                holder.heartbeat_at_ms = clock();
                if let Err(error) = write(&results, &holder) {
                    tracing::warn!(%error, "cannot write the heartbeat");
                }
            }
        });
        Ok(Self { _lock: lock, stop: Some(stop), heart: Some(heart) })
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(heart) = self.heart.take()
            && heart.join().is_err()
        {
            tracing::error!("the heartbeat thread panicked");
        }
    }
}

/// Takes the folder's lock; waits a little for a holder that has no heartbeat.
fn lock(results: &ResultsDir, clock: fn() -> u64) -> io::Result<Option<FileLock>> {
    let deadline = Instant::now() + BRIEF;
    loop {
        if let Some(lock) = FileLock::try_acquire(&results.lock())? {
            return Ok(Some(lock));
        }
        let beats = holder(results).is_some_and(|holder| {
            clock().saturating_sub(holder.heartbeat_at_ms) < 3 * HEARTBEAT.as_millis() as u64
        });
        if beats || Instant::now() > deadline {
            return Ok(None);
        }
        std::thread::sleep(BRIEF / 20);
    }
}

/// The process that last wrote its name, whether or not it still holds the lock.
pub fn holder(results: &ResultsDir) -> Option<Holder> {
    // Missing or torn: then nobody can be named, and the lock alone counts.
    let bytes = fs_err::read(results.holder()).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Describes the holder for a message: `pid 12 on host, experiment "x", heartbeat 3 s ago`.
pub fn describe(holder: Option<&Holder>, now_ms: u64) -> String {
    let Some(holder) = holder else {
        return "it has not written its name yet".to_owned();
    };
    let age_s = now_ms.saturating_sub(holder.heartbeat_at_ms) / 1000;
    let Holder { pid, host, experiment, .. } = holder;
    format!("pid {pid} on {host}, experiment `{experiment}`, heartbeat {age_s} s ago")
}

fn write(results: &ResultsDir, holder: &Holder) -> io::Result<()> {
    let json = serde_json::to_vec(holder).expect("a plain struct always serializes");
    write_atomic(&results.holder(), &json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> u64 {
        10_000
    }

    #[test]
    fn a_second_coordinator_is_refused_by_name_until_the_first_is_gone() {
        let temp = tempfile::tempdir().unwrap();
        let results = ResultsDir::new(temp.path());
        let first = Coordinator::acquire(&results, "grid", clock).unwrap();
        let error = Coordinator::acquire(&results, "other", || 13_500).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(error.contains(&format!("pid {pid} on ")), "{error}");
        assert!(error.ends_with("experiment `grid`, heartbeat 3 s ago"), "{error}");
        drop(first);
        Coordinator::acquire(&results, "other", clock).unwrap();
        assert_eq!(holder(&results).unwrap().experiment, "other");
    }

    #[test]
    fn a_holder_without_a_heartbeat_is_waited_for() {
        let temp = tempfile::tempdir().unwrap();
        let results = ResultsDir::new(temp.path());
        let brief = FileLock::try_acquire(&results.lock()).unwrap().unwrap();
        let waiting = std::thread::spawn({
            let results = results.clone();
            move || Coordinator::acquire(&results, "grid", clock).map(drop)
        });
        std::thread::sleep(Duration::from_millis(50));
        drop(brief);
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn a_holder_file_of_version_1_stays_readable() {
        let old = r#"{"version":1,"pid":7,"host":"gpu3","experiment":"e","started_at_ms":1,"heartbeat_at_ms":2000,"later":true}"#;
        let holder: Holder = serde_json::from_str(old).unwrap();
        assert_eq!(
            describe(Some(&holder), 9_999),
            "pid 7 on gpu3, experiment `e`, heartbeat 7 s ago"
        );
    }

    #[test]
    fn a_torn_holder_file_names_nobody() {
        let temp = tempfile::tempdir().unwrap();
        let results = ResultsDir::new(temp.path());
        assert_eq!(holder(&results), None);
        write_atomic(&results.holder(), b"{\"version\":1,").unwrap();
        assert_eq!(holder(&results), None);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        write_atomic(&file, b"").unwrap();
        let error = Coordinator::acquire(&ResultsDir::new(&file), "e", clock).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }
}
