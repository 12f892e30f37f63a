//! Downloads released weights into a weight folder: their addresses, licences and checksums.
//!
//! [`super::thing`] calls it. The rows are those of the backbones' table; what is gated is also
//! there as timm's copy on the Hugging Face Hub, for those who accept the licence.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::fetch::download::{self, Checksum, Downloader, Proof, RemoteFile, Size, partial_bytes};
use crate::fetch::licence::{self, Licence, ToAccept};
use crate::fetch::places::{Places, State};
use crate::fs::write_atomic;
use crate::model::WeightsConfig;
use crate::model::arch::AttentionBias;
use crate::model::backbone::{Variant, variants};
use crate::model::config::DinoType;
use crate::weights::locate;

/// Bytes of a file beside four per parameter; enough for an estimate.
const OVERHEAD_BYTES: u64 = 1 << 20;
/// Name of the note beside a file whose licence was accepted.
const LICENCE_FILE: &str = "LICENCE.txt";

/// The released weight file of one variant.
#[derive(Debug, Clone)]
pub struct Release {
    pub variant: &'static Variant,
    /// Its name, under which [`locate()`] looks for it in a weight folder.
    pub file_name: &'static str,
    pub licence: Licence,
    pub access: Access,
    pub size: Size,
    pub checksum: Checksum,
}

/// The way the file of a release is obtained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    Open {
        url: String,
    },
    /// It must be requested on this page, by a person who accepts the licence.
    Gated {
        page: &'static str,
        /// The same weights from another publisher, without a request.
        copy: Option<TimmCopy>,
    },
}

/// timm's copy of gated weights, in a repository of its own on the Hugging Face Hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimmCopy {
    /// The name of the repository and of its folder in a weight folder.
    pub repository: &'static str,
}

/// The address that a file is requested from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// The address where it is published.
    Official,
    /// A mirror: a base address that has the files by their names.
    Mirror(String),
    /// The address of one file.
    Url(String),
}

/// A release to fetch, and where to put it.
pub struct Job<'a> {
    pub release: &'a Release,
    pub places: &'a Places,
    pub address: &'a Address,
    /// Names of the licences that were accepted.
    pub accepted: &'a [String],
    pub downloader: &'a Downloader,
}

/// A weight file that is present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    /// Its proof; `None` for files of other programs, which are used as they are.
    pub proof: Option<Proof>,
}

