//! The ACDC dataset, Cityscapes' classes in adverse conditions:
//! `rgb_anon/<condition>/<split>/<sequence>/*_rgb_anon.png` and
//! `gt/<condition>/<split>/<sequence>/*_gt_labelIds.png`.
//!
//! `val` is the images of all conditions, `val_fog` those of one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cityscapes::{self, with_masks};
use super::kind::{Kind, Layout, Listing, Opened, Place, train_name};
use super::place::Usual;
use super::template::{Template, is_name};
use crate::data::Error;

/// ACDC: `rgb_anon` and `gt`, each with folders by condition, split and sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcdcConfig {
    /// The dataset's folder. Default: `ACDC` in the data folders. Outside the run's identity.
    #[serde(default)]
    pub root: Option<PathBuf>,
    /// Split to train on, e.g. `train` or `train_fog`.
    #[serde(default = "train_name")]
    pub train: String,
}

const CONDITIONS: [&str; 4] = ["fog", "night", "rain", "snow"];
const SPLITS: [&str; 3] = ["train", "val", "test"];

const IMAGES: &str = "rgb_anon";
const MASKS: &str = "gt";

const USUAL: Usual = Usual {
    title: "ACDC",
    folder: "ACDC",
    parts: &[IMAGES, MASKS],
    advice: "register at https://acdc.vision.ee.ethz.ch (it may not be redistributed), unpack \
             rgb_anon_trainvaltest.zip and gt_trainval.zip into the folder `ACDC` of a data \
             folder, or set `data.root` to the folder with `rgb_anon/` and `gt/`",
};

/// The layout of the official archives.
#[derive(Debug)]
struct AcdcLayout;

impl Kind for AcdcConfig {
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
        Ok(Opened { classes: cityscapes::classes(), layout: Arc::new(AcdcLayout) })
    }
}

impl Layout for AcdcLayout {
    fn list(&self, root: &Path, name: &str) -> Result<Listing, Error> {
        let (split, conditions) = parts(name);
        let mut whole: Option<Listing> = None;
        for condition in conditions {
            let found =
                if is_name(split) { images(condition).list(root, split)? } else { Vec::new() };
            if found.is_empty() {
                // Three conditions of four would be another set under the same name.
                let path = root.join(IMAGES).join(condition).join(split);
                let (name, available) = (name.to_owned(), self.splits(root)?);
                return Err(Error::MissingSplit { name, path, available });
            }
            let mut part = with_masks(root, split, found, &masks_start(condition))?;
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

    fn splits(&self, root: &Path) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for split in SPLITS {
            let has = |condition: &&&str| root.join(IMAGES).join(condition).join(split).is_dir();
            let own: Vec<_> = CONDITIONS.iter().filter(has).collect();
            if own.len() == CONDITIONS.len() {
                names.push(split.to_owned());
            }
            names.extend(own.iter().map(|condition| format!("{split}_{condition}")));
        }
        Ok(names)
    }

    fn places(&self, root: &Path, name: &str) -> Result<Vec<Place>, Error> {
        let (split, conditions) = parts(name);
        let place = |condition: &&str| {
            cityscapes::place(root, split, images(condition), &masks_start(condition))
        };
        conditions.iter().map(place).collect()
    }
}

fn images(condition: &str) -> Template {
    Template::of(&format!("{IMAGES}/{condition}/{{split}}/{{stem}}_rgb_anon.png"))
}

/// The beginning of the template of masks; their form follows.
fn masks_start(condition: &str) -> String {
    format!("{MASKS}/{condition}/{{split}}/{{stem}}_gt_")
}

fn mixed_labels(root: &Path, split: &str) -> Error {
    Error::IncompleteDataset {
        dataset: USUAL.title,
        root: root.to_owned(),
        missing: format!("{MASKS}/<condition>/{split}/…_gt_labelIds.png"),
        advice: USUAL.advice.to_owned(),
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
