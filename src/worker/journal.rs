//! Writes the journal of one attempt, and reads from those of earlier ones what is already done.

use std::collections::BTreeSet;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Error;
use crate::event::{self, Event, Line};
use crate::fs::RunDir;
use crate::fs::atomic::LineLog;
use crate::id::ScoreId;
use crate::train::run::Sink;

/// The work that earlier attempts have journalled as done.
#[derive(Default)]
pub(super) struct Earlier {
    /// Whether training reached its last step.
    pub(super) trained: bool,
    pub(super) scores: BTreeSet<ScoreId>,
}

impl Earlier {
    pub(super) fn read(dir: &RunDir) -> Result<Self, Error> {
        let mut earlier = Self::default();
        for entry in fs_err::read_dir(dir.root())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_journal = path.extension().is_some_and(|extension| extension == "jsonl");
            if !(is_journal && name.starts_with("events.")) {
                continue;
            }
            // A torn line is not an event; indexing the journal reports it.
            let text = String::from_utf8_lossy(&fs_err::read(&path)?).into_owned();
            for line in text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()) {
                match line.event {
                    Event::TrainingEnded { .. } => earlier.trained = true,
                    Event::ScoreEnded(score) => {
                        earlier.scores.insert(score.score);
                    }
                    _ => {}
                }
            }
        }
        Ok(earlier)
    }
}

/// The journal of one attempt.
pub(super) struct Journal {
    log: LineLog,
    attempt: u32,
    bytes: u64,
}

impl Journal {
    pub(super) fn open(dir: &RunDir, attempt: u32) -> io::Result<Self> {
        Ok(Self { log: LineLog::open(&dir.events(attempt))?, attempt, bytes: 0 })
    }
}

impl Sink for Journal {
    fn emit(&mut self, event: Event) -> io::Result<()> {
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        let line = Line { v: event::VERSION, at_ms: at_ms as u64, event };
        let text = serde_json::to_string(&line).map_err(io::Error::other)?;
        self.bytes += text.len() as u64 + 1;
        self.log.append(&text)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.log.sync()
    }

    fn position(&self) -> (u32, u64) {
        (self.attempt, self.bytes)
    }
}