/// The reason why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`weight_dirs` is empty: set it, or name a folder with `--dir`")]
    NoFolder,
    #[error("{}", to_accept(release, *terms, *copy, dir))]
    Unaccepted { release: Box<Release>, terms: ToAccept, copy: TimmCopy, dir: PathBuf },
    #[error("gated: {}", by_hand(release, page, dir))]
    Gated { release: Box<Release>, page: &'static str, dir: PathBuf },
    #[error(transparent)]
    Download(#[from] download::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One file to download, or to check.
struct Transfer {
    file: RemoteFile,
    target: PathBuf,
    copy: Option<TimmCopy>,
}

/// Every variant that was released.
pub fn releases() -> impl Iterator<Item = Release> {
    variants().filter_map(release)
}

/// The release of the variant of that name.
pub fn find(name: &str) -> Option<Release> {
    releases().find(|release| release.variant.name == name)
}

/// A remark about a weight file that is timm's copy of `variant`: that it is one, and whether it
/// lacks biases. `None` for all other files.
pub fn copy_note(variant: &Variant, path: &Path) -> Option<&'static str> {
    let is_part = |name: &str| {
        let cached = format!("models--timm--{name}");
        let mut parts = path.components().map(Component::as_os_str);
        parts.any(|part| part == name || part == cached.as_str())
    };
    let repository = variant.timm.iter().find(|name| is_part(name))?;
    let lacks = variant.arch.bias == AttentionBias::QueryValue && !repository.contains("_qkvb");
    Some(if lacks {
        "timm's copy, without the biases of q and v, which count as 0"
    } else {
        "timm's copy"
    })
}

impl Release {
    /// timm's copy, where the file itself is gated and a copy exists.
    pub fn copy(&self) -> Option<TimmCopy> {
        match self.access {
            Access::Open { .. } => None,
            Access::Gated { copy, .. } => copy,
        }
    }

    /// Whether it is in a weight folder, or in another program's cache.
    pub fn state(&self, places: &Places) -> State {
        if let Some(path) = self.located(places) {
            return State::There(path);
        }
        let Some(dir) = places.weight_dirs.first() else { return State::Missing };
        let copy = self.copy().map(|copy| dir.join(copy.file()));
        let targets = [Some(dir.join(self.file_name)), copy];
        match targets.iter().flatten().map(|target| partial_bytes(target)).max() {
            None | Some(0) => State::Missing,
            Some(bytes) => State::Partial(bytes),
        }
    }

    fn located(&self, places: &Places) -> Option<PathBuf> {
        let folders = (places.weight_dirs.as_slice(), places.caches.as_slice());
        // Not found is the other answer.
        locate(self.variant, &WeightsConfig::Pretrained {}, folders).ok().flatten()
    }

    /// The download of the file itself from `urls`.
    fn original(&self, urls: Vec<String>, dir: &Path) -> Transfer {
        let (size, checksum) = (self.size, self.checksum);
        let file = RemoteFile { urls, size, checksum, room_bytes: 0 };
        Transfer { file, target: dir.join(self.file_name), copy: None }
    }

    /// The download of timm's copy from `urls`, for which neither length nor checksum is published.
    fn copied(&self, copy: TimmCopy, urls: Vec<String>, dir: &Path) -> Transfer {
        let size = Size::About(4 * self.variant.params + OVERHEAD_BYTES);
        let file = RemoteFile { urls, size, checksum: Checksum::Unpublished, room_bytes: 0 };
        Transfer { file, target: dir.join(copy.file()), copy: Some(copy) }
    }
}

impl TimmCopy {
    /// Its web page.
    pub fn page(self) -> String {
        format!("https://huggingface.co/timm/{}", self.repository)
    }

    /// Its path below a weight folder.
    fn file(self) -> PathBuf {
        Path::new(self.repository).join("model.safetensors")
    }

    fn urls(self, address: &Address) -> Vec<String> {
        let Self { repository } = self;
        let on_hub =
            |base: &str| format!("{base}/timm/{repository}/resolve/main/model.safetensors");
        match address {
            Address::Official => vec![on_hub("https://huggingface.co")],
            // A mirror of the Hub, or a weight folder that is served.
            Address::Mirror(base) => {
                let base = base.trim_end_matches('/');
                vec![on_hub(base), format!("{base}/{repository}/model.safetensors")]
            }
            Address::Url(url) => vec![url.clone()],
        }
    }
}

impl Job<'_> {
    /// Gets the file and checks it. It may be killed at any moment, and continues when called
    /// again.
    pub fn run(&self, tell: &mut dyn FnMut(download::News<'_>)) -> Result<Found, Error> {
        if let Some(path) = self.release.located(self.places) {
            let Some(transfer) = self.ours(&path) else { return Ok(Found { path, proof: None }) };
            return self.carry_out(transfer, tell);
        }
        let dir = self.places.weight_dirs.first().ok_or(Error::NoFolder)?;
        self.carry_out(self.transfer(dir)?, tell)
    }

    /// The check of a file that was found; `None` where we did not download it: caches of other
    /// programs are only read, and other formats have other checksums.
    fn ours(&self, path: &Path) -> Option<Transfer> {
        let copy = self.release.copy();
        self.places.weight_dirs.iter().find_map(|dir| {
            let copied = copy.map(|copy| self.release.copied(copy, vec![], dir));
            let transfers = [Some(self.release.original(vec![], dir)), copied];
            transfers.into_iter().flatten().find(|transfer| transfer.target == path)
        })
    }

    /// The download into `dir`.
    fn transfer(&self, dir: &Path) -> Result<Transfer, Error> {
        let release = self.release;
        let original = |url: String| Ok(release.original(vec![url], dir));
        match (self.address, &release.access) {
            // Who has a link has accepted the licence.
            (Address::Url(url), _) | (Address::Official, Access::Open { url }) => {
                original(url.clone())
            }
            (address, Access::Gated { copy: Some(copy), .. }) => {
                match release.licence.open_question(self.accepted) {
                    None => Ok(release.copied(*copy, copy.urls(address), dir)),
                    Some(terms) => Err(Error::Unaccepted {
                        release: Box::new(release.clone()),
                        terms,
                        copy: *copy,
                        dir: dir.to_owned(),
                    }),
                }
            }
            (Address::Mirror(base), _) => {
                original(format!("{}/{}", base.trim_end_matches('/'), release.file_name))
            }
            (Address::Official, Access::Gated { page, copy: None }) => {
                let (release, dir) = (Box::new(release.clone()), dir.to_owned());
                Err(Error::Gated { release, page, dir })
            }
        }
    }

    fn carry_out(
        &self,
        transfer: Transfer,
        tell: &mut dyn FnMut(download::News<'_>),
    ) -> Result<Found, Error> {
        let Transfer { file, target, copy } = transfer;
        let fetched = self.downloader.fetch(&file, &target, tell)?;
        if let Some(copy) = copy {
            note_licence(self.release, copy, &target)?;
        }
        Ok(Found { path: target, proof: Some(fetched.proof) })
    }

    /// How to get the file where this machine cannot reach the address.
    pub fn by_hand(&self) -> Option<String> {
        let dir = self.places.weight_dirs.first()?;
        // A link is for one person and one time.
        let is_link = matches!(self.address, Address::Url(_));
        let transfer = self.transfer(dir).ok().filter(|_| !is_link)?;
        let (url, target) = (transfer.file.urls.first()?, transfer.target.display());
        Some(format!("by hand: download {url} on another machine and save it as `{target}`"))
    }
}

/// Writes the licence of a copy beside it, once.
fn note_licence(release: &Release, copy: TimmCopy, target: &Path) -> io::Result<()> {
    let (Some(terms), note) = (release.licence.to_accept, target.with_file_name(LICENCE_FILE))
    else {
        return Ok(());
    };
    if note.exists() {
        return Ok(());
    }
    let text = format!(
        "These weights are {}, timm's copy: {}\n\
         They are under the {}: {}\n\
         It was accepted by `--accept-licence {}` when they were fetched. Who passes them on, or \
         what is made with them, has to attach it; who publishes results has to acknowledge it.\n",
        release.variant.name,
        copy.page(),
        release.licence.name,
        terms.page,
        terms.name
    );
    match write_atomic(&note, text.as_bytes()) {
        // A folder of others that we only read.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
        written => written,
    }
}

fn to_accept(release: &Release, terms: ToAccept, copy: TimmCopy, dir: &Path) -> String {
    let (name, licence) = (release.variant.name, release.licence.name);
    let page = match release.access {
        Access::Gated { page, .. } => page,
        Access::Open { .. } => terms.page,
    };
    format!(
        "not fetched, as the {licence} is not accepted: read it on {} and then run `sweep fetch \
         {name} --accept-licence {}`, which gets timm's copy from {}\n\
         Meta's own file instead: {}",
        terms.page,
        terms.name,
        copy.page(),
        by_hand(release, page, dir)
    )
}

fn by_hand(release: &Release, page: &str, dir: &Path) -> String {
    let name = release.variant.name;
    let hub = release.variant.folders.first().map_or_else(String::new, |folder| {
        format!(
            "\nor, from https://huggingface.co/facebook/{folder}, where the licence can be accepted \
             too:\n    {}",
            dir.join(folder).join("model.safetensors").display()
        )
    });
    format!(
        "accept the {} on {page}; Meta then sends links by e-mail. Then\n    \
         sweep fetch {name} --url 'LINK'\n\
         or put the file (its sha256 begins with {}) here:\n    {}{hub}",
        release.licence.name,
        release.variant.sha256,
        dir.join(release.file_name).display(),
    )
}

fn release(variant: &'static Variant) -> Option<Release> {
    let file_name = *variant.files.first()?;
    let (licence, access) = match variant.dino_type {
        DinoType::Dinov2 => {
            // `dinov2_vits14` of `dinov2_vits14_reg4_pretrain.pth`.
            let folder = file_name.split("_reg4").next().unwrap_or(file_name);
            let folder = folder.split("_pretrain").next().unwrap_or(folder);
            let url = format!("https://dl.fbaipublicfiles.com/dinov2/{folder}/{file_name}");
            (Licence::open("Apache-2.0"), Access::Open { url })
        }
        DinoType::Dinov3 => {
            let page = "https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/";
            let copy = variant.timm.first().map(|&repository| TimmCopy { repository });
            (licence::DINOV3, Access::Gated { page, copy })
        }
    };
    let size = match variant.bytes {
        Some(bytes) => Size::Exact(bytes),
        None => Size::About(4 * variant.params + OVERHEAD_BYTES),
    };
    let checksum = match variant.sha256 {
        "" => Checksum::Unpublished,
        digits => Checksum::Sha256(digits),
    };
    Some(Release { variant, file_name, licence, access, size, checksum })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_released_variant_is_listed_once() {
        let names: Vec<_> = releases().map(|release| release.variant.name).collect();
        let with_files = variants().filter(|variant| !variant.files.is_empty()).count();
        assert_eq!(names.len(), with_files);
        assert!(names.len() >= 14, "{names:?}");
        assert!(find("dinov2_tiny14").is_none(), "nobody trained it");
    }

    #[test]
    fn addresses_are_those_of_the_official_code() {
        let check = |name: &str, expect: &str| {
            let release = find(name).unwrap();
            assert_eq!(release.access, Access::Open { url: expect.to_owned() });
        };
        let base = "https://dl.fbaipublicfiles.com/dinov2";
        check("dinov2_vits14", &format!("{base}/dinov2_vits14/dinov2_vits14_pretrain.pth"));
        check(
            "dinov2_vitg14_reg",
            &format!("{base}/dinov2_vitg14/dinov2_vitg14_reg4_pretrain.pth"),
        );
        let gated = find("dinov3_vitl16").unwrap();
        assert!(matches!(gated.access, Access::Gated { .. }), "{gated:?}");
        assert_eq!(gated.checksum, Checksum::Sha256("8aa4cbdd"));
    }

    #[test]
    fn gated_weights_have_timm_s_copy_with_the_biases_where_there_are_any() {
        let copy = |name| find(name).unwrap().copy().map(|copy| copy.repository);
        assert_eq!(copy("dinov2_vits14"), None);
        assert_eq!(copy("dinov3_vits16"), Some("vit_small_patch16_dinov3_qkvb.lvd1689m"));
        assert_eq!(copy("dinov3_vits16plus"), Some("vit_small_plus_patch16_dinov3_qkvb.lvd1689m"));
        assert_eq!(copy("dinov3_vit7b16_sat493m"), Some("vit_7b_patch16_dinov3.sat493m"));
        assert_eq!(copy("dinov3_vitl16plus"), None);
        for release in releases() {
            let Some(copy) = release.copy() else { continue };
            assert_eq!(release.variant.timm.first(), Some(&copy.repository));
            let urls = copy.urls(&Address::Official);
            let expect = format!("{}/resolve/main/model.safetensors", copy.page());
            assert_eq!(urls, [expect]);
            // What is fetched is found, and said to be whole.
            let note = copy_note(release.variant, &Path::new("weights").join(copy.file()));
            assert_eq!(note, Some("timm's copy"), "{}", release.variant.name);
        }
    }

    #[test]
    fn a_copy_without_biases_is_said_to_lack_them() {
        let note = |name: &str, path| copy_note(find(name).unwrap().variant, Path::new(path));
        let lacks = Some("timm's copy, without the biases of q and v, which count as 0");
        let cached =
            "c/models--timm--vit_base_patch16_dinov3.lvd1689m/snapshots/a/model.safetensors";
        assert_eq!(note("dinov3_vitb16", cached), lacks);
        let folder = "w/vit_base_patch16_dinov3.lvd1689m/model.safetensors";
        assert_eq!(note("dinov3_vitb16", folder), lacks);
        assert_eq!(note("dinov3_vitl16", folder), None);
        assert_eq!(note("dinov3_vitb16", "w/dinov3_vitb16_pretrain_lvd1689m-73cec8be.pth"), None);
        let v2 = "w/vit_small_patch14_dinov2.lvd142m/model.safetensors";
        assert_eq!(note("dinov2_vits14", v2), Some("timm's copy"));
    }

    #[test]
    fn lengths_are_exact_where_they_are_published() {
        let size = |name| find(name).unwrap().size;
        assert_eq!(size("dinov2_vits14"), Size::Exact(88_283_115));
        assert_eq!(find("dinov2_vits14_reg").unwrap().checksum, Checksum::Unpublished);
        let published: Vec<_> = variants().filter_map(|row| Some((row, row.bytes?))).collect();
        assert!(published.len() >= 3);
        for (row, bytes) in published {
            let guess = 4 * row.params + OVERHEAD_BYTES;
            assert!(bytes.abs_diff(guess) < 2 << 20, "{}: {guess}", row.name);
        }
    }
}
