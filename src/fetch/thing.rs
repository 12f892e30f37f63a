//! The list of everything that can be fetched, the state of each thing, and its download.
//!
//! `sweep fetch` and `sweep run --fetch` go through the names they were given, look them up with
//! [`find`] and call [`Setting::get`]; a listing goes through [`things`] and asks each for its
//! [`Thing::state`].

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::with_sources;
use crate::fetch::archive;
use crate::fetch::dataset::catalog::{ROWS, Recipe, Row};
use crate::fetch::dataset::{self, Job};
use crate::fetch::download::{self, Downloader, Proof};
use crate::fetch::licence::{Licence, ToAccept};
use crate::fetch::places::{Places, State};
use crate::fetch::upsampler;
use crate::fetch::weights::{self, Address, Release, copy_note};

/// A dataset, or the weight file of an encoder or of an upsampler, by one name.
#[derive(Debug, Clone)]
pub enum Thing {
    Data(&'static Row),
    Weights(Box<Release>),
    Upsampler(&'static upsampler::Row),
}

/// The folders and the network settings for fetching.
pub struct Setting {
    pub places: Places,
    pub address: Address,
    /// Names of the licences that were accepted.
    pub accepted: Vec<String>,
    pub downloader: Downloader,
}

/// A progress event.
#[derive(Debug)]
pub enum News<'a> {
    Data(dataset::News<'a>),
    Weights(download::News<'a>),
}

/// A thing that is now complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    pub path: PathBuf,
    pub how: How,
}

/// The way it got there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    WasThere,
    Made,
    /// A file that was downloaded or found, and how it was checked.
    Checked(Proof),
}

/// The error for a thing that could not be fetched, with advice for the user.
#[derive(Debug)]
pub struct Error {
    pub failure: Failure,
    advice: Option<String>,
}

/// The reason why a thing could not be fetched.
#[derive(Debug)]
pub enum Failure {
    Data(dataset::Error),
    Weights(weights::Error),
}

/// Every thing: datasets, then weights of encoders, then of upsamplers.
pub fn things() -> impl Iterator<Item = Thing> {
    let weights = weights::releases().map(|release| Thing::Weights(Box::new(release)));
    let upsamplers = upsampler::ROWS.iter().map(Thing::Upsampler);
    ROWS.iter().map(Thing::Data).chain(weights).chain(upsamplers)
}

/// The thing of that name.
pub fn find(name: &str) -> Option<Thing> {
    things().find(|thing| thing.name() == name)
}

/// The licences that have to be accepted before something is fetched, each once.
pub fn licences_to_accept() -> Vec<ToAccept> {
    let mut found: Vec<ToAccept> = Vec::new();
    for terms in things().filter_map(|thing| thing.licence().to_accept) {
        if !found.contains(&terms) {
            found.push(terms);
        }
    }
    found
}

impl Thing {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Data(row) => row.name,
            Self::Weights(release) => release.variant.name,
            Self::Upsampler(row) => row.name,
        }
    }

    pub fn licence(&self) -> Licence {
        match self {
            Self::Data(row) => row.licence,
            Self::Weights(release) => release.licence,
            Self::Upsampler(row) => row.licence,
        }
    }

    /// Approximate number of bytes to download; 0 where unknown.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Data(row) => row.files.iter().map(|file| file.size.bytes()).sum(),
            Self::Weights(release) => release.size.bytes(),
            Self::Upsampler(row) => row.bytes_about,
        }
    }

    /// Whether it cannot be downloaded by command: the steps by hand are printed instead.
    pub fn is_by_hand(&self) -> bool {
        match self {
            Self::Data(row) => matches!(row.recipe, Recipe::Gated { .. }),
            Self::Weights(release) => {
                matches!(release.access, weights::Access::Gated { copy: None, .. })
            }
            Self::Upsampler(_) => false,
        }
    }

    pub fn state(&self, places: &Places) -> State {
        match self {
            Self::Data(row) => dataset::state(row, &places.data_dirs),
            Self::Weights(release) => release.state(places),
            Self::Upsampler(row) => row.state(places),
        }
    }

    /// A remark about the file at `path`, or about the one to be fetched.
    pub fn remark(&self, path: Option<&Path>) -> Option<&'static str> {
        match (self, path) {
            (Self::Data(_) | Self::Upsampler(_), _) => None,
            (Self::Weights(release), Some(path)) => copy_note(release.variant, path),
            (Self::Weights(release), None) => release.copy().map(|_| "timm's copy"),
        }
    }
}

