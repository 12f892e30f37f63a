//! Unpacks tar, tar.gz and zip files from untrusted sources.
//!
//! Only files and folders below the target are made: no entry leaves it, links and devices are
//! refused, and so are names that another file system would take for the same. All is written into
//! a folder beside the target, which is renamed at the end: an interrupted unpacking leaves nothing
//! that looks complete.

mod place;
#[cfg(test)]
mod tests;

use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use place::Place;

/// Limits on what an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together, unpacked, including those that are skipped.
    pub bytes_max: u64,
    pub entries_max: usize,
}

/// The result of unpacking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unpacked {
    pub n_files: usize,
    pub bytes: u64,
}

/// The reason why nothing was unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{archive}` is not an archive: {found}")]
    NotAnArchive { archive: PathBuf, found: &'static str },
    #[error("`{archive}` is damaged or cut short: {problem}")]
    Damaged { archive: PathBuf, problem: String },
    #[error("`{archive}` cannot be unpacked: its entry {entry} {problem}")]
    Unsafe { archive: PathBuf, entry: String, problem: &'static str },
    #[error("`{archive}` cannot be unpacked: it holds more than {limit}")]
    TooLarge { archive: PathBuf, limit: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Unpacks `archive` so that `folder`, which must not be there yet, holds its entries.
///
/// Only entries below one of `wanted` (paths in the archive) are unpacked; all where it is empty.
/// `tell` is called with the bytes written so far. Remains of an interrupted unpacking are removed
/// first; the caller ensures that only one runs at a time.
pub fn unpack(
    archive: &Path,
    folder: &Path,
    (wanted, limits): (&[&str], Limits),
    tell: &mut dyn FnMut(u64),
) -> Result<Unpacked, Error> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let temp = folder.with_file_name(format!(".{name}.unpacking"));
    if temp.symlink_metadata().is_ok() {
        fs_err::remove_dir_all(&temp)?;
    }
    fs_err::create_dir_all(&temp)?;
    let mut unpacking = Unpacking { archive, limits, tell, place: Place::new(&temp, wanted) };
    let done = unpacking.all().and_then(|()| {
        let place = &unpacking.place;
        // One call for the whole file system: a call a file would take minutes.
        rustix::fs::syncfs(fs_err::File::open(&temp)?.file()).map_err(io::Error::from)?;
        fs_err::rename(&temp, folder)?;
        Ok(Unpacked { n_files: place.n_files, bytes: place.bytes })
    });
    if done.is_err() {
        // The error is what matters; what stays is removed the next time.
        let _ = fs_err::remove_dir_all(&temp);
    }
    done
}

struct Unpacking<'a> {
    archive: &'a Path,
    limits: Limits,
    tell: &'a mut dyn FnMut(u64),
    place: Place<'a>,
}

impl Unpacking<'_> {
    fn all(&mut self) -> Result<(), Error> {
        let mut file = fs_err::File::open(self.archive)?;
        let mut head = Vec::new();
        (&mut file).take(512).read_to_end(&mut head)?;
        io::Seek::rewind(&mut file)?;
        let not = |found| Err(Error::NotAnArchive { archive: self.archive.to_owned(), found });
        match head.as_slice() {
            [0x1f, 0x8b, ..] => {
                // Read to its end, so that its checksum is compared.
                let mut gz = MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file));
                self.tar(&mut gz)?;
                io::copy(&mut gz.by_ref().take(self.limits.bytes_max), &mut io::sink())
                    .map_err(|error| self.damaged(&error))?;
                Ok(())
            }
            [b'P', b'K', ..] => self.zip(BufReader::with_capacity(1 << 16, file)),
            _ if head.get(257..262) == Some(b"ustar") => {
                self.tar(&mut BufReader::with_capacity(1 << 16, file))
            }
            [] => not("it is empty"),
            [b'<', ..] => not("it is a web page, or XML"),
            _ => not("neither tar, tar.gz nor zip"),
        }
    }

    fn tar(&mut self, reader: &mut dyn Read) -> Result<(), Error> {
        let mut counted = Counted { reader, n: 0 };
        let mut entries_end = 0;
        let mut total: u64 = 0;
        let mut n = 0;
        let mut tar = tar::Archive::new(&mut counted);
        for entry in tar.entries().map_err(|error| self.damaged(&error))? {
            let mut entry = entry.map_err(|error| self.damaged(&error))?;
            let kind = entry.header().entry_type();
            let size = entry.size();
            total = total.saturating_add(size);
            n += 1;
            self.check_limits(n, total)?;
            entries_end = entry.raw_file_position().saturating_add(size);
            if kind.is_pax_global_extensions() {
                continue;
            }
            let name = entry.path_bytes().into_owned();
            let Some(path) = self.path(&name)? else { continue };
            if kind.is_dir() {
                self.folder(&path, &name)?;
            } else if kind.is_file() || kind.is_contiguous() {
                self.file(&path, &name, (&mut entry, size))?;
            } else {
                return Err(self.refused(&name, "is neither a file nor a folder"));
            }
        }
        // After the last file come its padding and a block of zeros; the reader would take the
        // end of a file that was cut between two entries for the end of the archive.
        if counted.n < entries_end.next_multiple_of(512).saturating_add(512) {
            let problem = "it ends without its last block".to_owned();
            return Err(Error::Damaged { archive: self.archive.to_owned(), problem });
        }
        Ok(())
    }

    fn zip(&mut self, reader: BufReader<fs_err::File>) -> Result<(), Error> {
        const KIND: u32 = 0o170_000;
        let mut zip = zip::ZipArchive::new(reader).map_err(|error| self.bad_zip(&error))?;
        if zip.has_duplicate_names() {
            // The reader shows the last of them only.
            let problem = "it has one name twice".to_owned();
            return Err(Error::Damaged { archive: self.archive.to_owned(), problem });
        }
        self.check_limits(zip.len(), 0)?;
        let mut total: u64 = 0;
        for index in 0..zip.len() {
            let mut entry = zip.by_index(index).map_err(|error| self.bad_zip(&error))?;
            let name = entry.name_raw().to_vec();
            total = total.saturating_add(entry.size());
            self.check_limits(index, total)?;
            let kind = entry.unix_mode().unwrap_or(0) & KIND;
            let Some(path) = self.path(&name)? else { continue };
            if !matches!(kind, 0 | 0o100_000 | 0o040_000) {
                return Err(self.refused(&name, "is neither a file nor a folder"));
            }
            if entry.is_dir() {
                self.folder(&path, &name)?;
            } else {
                let size = entry.size();
                self.file(&path, &name, (&mut entry, size))?;
            }
        }
        Ok(())
    }

    /// The place where an entry goes; `None` for one that is not wanted.
    fn path(&self, name: &[u8]) -> Result<Option<PathBuf>, Error> {
        self.place.path(name).map_err(|problem| self.refused(name, problem))
    }

    fn folder(&mut self, path: &Path, name: &[u8]) -> Result<(), Error> {
        let taken = self.place.take(path, true);
        taken.map_err(|problem| self.refused(name, problem))?;
        self.place.make_folder(path)?;
        Ok(())
    }

    fn file(
        &mut self,
        path: &Path,
        name: &[u8],
        (reader, size): (&mut dyn Read, u64),
    ) -> Result<(), Error> {
        let taken = self.place.take(path, false);
        taken.map_err(|problem| self.refused(name, problem))?;
        let mut file = self.place.make_file(path)?;
        let mut buffer = vec![0; 1 << 16];
        let mut written = 0;
        loop {
            let n = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.damaged(&error)),
            };
            written += n as u64;
            if written > size {
                return Err(self.refused(name, "is longer than its header says"));
            }
            io::Write::write_all(&mut file, &buffer[..n])?;
            self.place.bytes += n as u64;
            (self.tell)(self.place.bytes);
        }
        if written < size {
            let problem = format!("{} ends early", shown(name));
            return Err(Error::Damaged { archive: self.archive.to_owned(), problem });
        }
        Ok(())
    }

    fn check_limits(&self, n_entries: usize, bytes: u64) -> Result<(), Error> {
        let limit = if n_entries > self.limits.entries_max {
            format!("{} entries", self.limits.entries_max)
        } else if bytes > self.limits.bytes_max {
            format!("{} bytes", self.limits.bytes_max)
        } else {
            return Ok(());
        };
        Err(Error::TooLarge { archive: self.archive.to_owned(), limit })
    }

    fn refused(&self, name: &[u8], problem: &'static str) -> Error {
        Error::Unsafe { archive: self.archive.to_owned(), entry: shown(name), problem }
    }

    fn damaged(&self, error: &io::Error) -> Error {
        Error::Damaged { archive: self.archive.to_owned(), problem: error.to_string() }
    }

    fn bad_zip(&self, error: &zip::result::ZipError) -> Error {
        Error::Damaged { archive: self.archive.to_owned(), problem: error.to_string() }
    }
}

/// An entry's name, which may hold any bytes, in printable form.
fn shown(name: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(name).chars().take(120).collect();
    format!("{text:?}")
}

struct Counted<'a> {
    reader: &'a mut dyn Read,
    n: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.n += n as u64;
        Ok(n)
    }
}
