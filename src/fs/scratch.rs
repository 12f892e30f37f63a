//! A file of numbers that only this process knows, for what is too large for memory.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// A growing list of f32 on disk. Its file has no name, so that nothing is left behind however the
/// process ends.
#[derive(Debug)]
pub struct Scratch {
    file: File,
    /// The folder it lies in, for errors.
    folder: PathBuf,
    /// Number of values.
    len: usize,
}

impl Scratch {
    /// An empty list on the disk of `folder`, which must exist.
    pub fn new_in(folder: &Path) -> io::Result<Self> {
        let path = folder.join(format!(".scratch.{}.tmp", std::process::id()));
        let mut options = fs_err::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path)?;
        fs_err::remove_file(&path)?;
        Ok(Self { file: file.into_parts().0, folder: folder.to_owned(), len: 0 })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds values at the end.
    pub fn push(&mut self, values: &[f32]) -> io::Result<()> {
        self.file.write_all(bytemuck::cast_slice(values)).map_err(|error| self.named(&error))?;
        self.len += values.len();
        Ok(())
    }

    /// Reads values number `range`.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn read(&self, range: Range<usize>) -> io::Result<Vec<f32>> {
        assert!(range.end <= self.len, "only what was written is read");
        let mut values = vec![0.0; range.len()];
        let bytes = bytemuck::cast_slice_mut(&mut values);
        self.file
            .read_exact_at(bytes, 4 * range.start as u64)
            .map_err(|error| self.named(&error))?;
        Ok(values)
    }

    fn named(&self, error: &io::Error) -> io::Error {
        let words = format!("a temporary file in `{}`: {error}", self.folder.display());
        io::Error::new(error.kind(), words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_no_file_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::new_in(dir.path()).unwrap();
        assert!(scratch.is_empty());
        scratch.push(&[1.0, 2.0, 3.0]).unwrap();
        scratch.push(&[4.0]).unwrap();
        assert_eq!(scratch.len(), 4);
        assert_eq!(scratch.read(1..4).unwrap(), [2.0, 3.0, 4.0]);
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 0);
        assert!(Scratch::new_in(&dir.path().join("none")).is_err());
    }
}
