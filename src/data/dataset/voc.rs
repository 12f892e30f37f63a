//! Datasets in VOC layout: `JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation/*.txt` and,
//! for classes other than VOC's, `classes.txt`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::kind::{Kind, Layout, Listing, Lists, Opened, Place, train_name};
use super::place::Usual;
use super::template::Template;
use super::{folder, lists};
use crate::data::Error;
use crate::data::split::{Item, Labels};
use crate::fs::list;

/// A folder in VOC layout: `JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation/*.txt`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VocConfig {
    /// The dataset's folder. Default: `VOCdevkit/VOC2012` in the data folders. Outside the run's
    /// identity.
    #[serde(default)]
    pub root: Option<PathBuf>,
    /// The split file to train on, without `.txt`.
    #[serde(default = "train_name")]
    pub train: String,
}

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

const USUAL: Usual = Usual {
    title: "VOC",
    folder: "VOCdevkit/VOC2012",
    parts: &[IMAGES, MASKS, SPLITS],
    advice: "unpack VOCtrainval_11-May-2012.tar into a data folder, so that it holds \
             `VOCdevkit/VOC2012`, or set `data.root` to a folder with `JPEGImages/`, \
             `SegmentationClass/` and `ImageSets/Segmentation/<split>.txt`",
};

/// Files in VOC layout.
#[derive(Debug)]
struct VocLayout;

impl Kind for VocConfig {
    fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    fn train(&self) -> &str {
        &self.train
    }

    fn find(&self, data_dirs: &[PathBuf]) -> Result<PathBuf, Error> {
        USUAL.find(self.root.as_deref(), data_dirs)
    }

    fn open(&self, root: &Path) -> Result<Opened, Error> {
        open(root)
    }

    /// The folder's own name, where it is not `VOC2012`.
    fn name(&self, root: &Path) -> Option<String> {
        folder::last_name(root).filter(|name| name != "VOC2012")
    }
}

/// Checks the layout and reads the class names.
pub(super) fn open(root: &Path) -> Result<Opened, Error> {
    USUAL.check(root)?;
    let path = root.join(CLASSES_FILE);
    let classes = match lists::read(&path)? {
        Some(text) => lists::indexed_classes(&text, &path)?,
        None => CLASSES.iter().map(|&name| name.to_owned()).collect(),
    };
    Ok(Opened { classes, layout: Arc::new(VocLayout) })
}

impl Layout for VocLayout {
    fn list(&self, root: &Path, split: &str) -> Result<Listing, Error> {
        let path = root.join(SPLITS).join(format!("{split}.txt"));
        let Some(text) = lists::read(&path)? else {
            let (name, available) = (split.to_owned(), self.splits(root)?);
            return Err(Error::MissingSplit { name, path, available });
        };
        let (stems, faults) = lists::stems(&text, &path);
        if stems.is_empty() && faults.is_empty() {
            return Err(Error::EmptySplit { path });
        }
        let images = images().find(root, split, &stems)?;
        let masks = masks(root, split).find(root, split, &stems)?;
        let mut listing = Listing::new(Vec::new(), Labels::Plain);
        for ((stem, image), mask) in stems.into_iter().zip(images).zip(masks) {
            if let Some(second) = image.other {
                let (stem, first) = (stem.to_owned(), image.path.clone());
                listing.ambiguous.push(Error::DuplicateStem { stem, first, second });
            }
            listing.items.push(Item { id: stem.to_owned(), image: image.path, mask: mask.path });
        }
        Ok(Listing { faults, ..listing })
    }

    fn splits(&self, root: &Path) -> Result<Vec<String>, Error> {
        let files = list::entries(&root.join(SPLITS))?.into_iter().map(|entry| entry.path);
        let texts = files.filter(|path| path.extension().is_some_and(|ending| ending == "txt"));
        let stem = |path: PathBuf| Some(path.file_stem()?.to_string_lossy().into_owned());
        let mut names: Vec<_> = texts.filter_map(stem).collect();
        names.sort();
        Ok(names)
    }

    fn places(&self, root: &Path, split: &str) -> Result<Vec<Place>, Error> {
        let (images, masks) = (images(), masks(root, split));
        Ok(vec![Place { images, masks, split: String::new(), lists: Lists::File }])
    }
}

fn images() -> Template {
    Template::of(&format!("{IMAGES}/{{stem}}.*"))
}

fn masks(root: &Path, split: &str) -> Template {
    let folder = match AUG {
        (name, folder) if name == split && root.join(folder).is_dir() => folder,
        _ => MASKS,
    };
    Template::of(&format!("{folder}/{{stem}}.png"))
}
