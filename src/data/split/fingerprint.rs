//! What a split is known by, and the cache that makes asking again cheap.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Item, Labels, Split};
use crate::data::Error;
use crate::fs::hash::{hex, sha256_bytes};
use crate::fs::write_atomic;

/// Of the cache files; another version is not read.
const VERSION: u32 = 1;
/// A sha256 in hex digits.
const SUM_BYTES: usize = 64;
/// Missing files named in the error.
const NAMED_MAX: usize = 5;
/// Splits remembered; more are leftovers of datasets that changed, and all are dropped.
const SPLITS_MAX: usize = 256;
/// A file changed within this time may change again without its time stamp showing it (some file
/// systems count in seconds), so it is not cached yet.
const SETTLE_NS: i128 = 2_000_000_000;

/// Fingerprints of whole splits, by the digest of everything `stat` says about their files.
#[derive(Debug, Default, Serialize, Deserialize)]
struct SplitCache {
    version: u32,
    splits: BTreeMap<String, String>,
}

/// sha256 of mask files by path; read only where a split's own entry does not hold any more.
#[derive(Debug, Default, Serialize, Deserialize)]
struct MaskCache {
    version: u32,
    /// Paths that are not UTF-8 are not cached.
    masks: BTreeMap<String, MaskEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct MaskEntry {
    stamp: Stamp,
    sha256: String,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    bytes: u64,
    inode: u64,
    modified_ns: i64,
    /// Also moves when the contents are replaced and the modification time is put back.
    changed_ns: i64,
}

struct Stat {
    image_bytes: u64,
    mask: Stamp,
}

pub(super) fn of(split: &Split, cache: Option<&Path>, now: SystemTime) -> Result<String, Error> {
    let stats = stats(split)?;
    let Some(cache) = cache else {
        let masks = hash_masks(split, &stats, &BTreeMap::new())?;
        return Ok(combine(split, &stats, &masks));
    };
    let key = stat_digest(split, &stats);
    let mut splits: SplitCache = read_cache(cache, |cache: &SplitCache| cache.version);
    if let Some(fingerprint) = splits.splits.get(&key) {
        return Ok(fingerprint.clone());
    }
    let masks_path = cache.with_extension("masks.json");
    let mut known: MaskCache = read_cache(&masks_path, |cache: &MaskCache| cache.version);
    let masks = hash_masks(split, &stats, &known.masks)?;
    let fingerprint = combine(split, &stats, &masks);

    // A clock before 1970 makes every file look new: then nothing is cached.
    let now_ns = now.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos().cast_signed());
    let mut settled = 0;
    for ((item, stat), sha256) in split.items.iter().zip(&stats).zip(&masks) {
        if now_ns - i128::from(stat.mask.changed_ns) <= SETTLE_NS {
            continue;
        }
        settled += 1;
        if let Some(path) = item.mask.to_str() {
            let entry = MaskEntry { stamp: stat.mask, sha256: sha256.clone() };
            known.masks.insert(path.to_owned(), entry);
        }
    }
    if settled > 0 {
        known.version = VERSION;
        write_cache(&masks_path, &known);
    }
    if settled == stats.len() {
        if splits.splits.len() >= SPLITS_MAX {
            splits.splits.clear();
        }
        splits.version = VERSION;
        splits.splits.insert(key, fingerprint.clone());
        write_cache(cache, &splits);
    }
    Ok(fingerprint)
}

fn stats(split: &Split) -> Result<Vec<Stat>, Error> {
    let stats: Vec<_> = split
        .items
        .par_iter()
        .with_min_len(64)
        .map(|item| Ok((stat(&item.image)?, stat(&item.mask)?)))
        .collect::<Result<_, Error>>()?;
    let missing = |pick: fn(&(Option<Stamp>, Option<Stamp>)) -> bool| {
        stats.iter().zip(&split.items).filter(move |(stat, _)| pick(stat)).map(|(_, item)| item)
    };
    let images: Vec<&Item> = missing(|stat| stat.0.is_none()).collect();
    let masks: Vec<&Item> = missing(|stat| stat.1.is_none()).collect();
    if !images.is_empty() || !masks.is_empty() {
        let paths = images.iter().map(|item| &item.image).chain(masks.iter().map(|i| &i.mask));
        return Err(Error::MissingFiles {
            split: split.name.clone(),
            n_items: split.items.len(),
            n_images: images.len(),
            n_masks: masks.len(),
            first: paths.take(NAMED_MAX).cloned().collect(),
        });
    }
    let stats = stats.into_iter().filter_map(|(image, mask)| image.zip(mask));
    Ok(stats.map(|(image, mask)| Stat { image_bytes: image.bytes, mask }).collect())
}

