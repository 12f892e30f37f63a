//! Asks the file system for the free space of a disk.

use std::io;
use std::path::{Path, PathBuf};

/// The free space of the disk that a path lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Free {
    pub bytes: u64,
    /// The path, or the nearest folder above it that exists.
    pub folder: PathBuf,
}

/// The free space where `path` lies; `path` need not exist.
pub fn free(path: &Path) -> io::Result<Free> {
    let absolute = std::path::absolute(path)?;
    let existing = absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let stat = rustix::fs::statvfs(existing)?;
    Ok(Free { bytes: stat.f_bavail.saturating_mul(stat.f_frsize), folder: existing.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_to_come_has_the_space_of_the_one_that_is_there() {
        let temp = tempfile::tempdir().unwrap();
        let found = free(&temp.path().join("a/b")).unwrap();
        assert_eq!(found.folder, temp.path());
        assert!(found.bytes > 0);
    }
}
