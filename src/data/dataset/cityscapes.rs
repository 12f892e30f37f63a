//! The Cityscapes dataset: `leftImg8bit/<split>/<city>/*_leftImg8bit.png` and
//! `gtFine/<split>/<city>/*_gtFine_labelIds.png`.
//!
//! The 19 classes are those of the benchmark (`trainId` in `cityscapesscripts/helpers/labels.py`
//! of mcordts/cityscapesScripts); all other ids are void.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::kind::{Kind, Layout, Listing, Lists, Opened, Place, train_name};
use super::place::Usual;
use super::template::{Template, is_name};
use crate::data::labels::{LabelMap, Labels, Raw};
use crate::data::split::Item;
use crate::data::{Error, VOID};

/// Cityscapes: `leftImg8bit` and `gtFine`, each with folders by split and city.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CityscapesConfig {
    /// The dataset's folder. Default: `cityscapes` in the data folders. Outside the run's identity.
    #[serde(default)]
    pub root: Option<PathBuf>,
    /// Split to train on.
    #[serde(default = "train_name")]
    pub train: String,
}

/// Each class with its id in `labelIds` files, by train id.
pub(super) const CLASSES: [(&str, u16); 19] = [
    ("road", 7),
    ("sidewalk", 8),
    ("building", 11),
    ("wall", 12),
    ("fence", 13),
    ("pole", 17),
    ("traffic light", 19),
    ("traffic sign", 20),
    ("vegetation", 21),
    ("terrain", 22),
    ("sky", 23),
    ("person", 24),
    ("rider", 25),
    ("car", 26),
    ("truck", 27),
    ("bus", 28),
    ("train", 31),
    ("motorcycle", 32),
    ("bicycle", 33),
];

/// All ids; -1, the licence plate, is 255 in a file of bytes.
const IDS: std::ops::RangeInclusive<u16> = 0..=33;

const IMAGES: &str = "leftImg8bit";
const MASKS: &str = "gtFine";
/// The beginning of the template of masks; [`LABEL_IDS`] or [`TRAIN_IDS`] follow.
const MASKS_START: &str = "gtFine/{split}/{stem}_gtFine_";
const LABEL_IDS: &str = "labelIds.png";
const TRAIN_IDS: &str = "labelTrainIds.png";

const USUAL: Usual = Usual {
    title: "Cityscapes",
    folder: "cityscapes",
    parts: &[IMAGES, MASKS],
    advice: "register at https://www.cityscapes-dataset.com (it may not be redistributed), unpack \
             leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip into the folder \
             `cityscapes` of a data folder, or set `data.root` to the folder with `leftImg8bit/` \
             and `gtFine/`",
};

/// The layout of the official archives.
#[derive(Debug)]
struct CityscapesLayout;

impl Kind for CityscapesConfig {
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
        USUAL.check(root)?;
        Ok(Opened { classes: classes(), layout: Arc::new(CityscapesLayout) })
    }
}

impl Layout for CityscapesLayout {
    fn list(&self, root: &Path, split: &str) -> Result<Listing, Error> {
        let found = if is_name(split) { images().list(root, split)? } else { Vec::new() };
        if found.is_empty() {
            let (name, path) = (split.to_owned(), root.join(IMAGES).join(split));
            return Err(Error::MissingSplit { name, path, available: self.splits(root)? });
        }
        with_masks(root, split, found, MASKS_START)
    }

    fn splits(&self, root: &Path) -> Result<Vec<String>, Error> {
        Ok(images().splits(root)?)
    }

    fn places(&self, root: &Path, split: &str) -> Result<Vec<Place>, Error> {
        Ok(vec![place(root, split, images(), MASKS_START)?])
    }
}

pub(super) fn classes() -> Vec<String> {
    CLASSES.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// The map of `labelIds` to classes.
pub(super) fn label_ids() -> Labels {
    let void = IDS.chain([u16::from(VOID)]).map(|id| (Raw::Id(id), VOID));
    let mut map: BTreeMap<Raw, u8> = void.collect();
    map.extend((0u8..).zip(CLASSES).map(|(class, (_, id))| (Raw::Id(id), class)));
    Labels::Map(Arc::new(LabelMap::new(map).expect("ids only")))
}

fn images() -> Template {
    Template::of(&format!("{IMAGES}/{{split}}/{{stem}}_leftImg8bit.png"))
}

/// The masks of `images`: `labelIds`, which the official archives have, or, where the split has
/// none of them, `labelTrainIds`. So a run stays the same when the latter are made later.
pub(super) fn with_masks(
    root: &Path,
    split: &str,
    images: Vec<(String, PathBuf)>,
    start: &str,
) -> Result<Listing, Error> {
    let stems: Vec<&str> = images.iter().map(|(stem, _)| stem.as_str()).collect();
    let masks = |end: &str| {
        let found = Template::of(&format!("{start}{end}")).find(root, split, &stems)?;
        Ok::<Vec<_>, Error>(found.into_iter().map(|found| found.path).collect())
    };
    let (ids, train_ids) = (masks(LABEL_IDS)?, masks(TRAIN_IDS)?);
    let has_any = |paths: &[PathBuf]| paths.iter().any(|path| path.is_file());
    let (masks, labels) = if !has_any(&ids) && has_any(&train_ids) {
        (train_ids, Labels::Plain)
    } else {
        (ids, label_ids())
    };
    let items = images.into_iter().zip(masks);
    let items = items.map(|((id, image), mask)| Item { id, image, mask }).collect();
    Ok(Listing::new(items, labels))
}

/// The places of such images, with the form of masks that the split has.
pub(super) fn place(
    root: &Path,
    split: &str,
    images: Template,
    start: &str,
) -> Result<Place, Error> {
    let [ids, train_ids] = [LABEL_IDS, TRAIN_IDS].map(|end| Template::of(&format!("{start}{end}")));
    let has_only_train_ids =
        ids.list(root, split)?.is_empty() && !train_ids.list(root, split)?.is_empty();
    let masks = if has_only_train_ids { train_ids } else { ids };
    Ok(Place { images, masks, split: split.to_owned(), lists: Lists::Folder })
}
