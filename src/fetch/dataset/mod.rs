//! Downloads datasets, complete and checked, to where [`crate::data::dataset`] looks for them.
//!
//! [`super::thing`] calls it with a row of the catalogue and the data folders; it returns the place
//! of the dataset, or the reason why it is missing.

pub mod catalog;
mod mat;
mod sbd;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use crate::data::dataset::{self, Ade20kConfig, Config, VocConfig};
use crate::fetch::archive::{self, Limits};
use crate::fetch::download::{self, Downloader, RemoteFile};
use crate::fetch::places::State;
use crate::fs::Claim;
use catalog::{ROWS, Recipe, Row, Source};

/// The folder in the data folder that holds downloads and archives until their row is done.
const WORK: &str = ".fetch";

/// Where to get a row from and where to put it.
pub struct Job<'a> {
    pub row: &'a Row,
    /// The data folders; new things go into the first.
    pub data_dirs: &'a [PathBuf],
    /// A mirror: a base address that has the files by their names.
    pub mirror: Option<&'a str>,
    pub downloader: &'a Downloader,
}

/// A progress event.
#[derive(Debug)]
pub enum News<'a> {
    Download(&'a Source, download::News<'a>),
    /// A file that the user put there is used.
    Found(&'a Path),
    /// Another process is fetching the same.
    Waits(&'a Path),
    Unpacks {
        archive: &'a Path,
        done: u64,
        total: u64,
    },
    Converts {
        done: usize,
        total: usize,
    },
}

/// The reason why a row is missing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`data_dirs` is empty: set it, or name a folder with `--dir`")]
    NoFolder,
    #[error("{name} cannot be downloaded without an account: {steps}; the folder is `{target}`")]
    Gated { name: &'static str, steps: &'static str, target: PathBuf },
    #[error(
        "`{target}` exists but is not a complete {name}: move it away, or add what is missing \
         ({missing})"
    )]
    Incomplete { name: &'static str, target: PathBuf, missing: String },
    #[error("SBD is added to VOC 2012, which is missing: run `sweep fetch voc` first")]
    NoVoc,
    #[error("`{archive}` has no `{inner}`")]
    NotInside { archive: PathBuf, inner: &'static str },
    #[error("SBD's mask `{name}` {problem}")]
    Mask { name: String, problem: String },
    #[error("trainaug has {found} images instead of {expected}: VOC or SBD is incomplete")]
    Count { found: usize, expected: usize },
    #[error(transparent)]
    Download(#[from] download::Error),
    #[error(transparent)]
    Archive(#[from] archive::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

type Tell<'a> = dyn FnMut(News<'_>) + 'a;

/// The row of that name.
pub fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

/// Whether `row` is in one of `data_dirs`.
pub fn state(row: &Row, data_dirs: &[PathBuf]) -> State {
    let mut all = data_dirs.iter().map(|dir| dir.join(row.target));
    if let Some(target) = all.find(|target| missing(row, target).is_none()) {
        return State::There(target);
    }
    let Some(dir) = data_dirs.first() else { return State::Missing };
    let bytes = row.files.iter().map(|file| {
        let paths = [
            dir.join(file.name),
            dir.join(WORK).join(file.name),
            dir.join(row.target).join(file.name),
        ];
        let sizes = paths.iter().map(|path| {
            let whole = fs_err::metadata(path).map_or(0, |metadata| metadata.len());
            whole.max(download::partial_bytes(path))
        });
        sizes.max().unwrap_or(0)
    });
    match bytes.sum() {
        0 => State::Missing,
        bytes => State::Partial(bytes),
    }
}

/// How to get `row` where this machine cannot reach the addresses.
pub fn by_hand(row: &Row, dir: &Path) -> String {
    let files: Vec<_> = row.files.iter().map(|file| file.urls[0]).collect();
    let to = match row.recipe {
        Recipe::Files => dir.join(row.target),
        _ => dir.to_owned(),
    };
    format!(
        "by hand: download {} on another machine, put it into `{}`, and run `sweep fetch {}` again",
        files.join(" "),
        to.display(),
        row.name
    )
}

impl Job<'_> {
    /// Gets the row unless it is there; returns its place, and whether it is new.
    ///
    /// It may be killed at any moment, and continues when called again.
    pub fn run(&self, tell: &mut Tell<'_>) -> Result<(PathBuf, bool), Error> {
        if let State::There(target) = state(self.row, self.data_dirs) {
            if let Recipe::Files = self.row.recipe {
                self.download_all(&target, tell)?;
            }
            return Ok((target, false));
        }
        let dir = self.data_dirs.first().ok_or(Error::NoFolder)?;
        let target = dir.join(self.row.target);
        if let Recipe::Gated { steps } = self.row.recipe {
            return Err(Error::Gated { name: self.row.name, steps, target });
        }
        let work = dir.join(WORK);
        let place = work.join(self.row.name);
        let claim = Claim::on(&place, || tell(News::Waits(&target)))?;
        // Another process may have made it while we waited.
        let is_new = missing(self.row, &target).is_some();
        let made = if is_new { self.make(dir, &place, &target, tell) } else { Ok(()) };
        drop(claim);
        // Not where something is under way there.
        let _ = fs_err::remove_dir(work);
        made.map(|()| (target, is_new))
    }

    /// Gets the row into `target`, using the folder `place` on the way.
    fn make(
        &self,
        dir: &Path,
        place: &Path,
        target: &Path,
        tell: &mut Tell<'_>,
    ) -> Result<(), Error> {
        match self.row.recipe {
            Recipe::Files => self.download_all(target, tell)?,
            Recipe::Archive { inner, limits } => {
                self.refuse_others(target)?;
                let archive = self.archive(dir, tell)?;
                self.unpack(&archive, place, (&[], limits), tell)?;
                let unpacked = place.join(inner);
                if !unpacked.is_dir() {
                    return Err(Error::NotInside { archive, inner });
                }
                if let Some(parent) = target.parent() {
                    fs_err::create_dir_all(parent)?;
                }
                fs_err::rename(&unpacked, target)?;
            }
            Recipe::Sbd { n_trainaug, limits } => {
                let State::There(voc) = state(catalog::VOC, self.data_dirs) else {
                    return Err(Error::NoVoc);
                };
                let archive = self.archive(dir, tell)?;
                self.unpack(&archive, place, (sbd::WANTED, limits), tell)?;
                sbd::add(place, &voc, n_trainaug, &mut |done, total| {
                    tell(News::Converts { done, total });
                })?;
            }
            Recipe::Gated { .. } => {}
        }
        self.clean(dir)?;
        match missing(self.row, target) {
            None => Ok(()),
            Some(missing) => {
                let (name, target) = (self.row.name, target.to_owned());
                Err(Error::Incomplete { name, target, missing })
            }
        }
    }

    /// Refuses to overwrite what the user already has at the target.
    fn refuse_others(&self, target: &Path) -> Result<(), Error> {
        match missing(self.row, target) {
            Some(missing) if target.exists() => {
                Err(Error::Incomplete { name: self.row.name, target: target.to_owned(), missing })
            }
            _ => Ok(()),
        }
    }

    fn download_all(&self, folder: &Path, tell: &mut Tell<'_>) -> Result<(), Error> {
        fs_err::create_dir_all(folder)?;
        for source in self.row.files {
            self.download(source, &folder.join(source.name), tell)?;
        }
        Ok(())
    }

    /// The row's archive: one that the user put into the data folder, or downloaded.
    fn archive(&self, dir: &Path, tell: &mut Tell<'_>) -> Result<PathBuf, Error> {
        let [source] = self.row.files else { unreachable!("such rows have one archive") };
        let by_hand = dir.join(source.name);
        let path = if by_hand.is_file() {
            tell(News::Found(&by_hand));
            by_hand
        } else {
            dir.join(WORK).join(source.name)
        };
        if !dir.join(WORK).join(self.row.name).is_dir() || path.exists() {
            self.download(source, &path, tell)?;
        }
        Ok(path)
    }

    fn download(&self, source: &Source, target: &Path, tell: &mut Tell<'_>) -> Result<(), Error> {
        let file = remote(source, self.mirror, self.row.unpacked_bytes);
        self.downloader.fetch(&file, target, &mut |news| tell(News::Download(source, news)))?;
        Ok(())
    }

    fn unpack(
        &self,
        archive: &Path,
        place: &Path,
        what: (&[&str], Limits),
        tell: &mut Tell<'_>,
    ) -> Result<(), Error> {
        // It has that name only when it is whole.
        if place.is_dir() {
            return Ok(());
        }
        let total = self.row.unpacked_bytes;
        archive::unpack(archive, place, what, &mut |done| {
            tell(News::Unpacks { archive, done, total });
        })?;
        Ok(())
    }

    /// Removes temporary files; what the user put there stays.
    fn clean(&self, dir: &Path) -> io::Result<()> {
        let work = dir.join(WORK);
        let unpacked = work.join(self.row.name);
        if unpacked.is_dir() {
            fs_err::remove_dir_all(unpacked)?;
        }
        for source in self.row.files {
            let path = work.join(source.name);
            if path.is_file() {
                fs_err::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// `source` as a download, by its own addresses or from a mirror.
fn remote(source: &Source, mirror: Option<&str>, room_bytes: u64) -> RemoteFile {
    let urls = match mirror {
        None => source.urls.iter().map(|&url| url.to_owned()).collect(),
        Some(base) => vec![format!("{}/{}", base.trim_end_matches('/'), source.name)],
    };
    RemoteFile { urls, size: source.size, checksum: source.checksum, room_bytes }
}

/// What is missing at `target`, in the words of the code that reads it; `None` if nothing is.
fn missing(row: &Row, target: &Path) -> Option<String> {
    if !target.exists() {
        return Some("all".to_owned());
    }
    let opens = |config: &Config, splits: &[&str]| {
        let dataset = match dataset::open_at(config, target) {
            Ok(dataset) => dataset,
            Err(error) => return Some(error.to_string()),
        };
        splits.iter().find_map(|split| dataset.split(split).err().map(|error| error.to_string()))
    };
    let lacks = |names: &[&str]| {
        let absent = names.iter().find(|name| !target.join(name).exists());
        absent.map(|name| format!("`{name}`"))
    };
    match row.name {
        "voc" => {
            let config = VocConfig { root: None, train: "train".to_owned() };
            opens(&Config::Voc(config), &["train", "val"])
        }
        "ade20k" => opens(&Config::Ade20k(Ade20kConfig { root: None }), &["train", "val"]),
        "cityscapes" => lacks(&["leftImg8bit", "gtFine"]),
        "acdc" => lacks(&["rgb_anon", "gt"]),
        // Its split file is written last.
        "sbd" => None,
        _ => lacks(&row.files.iter().map(|file| file.name).collect::<Vec<_>>()),
    }
}
