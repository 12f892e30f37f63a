//! Workers that an earlier, killed coordinator left behind.
//!
//! `sweep run` waits for them before it chooses among GPUs that are in use: they save and exit by
//! themselves, and until then their GPU looks taken by somebody else.

use std::io;
use std::time::{Duration, Instant};

use crate::fs::{FileLock, ResultsDir};
use crate::resolve::Job;

/// Longest time that a worker needs to save and exit.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Time between two tries of a lock.
const POLL: Duration = Duration::from_millis(200);

/// Waits until no worker holds one of the jobs' runs, 20 s in all at most; returns whether there was
/// one. `tell` is called once, before the waiting.
pub async fn wait(results: &ResultsDir, jobs: &[Job], tell: impl Fn()) -> io::Result<bool> {
    let deadline = Instant::now() + WAIT_MAX;
    let mut found = false;
    for job in jobs {
        let dir = results.run(&job.file.run);
        while dir.root().is_dir() && FileLock::try_acquire(&dir.lock())?.is_none() {
            if !found {
                tell();
            }
            found = true;
            if Instant::now() > deadline {
                return Ok(found);
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::resolve::fake::job;

    #[tokio::test]
    async fn a_worker_is_waited_for_and_told_of_once() {
        let temp = tempfile::tempdir().unwrap();
        let results = ResultsDir::new(temp.path());
        let jobs = [job(1), job(2)];
        let told = Cell::new(0);
        let tell = || told.set(told.get() + 1);
        assert!(!wait(&results, &jobs, tell).await.unwrap());
        let dir = results.run(&jobs[1].file.run);
        fs_err::create_dir_all(dir.root()).unwrap();
        let lock = FileLock::try_acquire(&dir.lock()).unwrap().unwrap();
        let release = async {
            tokio::time::sleep(POLL / 2).await;
            drop(lock);
        };
        let (waited, ()) = tokio::join!(wait(&results, &jobs, tell), release);
        assert_eq!((waited.unwrap(), told.get()), (true, 1));
    }
}
