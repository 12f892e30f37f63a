//! A cache of the sha256 of files, valid for as long as `stat` reports the same of them.
//!
//! Weight files ([`HashCache::sha256`]) and the masks of datasets ([`HashCache::known`], many at a
//! time) are hashed once, and again only when they change. A lost or damaged cache costs time only.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::hash::sha256_file;
use super::sealed;

/// Version of the cache file; a file of another version is not read.
const VERSION: u32 = 3;
/// A file changed within this time may change again without its time stamp showing it (some file
/// systems count in seconds), so it is not remembered yet.
const SETTLE_NS: i128 = 2_000_000_000;

/// The sha256 of files that were hashed before.
#[derive(Debug)]
pub struct HashCache {
    path: PathBuf,
    /// Entries by path; files whose path is not UTF-8 are not remembered.
    files: BTreeMap<String, Entry>,
    is_changed: bool,
}

/// The properties of a file that change when its contents do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub bytes: u64,
    pub inode: u64,
    pub modified_ns: i64,
    /// Time of the last change of the file's contents or properties: it moves even when contents
    /// are replaced and the modification time is put back.
    pub changed_ns: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    stamp: Stamp,
    sha256: String,
}

impl Stamp {
    /// The stamp of the file at `path`, links followed.
    pub fn of(path: &Path) -> io::Result<Self> {
        let stat = fs_err::metadata(path)?;
        Ok(Self {
            bytes: stat.len(),
            inode: stat.ino(),
            modified_ns: nanoseconds(stat.mtime(), stat.mtime_nsec()),
            changed_ns: nanoseconds(stat.ctime(), stat.ctime_nsec()),
        })
    }

    /// Tells whether a change at `now` or later would alter this stamp.
    pub fn is_settled(&self, now: SystemTime) -> bool {
        // A clock before 1970 makes every file look new: then nothing is remembered.
        let now_ns = now.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos().cast_signed());
        now_ns - i128::from(self.changed_ns) > SETTLE_NS
    }
}

impl HashCache {
    /// Opens the cache file at `path`; one that is missing or cannot be understood is empty.
    pub fn open(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let files = sealed::read(&path, VERSION);
        Self { path, files, is_changed: false }
    }

    /// The sha256 of `file`, 64 hex digits; the file is read only if its stamp is not the one in
    /// the cache.
    pub fn sha256(&mut self, file: &Path) -> io::Result<String> {
        self.sha256_at(file, SystemTime::now())
    }

    fn sha256_at(&mut self, file: &Path, now: SystemTime) -> io::Result<String> {
        let absolute = std::path::absolute(file)?;
        let stamp = Stamp::of(&absolute)?;
        if let Some(known) = self.known(&absolute, &stamp) {
            return Ok(known.to_owned());
        }
        let sha256 = sha256_file(&absolute)?;
        // One that changed meanwhile has another stamp now, and is not known by this one.
        self.remember(&absolute, stamp, &sha256, now);
        Ok(sha256)
    }

    /// The sha256 of the file at an absolute path, if the cache has it with this stamp.
    pub fn known(&self, file: &Path, stamp: &Stamp) -> Option<&str> {
        let entry = self.files.get(file.to_str()?)?;
        (entry.stamp == *stamp).then_some(&entry.sha256)
    }

    /// Stores the sha256 of the file at an absolute path, whose stamp was taken before it was read;
    /// not of one that changed just before `now`.
    pub fn remember(&mut self, file: &Path, stamp: Stamp, sha256: &str, now: SystemTime) {
        let Some(name) = file.to_str().filter(|_| stamp.is_settled(now)) else { return };
        let entry = Entry { stamp, sha256: sha256.to_owned() };
        if self.files.get(name) != Some(&entry) {
            self.files.insert(name.to_owned(), entry);
            self.is_changed = true;
        }
    }

    /// Writes the cache file if there are new entries.
    pub fn save(&mut self) -> io::Result<()> {
        if self.is_changed {
            sealed::write(&self.path, VERSION, &self.files)?;
            self.is_changed = false;
        }
        Ok(())
    }
}

fn nanoseconds(s: i64, ns: i64) -> i64 {
    s.saturating_mul(1_000_000_000).saturating_add(ns)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fs::hash::sha256_bytes;
    use crate::fs::write_atomic;

    /// A time at which files written now count as settled.
    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(10)
    }

    /// The sha256 that the cache returns after a wrong one was put into it: shows whether the file
    /// was read.
    fn poisoned(cache_path: &Path, file: &Path) -> String {
        let mut cache = HashCache::open(cache_path);
        for entry in cache.files.values_mut() {
            entry.sha256 = "remembered".to_owned();
        }
        cache.sha256_at(file, later()).unwrap()
    }

    #[test]
    fn a_settled_file_is_read_once() {
        let temp = tempfile::tempdir().unwrap();
        let (cache_path, file) = (temp.path().join("hashes.json"), temp.path().join("w"));
        write_atomic(&file, b"weights").unwrap();
        let mut cache = HashCache::open(&cache_path);
        assert_eq!(cache.sha256_at(&file, later()).unwrap(), sha256_bytes(b"weights"));
        cache.save().unwrap();
        assert_eq!(poisoned(&cache_path, &file), "remembered");
        write_atomic(&file, b"Weights").unwrap();
        assert_eq!(poisoned(&cache_path, &file), sha256_bytes(b"Weights"));
    }

    /// Replaces a file's contents by others of the same length, with the same modification time.
    #[test]
    fn a_file_that_was_changed_in_secret_is_read_again() {
        let temp = tempfile::tempdir().unwrap();
        let (cache_path, file) = (temp.path().join("hashes.json"), temp.path().join("w"));
        fs_err::write(&file, b"weights").unwrap();
        let mut cache = HashCache::open(&cache_path);
        cache.sha256_at(&file, later()).unwrap();
        cache.save().unwrap();
        let modified = fs_err::metadata(&file).unwrap().modified().unwrap();
        fs_err::write(&file, b"Weights").unwrap();
        let open = fs_err::OpenOptions::new().write(true).open(&file).unwrap();
        open.file().set_modified(modified).unwrap();
        assert_eq!(poisoned(&cache_path, &file), sha256_bytes(b"Weights"));
    }

    #[test]
    fn a_file_that_was_just_written_is_not_remembered() {
        let temp = tempfile::tempdir().unwrap();
        let (cache_path, file) = (temp.path().join("hashes.json"), temp.path().join("w"));
        write_atomic(&file, b"weights").unwrap();
        let mut cache = HashCache::open(&cache_path);
        cache.sha256(&file).unwrap();
        cache.save().unwrap();
        assert!(!cache_path.exists());
    }

    /// Checks that files in a cache of an earlier version are hashed again.
    #[test]
    fn a_cache_of_before_is_empty_and_a_missing_file_an_error() {
        let temp = tempfile::tempdir().unwrap();
        let cache_path = temp.path().join("hashes.json");
        for old in [&br#"{"version":2,"sum":"ab","files":{}}"#[..], b"{\"version\":1,"] {
            write_atomic(&cache_path, old).unwrap();
            let mut cache = HashCache::open(&cache_path);
            assert!(cache.files.is_empty());
            let error = cache.sha256(&temp.path().join("none")).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }
}
