//! Downloads that go on where they stopped, and are checked before they are there.
//!
//! A file grows as `<target>.part` and takes its name only once its length and checksum are right:
//! whatever the network, the server or `kill -9` do, the target is absent or right.

mod client;
mod part;
#[cfg(test)]
pub(crate) mod server;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use md5::Md5;
use sha2::Sha256;
use sha2::digest::Digest;

use super::space::free_bytes;
use super::{Claim, hash, write_atomic};
use client::{Again, Answer, Client, Failure, Length};
use part::{Notes, Part};

/// A server that gives a little and breaks off, again and again, is not waited for for ever.
const ATTEMPTS_MAX: u32 = 2000;
/// Enough to see a page where a file should be.
const SNIFF_BYTES: usize = 512;
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A file that is published somewhere.
#[derive(Debug, Clone)]
pub struct RemoteFile {
    /// Tried in order.
    pub urls: Vec<String>,
    pub size: Size,
    pub checksum: Checksum,
    /// Bytes that must be free beside the file itself, such as for unpacking it.
    pub room_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    Exact(u64),
    /// A file of more than four times this is another file.
    About(u64),
}

/// In lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// In full, or its first digits where no more is published.
    Sha256(String),
    Md5(String),
    /// What was downloaded first is remembered in `<target>.sha256` and held from then on.
    Unpublished,
}