impl Setting {
    /// Gets a thing; may be killed at any moment, and continues when called again.
    pub fn get(&self, thing: &Thing, tell: &mut dyn FnMut(News<'_>)) -> Result<Got, Error> {
        match thing {
            Thing::Data(row) => self.dataset(row, tell),
            Thing::Weights(release) => self.weights(release, tell),
            Thing::Upsampler(row) => self.upsampler(row, tell),
        }
    }

    fn dataset(&self, row: &Row, tell: &mut dyn FnMut(News<'_>)) -> Result<Got, Error> {
        let mirror = match &self.address {
            Address::Mirror(base) => Some(base.as_str()),
            Address::Official | Address::Url(_) => None,
        };
        let (data_dirs, downloader) = (self.places.data_dirs.as_slice(), &self.downloader);
        let job = Job { row, data_dirs, mirror, downloader };
        let made = job.run(&mut |news| tell(News::Data(news)));
        let (path, is_new) = made.map_err(|error| {
            let is_far = matches!(&error, dataset::Error::Download(error) if error.is_of_network());
            let dir = data_dirs.first().filter(|_| is_far);
            let advice = dir.map(|dir| dataset::by_hand(row, dir));
            Error { failure: Failure::Data(error), advice }
        })?;
        Ok(Got { path, how: if is_new { How::Made } else { How::WasThere } })
    }

    fn weights(&self, release: &Release, tell: &mut dyn FnMut(News<'_>)) -> Result<Got, Error> {
        let job = weights::Job {
            release,
            places: &self.places,
            address: &self.address,
            accepted: &self.accepted,
            downloader: &self.downloader,
        };
        let found = job.run(&mut |news| tell(News::Weights(news)));
        got(found, || job.by_hand())
    }

    fn upsampler(
        &self,
        row: &upsampler::Row,
        tell: &mut dyn FnMut(News<'_>),
    ) -> Result<Got, Error> {
        let mut tell = |news: download::News<'_>| tell(News::Weights(news));
        let dir = self.places.weight_dirs.first();
        let found = row.get(&self.places, &self.address, &self.downloader, &mut tell);
        got(found, || dir.map(|dir| row.by_hand(dir)))
    }
}

/// What became of a weight file, with advice where its address could not be reached.
fn got(
    found: Result<weights::Found, weights::Error>,
    by_hand: impl FnOnce() -> Option<String>,
) -> Result<Got, Error> {
    let found = found.map_err(|error| {
        let is_far = matches!(&error, weights::Error::Download(error) if error.is_of_network());
        let advice = if is_far { by_hand() } else { None };
        Error { failure: Failure::Weights(error), advice }
    })?;
    Ok(Got { path: found.path, how: found.proof.map_or(How::WasThere, How::Checked) })
}

impl Error {
    /// Whether the content that was downloaded or found failed its check.
    pub fn is_failed_check(&self) -> bool {
        match &self.failure {
            Failure::Data(error) => match error {
                dataset::Error::Download(error) => error.is_failed_check(),
                dataset::Error::Archive(error) => !matches!(error, archive::Error::Io(_)),
                dataset::Error::NotInside { .. }
                | dataset::Error::Mask { .. }
                | dataset::Error::Count { .. } => true,
                _ => false,
            },
            Failure::Weights(weights::Error::Download(error)) => error.is_failed_check(),
            Failure::Weights(_) => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&match &self.failure {
            Failure::Data(error) => with_sources(error),
            Failure::Weights(error) => with_sources(error),
        })?;
        self.advice.as_ref().map_or(Ok(()), |advice| write!(f, "\n{advice}"))
    }
}

// The sources are in the text.
impl std::error::Error for Error {}
