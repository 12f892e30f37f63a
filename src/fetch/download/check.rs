//! Checks a file's length and checksum, and the free disk space for it.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use md5::Md5;
use sha2::Sha256;
use sha2::digest::Digest;

use super::{Checksum, Error, News, Proof, RemoteFile, Size, Tell, part, shown};
use crate::fs::space;
use crate::fs::{hash, write_atomic};

/// Checks the file at `path` against the checksum of `target`; where none is published, against the
/// one recorded beside `target`, which is recorded the first time.
pub(super) fn verify(
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

/// Checks that the file has the expected size, and that the disk has room for the rest of it.
pub(super) fn check_size(
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
    let (free, needed) = (space::free(folder)?.bytes, missing.saturating_add(file.room_bytes));
    if free < needed {
        return Err(Error::NoRoom { folder: folder.to_owned(), free, needed });
    }
    Ok(())
}

pub(super) fn wrong_size(url: &str, found: u64, size: Size) -> Error {
    let expected = match size {
        Size::Exact(bytes) => bytes.to_string(),
        Size::About(bytes) => format!("about {bytes}"),
    };
    Error::WrongSize { url: shown(url), found, expected }
}
