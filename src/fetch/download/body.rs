//! Copies the body of an HTTP answer into the part file.

use std::io::{self, ErrorKind, Read};

use super::check::{check_size, wrong_size};
use super::client::{Again, Failure};
use super::part::{Notes, Part};
use super::{Error, News, RemoteFile, Size, Tell, shown};

/// Number of bytes by which a web page in place of a file is recognised.
const SNIFF_BYTES: usize = 512;

/// The rest of an answer's body.
pub(super) struct Body<'a> {
    pub(super) reader: Box<dyn Read>,
    pub(super) url: &'a str,
    pub(super) file: &'a RemoteFile,
    /// Length of the whole file as the server tells it.
    pub(super) total: Option<u64>,
}

impl Body<'_> {
    /// Empties the part for a body from its first byte; not where the body is a web page.
    pub(super) fn begin(
        &mut self,
        notes: Notes,
        part: &mut Part,
        tell: &mut Tell<'_>,
    ) -> Result<(), Failure> {
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

    pub(super) fn go_on(&mut self, part: &mut Part, tell: &mut Tell<'_>) -> Result<(), Failure> {
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

fn broken(error: &io::Error) -> Failure {
    let why = match error.kind() {
        ErrorKind::TimedOut => "no data arrived for too long".to_owned(),
        _ if error.to_string().contains("timeout") => "no data arrived for too long".to_owned(),
        _ => error.to_string(),
    };
    Failure::Again(Again::new(why))
}

/// Whether these are the first bytes of HTML, such as a login or error page.
fn is_page(head: &[u8]) -> bool {
    let text =
        String::from_utf8_lossy(head).trim_start_matches('\u{feff}').trim_start().to_lowercase();
    ["<!doctype html", "<html", "<head", "<?xml"].iter().any(|start| text.starts_with(start))
}
