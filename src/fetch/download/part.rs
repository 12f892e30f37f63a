//! The part file that a download grows in, and the notes beside it that let it continue.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fs::write_atomic;

/// Version of the notes file; a part with another version is not continued.
const VERSION: u32 = 1;

/// The file `<target>.part`, with its notes in `<target>.part.json`.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    notes_path: PathBuf,
    notes: Option<Notes>,
    file: std::fs::File,
    len: u64,
}

/// The notes: what the server said about the file when its first byte was requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notes {
    version: u32,
    /// The address without its query, which may hold a signature.
    url: String,
    /// The validator for `If-Range`: a strong `ETag` or a `Last-Modified`.
    validator: Option<String>,
    pub(super) total: Option<u64>,
}

/// The request for the rest of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rest {
    pub(super) from: u64,
    /// The validator; `None` where only the checksum at the end tells whether the pieces fit.
    pub(super) if_range: Option<String>,
}

impl Notes {
    pub(super) fn new(url: &str, validator: Option<String>, total: Option<u64>) -> Self {
        Self { version: VERSION, url: without_query(url).to_owned(), validator, total }
    }
}

impl Part {
    /// Opens the part of `target`, new or as an earlier download left it.
    pub(super) fn open(target: &Path) -> io::Result<Self> {
        let path = path(target);
        let notes_path = with_suffix(target, ".part.json");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|source| name(&path, &source))?;
        let len = file.metadata()?.len();
        let notes = match fs_err::read(&notes_path) {
            // Notes that cannot be understood are as good as none.
            Ok(bytes) => {
                serde_json::from_slice(&bytes).ok().filter(|notes: &Notes| notes.version == VERSION)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self { path, notes_path, notes, file, len })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn total(&self) -> Option<u64> {
        self.notes.as_ref().and_then(|notes| notes.total)
    }

    /// The request that continues from `url`; `None` to start over.
    pub(super) fn rest(&self, url: &str, has_checksum: bool) -> Option<Rest> {
        if self.len == 0 {
            return None;
        }
        let same = self.notes.as_ref().filter(|notes| notes.url == without_query(url));
        match same.and_then(|notes| notes.validator.clone()) {
            Some(validator) => Some(Rest { from: self.len, if_range: Some(validator) }),
            None if has_checksum => Some(Rest { from: self.len, if_range: None }),
            None => None,
        }
    }

    /// Empties the part, for a body that is sent from its first byte.
    pub(super) fn restart(&mut self, notes: Notes) -> io::Result<()> {
        self.file.set_len(0).map_err(|source| name(&self.path, &source))?;
        self.len = 0;
        let json = serde_json::to_vec(&notes).expect("a plain struct always serializes");
        write_atomic(&self.notes_path, &json)?;
        self.notes = Some(notes);
        Ok(())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes);
        if written.is_err() {
            // Part of `bytes` may have been written; it is as good as the rest.
            self.len = self.file.metadata().map_or(self.len, |metadata| metadata.len());
        } else {
            self.len += bytes.len() as u64;
        }
        written.map_err(|source| name(&self.path, &source))
    }

    /// Deletes all that was downloaded.
    pub(super) fn discard(&mut self) -> io::Result<()> {
        self.file.set_len(0).map_err(|source| name(&self.path, &source))?;
        self.len = 0;
        self.notes = None;
        remove(&self.notes_path)
    }

    /// Renames the part to `target`; called once it is known to be correct.
    pub(super) fn finish(self, target: &Path) -> io::Result<()> {
        self.file.sync_all().map_err(|source| name(&self.path, &source))?;
        fs_err::rename(&self.path, target)?;
        remove(&self.notes_path)?;
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        fs_err::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Removes the part if nothing is in it.
    pub(super) fn tidy(self) -> io::Result<()> {
        if self.len > 0 {
            return Ok(());
        }
        remove(&self.notes_path)?;
        remove(&self.path)
    }
}

/// The path of the part of `target`.
pub(super) fn path(target: &Path) -> PathBuf {
    with_suffix(target, ".part")
}

pub(super) fn with_suffix(target: &Path, suffix: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!("{name}{suffix}"))
}

/// The address without its query: links that are sent by e-mail carry a secret signature there.
pub(super) fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn name(path: &Path, source: &io::Error) -> io::Error {
    io::Error::new(source.kind(), format!("{source}: `{}`", path.display()))
}
