//! The interface that starts and ends workers: local processes, later a cluster, in tests a fake.
//!
//! The event loop calls it; exits come back on a channel.

use std::io;

use super::Slot;
use crate::fs::RunDir;
use crate::id::RunId;

/// One worker to start; spec and order are in `dir` already.
#[derive(Debug, Clone)]
pub struct Launch {
    pub run: RunId,
    pub attempt: u32,
    pub dir: RunDir,
    pub slot: Slot,
}

/// The way a worker process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerExit {
    Code(i32),
    Signal(i32),
}

/// The exit of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exited {
    pub run: RunId,
    pub attempt: u32,
    pub exit: WorkerExit,
}

/// Starts and ends workers; their exits arrive on the channel it was made with.
pub trait Executor {
    /// Starts a worker. After success exactly one [`Exited`] follows.
    fn spawn(&mut self, launch: &Launch) -> io::Result<()>;

    /// Asks the run's worker to save its state and exit; does nothing if there is none.
    fn ask_to_stop(&mut self, run: &RunId);

    /// Kills the run's worker and its children at once; does nothing if there is none.
    fn kill(&mut self, run: &RunId);

    /// Frees everything kept of a worker whose exit was handled.
    fn forget(&mut self, exited: &Exited);
}
