//! Adds SBD's masks as the larger training set of VOC 2012, `trainaug`, by mmsegmentation's rule
//! (`tools/dataset_converters/voc_aug.py` at 3f8d34e): the images of VOC's train with VOC's masks,
//! and those of SBD's train and val that are not in VOC's train or val with SBD's.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::{Error, mat};
use crate::data::Mask;
use crate::data::image_io::{voc_palette, write_png_mask};
use crate::fs::write_atomic;

/// The parts of SBD's archive that are unpacked: its images are VOC's.
pub(super) const WANTED: &[&str] = &[
    "benchmark_RELEASE/dataset/cls",
    "benchmark_RELEASE/dataset/train.txt",
    "benchmark_RELEASE/dataset/val.txt",
];

/// The folder of the new masks, in VOC's folder.
const MASKS: &str = "SegmentationClassAug";
const SPLITS: &str = "ImageSets/Segmentation";
const N_CLASSES: u8 = 21;
/// Number of images between progress events.
const STEP: usize = 100;

/// Adds the masks, then the split file `trainaug.txt`, to the VOC 2012 at `voc`.
///
/// Both get their names when they are complete; the split file last.
pub(super) fn add(
    unpacked: &Path,
    voc: &Path,
    n_expected: usize,
    tell: &mut dyn FnMut(usize, usize),
) -> Result<(), Error> {
    let sbd = unpacked.join("benchmark_RELEASE/dataset");
    let splits = voc.join(SPLITS);
    let train = stems(&splits.join("train.txt"))?;
    let known: BTreeSet<_> = train.union(&stems(&splits.join("val.txt"))?).cloned().collect();
    let mut all = stems(&sbd.join("train.txt"))?;
    all.extend(stems(&sbd.join("val.txt"))?);
    let added: Vec<String> = all.difference(&known).cloned().collect();
    let found = train.len() + added.len();
    if found != n_expected {
        return Err(Error::Count { found, expected: n_expected });
    }
    let masks = voc.join(MASKS);
    if !masks.is_dir() {
        // Beside its final place: a rename does not cross file systems.
        let temp = voc.join(format!(".{MASKS}.converting"));
        if temp.is_dir() {
            fs_err::remove_dir_all(&temp)?;
        }
        fs_err::create_dir_all(&temp)?;
        for stem in &train {
            let name = format!("{stem}.png");
            fs_err::copy(voc.join("SegmentationClass").join(&name), temp.join(&name))?;
        }
        convert(&sbd, &added, voc, &temp, tell)?;
        fs_err::rename(&temp, &masks)?;
    }
    let mut lines: Vec<&str> = train.iter().chain(&added).map(String::as_str).collect();
    lines.push("");
    write_atomic(&splits.join("trainaug.txt"), lines.join("\n").as_bytes())?;
    Ok(())
}

/// Writes the mask of each of `stems` into `folder`; several at a time.
fn convert(
    sbd: &Path,
    stems: &[String],
    voc: &Path,
    folder: &Path,
    tell: &mut dyn FnMut(usize, usize),
) -> Result<(), Error> {
    let done = AtomicUsize::new(0);
    for some in stems.chunks(STEP) {
        some.par_iter().try_for_each(|stem| {
            let mask = mask(sbd, stem)?;
            if !voc.join("JPEGImages").join(format!("{stem}.jpg")).is_file() {
                let problem = "has no image in VOC's `JPEGImages`".to_owned();
                return Err(Error::Mask { name: stem.clone(), problem });
            }
            let png = write_png_mask(&mask, &voc_palette());
            fs_err::write(folder.join(format!("{stem}.png")), png)?;
            done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })?;
        tell(done.load(Ordering::Relaxed), stems.len());
    }
    Ok(())
}

fn mask(sbd: &Path, stem: &str) -> Result<Mask, Error> {
    let bytes = fs_err::read(sbd.join("cls").join(format!("{stem}.mat")))?;
    let bad = |problem| Error::Mask { name: format!("{stem}.mat"), problem };
    let mask = mat::read_u8_field(&bytes, "GTcls", "Segmentation").map_err(bad)?;
    match mask.classes.iter().find(|class| **class >= N_CLASSES) {
        None => Ok(mask),
        Some(class) => Err(bad(format!("has class {class}; VOC has {N_CLASSES} from 0"))),
    }
}

/// The lines of a split file.
fn stems(path: &Path) -> Result<BTreeSet<String>, Error> {
    let text = fs_err::read_to_string(path)?;
    let stems = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_name = |stem: &str| !stem.contains(['/', '\\', '\0']) && !stem.starts_with('.');
    stems
        .map(|stem| {
            if is_name(stem) {
                return Ok(stem.to_owned());
            }
            let problem = format!("is not a valid name; it is in `{}`", path.display());
            Err(Error::Mask { name: stem.to_owned(), problem })
        })
        .collect()
}
