//! Folders in VOC layout: `JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation/*.txt` and,
//! for classes other than VOC's, `classes.txt`.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;

use super::{VocConfig, candidates, first_folder};
use crate::data::Error;
use crate::data::split::Item;

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

const DEFAULT: &str = "VOCdevkit/VOC2012";
const EXTENSIONS: [&str; 3] = ["jpg", "png", "jpeg"];

pub(super) fn find(config: &VocConfig, data_dirs: &[PathBuf]) -> Result<PathBuf, Error> {
    let found = candidates(config.root.as_deref(), DEFAULT, data_dirs);
    first_folder(found, "VOC", advice())
}

/// Checks the layout and reads the class names.
pub(super) fn open(root: &Path) -> Result<Vec<String>, Error> {
    if !root.is_dir() {
        let looked_in = vec![root.to_owned()];
        return Err(Error::MissingDataset { dataset: "VOC", looked_in, advice: advice() });
    }
    for part in [IMAGES, MASKS, SPLITS] {
        if !root.join(part).is_dir() {
            return Err(Error::IncompleteDataset {
                dataset: "VOC",
                root: root.to_owned(),
                missing: part.to_owned(),
                advice: advice(),
            });
        }
    }
    classes(root)
}

/// `voc` for VOC 2012 itself, else the name of the folder.
pub(super) fn name(root: &Path) -> String {
    // A root such as `data/CCP8/.` or a link still has a last component to be named by.
    let last = root.components().rev().find_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    match last {
        Some(name) if name != "VOC2012" => name,
        _ => "voc".to_owned(),
    }
}

pub(super) fn items(root: &Path, split: &str) -> Result<Vec<Item>, Error> {
    let path = root.join(SPLITS).join(format!("{split}.txt"));
    let text = match fs_err::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let available = available(&root.join(SPLITS))?;
            return Err(Error::MissingSplit { name: split.to_owned(), path, available });
        }
        Err(error) => return Err(Error::Io(error)),
    };
    let stems = stems(&text, &path)?;
    if stems.is_empty() {
        return Err(Error::EmptySplit { path });
    }
    Ok(stems
        .par_iter()
        .with_min_len(64)
        .map(|&stem| Item {
            id: stem.to_owned(),
            image: image_path(root, stem),
            mask: root.join(MASKS).join(format!("{stem}.png")),
        })
        .collect())
}

fn advice() -> String {
    format!(
        "unpack VOCtrainval_11-May-2012.tar into a data folder, so that it holds `{DEFAULT}`, or \
         set `data.root` to a folder with `{IMAGES}/`, `{MASKS}/` and `{SPLITS}/<split>.txt`"
    )
}

/// The image of `stem` in the first format that is there, else where a JPEG would be.
fn image_path(root: &Path, stem: &str) -> PathBuf {
    let path = |extension: &str| root.join(IMAGES).join(format!("{stem}.{extension}"));
    EXTENSIONS.into_iter().map(path).find(|path| path.is_file()).unwrap_or_else(|| path("jpg"))
}

fn stems<'a>(text: &'a str, path: &Path) -> Result<Vec<&'a str>, Error> {
    let mut lines = HashMap::new();
    let mut stems = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let stem = line.trim();
        if stem.is_empty() {
            continue;
        }
        let first = lines.entry(stem).or_insert(index);
        let problem = if *first != index {
            format!("is already on line {}", *first + 1)
        } else if stem.contains(char::is_whitespace) {
            "has more than one column".to_owned()
        } else if !is_below(stem) {
            "leads out of the image folder".to_owned()
        } else if stem.contains('\0') || stem.len() > 200 {
            "is no file name".to_owned()
        } else {
            stems.push(stem);
            continue;
        };
        let text = stem.chars().take(60).collect();
        return Err(Error::BadSplitLine { path: path.to_owned(), line: index + 1, text, problem });
    }
    Ok(stems)
}

fn is_below(stem: &str) -> bool {
    Path::new(stem).components().all(|part| matches!(part, Component::Normal(_)))
}

fn available(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

fn classes(root: &Path) -> Result<Vec<String>, Error> {
    let path = root.join(CLASSES_FILE);
    let text = match fs_err::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(CLASSES.iter().map(|&name| name.to_owned()).collect());
        }
        Err(error) => return Err(Error::Io(error)),
    };
    let mut names: Vec<String> = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let (number, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let problem = if number.parse() != Ok(names.len()) {
            format!("does not start with {}", names.len())
        } else if name.trim().is_empty() {
            "has no name".to_owned()
        } else {
            names.push(name.trim().to_owned());
            continue;
        };
        let text = line.chars().take(60).collect();
        return Err(Error::BadClassLine { path, line: index + 1, text, problem });
    }
    if !(1..=255).contains(&names.len()) {
        return Err(Error::BadClassCount { path, n: names.len() });
    }
    Ok(names)
}
