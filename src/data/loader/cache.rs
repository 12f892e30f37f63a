//! Caches samples when they are first loaded: in memory, then in a file without a name.
//!
//! Samples are admitted as they arrive until a budget is full, and stay: every epoch visits all of
//! them, so that whatever was thrown out would be asked for again. No lock is held while a sample
//! is decoded, copied, read or written, and nothing that goes wrong here is an error: a sample that
//! the cache cannot give back as it was is loaded again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::data::{Mask, Rgb};
use crate::fs::space;

/// Space left free on the disk: checkpoints and journals matter more than a cache.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// Limits of what a loader may keep of decoded samples. The default is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Budget {
    pub memory_bytes: u64,
    /// Bytes of the file for samples that do not fit in memory.
    pub disk_bytes: u64,
    /// The folder of the file.
    pub folder: PathBuf,
}

/// The kept samples of a split, by their index in it.
#[derive(Debug)]
pub(super) struct Cache {
    slots: Vec<OnceLock<Slot>>,
    memory_left: AtomicU64,
    disk: Disk,
    /// The first problem.
    problem: OnceLock<String>,
    is_told: AtomicBool,
}

#[derive(Debug)]
enum Slot {
    Memory(Rgb, Mask),
    Disk(Record),
}

/// The place of a sample in the file, with what is needed to verify it.
#[derive(Debug)]
struct Record {
    offset: u64,
    /// Width and height.
    image: [u32; 2],
    /// Width and height.
    mask: [u32; 2],
    crc: u32,
}

#[derive(Debug)]
struct Disk {
    folder: PathBuf,
    bytes_max: u64,
    bytes: AtomicU64,
    /// The file, made when first needed; `None` where that fails, or nothing more is written to it.
    file: OnceLock<Option<File>>,
    is_closed: AtomicBool,
}

impl Cache {
    pub(super) fn new(n_samples: usize, budget: Budget) -> Self {
        let is_off = budget.memory_bytes == 0 && budget.disk_bytes == 0;
        let n_slots = if is_off { 0 } else { n_samples };
        Self {
            slots: (0..n_slots).map(|_| OnceLock::new()).collect(),
            memory_left: AtomicU64::new(budget.memory_bytes),
            disk: Disk {
                folder: budget.folder,
                bytes_max: budget.disk_bytes,
                bytes: AtomicU64::new(0),
                file: OnceLock::new(),
                is_closed: AtomicBool::new(budget.disk_bytes == 0),
            },
            problem: OnceLock::new(),
            is_told: AtomicBool::new(false),
        }
    }

    /// The sample at `index`: the kept one, or what `load` gives, which always gives the same.
    pub(super) fn get_or_load<E>(
        &self,
        index: usize,
        load: impl FnOnce() -> Result<(Rgb, Mask), E>,
    ) -> Result<(Rgb, Mask), E> {
        let Some(slot) = self.slots.get(index) else { return load() };
        match slot.get() {
            Some(Slot::Memory(image, mask)) => Ok((image.clone(), mask.clone())),
            Some(Slot::Disk(record)) => match self.disk.read(record) {
                Ok(sample) => Ok(sample),
                Err(error) => {
                    self.report(&format!("cannot read samples back: {error}"));
                    load()
                }
            },
            None => {
                let (image, mask) = load()?;
                if let Some(kept) = self.admit(&image, &mask)
                    && let Err(Slot::Memory(..)) = slot.set(kept)
                {
                    // Another thread was quicker; on the disk the place is lost.
                    self.memory_left.fetch_add(sample_bytes(&image, &mask), Ordering::Relaxed);
                }
                Ok((image, mask))
            }
        }
    }

    /// The first problem, returned once.
    pub(super) fn take_problem(&self) -> Option<String> {
        let problem = self.problem.get()?;
        (!self.is_told.swap(true, Ordering::Relaxed)).then(|| problem.clone())
    }

    fn admit(&self, image: &Rgb, mask: &Mask) -> Option<Slot> {
        let n_bytes = sample_bytes(image, mask);
        let take = |left: u64| left.checked_sub(n_bytes);
        if self.memory_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            return Some(Slot::Memory(image.clone(), mask.clone()));
        }
        match self.disk.write(image, mask) {
            Ok(record) => record.map(Slot::Disk),
            Err(error) => {
                self.report(&format!("nothing more is kept: {error}"));
                None
            }
        }
    }

    fn report(&self, what: &str) {
        self.problem.get_or_init(|| {
            let folder = self.disk.folder.display();
            format!("sample cache in `{folder}`: {what}; such samples are decoded in each epoch")
        });
    }
}

