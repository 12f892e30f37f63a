//! The report of a check: the tables and the findings that `data check` prints or writes as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::data::image_io::Stored;

/// The result of checking a dataset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub n_pairs: u64,
    /// Number of pairs with a fault.
    pub n_faulty: u64,
    /// Number of images by how they are stored.
    pub stored: BTreeMap<Stored, u64>,
    /// Number of images whose EXIF rotation is not applied.
    pub n_rotated: u64,
    pub classes: Vec<String>,
    pub splits: Vec<SplitReport>,
    /// Faults and notes, in the order of splits and items.
    pub findings: Vec<Finding>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SplitReport {
    pub split: String,
    pub n_images: u64,
    pub n_faulty: u64,
    /// Pixels of the readable masks, by class.
    pub pixels: Vec<u64>,
    /// Number of images that have a pixel of the class.
    pub images: Vec<u64>,
    pub void_pixels: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "Row")]
pub struct Finding {
    pub kind: Kind,
    /// The first split that lists the file.
    pub split: String,
    pub item: Option<String>,
    pub message: String,
}

/// A finding as it is written into JSON.
#[derive(Serialize)]
struct Row {
    kind: Kind,
    /// `fault` or `note`.
    level: &'static str,
    split: String,
    item: Option<String>,
    message: String,
}

impl From<Finding> for Row {
    fn from(Finding { kind, split, item, message }: Finding) -> Self {
        let level = if kind.is_fault() { "fault" } else { "note" };
        Self { kind, level, split, item, message }
    }
}

/// Kinds of findings, in the order in which they are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    SplitList,
    DuplicateStem,
    MissingImage,
    MissingMask,
    TruncatedImage,
    TruncatedMask,
    UnreadableImage,
    UnreadableMask,
    /// An image that decodes, but with wrong parts.
    DamagedImage,
    SizeMismatch,
    UnknownClass,
    /// A class that no training pixel has.
    AbsentClass,
    /// A mask whose palette gives an index another colour than most masks do.
    OtherPalette,
    /// A mask that is all void: nothing can be learnt or scored.
    VoidMask,
    /// A mask of void and background only.
    EmptyMask,
    /// An image that is listed for training and in another split.
    InTrain,
    /// A picture that two files hold.
    SamePicture,
    /// A file that is left out of a split because of its ending.
    OtherEnding,
    DeadLink,
    /// A mask without an image.
    UnusedMask,
    /// Images that no list of stems names.
    UnusedImages,
}

impl Kind {
    /// Whether it is a fault rather than a note. A run stops at all faults but a damaged image.
    pub fn is_fault(self) -> bool {
        self <= Self::UnknownClass
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::SplitList => "split list",
            Self::DuplicateStem => "duplicate stem",
            Self::MissingImage => "missing image",
            Self::MissingMask => "missing mask",
            Self::TruncatedImage => "truncated image",
            Self::TruncatedMask => "truncated mask",
            Self::UnreadableImage => "unreadable image",
            Self::UnreadableMask => "unreadable mask",
            Self::DamagedImage => "damaged image",
            Self::SizeMismatch => "size mismatch",
            Self::UnknownClass => "unknown class",
            Self::AbsentClass => "absent class",
            Self::OtherPalette => "other palette",
            Self::VoidMask => "all void",
            Self::EmptyMask => "empty mask",
            Self::InTrain => "also in train",
            Self::SamePicture => "same picture",
            Self::OtherEnding => "other ending",
            Self::DeadLink => "dead link",
            Self::UnusedMask => "unused mask",
            Self::UnusedImages => "unused images",
        }
    }
}

impl Report {
    pub fn faults(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.kind.is_fault())
    }

    pub fn notes(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| !finding.kind.is_fault())
    }
}
