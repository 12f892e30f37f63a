//! Computes the fingerprint of a split, with a cache that makes asking again cheap.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{Item, Labels, Split};
use crate::data::Error;
use crate::fs::hash::{hex, sha256_bytes};
use crate::fs::{HashCache, Stamp, sealed};

/// Version of the cache of splits; another version is not read.
const VERSION: u32 = 2;
/// Number of missing files that the error names.
const NAMED_MAX: usize = 5;
/// Largest number of splits kept; more are leftovers of changed datasets, and all are dropped.
const SPLITS_MAX: usize = 256;

/// The lock held while caches are written: two threads of one process would share a temp file.
static WRITING: Mutex<()> = Mutex::new(());

/// Fingerprints of complete splits, by the digest of everything `stat` reports of their files.
type Known = BTreeMap<String, String>;

struct Stat {
    image_bytes: u64,
    mask: Stamp,
}

pub(super) fn of(split: &Split, cache: Option<&Path>, now: SystemTime) -> Result<String, Error> {
    let stats = stats(split)?;
    let Some(cache) = cache else {
        let masks = hash_masks(split, &stats, None)?;
        return Ok(combine(split, &stats, &masks));
    };
    let key = stat_digest(split, &stats);
    let mut splits: Known = sealed::read(cache, VERSION);
    if let Some(fingerprint) = splits.get(&key) {
        return Ok(fingerprint.clone());
    }
    let mut hashes = HashCache::open(cache.with_extension("masks.json"));
    let masks = hash_masks(split, &stats, Some(&hashes))?;
    let fingerprint = combine(split, &stats, &masks);
    for ((item, stat), sha256) in split.items.iter().zip(&stats).zip(&masks) {
        hashes.remember(&item.mask, stat.mask, sha256, now);
    }
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut written = hashes.save();
    if stats.iter().all(|stat| stat.mask.is_settled(now)) {
        if splits.len() >= SPLITS_MAX {
            splits.clear();
        }
        splits.insert(key, fingerprint.clone());
        written = written.and_then(|()| sealed::write(cache, VERSION, &splits));
    }
    if let Err(error) = written {
        // Only time is lost.
        tracing::warn!(path = %cache.display(), %error, "dataset fingerprints are not cached");
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

/// The facts of `stat` about a file; `None` where there is no such file.
fn stat(path: &Path) -> Result<Option<Stamp>, Error> {
    match Stamp::of(path) {
        Ok(stamp) => Ok(Some(stamp)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Error::Io(error)),
    }
}

fn hash_masks(
    split: &Split,
    stats: &[Stat],
    known: Option<&HashCache>,
) -> Result<Vec<String>, Error> {
    let hash = |(item, stat): (&Item, &Stat)| match known
        .and_then(|known| known.known(&item.mask, &stat.mask))
    {
        Some(sha256) => Ok(sha256.to_owned()),
        None => Ok(sha256_bytes(&fs_err::read(&item.mask)?)),
    };
    split.items.par_iter().zip(stats).map(hash).collect()
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
