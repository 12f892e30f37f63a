//! The errors of datasets; each names the file and says what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::labels::Raw;
use super::sample::PIXELS_MAX;
use crate::event::FailureClass;

/// A problem of the data that stops a run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no {dataset} dataset: looked in {}; {advice}", listed(looked_in))]
    MissingDataset { dataset: &'static str, looked_in: Vec<PathBuf>, advice: String },

    #[error("`{root}` is not the {dataset} dataset: it has no `{missing}`; {advice}")]
    IncompleteDataset { dataset: &'static str, root: PathBuf, missing: String, advice: String },

    #[error("`shapes` has no folder to be written into: set `data_dirs`")]
    NoDataDir,

    #[error("`{key}` is {value}; allowed: {allowed}")]
    BadSetting { key: &'static str, value: u64, allowed: &'static str },

    #[error("`{key}`: {problem}")]
    BadKey { key: &'static str, problem: String },

    #[error("no split `{name}`: there is no `{path}`; splits there: {}", named(available))]
    MissingSplit { name: String, path: PathBuf, available: Vec<String> },

    #[error("no split `{name}`; there are: {}", named(available))]
    UnknownSplit { name: String, available: Vec<String> },

    #[error("`{path}` line {line} is not UTF-8; save the file as UTF-8")]
    NotUtf8 { path: PathBuf, line: usize },

    #[error("`{path}` has a name that is not UTF-8; rename it")]
    NotUtf8Name { path: PathBuf },

    #[error("`{path}` is not a folder, as the {dataset} dataset must be; {advice}")]
    NotAFolder { dataset: &'static str, path: PathBuf, advice: String },

    #[error("split `{path}` lists no images")]
    EmptySplit { path: PathBuf },

    #[error("split `{split}` has no images: nothing in `{root}` matches `{pattern}`")]
    NoImages { split: String, pattern: String, root: PathBuf },

    #[error(
        "0 of {n_images} images drawn for `{split}`: each is drawn by its name with a probability \
         of {fraction}, and none was; list the images by `data.splits`, or set another \
         `data.split_seed`{}",
        if *n_images > 1 { "" } else { ", or add images: one cannot make two splits" }
    )]
    NoneDrawn { split: String, n_images: usize, fraction: f64 },

    #[error("two images are called `{stem}`: `{first}` and `{second}`; rename one of them")]
    DuplicateStem { stem: String, first: PathBuf, second: PathBuf },

    #[error("`{path}` lies {depth_max} folders deep; does a link point back to a folder above it?")]
    TooDeep { path: PathBuf, depth_max: usize },

    #[error(
        "`{path}` line {line}: `{text}` {problem}; expected one file stem per line, no extension"
    )]
    BadSplitLine { path: PathBuf, line: usize, text: String, problem: String },

    #[error("`{path}` line {line}: `{text}` {problem}; expected {expected}")]
    BadClassLine {
        path: PathBuf,
        line: usize,
        text: String,
        problem: String,
        expected: &'static str,
    },

    #[error("`{path}` lists {n} classes; allowed: 1 to 255")]
    BadClassCount { path: PathBuf, n: usize },

    #[error(
        "split `{split}` of {n_items} images lacks {n_images} images and {n_masks} masks ({}); \
         restore them, or take them out of the split",
        first_of(first, n_images + n_masks)
    )]
    MissingFiles {
        split: String,
        n_items: usize,
        n_images: usize,
        n_masks: usize,
        /// The first few missing files, images before masks.
        first: Vec<PathBuf>,
    },

    #[error("image `{path}` does not exist; restore it, or take it out of the split")]
    MissingImage { path: PathBuf },

    #[error("mask `{path}` does not exist; restore it, or take the image out of the split")]
    MissingMask { path: PathBuf },

    #[error(
        "`{path}` is a folder, a pipe or a device, not a file; remove it, or take it out of the split"
    )]
    NotAFile { path: PathBuf },

    #[error("`{path}` is {found}, not a {expected} file; {advice}")]
    NotAnImage { path: PathBuf, found: &'static str, expected: &'static str, advice: &'static str },

    #[error(
        "`{path}` is a link to `{target}`, which does not exist; restore it, or take it out of the \
         split"
    )]
    DeadLink { path: PathBuf, target: PathBuf },

    #[error("`{path}` is truncated: it ends after {bytes} bytes, before {before}; fetch it again")]
    Truncated { path: PathBuf, bytes: usize, before: &'static str },

    #[error("image `{path}` cannot be decoded; fetch it again")]
    DecodeImage { path: PathBuf, source: image::ImageError },

    #[error("mask `{path}` cannot be decoded; fetch it again")]
    DecodeMask { path: PathBuf, source: png::DecodingError },

    #[error("`{path}` is damaged: {reason}; fetch it again")]
    Damaged { path: PathBuf, reason: String },

    #[error("image `{path}` cannot be read: {reason}")]
    Unsupported { path: PathBuf, reason: String },

    #[error("mask `{path}` is {found}; expected a PNG of {expected}")]
    MaskFormat { path: PathBuf, found: String, expected: &'static str },

    #[error("`{path}` is {width}x{height}; at most {} pixels are read", PIXELS_MAX)]
    TooLarge { path: PathBuf, width: u32, height: u32 },

    #[error(
        "`{path}` says that it is {width}x{height}, which does not fit into its {bytes} bytes; it \
         is damaged, or made to fill the memory: fetch it again"
    )]
    Overdeclared { path: PathBuf, width: u32, height: u32, bytes: usize },

    #[error(
        "mask `{mask}` has index {index} (first at x {x}, y {y}; in all {n_pixels} pixels), but its \
         palette has only {n_colours} colours; save the mask again, or, if its indices are the \
         classes, map indices instead of colours in `data.label_map`"
    )]
    NoColour { mask: PathBuf, index: u8, n_colours: usize, n_pixels: usize, x: u32, y: u32 },

    #[error(
        "mask `{mask}` is {}x{}, but its image `{image}` is {}x{} (width x height){}",
        mask_size[0], mask_size[1], image_size[0], image_size[1], turned(*turn)
    )]
    SizeMismatch {
        image: PathBuf,
        /// Width and height.
        image_size: [u32; 2],
        mask: PathBuf,
        /// Width and height.
        mask_size: [u32; 2],
        /// The EXIF rotation of the image, where that is what swaps the sides.
        turn: Option<&'static str>,
    },

    #[error(
        "mask `{mask}` has class {class} (first at x {x}, y {y}); allowed: 0 to {class_max}, and \
         255 for void"
    )]
    ClassOutOfRange {
        mask: PathBuf,
        /// The value as stored in the file.
        class: u16,
        class_max: u8,
        x: u32,
        y: u32,
    },

    #[error(
        "mask `{mask}` has the value {raw} (first at x {x}, y {y}), which is no class; correct the \
         mask, or, in a `folder` dataset, name the value in `data.label_map` (255: void)"
    )]
    UnknownLabel { mask: PathBuf, raw: Raw, x: u32, y: u32 },

    #[error(
        "the frost textures in `{root}` are not those of ImageNet-C: {}; put frost1.png, \
         frost2.png, frost3.png, frost4.jpg and frost5.jpg of imagecorruptions 1.1.2 there, or \
         remove the folder to use procedural ice",
        problems.join(", ")
    )]
    Frost { root: PathBuf, problems: Vec<String> },

    #[error("frost needs its original textures: put them into `frost/` in a data folder")]
    NoFrost,

    /// An I/O error from `fs_err`, whose messages name the path.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// The class of the error: whether the data must be fixed first, or a retry may help.
    pub fn class(&self) -> FailureClass {
        match self {
            // Text that is not UTF-8 is a fault of the file, all else of the machine.
            Self::Io(error) if error.kind() != io::ErrorKind::InvalidData => {
                FailureClass::of_environment(error)
            }
            _ => FailureClass::Input,
        }
    }
}

fn listed(paths: &[PathBuf]) -> String {
    match paths {
        [] => "no folder (`data_dirs` is empty)".to_owned(),
        paths => {
            let paths: Vec<_> = paths.iter().map(|path| quoted(path)).collect();
            paths.join(", ")
        }
    }
}

/// Why the sides of an image and its mask are swapped, and what to do.
fn turned(turn: Option<&str>) -> String {
    turn.map_or_else(String::new, |turn| {
        format!(
            ": its EXIF data asks for {turn}, which is not applied here, and the mask was drawn on \
             the turned picture; turn the stored pixels of such images (`exiftran -ai FILE`, or \
             `mogrify -auto-orient FILE`)"
        )
    })
}

fn named(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn first_of(first: &[PathBuf], n: usize) -> String {
    let more = n.saturating_sub(first.len());
    let list = listed(first);
    if more == 0 { list } else { format!("{list} and {more} more") }
}

fn quoted(path: &Path) -> String {
    format!("`{}`", path.display())
}
