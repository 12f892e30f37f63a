//! Finds files of a dataset that no split uses although they look like images or masks of one:
//! `data check` lists them, `plan` and `run` count them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Dataset;
use super::kind::{Lists, Place};
use super::template::{Seen, Template};
use crate::data::Error;
use crate::data::image_io::{ENDINGS, OTHER_ENDINGS};
use crate::fs::list::ending;

/// Number of files that a summary names.
const NAMED_MAX: usize = 3;

/// A file that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub path: PathBuf,
    /// The first split that looks for files in its place.
    pub split: String,
    pub why: Why,
}

/// The reason why a file is left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Only files of these endings are looked for there.
    Ending(Vec<String>),
    /// It is a link whose target does not exist.
    DeadLink,
    /// A mask without an image.
    NoImage,
}

/// Images of a place whose splits are files of stems, and that no such file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlisted {
    pub split: String,
    pub with_mask: Vec<PathBuf>,
    pub without_mask: Vec<PathBuf>,
}

impl LeftOut {
    /// The message about one file.
    pub fn message(&self) -> String {
        let path = self.path.display();
        match &self.why {
            Why::Ending(endings) => format!(
                "`{path}` is left out: only files ending in {} are looked for there; convert or \
                 rename it",
                listed(endings)
            ),
            Why::DeadLink => {
                let target = fs_err::read_link(&self.path);
                let to = target.map_or_else(
                    |_| String::new(),
                    |target| format!(" to `{}`, which does not exist", target.display()),
                );
                format!("`{path}` is left out: it is a link{to}")
            }
            Why::NoImage => format!(
                "mask `{path}` is left out: no image has its name; restore the image, or \
                 remove the mask"
            ),
        }
    }
}

/// The messages about many files, a line for each reason: how many, and the first few.
pub fn summaries(root: &Path, left_out: &[LeftOut]) -> Vec<String> {
    let mut by_why: BTreeMap<&Why, Vec<&Path>> = BTreeMap::new();
    for LeftOut { path, why, .. } in left_out {
        by_why.entry(why).or_default().push(path.strip_prefix(root).unwrap_or(path));
    }
    let line = |(why, paths): (&Why, Vec<&Path>)| {
        let (n, are) = match paths.len() {
            1 => ("1 file".to_owned(), "is"),
            n => (format!("{n} files"), "are"),
        };
        let reason = match why {
            Why::Ending(endings) => {
                format!("only files ending in {} are looked for", listed(endings))
            }
            Why::DeadLink => "links to missing files".to_owned(),
            Why::NoImage => "masks without an image".to_owned(),
        };
        let first: Vec<_> =
            paths.iter().take(NAMED_MAX).map(|path| format!("`{}`", path.display())).collect();
        let more = match paths.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!(
            "{n} in `{}` {are} left out ({reason}): {}{more}; `sweep data check` lists all",
            root.display(),
            first.join(", ")
        )
    };
    by_why.into_iter().map(line).collect()
}

impl Dataset {
    /// The files beside those of `splits` that are left out, in the order of their paths.
    pub fn left_out(&self, splits: &[String]) -> Result<Vec<LeftOut>, Error> {
        let mut all: BTreeMap<PathBuf, LeftOut> = BTreeMap::new();
        for (split, place) in self.places(splits)? {
            let (images, masks) = survey(&place, &self.root)?;
            let mut add = |path: PathBuf, why: Why| {
                let left_out = LeftOut { path: path.clone(), split: split.clone(), why };
                all.entry(path).or_insert(left_out);
            };
            let stems = self.image_stems(&place, &images)?;
            for (stem, path) in &masks.files {
                if !stems.contains(stem) {
                    add(path.clone(), Why::NoImage);
                }
            }
            for (seen, other, template) in
                [(&images, &masks, &place.images), (&masks, &images, &place.masks)]
            {
                let taken: BTreeSet<&PathBuf> = other.files.iter().map(|(_, path)| path).collect();
                for (_, path) in &seen.dead_links {
                    add(path.clone(), Why::DeadLink);
                }
                for (_, path) in &seen.other_endings {
                    if !taken.contains(path) {
                        add(path.clone(), Why::Ending(template.endings().unwrap_or_default()));
                    }
                }
            }
        }
        Ok(all.into_values().collect())
    }

