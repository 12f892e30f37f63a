//! Cityscapes: `leftImg8bit/<split>/<city>/*_leftImg8bit.png` and
//! `gtFine/<split>/<city>/*_gtFine_labelIds.png`.
//!
//! The 19 classes are those of the benchmark (`trainId` in `cityscapesscripts/helpers/labels.py`
//! of mcordts/cityscapesScripts); all other ids are void.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::template::{Template, is_name};
use super::{Listing, candidates, first_folder, refuse_without};
use crate::data::labels::{LabelMap, Labels, Raw};
use crate::data::split::Item;
use crate::data::{Error, VOID};

/// (class, its id in `labelIds` files), by train id.
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

/// Ids that there are; -1, the licence plate, is 255 in a file of bytes.
const IDS: std::ops::RangeInclusive<u16> = 0..=33;

const DEFAULT: &str = "cityscapes";
const IMAGES: &str = "leftImg8bit";
const MASKS: &str = "gtFine";

pub(super) fn find(root: Option<&Path>, data_dirs: &[PathBuf]) -> Result<PathBuf, Error> {
    first_folder(candidates(root, DEFAULT, data_dirs), "Cityscapes", advice())
}

/// Checks the layout; gives the class names.
pub(super) fn open(root: &Path) -> Result<Vec<String>, Error> {
    refuse_without(root, &[IMAGES, MASKS], "Cityscapes", advice)?;
    Ok(classes())
}

pub(super) fn classes() -> Vec<String> {
    CLASSES.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// `labelIds` to classes.
pub(super) fn label_ids() -> Labels {
    let void = IDS.chain([u16::from(VOID)]).map(|id| (Raw::Id(id), VOID));
    let mut map: BTreeMap<Raw, u8> = void.collect();
    map.extend((0u8..).zip(CLASSES).map(|(class, (_, id))| (Raw::Id(id), class)));
    Labels::Map(Arc::new(LabelMap::new(map).expect("ids only")))
}

pub(super) fn list(root: &Path, split: &str) -> Result<Listing, Error> {
    let images = template(&format!("{IMAGES}/{{split}}/{{stem}}_leftImg8bit.png"));
    let found = if is_name(split) { images.list(root, split)? } else { Vec::new() };
    if found.is_empty() {
        let (name, path) = (split.to_owned(), root.join(IMAGES).join(split));
        return Err(Error::MissingSplit { name, path, available: splits(root)? });
    }
    let stem = format!("{MASKS}/{{split}}/{{stem}}_gtFine_");
    Ok(with_masks(root, split, found, &stem))
}

pub(super) fn splits(root: &Path) -> Result<Vec<String>, Error> {
    template(&format!("{IMAGES}/{{split}}/{{stem}}")).splits(root)
}

/// The masks of `images`: `labelIds`, which the official archives have, or, where the split has
/// none of them, `labelTrainIds`. So a run stays the same when the latter are made later.
pub(super) fn with_masks(
    root: &Path,
    split: &str,
    images: Vec<(String, PathBuf)>,
    start: &str,
) -> Listing {
    let masks = |name: &str| {
        let template = template(&format!("{start}{name}.png"));
        let paths = images.iter().map(|(stem, _)| template.path(root, split, stem));
        paths.collect::<Vec<_>>()
    };
    let (ids, train_ids) = (masks("labelIds"), masks("labelTrainIds"));
    let has_any = |paths: &[PathBuf]| paths.iter().any(|path| path.is_file());
    let (masks, labels) = if !has_any(&ids) && has_any(&train_ids) {
        (train_ids, Labels::Plain)
    } else {
        (ids, label_ids())
    };
    let items = images.into_iter().zip(masks);
    let items = items.map(|((id, image), mask)| Item { id, image, mask }).collect();
    Listing { items, labels, faults: Vec::new() }
}

pub(super) fn template(text: &str) -> Template {
    text.parse().expect("written here, and tested")
}

fn advice() -> String {
    format!(
        "register at https://www.cityscapes-dataset.com (it may not be passed on), unpack \
         {IMAGES}_trainvaltest.zip and {MASKS}_trainvaltest.zip into the folder `{DEFAULT}` of a \
         data folder, or set `data.root` to the folder with `{IMAGES}/` and `{MASKS}/`"
    )
}