/// `None` where there is no such file.
fn stat(path: &Path) -> Result<Option<Stamp>, Error> {
    match fs_err::metadata(path) {
        Ok(meta) => Ok(Some(Stamp {
            bytes: meta.len(),
            inode: meta.ino(),
            modified_ns: nanoseconds(meta.mtime(), meta.mtime_nsec()),
            changed_ns: nanoseconds(meta.ctime(), meta.ctime_nsec()),
        })),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Error::Io(error)),
    }
}

fn nanoseconds(s: i64, ns: i64) -> i64 {
    s.saturating_mul(1_000_000_000).saturating_add(ns)
}

fn hash_masks(
    split: &Split,
    stats: &[Stat],
    known: &BTreeMap<String, MaskEntry>,
) -> Result<Vec<String>, Error> {
    split
        .items
        .par_iter()
        .zip(stats)
        .map(|(item, stat)| match item.mask.to_str().and_then(|path| known.get(path)) {
            Some(entry) if entry.stamp == stat.mask => Ok(entry.sha256.clone()),
            _ => Ok(sha256_bytes(&fs_err::read(&item.mask)?)),
        })
        .collect()
}

/// The fingerprint itself; nothing in it depends on where the dataset lies.
fn combine(split: &Split, stats: &[Stat], masks: &[String]) -> String {
    let mut hasher = Fields::new(b"sweep split 1");
    hasher.text(&split.labels.name());
    hasher.number(split.classes.len() as u64);
    for class in split.classes.iter() {
        hasher.text(class);
    }
    hasher.number(split.items.len() as u64);
    for ((item, stat), mask) in split.items.iter().zip(stats).zip(masks) {
        hasher.text(&item.id);
        // A layout that maps its labels names its own folders, and they may be renamed.
        if !matches!(split.labels, Labels::Map(_)) {
            hasher.path(item.image.strip_prefix(&split.root).unwrap_or(&item.image));
        }
        hasher.number(stat.image_bytes);
        hasher.text(mask);
    }
    hasher.finish()
}

/// Everything the fingerprint is made of, with the masks' stamps in place of their contents.
fn stat_digest(split: &Split, stats: &[Stat]) -> String {
    let mut hasher = Fields::new(b"sweep stat 1");
    hasher.path(&split.root);
    hasher.text(&split.labels.name());
    hasher.number(split.classes.len() as u64);
    for class in split.classes.iter() {
        hasher.text(class);
    }
    hasher.number(split.items.len() as u64);
    for (item, stat) in split.items.iter().zip(stats) {
        hasher.text(&item.id);
        hasher.path(&item.image);
        hasher.path(&item.mask);
        hasher.number(stat.image_bytes);
        hasher.number(stat.mask.bytes);
        hasher.number(stat.mask.inode);
        hasher.number(stat.mask.modified_ns as u64);
        hasher.number(stat.mask.changed_ns as u64);
    }
    hasher.finish()
}

/// A hash over fields with their lengths, so that no two lists of fields run together.
struct Fields(Sha256);

impl Fields {
    fn new(tag: &[u8]) -> Self {
        let mut fields = Self(Sha256::new());
        fields.bytes(tag);
        fields
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn path(&mut self, path: &Path) {
        self.bytes(path.as_os_str().as_encoded_bytes());
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// A cache that is missing, damaged or of another version is an empty one. It begins with
/// the sha256 of the rest: a wrong digit in it would name another dataset, and runs by it.
fn read_cache<T: Default + DeserializeOwned>(path: &Path, version: fn(&T) -> u32) -> T {
    let parse = |bytes: Vec<u8>| {
        let (sum, json) = bytes.split_at_checked(SUM_BYTES)?;
        let is_sound = sha256_bytes(json).as_bytes() == sum;
        // What cannot be parsed is of another version.
        serde_json::from_slice(json).ok().filter(|_| is_sound)
    };
    let cache = fs_err::read(path).ok().and_then(parse);
    cache.filter(|cache| version(cache) == VERSION).unwrap_or_default()
}

/// Only time is lost where a cache cannot be written, so that is a warning.
fn write_cache<T: Serialize>(path: &Path, cache: &T) {
    // Two threads of one process would share a temp file.
    static WRITING: Mutex<()> = Mutex::new(());
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let json = serde_json::to_vec(cache).expect("maps with text keys always serialise");
    let bytes = [sha256_bytes(&json).into_bytes(), json].concat();
    if let Err(error) = write_atomic(path, &bytes) {
        tracing::warn!(path = %path.display(), %error, "dataset fingerprints are not cached");
    }
}