    /// The images beside those of `splits` that none of the dataset's lists names.
    pub fn unlisted(&self, splits: &[String]) -> Result<Vec<Unlisted>, Error> {
        let mut places = self.places(splits)?;
        places.retain(|(_, place)| place.lists == Lists::File);
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let mut listed = BTreeSet::new();
        for name in self.splits()? {
            // A list that cannot be read is told of where its split is looked at.
            let Ok(listing) = self.layout.list(&self.root, &name) else { continue };
            listed.extend(listing.items.into_iter().map(|item| item.id));
        }
        let mut all = Vec::new();
        for (split, place) in places {
            let (images, masks) = survey(&place, &self.root)?;
            let masked: BTreeSet<String> = masks.files.into_iter().map(|(stem, _)| stem).collect();
            let unlisted = images.files.into_iter().filter(|(stem, _)| !listed.contains(stem));
            let (with, without): (Vec<_>, Vec<_>) =
                unlisted.partition(|(stem, _)| masked.contains(stem));
            let paths = |files: Vec<(String, PathBuf)>| files.into_iter().map(|(_, path)| path);
            let (with_mask, without_mask) = (paths(with).collect(), paths(without).collect());
            all.push(Unlisted { split, with_mask, without_mask });
        }
        Ok(all)
    }

    /// The stems of all files that may be meant as the image of a mask in this place.
    fn image_stems(&self, place: &Place, images: &Seen) -> Result<BTreeSet<String>, Error> {
        let stems = |seen: &Seen| -> Vec<String> {
            let all = seen.files.iter().chain(&seen.other_endings).chain(&seen.dead_links);
            all.map(|(stem, _)| stem.clone()).collect()
        };
        let mut all: BTreeSet<String> = stems(images).into_iter().collect();
        if place.images.has_split() && !place.masks.has_split() {
            // The masks of all splits lie together.
            for split in self.splits()? {
                all.extend(stems(&look(&place.images, &self.root, &split)?));
            }
        }
        Ok(all)
    }

    /// Each place once, with the first split that looks there.
    fn places(&self, splits: &[String]) -> Result<Vec<(String, Place)>, Error> {
        let mut places: Vec<(String, Place)> = Vec::new();
        for split in splits {
            for place in self.layout.places(&self.root, split)? {
                if !places.iter().any(|(_, known)| *known == place) {
                    places.push((split.clone(), place));
                }
            }
        }
        Ok(places)
    }
}

/// The files in the places of images and of masks.
fn survey(place: &Place, root: &Path) -> Result<(Seen, Seen), Error> {
    let look = |template| look(template, root, &place.split);
    Ok((look(&place.images)?, look(&place.masks)?))
}

/// What lies in the place of a template; of files that do not fit, those that look like pictures.
fn look(template: &Template, root: &Path, split: &str) -> Result<Seen, Error> {
    let mut seen = template.survey(root, split)?;
    let is_picture = |(_, path): &(String, PathBuf)| {
        let ending = ending(path);
        ENDINGS.contains(&ending.as_str()) || OTHER_ENDINGS.contains(&ending.as_str())
    };
    seen.other_endings.retain(is_picture);
    seen.dead_links.retain(is_picture);
    Ok(seen)
}

/// The endings in words: "`.jpg`, `.png` or `.jpeg`".
fn listed(endings: &[String]) -> String {
    let quoted: Vec<_> = endings.iter().map(|ending| format!("`.{ending}`")).collect();
    match &quoted[..] {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        all => all.concat(),
    }
}
