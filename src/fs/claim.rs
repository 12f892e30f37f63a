//! Locks on files and folders that are made once; the lock files are removed afterwards.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::lock::FileLock;

/// The right to make one file or folder; its lock file is removed when this is dropped.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    // Dropped after the file's name is gone; see `Drop`.
    _lock: FileLock,
}

impl Claim {
    /// Claims `target` by a lock file beside it; where another process holds the claim, calls
    /// `waits` and blocks until that process is done or dead.
    pub fn on(target: &Path, waits: impl FnOnce()) -> io::Result<Self> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = target.with_file_name(format!(".{name}.lock"));
        let mut waits = Some(waits);
        loop {
            let free = FileLock::try_acquire(&path)?;
            if free.is_none()
                && let Some(waits) = waits.take()
            {
                waits();
            }
            let lock = free.map_or_else(|| FileLock::acquire(&path), Ok)?;
            // Whoever held it removed it: what we hold then is a file without a name, and the next
            // one to come makes another.
            if is_at(&lock, &path)? {
                return Ok(Self { path, _lock: lock });
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // A lock file that stays is only clutter.
        let _ = fs_err::remove_file(&self.path);
    }
}

fn is_at(lock: &FileLock, path: &Path) -> io::Result<bool> {
    let held = lock.file().metadata()?;
    match fs_err::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn one_at_a_time_holds_a_claim_and_nothing_stays() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("thing");
        let (inside, waited) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let claim = Claim::on(&target, || {
                            waited.fetch_add(1, Ordering::SeqCst);
                        });
                        let _claim = claim.unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(waited.into_inner() > 0);
        assert_eq!(fs_err::read_dir(temp.path()).unwrap().count(), 0);
    }
}
