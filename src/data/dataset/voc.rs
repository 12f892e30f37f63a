//! Folders in VOC layout: `JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation/*.txt` and,
//! for classes other than VOC's, `classes.txt`.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Listing, VocConfig, candidates, first_folder, folder, lists, refuse_without};
use crate::data::Error;
use crate::data::split::{Item, Labels};

/// Names of the 21 classes of PASCAL VOC 2012, in the order of its palette.
pub const CLASSES: [&str; 21] = [
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];

pub(super) const IMAGES: &str = "JPEGImages";
pub(super) const MASKS: &str = "SegmentationClass";
pub(super) const SPLITS: &str = "ImageSets/Segmentation";
pub(super) const CLASSES_FILE: &str = "classes.txt";

/// The larger training set of 10,582 images (with SBD), and where its masks lie, if not with the
/// others.
const AUG: (&str, &str) = ("trainaug", "SegmentationClassAug");

const DEFAULT: &str = "VOCdevkit/VOC2012";
const EXTENSIONS: [&str; 3] = ["jpg", "png", "jpeg"];

pub(super) fn find(config: &VocConfig, data_dirs: &[PathBuf]) -> Result<PathBuf, Error> {
    let found = candidates(config.root.as_deref(), DEFAULT, data_dirs);
    first_folder(found, "VOC", advice())
}

/// Checks the layout and reads the class names.
pub(super) fn open(root: &Path) -> Result<Vec<String>, Error> {
    refuse_without(root, &[IMAGES, MASKS, SPLITS], "VOC", advice)?;
    classes(root)
}

/// `voc` for VOC 2012 itself, else the name of the folder.
pub(super) fn name(root: &Path) -> String {
    folder::last_name(root).filter(|name| name != "VOC2012").unwrap_or_else(|| "voc".to_owned())
}

pub(super) fn list(root: &Path, split: &str) -> Result<Listing, Error> {
    let path = root.join(SPLITS).join(format!("{split}.txt"));
    let Some(text) = lists::read(&path)? else {
        let (name, available) = (split.to_owned(), splits(root)?);
        return Err(Error::MissingSplit { name, path, available });
    };
    let (stems, faults) = lists::stems(&text, &path);
    if stems.is_empty() && faults.is_empty() {
        return Err(Error::EmptySplit { path });
    }
    let masks = match AUG {
        (name, folder) if name == split && root.join(folder).is_dir() => root.join(folder),
        _ => root.join(MASKS),
    };
    let item = |&stem: &&str| Item {
        id: stem.to_owned(),
        image: image_path(root, stem),
        mask: masks.join(format!("{stem}.png")),
    };
    let items = stems.par_iter().with_min_len(64).map(item).collect();
    Ok(Listing { items, labels: Labels::Plain, faults })
}

/// Split files, without their ending.
pub(super) fn splits(root: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(root.join(SPLITS))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

fn advice() -> String {
    format!(
        "unpack VOCtrainval_11-May-2012.tar into a data folder, so that it holds `{DEFAULT}`, or \
         set `data.root` to a folder with `{IMAGES}/`, `{MASKS}/` and `{SPLITS}/<split>.txt`"
    )
}

/// The image of `stem` in the first format that is there, else where a JPEG would be.
fn image_path(root: &Path, stem: &str) -> PathBuf {
    let mut paths = image_paths(root, stem);
    let first = paths.find(|path| path.is_file());
    first.unwrap_or_else(|| root.join(IMAGES).join(format!("{stem}.jpg")))
}

fn image_paths(root: &Path, stem: &str) -> impl Iterator<Item = PathBuf> {
    EXTENSIONS.into_iter().map(move |end| root.join(IMAGES).join(format!("{stem}.{end}")))
}

/// Images of which there is a second one in another format.
pub(super) fn ambiguous(root: &Path, items: &[Item]) -> Vec<Error> {
    let second = |item: &Item| {
        let other = image_paths(root, &item.id).find(|path| *path != item.image && path.is_file());
        let (stem, first) = (item.id.clone(), item.image.clone());
        other.map(|second| Error::DuplicateStem { stem, first, second })
    };
    items.par_iter().with_min_len(64).filter_map(second).collect()
}

fn classes(root: &Path) -> Result<Vec<String>, Error> {
    let path = root.join(CLASSES_FILE);
    match lists::read(&path)? {
        Some(text) => lists::indexed_classes(&text, &path),
        None => Ok(CLASSES.iter().map(|&name| name.to_owned()).collect()),
    }
}
