//! The procedural dataset: textured objects of six classes on textured grounds, with occlusion,
//! distractors and void borders. Written once in VOC layout, then read like any other folder.
//!
//! Colours are drawn at random, so that they tell nothing, unless `colour_hint_pct` moves them
//! towards one of each class. Texture alone tells two classes, and leaves two pairs that only their
//! outline tells apart.

mod scene;

use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::scene::{CLASSES, render};
use super::kind::{Kind, Opened};
use super::voc;
use crate::data::image_io::{voc_palette, write_png_mask_stored, write_png_rgb_stored};
use crate::data::{Error, Mask, Rgb};
use crate::fs::hash::sha256_bytes;
use crate::fs::{FileLock, write_atomic};
use crate::id::canonical_json;
use crate::rng;

/// The procedural dataset; written in VOC layout below the first data folder when first used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShapesConfig {
    pub n_train: u32,
    pub n_val: u32,
    /// Side of the square images.
    pub side_px: u32,
    /// Seed of the generator, independent of the run's seed.
    pub seed: u64,
    /// Share of its class's colour in an object's colours, in percent. Left out where it is 0, as
    /// the folders that were written before it existed are named without it.
    #[serde(skip_serializing_if = "is_zero")]
    pub colour_hint_pct: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Default for ShapesConfig {
    fn default() -> Self {
        Self { n_train: 256, n_val: 64, side_px: 128, seed: 0, colour_hint_pct: 0 }
    }
}

/// Below a data folder.
const FOLDER: &str = "shapes";
/// Raised when a change to the generator changes a pixel; part of the folder's name.
const GENERATOR_VERSION: u32 = 1;
/// Allowed sides in pixels: smaller objects have no outline, larger ones only cost time.
const SIDE_PX: std::ops::RangeInclusive<u32> = 32..=1024;
/// Largest number of images, about 50 GB of files at 128 px: more are a typo, not a study.
const IMAGES_MAX: u32 = 1_000_000;
/// The file that is written last; a folder without it is not used.
const MARKER: &str = "COMPLETE";

impl Kind for ShapesConfig {
    fn root(&self) -> Option<&Path> {
        None
    }

    fn find(&self, data_dirs: &[PathBuf]) -> Result<PathBuf, Error> {
        materialise(self, data_dirs)
    }

    fn open(&self, root: &Path) -> Result<Opened, Error> {
        voc::open(root)
    }

    fn made_in(&self, data_dirs: &[PathBuf]) -> Option<Result<PathBuf, Error>> {
        Some(parent(data_dirs))
    }
}

/// The dataset's folder below the first of `data_dirs`, written now if it is not there.
///
/// Several processes may ask at once: the first writes, the others wait for its lock.
fn materialise(config: &ShapesConfig, data_dirs: &[PathBuf]) -> Result<PathBuf, Error> {
    check(config)?;
    let parent = parent(data_dirs)?;
    let name = folder_name(config);
    let root = parent.join(&name);
    if root.join(MARKER).is_file() {
        return Ok(root);
    }
    let _lock = FileLock::acquire(&parent.join(format!(".{name}.lock")))?;
    if root.join(MARKER).is_file() {
        return Ok(root);
    }
    tracing::info!(root = %root.display(), "writing the `shapes` dataset");
    let temp = parent.join(format!(".{name}.tmp"));
    // Left by a process that was killed; nobody else writes here while we hold the lock.
    remove_folder(&temp)?;
    if let Err(error) = write(config, &temp) {
        // The write failed already; the leftover folder is removed by the next try.
        let _ = fs_err::remove_dir_all(&temp);
        return Err(error);
    }
    remove_folder(&root)?;
    fs_err::rename(&temp, &root)?;
    Ok(root)
}

fn parent(data_dirs: &[PathBuf]) -> Result<PathBuf, Error> {
    Ok(data_dirs.first().ok_or(Error::NoDataDir)?.join(FOLDER))
}

