//! Downloads files; continues where an earlier download stopped, and checks them before use.
//!
//! A file grows as `<target>.part` and gets its name only once its length and checksum are right:
//! whatever the network, the server or `kill -9` do, the target is absent or right.

mod body;
mod check;
mod client;
mod error;
mod part;
mod patience;
#[cfg(test)]
pub(crate) mod server;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fs::Claim;
use body::Body;
use check::verify;
use client::{Again, Answer, Client, Failure, Length};
pub use error::Error;
use part::Part;
use patience::Patience;

/// A file that is published on the web.
#[derive(Debug, Clone)]
pub struct RemoteFile {
    /// Addresses, tried in order.
    pub urls: Vec<String>,
    pub size: Size,
    pub checksum: Checksum,
    /// Bytes that must be free beside the file itself, such as for unpacking it.
    pub room_bytes: u64,
}

/// The length of a file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    Exact(u64),
    /// An approximate length: a file of more than four times this is another file.
    About(u64),
}

/// The checksum of a file's content, in lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// The sha256 in full, or its first digits where no more is published.
    Sha256(&'static str),
    Md5(&'static str),
    /// None is published: the sha256 of the first download is kept in `<target>.sha256` and
    /// required from then on.
    Unpublished,
}

/// Network settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Time without data after which a connection is given up.
    pub stall_timeout: Duration,
    pub connect_timeout: Duration,
    /// Number of attempts in a row that may bring nothing.
    pub idle_attempts: u32,
    /// Wait before the second such attempt; doubles with each.
    pub wait: Duration,
    pub proxy: Proxy,
    /// PEM file to use instead of the built-in certificates (`SSL_CERT_FILE`).
    pub root_certificates: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// The proxy, from `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
    FromEnvironment,
    None,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stall_timeout: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(30),
            idle_attempts: 5,
            wait: Duration::from_secs(1),
            proxy: Proxy::FromEnvironment,
            root_certificates: None,
        }
    }
}

/// A progress event.
#[derive(Debug)]
pub enum News<'a> {
    /// Another process is downloading the same file.
    Waits {
        target: &'a Path,
    },
    Asks {
        url: String,
        from: u64,
    },
    Bytes {
        done: u64,
        total: Option<u64>,
    },
    Retries {
        why: &'a str,
        wait: Duration,
    },
    StartsOver {
        why: &'a str,
    },
    NextUrl {
        why: String,
    },
    Checks {
        target: &'a Path,
        bytes: u64,
    },
}

/// A file that is present and correct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub is_new: bool,
    pub proof: Proof,
}

/// The evidence that a file is correct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    Published,
    /// The sha256 beside it, recorded when it was first downloaded here.
    Remembered {
        record: PathBuf,
    },
    /// None yet: its sha256 was recorded just now.
    FirstSeen {
        record: PathBuf,
    },
    /// None, and the folder cannot be written to.
    None,
}

/// Downloads files.
pub struct Downloader {
    client: Client,
    settings: Settings,
}

/// A file and its target.
#[derive(Clone, Copy)]
struct Task<'a> {
    file: &'a RemoteFile,
    target: &'a Path,
}

type Tell<'a> = dyn FnMut(News<'_>) + 'a;

