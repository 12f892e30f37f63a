//! Reads journals from disk: lists their files, and reads the complete lines past a position.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::event::{self, VERSION};
use crate::fs::RunDir;

/// Names of the files in a folder that are indexed.
pub(super) const SPEC: &str = "spec.json";
pub(super) const SWEEP_JOURNAL: &str = "journal.jsonl";

/// The end of the part of a file that is indexed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) bytes: u64,
    pub(super) lines: u64,
}

/// Positions in the files of one folder, by file name.
pub(super) type Known = BTreeMap<String, Position>;

/// The indexed files of a run directory, with their sizes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RunFiles {
    pub(super) spec: Option<u64>,
    /// Bytes of `events.<attempt>.jsonl` by attempt.
    pub(super) events: BTreeMap<u32, u64>,
}

impl RunFiles {
    /// Lists the files in `dir`; none where it does not exist.
    pub(super) fn list(dir: &RunDir) -> io::Result<Self> {
        let mut files = Self::default();
        let entries = match fs_err::read_dir(dir.root()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name == SPEC {
                files.spec = Some(entry.metadata()?.len());
            } else if let Some(attempt) = attempt_of(name) {
                files.events.insert(attempt, entry.metadata()?.len());
            }
        }
        Ok(files)
    }

    /// Tells whether all of these files, and no others, are indexed to their ends.
    pub(super) fn is_indexed(&self, known: &Known) -> bool {
        let n_indexed = self.events.values().filter(|&&bytes| bytes > 0).count();
        let at = |file: &str, bytes| known.get(file).is_some_and(|p| p.bytes == bytes);
        known.len() == n_indexed + usize::from(self.spec.is_some())
            && self.spec.is_none_or(|bytes| at(SPEC, bytes))
            && self.events.iter().all(|(&n, &bytes)| bytes == 0 || at(&events_name(n), bytes))
    }

    /// Tells whether files have changed so that the indexed part is no longer their beginning.
    pub(super) fn contradict(&self, known: &Known) -> bool {
        known.iter().any(|(file, position)| match attempt_of(file) {
            Some(attempt) => self.events.get(&attempt).is_none_or(|&size| size < position.bytes),
            None => self.spec != Some(position.bytes),
        })
    }
}

pub(super) fn events_name(attempt: u32) -> String {
    format!("events.{attempt}.jsonl")
}

pub(super) fn attempt_of(name: &str) -> Option<u32> {
    name.strip_prefix("events.")?.strip_suffix(".jsonl")?.parse().ok()
}

/// The part of a file past a position.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Complete lines without their newlines, numbered from 1.
    pub(super) lines: Vec<(u64, Vec<u8>)>,
    /// Position after the last complete line.
    pub(super) end: Position,
    /// Number of bytes of a last line that has no newline yet.
    pub(super) torn_bytes: u64,
}

/// Reads the complete lines of the file at `path` past `from`.
pub(super) fn read_tail(path: &Path, from: Position) -> io::Result<Tail> {
    let mut file = fs_err::File::open(path)?;
    file.seek(SeekFrom::Start(from.bytes))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let complete = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    let lines: Vec<_> = bytes[..complete]
        .split_inclusive(|&byte| byte == b'\n')
        .zip(from.lines + 1..)
        .map(|(line, number)| (number, line[..line.len() - 1].to_vec()))
        .collect();
    let end =
        Position { bytes: from.bytes + complete as u64, lines: from.lines + lines.len() as u64 };
    Ok(Tail { lines, end, torn_bytes: (bytes.len() - complete) as u64 })
}

/// A complete line of a journal.
#[derive(Debug)]
pub(super) enum Parsed<T> {
    Line(T),
    /// A line of a version that this `sweep` does not know.
    Newer(u32),
    /// An unreadable line, and the reason.
    Bad(String),
}

/// A line that says which version wrote it.
pub(super) trait Versioned: DeserializeOwned {
    fn version(&self) -> u32;
}

impl Versioned for event::Line {
    fn version(&self) -> u32 {
        self.v
    }
}

impl Versioned for event::SweepLine {
    fn version(&self) -> u32 {
        self.v
    }
}

pub(super) fn parse<T: Versioned>(bytes: &[u8]) -> Parsed<T> {
    #[derive(Deserialize)]
    struct VersionOnly {
        v: u32,
    }
    match serde_json::from_slice::<T>(bytes) {
        Ok(line) if line.version() > VERSION => Parsed::Newer(line.version()),
        Ok(line) => Parsed::Line(line),
        Err(error) => match serde_json::from_slice::<VersionOnly>(bytes) {
            Ok(line) if line.v > VERSION => Parsed::Newer(line.v),
            _ => Parsed::Bad(error.to_string()),
        },
    }
}