/// One image and its mask; the same for the same settings, on every machine.
pub fn generate(config: &ShapesConfig, split: &str, index: u32) -> (Rgb, Mask) {
    let purpose = format!("shapes/{split}");
    let mut rng = rng::keyed(config.seed, &purpose, &[u64::from(index)]);
    render(&mut rng, config.side_px, f64::from(config.colour_hint_pct) / 100.0)
}

fn check(config: &ShapesConfig) -> Result<(), Error> {
    let bad =
        |key, value, allowed| Err(Error::BadSetting { key, value: u64::from(value), allowed });
    if !(1..=IMAGES_MAX).contains(&config.n_train) {
        return bad("data.n_train", config.n_train, "1 to 1000000");
    }
    if !(1..=IMAGES_MAX).contains(&config.n_val) {
        return bad("data.n_val", config.n_val, "1 to 1000000");
    }
    if !SIDE_PX.contains(&config.side_px) {
        return bad("data.side_px", config.side_px, "32 to 1024");
    }
    if config.colour_hint_pct > 100 {
        return bad("data.colour_hint_pct", config.colour_hint_pct, "0 to 100");
    }
    Ok(())
}

fn folder_name(config: &ShapesConfig) -> String {
    let identity = serde_json::json!({ "generator": GENERATOR_VERSION, "config": config });
    let mut name = sha256_bytes(canonical_json(&identity).as_bytes());
    name.truncate(16);
    name
}

fn write(config: &ShapesConfig, root: &Path) -> Result<(), Error> {
    for part in [voc::IMAGES, voc::MASKS, voc::SPLITS] {
        fs_err::create_dir_all(root.join(part))?;
    }
    for (split, n) in [("train", config.n_train), ("val", config.n_val)] {
        (0..n).into_par_iter().try_for_each(|index| write_one(config, root, split, index))?;
        let stems: Vec<String> = (0..n).map(|index| stem(config, split, index) + "\n").collect();
        write_atomic(
            &root.join(voc::SPLITS).join(format!("{split}.txt")),
            stems.concat().as_bytes(),
        )?;
    }
    let classes: Vec<String> =
        CLASSES.iter().enumerate().map(|(index, name)| format!("{index} {name}\n")).collect();
    write_atomic(&root.join(voc::CLASSES_FILE), classes.concat().as_bytes())?;
    sync(root)?;
    let n_images = u64::from(config.n_train) + u64::from(config.n_val);
    write_atomic(&root.join(MARKER), format!("{n_images} images\n").as_bytes())?;
    Ok(())
}

fn write_one(config: &ShapesConfig, root: &Path, split: &str, index: u32) -> Result<(), Error> {
    let (image, mask) = generate(config, split, index);
    let file = format!("{}.png", stem(config, split, index));
    // Plain writes: the folder as a whole appears by its rename.
    fs_err::write(root.join(voc::IMAGES).join(&file), write_png_rgb_stored(&image))?;
    let mask = write_png_mask_stored(&mask, &voc_palette());
    fs_err::write(root.join(voc::MASKS).join(&file), mask)?;
    Ok(())
}

/// The name of an image without its ending. It names the hint, as a split's fingerprint knows its
/// images by name and length, and these have the same length whatever their colours.
fn stem(config: &ShapesConfig, split: &str, index: u32) -> String {
    match config.colour_hint_pct {
        0 => format!("{split}_{index:06}"),
        hint => format!("{split}_hint{hint}_{index:06}"),
    }
}

/// Syncs the whole file system in one call: a sync of each file takes longer than drawing it.
#[cfg(target_os = "linux")]
fn sync(root: &Path) -> io::Result<()> {
    let folder = fs_err::File::open(root)?;
    Ok(rustix::fs::syncfs(folder)?)
}

#[cfg(not(target_os = "linux"))]
fn sync(root: &Path) -> io::Result<()> {
    for part in [voc::IMAGES, voc::MASKS] {
        for entry in fs_err::read_dir(root.join(part))? {
            fs_err::File::open(entry?.path())?.sync_all()?;
        }
    }
    Ok(())
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match fs_err::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