impl Disk {
    /// Appends a sample; `None` where there is no room for it. After an error nothing more is
    /// written.
    fn write(&self, image: &Rgb, mask: &Mask) -> io::Result<Option<Record>> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let n_bytes = sample_bytes(image, mask);
        let take = |used: u64| used.checked_add(n_bytes).filter(|&used| used <= self.bytes_max);
        let Ok(offset) = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) else {
            return Ok(None);
        };
        let bytes = [image.pixels.as_slice(), mask.classes.as_slice()].concat();
        let crc = crc32fast::hash(&bytes);
        let written = self.write_at(&bytes, offset);
        if written.is_err() && self.is_closed.swap(true, Ordering::Relaxed) {
            // Another thread has told of it.
            return Ok(None);
        }
        written?;
        let (image, mask) = ([image.width, image.height], [mask.width, mask.height]);
        Ok(Some(Record { offset, image, mask, crc }))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let free = space::free(&self.folder)?.bytes;
        if free < FREE_BYTES_MIN.saturating_add(bytes.len() as u64) {
            let (free_mb, kept_mb) = (free >> 20, FREE_BYTES_MIN >> 20);
            let problem =
                format!("the disk has {free_mb} MiB left, and {kept_mb} MiB are kept free");
            return Err(io::Error::other(problem));
        }
        let mut failed = None;
        let file = self
            .file
            .get_or_init(|| unnamed_file(&self.folder).map_err(|error| failed = Some(error)).ok());
        match (file, failed) {
            (Some(file), _) => file.write_all_at(bytes, offset),
            (None, Some(error)) => Err(error),
            (None, None) => Err(io::Error::other("its file cannot be created")),
        }
    }

    fn read(&self, record: &Record) -> io::Result<(Rgb, Mask)> {
        let file = self.file.get().and_then(Option::as_ref);
        let file = file.ok_or_else(|| io::Error::other("its file is gone"))?;
        let n_pixels = |[width, height]: [u32; 2]| width as usize * height as usize;
        let mut pixels = vec![0; 3 * n_pixels(record.image) + n_pixels(record.mask)];
        file.read_exact_at(&mut pixels, record.offset)?;
        if crc32fast::hash(&pixels) != record.crc {
            return Err(io::Error::other("the bytes are not those that were written"));
        }
        let classes = pixels.split_off(3 * n_pixels(record.image));
        let ([width, height], mask) = (record.image, record.mask);
        let mask = Mask { width: mask[0], height: mask[1], classes };
        Ok((Rgb { width, height, pixels }, mask))
    }
}

fn sample_bytes(image: &Rgb, mask: &Mask) -> u64 {
    (image.pixels.len() + mask.classes.len()) as u64
}

/// Creates a file that disappears with its last handle, however the process ends.
#[cfg(target_os = "linux")]
fn unnamed_file(folder: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    use rustix::io::Errno;

    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match open(folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(File::from(file)),
        // Not every file system, and no old kernel, has files without names.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => unlinked_file(folder),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn unnamed_file(folder: &Path) -> io::Result<File> {
    unlinked_file(folder)
}

/// Its name lasts for an instant. Should the process end just then, the next one takes the empty
/// file over: a run directory has one worker.
fn unlinked_file(folder: &Path) -> io::Result<File> {
    let path = folder.join(".samples.tmp");
    let mut options = fs_err::OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).open(&path)?;
    fs_err::remove_file(&path)?;
    Ok(file.into_parts().0)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn sample(index: u8) -> (Rgb, Mask) {
        let pixels = (0..48).map(|i: u8| i.wrapping_mul(7).wrapping_add(index)).collect();
        let image = Rgb { width: 4, height: 4, pixels };
        (image, Mask { width: 4, height: 4, classes: vec![index; 16] })
    }

    const BYTES: u64 = 64;

    fn cache(memory: u64, disk: u64, folder: &Path) -> Cache {
        let folder = folder.to_owned();
        let budget = Budget { memory_bytes: memory * BYTES, disk_bytes: disk * BYTES, folder };
        Cache::new(6, budget)
    }

    /// Asks for every sample; the number of those that had to be loaded.
    fn round(cache: &Cache) -> usize {
        let mut n_loaded = 0;
        for index in 0..6 {
            let load = || {
                n_loaded += 1;
                Ok::<_, Infallible>(sample(index))
            };
            assert_eq!(cache.get_or_load(usize::from(index), load).unwrap(), sample(index));
        }
        n_loaded
    }

    #[test]
    fn what_fits_is_loaded_once() {
        let dir = tempfile::tempdir().unwrap();
        let check = |memory, disk, expect| {
            let cache = cache(memory, disk, dir.path());
            assert_eq!(round(&cache), 6);
            assert_eq!([round(&cache), round(&cache)], [expect; 2], "{memory} {disk}");
            assert_eq!(cache.take_problem(), None);
            assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 0);
        };
        check(0, 0, 6);
        check(2, 0, 4);
        check(0, 2, 4);
        check(2, 3, 1);
        check(6, 0, 0);
        check(0, 6, 0);
        check(1, 9, 0);
    }

    #[test]
    fn damaged_bytes_are_not_given_out() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(1, 9, dir.path());
        round(&cache);
        let file = cache.disk.file.get().unwrap().as_ref().unwrap();
        file.write_all_at(b"x", 3 * BYTES + 5).unwrap();
        assert_eq!([round(&cache), round(&cache)], [1, 1]);
        let problem = cache.take_problem().unwrap();
        assert!(problem.contains("not those that were written"), "{problem}");
        assert_eq!(cache.take_problem(), None);
        // Shorter than what was written.
        file.set_len(BYTES).unwrap();
        assert_eq!(round(&cache), 4);
    }

    #[test]
    fn a_folder_that_takes_no_file_is_told_of_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(1, 9, &dir.path().join("none"));
        assert_eq!([round(&cache), round(&cache)], [6, 5]);
        assert!(cache.take_problem().unwrap().contains("nothing more is kept"));
        assert_eq!(cache.take_problem(), None);
    }

    #[test]
    fn a_file_made_by_name_has_none_left() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join(".samples.tmp"), b"left by a worker").unwrap();
        let file = unlinked_file(dir.path()).unwrap();
        file.write_all_at(b"abc", 7).unwrap();
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn threads_share_it() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(2, 2, dir.path());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..50).for_each(|_| assert!(round(&cache) <= 6)));
            }
        });
        // Two threads may have put the same sample into both places on the disk.
        assert!((2..=3).contains(&round(&cache)));
        assert_eq!(cache.memory_left.load(Ordering::Relaxed), 0);
        assert!(cache.disk.bytes.load(Ordering::Relaxed) <= 2 * BYTES);
    }
}
