//! ACDC, Cityscapes' classes in adverse conditions:
//! `rgb_anon/<condition>/<split>/<sequence>/*_rgb_anon.png` and
//! `gt/<condition>/<split>/<sequence>/*_gt_labelIds.png`.
//!
//! `val` is the images of all conditions, `val_fog` those of one.

use std::path::{Path, PathBuf};

use super::cityscapes::{self, template, with_masks};
use super::template::is_name;
use super::{Listing, candidates, first_folder, refuse_without};
use crate::data::Error;

const CONDITIONS: [&str; 4] = ["fog", "night", "rain", "snow"];
const SPLITS: [&str; 3] = ["train", "val", "test"];

const DEFAULT: &str = "ACDC";
const IMAGES: &str = "rgb_anon";
const MASKS: &str = "gt";

pub(super) fn find(root: Option<&Path>, data_dirs: &[PathBuf]) -> Result<PathBuf, Error> {
    first_folder(candidates(root, DEFAULT, data_dirs), "ACDC", advice())
}

/// Checks the layout; gives the class names.
pub(super) fn open(root: &Path) -> Result<Vec<String>, Error> {
    refuse_without(root, &[IMAGES, MASKS], "ACDC", advice)?;
    Ok(cityscapes::classes())
}

pub(super) fn list(root: &Path, name: &str) -> Result<Listing, Error> {
    let (split, conditions) = parts(name);
    let mut whole: Option<Listing> = None;
    for condition in conditions {
        let pattern = format!("{IMAGES}/{condition}/{{split}}/{{stem}}_rgb_anon.png");
        let found = if is_name(split) { template(&pattern).list(root, split)? } else { Vec::new() };
        if found.is_empty() {
            // Three conditions of four would be another set under the same name.
            let path = root.join(IMAGES).join(condition).join(split);
            let (name, available) = (name.to_owned(), splits(root));
            return Err(Error::MissingSplit { name, path, available });
        }
        let pattern = format!("{MASKS}/{condition}/{{split}}/{{stem}}_gt_");
        let mut part = with_masks(root, split, found, &pattern);
        for item in &mut part.items {
            item.id.insert_str(0, &format!("{condition}/"));
        }
        match &mut whole {
            None => whole = Some(part),
            Some(whole) if whole.labels == part.labels => whole.items.extend(part.items),
            Some(_) => return Err(mixed_labels(root, split)),
        }
    }
    Ok(whole.expect("there are conditions"))
}

fn mixed_labels(root: &Path, split: &str) -> Error {
    Error::IncompleteDataset {
        dataset: "ACDC",
        root: root.to_owned(),
        missing: format!("{MASKS}/<condition>/{split}/…_gt_labelIds.png"),
        advice: advice(),
    }
}

/// The split and the conditions of `val` or `val_fog`.
fn parts(name: &str) -> (&str, &[&'static str]) {
    let one = CONDITIONS.iter().enumerate().find_map(|(i, condition)| {
        let split = name.strip_suffix(condition)?.strip_suffix('_')?;
        Some((split, &CONDITIONS[i..=i]))
    });
    one.unwrap_or((name, &CONDITIONS))
}

pub(super) fn splits(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for split in SPLITS {
        let has = |condition: &&&str| root.join(IMAGES).join(condition).join(split).is_dir();
        let own: Vec<_> = CONDITIONS.iter().filter(has).collect();
        if own.len() == CONDITIONS.len() {
            names.push(split.to_owned());
        }
        names.extend(own.iter().map(|condition| format!("{split}_{condition}")));
    }
    names
}

fn advice() -> String {
    format!(
        "register at https://acdc.vision.ee.ethz.ch (it may not be passed on), unpack \
         {IMAGES}_trainvaltest.zip and {MASKS}_trainval.zip into the folder `{DEFAULT}` of a data \
         folder, or set `data.root` to the folder with `{IMAGES}/` and `{MASKS}/`"
    )
}
