//! Why a file is not there.

use std::io;
use std::path::PathBuf;

use super::shown;

/// Each names the address or the file, and what is kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot reach {url}: {why}")]
    Unreachable { url: String, why: String },
    #[error("{url} breaks off: {why}; {done} bytes are kept in `{part}`, the same command goes on")]
    Broken { url: String, why: String, done: u64, part: PathBuf },
    #[error("{url} is refused: {status} {}", status_words(*status))]
    Refused { url: String, status: u16 },
    #[error("{url}: {problem}")]
    BadAddress { url: String, problem: String },
    #[error("{url} gives a web page instead of the file")]
    Page { url: String },
    #[error("{url} is another file: {found} bytes where {expected} are expected")]
    WrongSize { url: String, found: u64, expected: String },
    #[error("{url} does not say how long the file is, and no checksum of it is published")]
    NoLength { url: String },
    #[error("{what} is not the published file: its {kind} is {found} instead of {expected}")]
    Checksum { what: String, kind: &'static str, found: String, expected: String },
    #[error("no certificates can be read from `{path}` (SSL_CERT_FILE)")]
    Certificates { path: PathBuf },
    #[error("`{folder}` has {free} bytes free where {needed} are needed")]
    NoRoom { folder: PathBuf, free: u64, needed: u64 },
    #[error("the disk is full; {done} bytes are kept in `{part}`, the same command goes on")]
    DiskFull { part: PathBuf, done: u64 },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// Whether no other address would help.
    pub(super) fn is_local(&self) -> bool {
        matches!(
            self,
            Self::NoRoom { .. } | Self::DiskFull { .. } | Self::Certificates { .. } | Self::Io(_)
        )
    }

    /// Whether what was downloaded or found is not what it should be.
    pub fn is_failed_check(&self) -> bool {
        matches!(self, Self::Checksum { .. } | Self::WrongSize { .. })
    }

    /// Whether another machine, or another way, might reach what this one did not.
    pub fn is_of_network(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Broken { .. }
                | Self::Refused { .. }
                | Self::BadAddress { .. }
                | Self::Page { .. }
                | Self::NoLength { .. }
        )
    }

    /// Names the address instead of the part that is gone.
    pub(super) fn of(self, url: &str) -> Self {
        match self {
            Self::Checksum { kind, found, expected, .. } => {
                Self::Checksum { what: shown(url), kind, found, expected }
            }
            other => other,
        }
    }
}

fn status_words(status: u16) -> &'static str {
    match status {
        401 | 403 => "(not allowed; a link that was sent by e-mail may have run out)",
        404 | 410 => "(it is not there any more)",
        300..=399 => "(it leads nowhere)",
        _ => "",
    }
}
