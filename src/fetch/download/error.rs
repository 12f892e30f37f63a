//! The errors of a download.

use std::io;
use std::path::PathBuf;

use super::shown;

/// The reason why a file could not be downloaded; names the address or file, and what is kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot reach {url}: {why}")]
    Unreachable { url: String, why: String },
    #[error("{url} stopped: {why}; {done} bytes are kept in `{part}`: run the command again")]
    Broken { url: String, why: String, done: u64, part: PathBuf },
    #[error("{url} was refused: {status} {}", status_words(*status))]
    Refused { url: String, status: u16 },
    #[error("{url}: {problem}")]
    BadAddress { url: String, problem: String },
    #[error("{url} returned a web page instead of the file")]
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
    #[error("the disk is full; {done} bytes are kept in `{part}`: free space and try again")]
    DiskFull { part: PathBuf, done: u64 },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// Whether the error is local, so that no other address would help.
    pub(super) fn is_local(&self) -> bool {
        matches!(
            self,
            Self::NoRoom { .. } | Self::DiskFull { .. } | Self::Certificates { .. } | Self::Io(_)
        )
    }

    /// Whether the content that was downloaded or found failed its check.
    pub fn is_failed_check(&self) -> bool {
        matches!(self, Self::Checksum { .. } | Self::WrongSize { .. })
    }

    /// Whether the network is the cause, so that another machine or address might succeed.
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

    /// The same error, naming the address instead of the part, which is gone.
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
        401 | 403 => "(not allowed; a link that was sent by e-mail may have expired)",
        404 | 410 => "(it is no longer there)",
        300..=399 => "(a redirect to nowhere)",
        _ => "",
    }
}