impl Downloader {
    pub fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self { client: Client::new(&settings)?, settings })
    }

    /// Downloads `file` to `target` unless it is there and correct.
    ///
    /// A wrong file at `target` is an error and stays.
    pub fn fetch(
        &self,
        file: &RemoteFile,
        target: &Path,
        tell: &mut Tell<'_>,
    ) -> Result<Fetched, Error> {
        // It has its name only when it is whole, so that looking needs no lock.
        let claim = if target.exists() {
            None
        } else {
            Some(Claim::on(target, || tell(News::Waits { target }))?)
        };
        if target.exists() {
            let proof = verify(target, target, &file.checksum, tell)?;
            return Ok(Fetched { is_new: false, proof });
        }
        let mut part = Part::open(target)?;
        let proof = match self.download(Task { file, target }, &mut part, tell) {
            Ok(proof) => proof,
            Err(error) => {
                part.tidy()?;
                return Err(error);
            }
        };
        part.finish(target)?;
        drop(claim);
        Ok(Fetched { is_new: true, proof })
    }

    /// Fills `part` from the first address that works.
    fn download(
        &self,
        task: Task<'_>,
        part: &mut Part,
        tell: &mut Tell<'_>,
    ) -> Result<Proof, Error> {
        let Task { file, target } = task;
        if part.len() > 0 && part.total() == Some(part.len()) {
            // All was there when the last download was killed.
            match verify(part.path(), target, &file.checksum, tell) {
                Err(error @ Error::Checksum { .. }) => start_over(part, &error, tell)?,
                proof => return proof,
            }
        }
        let mut urls = file.urls.iter().peekable();
        while let Some(url) = urls.next() {
            match self.download_from(url, task, part, tell) {
                Err(error) if !error.is_local() && urls.peek().is_some() => {
                    tell(News::NextUrl { why: error.to_string() });
                }
                result => return result,
            }
        }
        unreachable!("the last address returns")
    }

    fn download_from(
        &self,
        url: &str,
        task: Task<'_>,
        part: &mut Part,
        tell: &mut Tell<'_>,
    ) -> Result<Proof, Error> {
        let Task { file, target } = task;
        let mut patience = Patience::new(&self.settings, part.len());
        let mut is_pieced = false;
        loop {
            is_pieced |= part.len() > 0;
            match self.attempt(url, file, part, tell) {
                Ok(()) => match verify(part.path(), target, &file.checksum, tell) {
                    // Pieces of different files, perhaps: once more in one piece.
                    Err(error @ Error::Checksum { .. }) if is_pieced => {
                        start_over(part, &error, tell)?;
                        is_pieced = false;
                    }
                    Err(error) => {
                        part.discard()?;
                        return Err(error.of(url));
                    }
                    Ok(proof) => return Ok(proof),
                },
                Err(Failure::Again(again)) => match patience.wait(&again, part.len()) {
                    Some(wait) => {
                        tell(News::Retries { why: &again.why, wait });
                        std::thread::sleep(wait);
                    }
                    None => return Err(given_up(url, again, part)),
                },
                Err(Failure::Final(error)) => return Err(error),
            }
        }
    }

    /// Makes one request and appends all that it returns.
    fn attempt(
        &self,
        url: &str,
        file: &RemoteFile,
        part: &mut Part,
        tell: &mut Tell<'_>,
    ) -> Result<(), Failure> {
        let rest = part.rest(url, file.checksum != Checksum::Unpublished);
        tell(News::Asks { url: shown(url), from: rest.as_ref().map_or(0, |rest| rest.from) });
        match self.client.get(url, rest.as_ref())? {
            Answer::NoMore => Ok(()),
            Answer::Misfit => {
                part.discard()?;
                Err(Failure::Again(Again::new("the file on the server has changed")))
            }
            Answer::Whole { notes, length, body } => {
                let is_told = length == Length::Told || file.checksum != Checksum::Unpublished;
                if !is_told && !matches!(file.size, Size::Exact(_)) {
                    return Err(Failure::Final(Error::NoLength { url: shown(url) }));
                }
                let mut body = Body { reader: body, url, file, total: notes.total };
                body.begin(notes, part, tell)?;
                body.go_on(part, tell)
            }
            Answer::Rest { total, body } => {
                let total = total.or(part.total());
                if total != part.total() && part.total().is_some() {
                    part.discard()?;
                    return Err(Failure::Again(Again::new("the file has changed")));
                }
                check::check_size(url, file, total, part.len(), part.path())?;
                Body { reader: body, url, file, total }.go_on(part, tell)
            }
        }
    }
}

impl Size {
    fn bytes_max(self) -> u64 {
        match self {
            Self::Exact(bytes) => bytes,
            Self::About(bytes) => bytes.saturating_mul(4),
        }
    }

    /// The size, exact or approximate.
    pub fn bytes(self) -> u64 {
        let (Self::Exact(bytes) | Self::About(bytes)) = self;
        bytes
    }
}

/// Bytes of an unfinished download of `target`; 0 where there is none.
pub fn partial_bytes(target: &Path) -> u64 {
    fs_err::metadata(part::path(target)).map_or(0, |metadata| metadata.len())
}

fn start_over(part: &mut Part, error: &Error, tell: &mut Tell<'_>) -> Result<(), Error> {
    tell(News::StartsOver { why: &error.to_string() });
    part.discard()?;
    Ok(())
}

fn given_up(url: &str, again: Again, part: &Part) -> Error {
    let (url, why) = (shown(url), again.why);
    if again.answered || part.len() > 0 {
        Error::Broken { url, why, done: part.len(), part: part.path().to_owned() }
    } else {
        Error::Unreachable { url, why }
    }
}

/// An address for messages: without its query, which may hold a secret.
fn shown(url: &str) -> String {
    part::without_query(url).to_owned()
}
