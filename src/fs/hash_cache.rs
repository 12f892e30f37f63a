//! sha256 of large files, remembered by path, size, modification time and inode.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::hash::{sha256_bytes, sha256_file};
use super::write_atomic;

/// Of the cache file; another version is not read.
const VERSION: u32 = 2;
/// A file changed within this time may change again without its time stamp showing it (some file
/// systems count in seconds), so it is not remembered yet.
const SETTLE_NS: i128 = 2_000_000_000;

/// Hashes that were made before; a lost or damaged cache only costs time.
#[derive(Debug)]
pub struct HashCache {
    path: PathBuf,
    stored: Stored,
    is_changed: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    version: u32,
    /// Of `files`: a wrong digit would name another file, and a run by it.
    sum: String,
    /// Paths that are not UTF-8 are not remembered.
    files: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    bytes: u64,
    inode: u64,
    modified_ns: i64,
    sha256: String,
}

impl HashCache {
    /// Opens the cache file at `path`; one that is missing or cannot be understood is empty.
    pub fn open(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let stored = match fs_err::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .ok()
                .filter(|stored: &Stored| {
                    stored.version == VERSION && stored.sum == stored.digest()
                })
                .unwrap_or_default(),
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    tracing::warn!(%error, "cannot read the cache of hashes");
                }
                Stored::default()
            }
        };
        Self { path, stored, is_changed: false }
    }

    /// sha256 of `file`, 64 hex digits; read only if it is not known as it is now.
    pub fn sha256(&mut self, file: &Path) -> io::Result<String> {
        let absolute = std::path::absolute(file)?;
        let before = entry(&absolute)?;
        let name = absolute.to_str();
        if let Some(known) = name.and_then(|name| self.stored.files.get(name))
            && (Entry { sha256: known.sha256.clone(), ..before.clone() }) == *known
        {
            return Ok(known.sha256.clone());
        }
        let sha256 = sha256_file(&absolute)?;
        if let Some(name) = name
            && entry(&absolute)? == before
            && now_ns() - i128::from(before.modified_ns) > SETTLE_NS
        {
            let known = Entry { sha256: sha256.clone(), ..before };
            self.stored.files.insert(name.to_owned(), known);
            self.is_changed = true;
        }
        Ok(sha256)
    }

    /// Writes what is new; nothing where nothing is.
    pub fn save(&mut self) -> io::Result<()> {
        if !self.is_changed {
            return Ok(());
        }
        self.stored.version = VERSION;
        self.stored.sum = self.stored.digest();
        let json = serde_json::to_vec(&self.stored).expect("a plain struct always serializes");
        write_atomic(&self.path, &json)?;
        self.is_changed = false;
        Ok(())
    }
}

impl Stored {
    fn digest(&self) -> String {
        sha256_bytes(&serde_json::to_vec(&self.files).expect("plain data always serializes"))
    }
}

/// What `stat` says of `file`, without its hash.
fn entry(file: &Path) -> io::Result<Entry> {
    let stat = fs_err::metadata(file)?;
    Ok(Entry {
        bytes: stat.len(),
        inode: stat.ino(),
        modified_ns: stat.mtime().saturating_mul(1_000_000_000).saturating_add(stat.mtime_nsec()),
        sha256: String::new(),
    })
}

fn now_ns() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A file last changed `age_s` seconds ago.
    fn write(path: &Path, text: &str, age_s: u64) {
        write_atomic(path, text.as_bytes()).unwrap();
        let file = fs_err::OpenOptions::new().write(true).open(path).unwrap();
        file.file().set_modified(SystemTime::now() - Duration::from_secs(age_s)).unwrap();
    }

    /// The hash that the cache gives after it was told a wrong one: tells whether it reads.
    fn poisoned(cache_path: &Path, file: &Path) -> String {
        let mut cache = HashCache::open(cache_path);
        for entry in cache.stored.files.values_mut() {
            entry.sha256 = "remembered".to_owned();
        }
        cache.sha256(file).unwrap()
    }

    #[test]
    fn a_settled_file_is_read_once() {
        let temp = tempfile::tempdir().unwrap();
        let (cache_path, file) = (temp.path().join("hashes.json"), temp.path().join("w"));
        write(&file, "weights", 60);
        let mut cache = HashCache::open(&cache_path);
        let sha256 = cache.sha256(&file).unwrap();
        assert_eq!(sha256, sha256_bytes(b"weights"));
        cache.save().unwrap();
        assert_eq!(poisoned(&cache_path, &file), "remembered");
        write(&file, "Weights", 50);
        assert_eq!(poisoned(&cache_path, &file), sha256_bytes(b"Weights"));
    }

    #[test]
    fn a_file_that_was_just_written_is_not_remembered() {
        let temp = tempfile::tempdir().unwrap();
        let (cache_path, file) = (temp.path().join("hashes.json"), temp.path().join("w"));
        write(&file, "weights", 0);
        let mut cache = HashCache::open(&cache_path);
        cache.sha256(&file).unwrap();
        cache.save().unwrap();
        assert!(!cache_path.exists());
    }

    #[test]
    fn a_damaged_cache_is_empty_and_a_missing_file_an_error() {
        let temp = tempfile::tempdir().unwrap();
        let cache_path = temp.path().join("hashes.json");
        write_atomic(&cache_path, b"{\"version\":1,").unwrap();
        let mut cache = HashCache::open(&cache_path);
        assert!(cache.stored.files.is_empty());
        let error = cache.sha256(&temp.path().join("none")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    /// Every bit of the file, one at a time.
    #[test]
    fn damaged_anywhere_the_cache_gives_no_wrong_hash() {
        let temp = tempfile::tempdir().unwrap();
        let (cache_path, file) = (temp.path().join("hashes.json"), temp.path().join("w"));
        write(&file, "weights", 60);
        let mut cache = HashCache::open(&cache_path);
        let sha256 = cache.sha256(&file).unwrap();
        cache.save().unwrap();
        let sound = fs_err::read(&cache_path).unwrap();
        for at in 0..sound.len() {
            for bit in 0..8 {
                let mut bytes = sound.clone();
                bytes[at] ^= 1 << bit;
                fs_err::write(&cache_path, bytes).unwrap();
                assert_eq!(HashCache::open(&cache_path).sha256(&file).unwrap(), sha256);
            }
        }
        for len in 0..sound.len() {
            fs_err::write(&cache_path, &sound[..len]).unwrap();
            assert_eq!(HashCache::open(&cache_path).sha256(&file).unwrap(), sha256);
        }
    }
}
