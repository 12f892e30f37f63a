//! Published weights of feature upsamplers: their addresses, sizes and licences.
//!
//! [`super::thing`] calls it. The licences are those of the repositories, as none names another for
//! its weights. No checksum is published: that of the first download is kept.

use std::path::{Path, PathBuf};

use crate::fetch::download::{self, Checksum, Downloader, RemoteFile, Size, partial_bytes};
use crate::fetch::licence::Licence;
use crate::fetch::places::{Places, State};
use crate::fetch::weights::{Address, Error, Found};

/// A published weight file.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    url: &'static str,
    pub licence: Licence,
    /// From the number of its values; four bytes each.
    pub bytes_about: u64,
}

const FEATUP: Licence = Licence::open("MIT (FeatUp)");
const ANYUP: Licence = Licence::open("CC BY 4.0 (AnyUp: name its authors)");
const NAF: Licence = Licence::open("Apache-2.0 (NAF)");
/// The encoder ViT-S/14 is stored with FeatUp's upsampler.
const FEATUP_BYTES: u64 = 89_000_000;

/// Every file.
pub const ROWS: &[Row] = &[
    Row {
        name: "featup_jbu_dinov2_vits14",
        url: "https://marhamilresearch4.blob.core.windows.net/feature-upsampling-public/pretrained/\
              dinov2_jbu_stack_cocostuff.ckpt",
        licence: FEATUP,
        bytes_about: FEATUP_BYTES,
    },
    Row {
        name: "featup_jbu_dinov2_vits14_no_norm",
        url: "https://marhamilresearch4.blob.core.windows.net/feature-upsampling-public/pretrained/\
              no_norm/dinov2_jbu_stack_cocostuff.ckpt",
        licence: FEATUP,
        bytes_about: FEATUP_BYTES,
    },
    Row {
        name: "anyup_paper",
        url: "https://github.com/wimmerth/anyup/releases/download/checkpoint/anyup_paper.pth",
        licence: ANYUP,
        bytes_about: 4 * 878_080,
    },
    Row {
        name: "anyup_multi_backbone",
        url: "https://github.com/wimmerth/anyup/releases/download/checkpoint_v2/\
              anyup_multi_backbone.pth",
        licence: ANYUP,
        bytes_about: 4 * 878_080,
    },
    Row {
        name: "naf_release",
        url: "https://github.com/valeoai/NAF/releases/download/model/naf_release.pth",
        licence: NAF,
        bytes_about: 4 * 662_544,
    },
];

impl Row {
    /// Its file in a weight folder: its own name, as two of FeatUp's files are published under one.
    fn file_name(&self) -> String {
        let end = self.url.rsplit('.').next().unwrap_or_default();
        format!("{}.{end}", self.name)
    }

    fn located(&self, places: &Places) -> Option<PathBuf> {
        let paths = places.weight_dirs.iter().map(|dir| dir.join(self.file_name()));
        paths.into_iter().find(|path| path.is_file())
    }

    /// Whether it is in a weight folder.
    pub fn state(&self, places: &Places) -> State {
        if let Some(path) = self.located(places) {
            return State::There(path);
        }
        let target = places.weight_dirs.first().map(|dir| dir.join(self.file_name()));
        match target.map(|target| partial_bytes(&target)) {
            None | Some(0) => State::Missing,
            Some(bytes) => State::Partial(bytes),
        }
    }

    /// The address it is requested from.
    fn url(&self, address: &Address) -> String {
        match address {
            Address::Official => self.url.to_owned(),
            Address::Mirror(base) => {
                format!("{}/{}", base.trim_end_matches('/'), self.file_name())
            }
            Address::Url(url) => url.clone(),
        }
    }

    /// Gets the file and checks it. It may be killed at any moment, and continues when called
    /// again.
    pub fn get(
        &self,
        places: &Places,
        address: &Address,
        downloader: &Downloader,
        tell: &mut dyn FnMut(download::News<'_>),
    ) -> Result<Found, Error> {
        let target = match self.located(places) {
            Some(path) => path,
            None => places.weight_dirs.first().ok_or(Error::NoFolder)?.join(self.file_name()),
        };
        let file = RemoteFile {
            urls: vec![self.url(address)],
            size: Size::About(self.bytes_about),
            checksum: Checksum::Unpublished,
            room_bytes: 0,
        };
        let fetched = downloader.fetch(&file, &target, tell)?;
        Ok(Found { path: target, proof: Some(fetched.proof) })
    }

    /// How to get the file where this machine cannot reach the address.
    pub fn by_hand(&self, dir: &Path) -> String {
        let target = dir.join(self.file_name());
        let (url, target) = (self.url, target.display());
        format!("by hand: download {url} on another machine and save it as `{target}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_name_of_its_own() {
        let mut names: Vec<_> = ROWS.iter().map(Row::file_name).collect();
        assert_eq!(names[1], "featup_jbu_dinov2_vits14_no_norm.ckpt");
        assert_eq!(names[4], "naf_release.pth");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
    }

    #[test]
    fn addresses_are_the_publishers_or_a_mirrors() {
        let row = &ROWS[1];
        assert!(row.url(&Address::Official).ends_with("/no_norm/dinov2_jbu_stack_cocostuff.ckpt"));
        let mirror = Address::Mirror("http://a/".to_owned());
        assert_eq!(row.url(&mirror), "http://a/featup_jbu_dinov2_vits14_no_norm.ckpt");
    }
}
