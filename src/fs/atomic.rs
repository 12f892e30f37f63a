//! Atomic writes (temp file, fsync, rename, fsync of the folder) and whole-line appends.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes `bytes` to `path` so that a reader sees the old file or the new one, never a part.
///
/// The parent folder is created where it is missing. Errors name the path.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomic_with(path, |file| file.write_all(bytes))
}

/// Writes like [`write_atomic`], for content that is not in memory as a whole: `fill` writes it.
/// Where `fill` fails nothing is left behind.
pub fn write_atomic_with<E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&mut fs_err::File) -> Result<(), E>,
) -> Result<(), E> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs_err::create_dir_all(parent)?;
    let temp = temp_path(path);
    let written = (|| {
        let mut file = fs_err::File::create(&temp)?;
        fill(&mut file)?;
        file.sync_all()?;
        fs_err::rename(&temp, path)?;
        Ok(())
    })();
    if let Err(error) = written {
        // The write failed already; the leftover temp file is only clutter.
        let _ = fs_err::remove_file(&temp);
        return Err(error);
    }
    Ok(sync_dir(parent)?)
}

fn temp_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    fs_err::File::open(dir)?.sync_all()
}

/// A file to which whole lines are appended, each with one `write` call.
#[derive(Debug)]
pub struct LineLog {
    path: PathBuf,
    file: std::fs::File,
}

impl LineLog {
    /// Opens `path` for appending; creates it and its folder where missing.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|source| name_path(path, &source))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Appends `line` (without its newline) as one write.
    pub fn append(&mut self, line: &str) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        self.file.write_all(&bytes).map_err(|source| name_path(&self.path, &source))
    }

    /// Flushes all appended lines to the disk (fsync).
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data().map_err(|source| name_path(&self.path, &source))
    }
}

fn name_path(path: &Path, source: &io::Error) -> io::Error {
    io::Error::new(source.kind(), format!("{source}: `{}`", path.display()))
}
