//! Reads what an attempt left in its run's folder when its process has ended: the outcome in its
//! journal, and the last lines of its log. The event loop reads both when a worker exits, so that
//! its decision does not wait for the index.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::event::{Event, Line, Outcome};
use crate::fs::RunDir;

/// Number of lines of a worker's log that are quoted in its failure.
const LOG_TAIL_LINES: usize = 6;
const LOG_TAIL_BYTES: u64 = 4096;
/// Number of bytes read at a journal's end, whose last whole line is the attempt's outcome; a
/// message may be long.
const JOURNAL_TAIL_BYTES: u64 = 1 << 18;

/// Reads the outcome that the attempt's own worker journalled; `None` where its journal is missing
/// or has no outcome.
pub fn outcome(dir: &RunDir, attempt: u32) -> io::Result<Option<Outcome>> {
    let bytes = match tail(&dir.events(attempt), JOURNAL_TAIL_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let lines = bytes[..whole].split(|byte| *byte == b'\n');
    // A line that cannot be read is skipped here; indexing the journal reports it.
    let mut ends = lines.rev().filter_map(|line| match serde_json::from_slice(line) {
        Ok(Line { event: Event::AttemptEnded { outcome, .. }, .. }) => Some(outcome),
        _ => None,
    });
    Ok(ends.next())
}

/// Reads the last lines of a log as one line; empty if it cannot be read, as it only explains.
pub fn log_tail(path: &Path) -> String {
    let bytes = tail(path, LOG_TAIL_BYTES).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    // Backtraces bury the message that precedes them.
    let text = text.split("\nstack backtrace:").next().unwrap_or_default();
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join(" | ")
}

/// Reads the last `bytes_max` bytes of a file.
fn tail(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut file = fs_err::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::write_atomic;

    fn check(journal: &str, expect: Option<&Outcome>) {
        let temp = tempfile::tempdir().unwrap();
        let dir = RunDir::new(temp.path());
        write_atomic(&dir.events(2), journal.as_bytes()).unwrap();
        assert_eq!(outcome(&dir, 2).unwrap().as_ref(), expect, "{journal}");
        assert_eq!(outcome(&dir, 1).unwrap(), None, "another attempt's");
    }

    #[test]
    fn the_end_is_in_the_last_whole_lines() {
        let ended =
            r#"{"v":1,"at_ms":1,"event":{"kind":"attempt_ended","outcome":{"kind":"done"}}}"#;
        let warning = r#"{"v":1,"at_ms":1,"event":{"kind":"warning","message":"slow"}}"#;
        check("", None);
        check(&format!("{warning}\n"), None);
        check(&format!("{warning}\n{ended}\n"), Some(&Outcome::Done));
        check(&format!("{ended}\n{warning}\n"), Some(&Outcome::Done));
        check(&format!("{warning}\n{}", &ended[..40]), None);
        check(&format!("{warning}\n{ended}"), None);
        let long = format!("{warning}\n").repeat(JOURNAL_TAIL_BYTES as usize / 50);
        check(&format!("{long}{ended}\n"), Some(&Outcome::Done));
    }

    #[test]
    fn the_tail_of_a_log_stops_before_the_backtrace() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        let long = format!(
            "{}\n\nthread 'main' panicked:\nindex 7\nstack backtrace:\n  0: x\n",
            "x\n".repeat(9000)
        );
        write_atomic(&path, long.as_bytes()).unwrap();
        assert_eq!(log_tail(&path), "x | x | x | x | thread 'main' panicked: | index 7");
        assert_eq!(log_tail(&temp.path().join("none")), "");
    }
}
