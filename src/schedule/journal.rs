//! The coordinator's own journal of one experiment: plans, and starts and ends of attempts.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::event::{self, Planned, SweepEvent, SweepLine};
use crate::fs::atomic::LineLog;

#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("cannot parse line {line} of `{path}`; it may be from a newer version of sweep")]
    Unreadable { path: PathBuf, line: usize, source: serde_json::Error },
    #[error("line {line} of `{path}` has version {v}: it needs a newer version of sweep")]
    Newer { path: PathBuf, line: usize, v: u32 },
}

/// Number of bytes at the start of a line that hold its version, time and kind; a plan may have
/// megabytes.
const HEAD_BYTES: usize = 100;

/// The outcome of writing a plan: recorded, or equal to the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    Appended,
    /// The last plan of the journal is equal, so nothing was written.
    Unchanged,
}

/// The open journal `experiments/<name>/journal.jsonl`; only the holder of the results lock may
/// append to it.
#[derive(Debug)]
pub struct ExperimentJournal {
    path: PathBuf,
    log: LineLog,
    clock: fn() -> u64,
}

impl ExperimentJournal {
    /// Opens the journal; an incomplete line that a crash or a full disk left at its end is cut
    /// off.
    pub fn open(path: &Path, clock: fn() -> u64) -> io::Result<Self> {
        cut_torn_line(path)?;
        Ok(Self { path: path.to_owned(), log: LineLog::open(path)?, clock })
    }

    pub fn append(&mut self, event: SweepEvent) -> io::Result<()> {
        let line = SweepLine { v: event::VERSION, at_ms: (self.clock)(), event };
        self.log.append(&serde_json::to_string(&line).expect("our own types have string keys"))
    }

    /// Appends `planned` unless it is equal to the last plan of the journal.
    pub fn append_plan(&mut self, planned: Planned) -> Result<Recorded, Error> {
        if last_plan(&self.path)?.as_ref() == Some(&planned) {
            return Ok(Recorded::Unchanged);
        }
        self.append(SweepEvent::Planned(planned))?;
        self.log.sync()?;
        Ok(Recorded::Appended)
    }
}

/// The last plan in the journal at `path`, which is the valid one; `None` where there is none.
pub fn last_plan(path: &Path) -> Result<Option<Planned>, Error> {
    if !fs_err::exists(path)? {
        return Ok(None);
    }
    let bytes = fs_err::read(path)?;
    let whole = &bytes[..whole_lines(&bytes)];
    let lines: Vec<_> = whole.split(|byte| *byte == b'\n').collect();
    for (index, line) in lines.iter().enumerate().rev() {
        // Most lines are attempts; parsing them all would make a long journal slow to open.
        if !contains(&line[..line.len().min(HEAD_BYTES)], br#""kind":"planned""#) {
            continue;
        }
        let line: SweepLine = serde_json::from_slice(line).map_err(|source| Error::Unreadable {
            path: path.to_owned(),
            line: index + 1,
            source,
        })?;
        if line.v > event::VERSION {
            return Err(Error::Newer { path: path.to_owned(), line: index + 1, v: line.v });
        }
        if let SweepEvent::Planned(planned) = line.event {
            return Ok(Some(planned));
        }
    }
    Ok(None)
}

fn cut_torn_line(path: &Path) -> io::Result<()> {
    if !fs_err::exists(path)? {
        return Ok(());
    }
    let bytes = fs_err::read(path)?;
    let whole = whole_lines(&bytes);
    if whole < bytes.len() {
        tracing::warn!(path = %path.display(), "cutting off an incomplete last line");
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(whole as u64)?;
        file.sync_all()?;
    }
    Ok(())
}

/// Length of `bytes` up to and including the last newline.
fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |index| index + 1)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::PlannedCell;
    use crate::schedule::fake;

    fn plan(n_cells: u32) -> Planned {
        Planned {
            experiment: "e".to_owned(),
            axes: vec!["seed".to_owned()],
            suite: None,
            suite_corruptions: vec![],
            cells: (0..n_cells)
                .map(|index| PlannedCell {
                    index,
                    labels: vec![("seed".to_owned(), index.to_string())],
                    run: fake::id(index as u8),
                    scores: vec![],
                })
                .collect(),
        }
    }

    fn n_lines(path: &Path) -> usize {
        fs_err::read_to_string(path).unwrap().lines().count()
    }

    #[test]
    fn an_equal_plan_is_not_written_again() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("e/journal.jsonl");
        let mut journal = ExperimentJournal::open(&path, || 1).unwrap();
        assert_eq!(journal.append_plan(plan(1)).unwrap(), Recorded::Appended);
        let ended = SweepEvent::SweepEnded { done: 1, failed: 0, interrupted: false };
        journal.append(ended).unwrap();
        assert_eq!(journal.append_plan(plan(1)).unwrap(), Recorded::Unchanged);
        assert_eq!(journal.append_plan(plan(2)).unwrap(), Recorded::Appended);
        assert_eq!(n_lines(&path), 3);
        assert_eq!(last_plan(&path).unwrap(), Some(plan(2)));
    }

    #[test]
    fn a_torn_last_line_is_never_glued_to_the_next() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("journal.jsonl");
        ExperimentJournal::open(&path, || 1).unwrap().append_plan(plan(1)).unwrap();
        let mut torn = fs_err::read(&path).unwrap();
        torn.extend_from_slice(br#"{"v":1,"at_ms":2,"event":{"kind":"planned","exper"#);
        crate::fs::write_atomic(&path, &torn).unwrap();
        assert_eq!(last_plan(&path).unwrap(), Some(plan(1)), "a reader ignores it");
        let mut journal = ExperimentJournal::open(&path, || 1).unwrap();
        journal.append_plan(plan(2)).unwrap();
        assert_eq!(n_lines(&path), 2);
        assert_eq!(last_plan(&path).unwrap(), Some(plan(2)));
    }

    #[test]
    fn a_plan_of_a_newer_version_is_named_by_its_line() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("journal.jsonl");
        let line = b"\n{\"v\":2,\"event\":{\"kind\":\"planned\",\"grid\":1}}\n";
        crate::fs::write_atomic(&path, line).unwrap();
        let error = last_plan(&path).unwrap_err().to_string();
        assert!(error.contains("line 2 of"), "{error}");
    }

    #[test]
    fn no_journal_is_no_plan() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(last_plan(&temp.path().join("none")).unwrap(), None);
    }
}
