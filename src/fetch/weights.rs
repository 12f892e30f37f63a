//! Where released weights are on the web, and what they are checked by.

use crate::fetch::download::{Checksum, RemoteFile, Size};
use crate::model::backbone::{Variant, variants};
use crate::model::config::DinoType;

/// What a file has beside four bytes a parameter; enough for a guess.
const OVERHEAD_BYTES: u64 = 1 << 20;

/// The file of one variant.
#[derive(Debug, Clone)]
pub struct Release {
    pub variant: &'static Variant,
    /// What it is called, and where [`super::locate()`] looks for it in a weight folder.
    pub file_name: &'static str,
    pub licence: &'static str,
    pub access: Access,
    pub size: Size,
    pub checksum: Checksum,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    Open {
        url: String,
    },
    /// To be asked for on this page, by a person who accepts the licence.
    Gated {
        page: &'static str,
    },
}

/// Every variant that was released.
pub fn releases() -> impl Iterator<Item = Release> {
    variants().filter_map(release)
}

/// The release of the variant of that name.
pub fn find(name: &str) -> Option<Release> {
    releases().find(|release| release.variant.name == name)
}

impl Release {
    /// To be downloaded from `url`.
    pub fn remote(&self, url: String) -> RemoteFile {
        let (size, checksum) = (self.size, self.checksum.clone());
        RemoteFile { urls: vec![url], size, checksum, room_bytes: 0 }
    }
}

fn release(variant: &'static Variant) -> Option<Release> {
    let file_name = *variant.files.first()?;
    let (licence, access) = match variant.dino_type {
        DinoType::Dinov2 => {
            // `dinov2_vits14` of `dinov2_vits14_reg4_pretrain.pth`.
            let folder = file_name.split("_reg4").next().unwrap_or(file_name);
            let folder = folder.split("_pretrain").next().unwrap_or(folder);
            let url = format!("https://dl.fbaipublicfiles.com/dinov2/{folder}/{file_name}");
            ("Apache-2.0", Access::Open { url })
        }
        DinoType::Dinov3 => {
            let page = "https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/";
            ("DINOv3 License", Access::Gated { page })
        }
    };
    let size = match variant.bytes {
        Some(bytes) => Size::Exact(bytes),
        None => Size::About(4 * variant.params + OVERHEAD_BYTES),
    };
    let checksum = match variant.sha256 {
        "" => Checksum::Unpublished,
        digits => Checksum::Sha256(digits.to_owned()),
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
        assert_eq!(gated.checksum, Checksum::Sha256("8aa4cbdd".to_owned()));
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
