//! Checks one image and its mask.

use sha2::{Digest, Sha256};

use super::report::Kind;
use crate::data::image_io::{Storage, survey_rgb};
use crate::data::labels::Unknown;
use crate::data::split::{Split, Surveyed};
use crate::data::{Error, Mask, Rgb, VOID};
use crate::error::with_sources;

/// Names of a first class that is background rather than an object.
const GROUND: [&str; 6] = ["background", "ground", "null", "none", "other", "unlabelled"];

/// The result of checking one pair of files.
#[derive(Debug, Default)]
pub(super) struct Pair {
    pub(super) findings: Vec<(Kind, String)>,
    pub(super) storage: Option<Storage>,
    /// Each class with its number of pixels, void among them.
    pub(super) classes: Vec<(u8, u64)>,
    /// As [`Surveyed::n_255`].
    pub(super) n_255: u64,
    /// As [`Surveyed::colours`].
    pub(super) colours: Vec<(u8, [u8; 3])>,
    /// Hash of the decoded image; `None` where it has one colour only, as unrelated images may.
    pub(super) picture: Option<[u8; 32]>,
    /// Hash of the mask's classes.
    pub(super) labels: Option<[u8; 32]>,
}

impl Pair {
    pub(super) fn is_faulty(&self) -> bool {
        self.findings.iter().any(|(kind, _)| kind.is_fault())
    }
}

/// The file of a pair that an error is about.
#[derive(Debug, Clone, Copy)]
enum Side {
    Image,
    Mask,
}

pub(super) fn look(split: &Split, index: usize) -> Pair {
    let mut pair = Pair::default();
    let item = &split.items[index];
    let image = match survey_rgb(&item.image) {
        Ok((image, storage)) => {
            let path = item.image.display();
            pair.findings.extend(storage.damage.as_ref().map(|damage| {
                let message =
                    format!("image `{path}` decodes, but parts of it may be wrong: {damage}");
                (Kind::DamagedImage, message)
            }));
            pair.storage = Some(storage);
            pair.picture = picture(&image);
            Some(image)
        }
        Err(error) => {
            pair.findings.push((kind_of(&error, Side::Image), with_sources(&error)));
            None
        }
    };
    let Surveyed { mask, unknown, n_255, colours } = match split.survey_mask(index) {
        Ok(found) => found,
        Err(error) => {
            pair.findings.push((kind_of(&error, Side::Mask), with_sources(&error)));
            return pair;
        }
    };
    if let Some(Err(error)) = image.map(|image| item.check_sizes(&image, &mask)) {
        pair.findings.push((Kind::SizeMismatch, with_sources(&error)));
    }
    if !unknown.is_empty() {
        pair.findings.push((Kind::UnknownClass, unknown_classes(split, index, &unknown)));
    }
    pair.classes = histogram(&mask);
    if unknown.is_empty() {
        pair.findings.extend(bare(split, index, &pair.classes));
    }
    pair.labels = Some(Sha256::digest(&mask.classes).into());
    Pair { n_255, colours, ..pair }
}

fn picture(image: &Rgb) -> Option<[u8; 32]> {
    let (pixels, _) = image.pixels.as_chunks::<3>();
    let is_plain = pixels.windows(2).all(|pair| pair[0] == pair[1]);
    (!is_plain).then(|| {
        let mut hasher = Sha256::new();
        hasher.update(image.width.to_le_bytes());
        hasher.update(&image.pixels);
        hasher.finalize().into()
    })
}

fn histogram(mask: &Mask) -> Vec<(u8, u64)> {
    let mut counts = [0; 256];
    for &class in &mask.classes {
        counts[usize::from(class)] += 1;
    }
    (0..=u8::MAX).zip(counts).filter(|(_, n_pixels)| *n_pixels > 0).collect()
}

/// The finding about a mask that has nothing but void or background.
fn bare(split: &Split, index: usize, classes: &[(u8, u64)]) -> Option<(Kind, String)> {
    let mask = split.items[index].mask.display();
    let first = split.classes().first().map(|name| name.to_lowercase());
    let has_ground = first.is_some_and(|name| GROUND.contains(&name.as_str()));
    match classes {
        [(VOID, _)] => Some((Kind::VoidMask, format!("mask `{mask}` is all void"))),
        [(0, _)] | [(0, _), (VOID, _)] if has_ground => {
            let name = &split.classes()[0];
            Some((Kind::EmptyMask, format!("mask `{mask}` has nothing but `{name}`")))
        }
        _ => None,
    }
}

/// The message about all values of a mask that are no class, the first with its place.
fn unknown_classes(split: &Split, index: usize, unknown: &[Unknown]) -> String {
    let [first, others @ ..] = unknown else { return String::new() };
    let mut message = split.no_class(index, first).to_string();
    let count = |unknown: &Unknown| match unknown.n_pixels {
        1 => format!("{} (1 pixel)", unknown.raw),
        n => format!("{} ({n} pixels)", unknown.raw),
    };
    message.push_str("; in all: ");
    message.push_str(&count(first));
    for other in others {
        message.push_str(", ");
        message.push_str(&count(other));
    }
    message
}

fn kind_of(error: &Error, side: Side) -> Kind {
    match (error, side) {
        (Error::MissingImage { .. }, _) | (Error::DeadLink { .. }, Side::Image) => {
            Kind::MissingImage
        }
        (Error::MissingMask { .. }, _) | (Error::DeadLink { .. }, Side::Mask) => Kind::MissingMask,
        (Error::Truncated { .. }, Side::Image) => Kind::TruncatedImage,
        (Error::Truncated { .. }, Side::Mask) => Kind::TruncatedMask,
        (Error::NoColour { .. }, _) => Kind::UnknownClass,
        (_, Side::Image) => Kind::UnreadableImage,
        (_, Side::Mask) => Kind::UnreadableMask,
    }
}