/// How to reach servers.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Without a byte for this long, a connection is given up.
    pub stall_timeout: Duration,
    pub connect_timeout: Duration,
    /// Attempts in a row that may bring nothing.
    pub idle_attempts: u32,
    /// Before the second such attempt; doubles with each.
    pub wait: Duration,
    pub proxy: Proxy,
    /// PEM file to use instead of the built-in certificates (`SSL_CERT_FILE`).
    pub root_certificates: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`.
    FromEnvironment,
    None,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stall_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(30),
            idle_attempts: 5,
            wait: Duration::from_secs(1),
            proxy: Proxy::FromEnvironment,
            root_certificates: None,
        }
    }
}

/// What happens meanwhile.
#[derive(Debug)]
pub enum News<'a> {
    /// Another process downloads the same file.
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

/// A file that is there and right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub is_new: bool,
    pub proof: Proof,
}

/// What says that a file is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    Published,
    /// The sha256 beside it, of when it was first seen here.
    Remembered {
        record: PathBuf,
    },
    /// Nothing yet: its sha256 was written down just now.
    FirstSeen {
        record: PathBuf,
    },
    /// Nothing, and the folder cannot be written to.
    None,
}

/// Why a file is not there.
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

/// Downloads files.
pub struct Downloader {
    client: Client,
    settings: Settings,
}

type Tell<'a> = dyn FnMut(News<'_>) + 'a;

impl Downloader {
    pub fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self { client: Client::new(&settings)?, settings })
    }

    /// Makes `file` be at `target`: nothing is downloaded where it is there and right.
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
        let proof = match self.download(file, target, &mut part, tell) {
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
        file: &RemoteFile,
        target: &Path,
        part: &mut Part,
        tell: &mut Tell<'_>,
    ) -> Result<Proof, Error> {
        if part.len() > 0 && part.total() == Some(part.len()) {
            // All was there when the last download was killed.
            match verify(part.path(), target, &file.checksum, tell) {
                Err(error @ Error::Checksum { .. }) => start_over(part, &error, tell)?,
                proof => return proof,
            }
        }
        let mut urls = file.urls.iter().peekable();
        while let Some(url) = urls.next() {
            match self.download_from(url, file, target, part, tell) {
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
        file: &RemoteFile,
        target: &Path,
        part: &mut Part,
        tell: &mut Tell<'_>,
    ) -> Result<Proof, Error> {
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

    /// One request, and all that it gives.
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
                Err(Failure::Again(Again::new("the server has another file than before")))
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
                check_size(url, file, total, part.len(), part.path())?;
                Body { reader: body, url, file, total }.go_on(part, tell)
            }
        }
    }
}

/// The bytes of an answer on their way into a part.
struct Body<'a> {
    reader: Box<dyn Read>,
    url: &'a str,
    file: &'a RemoteFile,
    /// Length of the whole file as the server tells it.
    total: Option<u64>,
}

impl Body<'_> {
    /// Empties the part for a body from its first byte; not for a page of words.
    fn begin(&mut self, notes: Notes, part: &mut Part, tell: &mut Tell<'_>) -> Result<(), Failure> {
        let mut head = Vec::with_capacity(SNIFF_BYTES);
        let read = (&mut self.reader).take(SNIFF_BYTES as u64).read_to_end(&mut head);
        if is_page(&head) {
            return Err(Failure::Final(Error::Page { url: shown(self.url) }));
        }
        check_size(self.url, self.file, self.total, 0, part.path())?;
        if part.len() > 0 {
            tell(News::StartsOver { why: "the server sends the file from its start" });
        }
        part.restart(notes)?;
        self.append(&head, part)?;
        read.map_err(|error| broken(&error))?;
        Ok(())
    }

    fn go_on(&mut self, part: &mut Part, tell: &mut Tell<'_>) -> Result<(), Failure> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            tell(News::Bytes { done: part.len(), total: self.total });
            match self.reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => self.append(&buffer[..n], part)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(&error)),
            }
        }
        let expected = match self.file.size {
            Size::Exact(bytes) => Some(bytes),
            Size::About(_) => self.total,
        };
        match expected {
            Some(bytes) if part.len() < bytes => {
                let why = format!("it ends after {} of {bytes} bytes", part.len());
                Err(Failure::Again(Again::new(why)))
            }
            _ => Ok(()),
        }
    }

    fn append(&self, bytes: &[u8], part: &mut Part) -> Result<(), Failure> {
        let len = part.len() + bytes.len() as u64;
        let max = self.total.unwrap_or(u64::MAX).min(self.file.size.bytes_max());
        if len > max {
            part.discard()?;
            return Err(Failure::Final(wrong_size(self.url, len, self.file.size)));
        }
        part.append(bytes).map_err(|error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                let (part, done) = (part.path().to_owned(), part.len());
                Failure::Final(Error::DiskFull { part, done })
            }
            _ => Failure::Final(error.into()),
        })
    }
}

/// When to try again, and when no more.
struct Patience {
    idle_attempts: u32,
    wait: Duration,
    attempts: u32,
    idle: u32,
    /// The most bytes that there ever were: a server that begins anew each time makes no progress.
    most: u64,
}

impl Patience {
    fn new(settings: &Settings, len: u64) -> Self {
        let (idle_attempts, wait) = (settings.idle_attempts, settings.wait);
        Self { idle_attempts, wait, attempts: 0, idle: 0, most: len }
    }

    /// How long to wait before the next attempt; `None` to give up.
    fn wait(&mut self, again: &Again, len: u64) -> Option<Duration> {
        self.attempts += 1;
        self.idle = if len > self.most { 0 } else { self.idle + 1 };
        self.most = self.most.max(len);
        // Without a network there is no use in waiting for long.
        let idle_max = if again.answered || self.most > 0 { self.idle_attempts } else { 2 };
        if self.idle >= idle_max || self.attempts >= ATTEMPTS_MAX {
            return None;
        }
        let doubled = self.wait.saturating_mul(1 << self.idle.min(10));
        Some(again.wait.unwrap_or(doubled.min(WAIT_MAX)))
    }
}

impl Size {
    fn bytes_max(self) -> u64 {
        match self {
            Self::Exact(bytes) => bytes,
            Self::About(bytes) => bytes.saturating_mul(4),
        }
    }

    /// The size, or nearly.
    pub fn bytes(self) -> u64 {
        let (Self::Exact(bytes) | Self::About(bytes)) = self;
        bytes
    }
}

impl Error {
    /// Whether no other address would help.
    fn is_local(&self) -> bool {
        matches!(
            self,
            Self::NoRoom { .. } | Self::DiskFull { .. } | Self::Certificates { .. } | Self::Io(_)
        )
    }

    /// Whether what was downloaded or found is not what it should be.
    pub fn is_failed_check(&self) -> bool {
        matches!(self, Self::Checksum { .. } | Self::WrongSize { .. })
    }

    /// Names the address instead of the part that is gone.
    fn of(self, url: &str) -> Self {
        match self {
            Self::Checksum { kind, found, expected, .. } => {
                Self::Checksum { what: shown(url), kind, found, expected }
            }
            other => other,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Final(error.into())
    }
}

/// Bytes of an unfinished download of `target`; 0 where there is none.
pub fn partial_bytes(target: &Path) -> u64 {
    fs_err::metadata(part::path(target)).map_or(0, |metadata| metadata.len())
}

/// Holds the file at `path` to the checksum of `target`; where none is published, to the one that
/// is remembered beside `target`, and remembers it.
fn verify(
    path: &Path,
    target: &Path,
    checksum: &Checksum,
    tell: &mut Tell<'_>,
) -> Result<Proof, Error> {
    let bytes = fs_err::metadata(path)?.len();
    tell(News::Checks { target, bytes });
    let (kind, found, published) = match checksum {
        Checksum::Md5(published) => ("md5", digest::<Md5>(path)?, Some(published)),
        Checksum::Sha256(published) => ("sha256", digest::<Sha256>(path)?, Some(published)),
        Checksum::Unpublished => ("sha256", digest::<Sha256>(path)?, None),
    };
    let check = |expected: &str| {
        if found.starts_with(expected) {
            return Ok(());
        }
        let what = format!("`{}`", path.display());
        Err(Error::Checksum { what, kind, found: found.clone(), expected: expected.to_owned() })
    };
    if let Some(published) = published {
        check(published)?;
        return Ok(Proof::Published);
    }
    let record = part::with_suffix(target, ".sha256");
    match fs_err::read_to_string(&record) {
        Ok(text) => {
            let remembered = text.split_whitespace().next().unwrap_or_default();
            if remembered.len() != 64 {
                return Err(io::Error::other(format!("no sha256 in `{}`", record.display())).into());
            }
            check(remembered)?;
            Ok(Proof::Remembered { record })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let name = target.file_name().unwrap_or_default().to_string_lossy();
            match write_atomic(&record, format!("{found}  {name}\n").as_bytes()) {
                Ok(()) => Ok(Proof::FirstSeen { record }),
                // A folder of others that we only read.
                Err(error) if is_read_only(&error) && path == target => Ok(Proof::None),
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

fn digest<D: Digest>(path: &Path) -> io::Result<String> {
    let mut file = fs_err::File::open(path)?;
    let mut hasher = D::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(hash::hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..n]);
    }
}

/// That the file is of the size it should be, and that the disk has room for what is missing.
fn check_size(
    url: &str,
    file: &RemoteFile,
    total: Option<u64>,
    done: u64,
    path: &Path,
) -> Result<(), Error> {
    let size = file.size;
    if let Some(total) = total {
        let fits = match size {
            Size::Exact(bytes) => total == bytes,
            Size::About(_) => total <= size.bytes_max(),
        };
        if !fits {
            return Err(wrong_size(url, total, size));
        }
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let missing = total.unwrap_or(size.bytes()).saturating_sub(done);
    let (free, needed) = (free_bytes(folder)?, missing.saturating_add(file.room_bytes));
    if free < needed {
        return Err(Error::NoRoom { folder: folder.to_owned(), free, needed });
    }
    Ok(())
}

fn wrong_size(url: &str, found: u64, size: Size) -> Error {
    let expected = match size {
        Size::Exact(bytes) => bytes.to_string(),
        Size::About(bytes) => format!("about {bytes}"),
    };
    Error::WrongSize { url: shown(url), found, expected }
}

fn start_over(part: &mut Part, error: &Error, tell: &mut Tell<'_>) -> Result<(), Error> {
    tell(News::StartsOver { why: &error.to_string() });
    part.discard()?;
    Ok(())
}

fn broken(error: &io::Error) -> Failure {
    let why = match error.kind() {
        ErrorKind::TimedOut => "nothing came for too long".to_owned(),
        _ if error.to_string().contains("timeout") => "nothing came for too long".to_owned(),
        _ => error.to_string(),
    };
    Failure::Again(Again::new(why))
}

fn given_up(url: &str, again: Again, part: &Part) -> Error {
    let (url, why) = (shown(url), again.why);
    if again.answered || part.len() > 0 {
        Error::Broken { url, why, done: part.len(), part: part.path().to_owned() }
    } else {
        Error::Unreachable { url, why }
    }
}

/// Whether these are the first bytes of HTML: a login page, a page of regrets.
fn is_page(head: &[u8]) -> bool {
    let text =
        String::from_utf8_lossy(head).trim_start_matches('\u{feff}').trim_start().to_lowercase();
    ["<!doctype html", "<html", "<head", "<?xml"].iter().any(|start| text.starts_with(start))
}

/// An address as it is shown: what follows `?` may be a secret.
fn shown(url: &str) -> String {
    part::without_query(url).to_owned()
}

fn status_words(status: u16) -> &'static str {
    match status {
        401 | 403 => "(not allowed; a link that was sent by e-mail may have run out)",
        404 | 410 => "(it is not there any more)",
        300..=399 => "(it leads nowhere)",
        _ => "",
    }
}
