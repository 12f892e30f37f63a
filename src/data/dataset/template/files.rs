//! Lists the files on disk that match a template.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use super::{Match, Template, is_name};
use crate::data::Error;
use crate::fs::list::{self, Entry, Kind};

/// Largest depth of folders; deeper is a link that leads back.
const DEPTH_MAX: usize = 12;

/// The file of a stem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::data::dataset) struct Found {
    /// The file; where there is none, the path where it would be looked for first.
    pub(in crate::data::dataset) path: PathBuf,
    /// Another file that may be meant as well.
    pub(in crate::data::dataset) other: Option<PathBuf>,
}

/// Everything in the place of a template.
#[derive(Debug, Default)]
pub(in crate::data::dataset) struct Seen {
    /// The files that fit, by stem, then by path.
    pub(in crate::data::dataset) files: Vec<(String, PathBuf)>,
    /// Files that would be among those if their ending were another one, by stem.
    pub(in crate::data::dataset) other_endings: Vec<(String, PathBuf)>,
    /// Broken links, with the stem that they would have.
    pub(in crate::data::dataset) dead_links: Vec<(String, PathBuf)>,
}

impl Template {
    /// The stems of the files that fit, with the files, in the order of the stems.
    pub(in crate::data::dataset) fn list(
        &self,
        root: &Path,
        split: &str,
    ) -> Result<Vec<(String, PathBuf)>, Error> {
        Ok(self.survey(root, split)?.files)
    }

    /// Like [`Self::list`], with the other files in those folders.
    pub(in crate::data::dataset) fn survey(&self, root: &Path, split: &str) -> Result<Seen, Error> {
        let parts = self.parts(root, split);
        let mut seen = Seen::default();
        if !parts.folder.is_dir() {
            return Ok(seen);
        }
        let mut files = Vec::new();
        walk(&parts.folder, "", 0, &mut files)?;
        for (name, path, kind) in files {
            let (stem, list) = match (parts.matches(&name), kind) {
                (Match::No, _) => continue,
                (Match::Whole(stem) | Match::ButForEnding(stem), Kind::DeadLink) => {
                    (stem, &mut seen.dead_links)
                }
                (Match::Whole(stem), _) => (stem, &mut seen.files),
                (Match::ButForEnding(stem), _) => (stem, &mut seen.other_endings),
            };
            list.push((stem.to_owned(), path));
        }
        seen.files.sort();
        Ok(seen)
    }

    /// The files of `stems`, in their order. Each folder is read once.
    pub(in crate::data::dataset) fn find(
        &self,
        root: &Path,
        split: &str,
        stems: &[&str],
    ) -> Result<Vec<Found>, Error> {
        let parts = self.parts(root, split);
        let mut folders: HashMap<PathBuf, Folder> = HashMap::new();
        let found = |stem: &&str| {
            let path = self.first_path(root, split, stem);
            let (Some(endings), Some(folder)) = (&parts.endings, path.parent()) else {
                return Ok(Found { path, other: None });
            };
            if !folders.contains_key(folder) {
                folders.insert(folder.to_owned(), Folder::read(folder)?);
            }
            let bare = path.file_stem().map(|bare| bare.to_string_lossy().into_owned());
            let mut files = folders[folder].files(&bare.unwrap_or_default(), endings).into_iter();
            Ok(match files.next() {
                Some(first) => Found { path: first, other: files.next() },
                None => Found { path, other: None },
            })
        };
        stems.iter().map(found).collect()
    }
}

/// The files of one folder, by their names without endings.
struct Folder {
    files: BTreeMap<String, Vec<PathBuf>>,
}

impl Folder {
    /// Lists a folder; one that does not exist is empty.
    fn read(path: &Path) -> io::Result<Self> {
        let mut files: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        if path.is_dir() {
            let mut entries = list::entries(path)?;
            entries.retain(|entry| entry.kind != Kind::Folder);
            // A link that leads nowhere is met, and named, when it is read: only where there is no
            // file.
            entries.sort_by_key(|entry| entry.kind == Kind::DeadLink);
            for Entry { path, .. } in entries {
                if let Some(bare) = path.file_stem() {
                    files.entry(bare.to_string_lossy().into_owned()).or_default().push(path);
                }
            }
        }
        Ok(Self { files })
    }

    /// The files with one of `endings`, in that order.
    fn files(&self, bare: &str, endings: &[String]) -> Vec<PathBuf> {
        let Some(all) = self.files.get(bare) else { return Vec::new() };
        let of = |ending: &String| {
            all.iter().filter(|path| list::ending(path) == *ending).cloned().collect()
        };
        endings.iter().flat_map(|ending| -> Vec<PathBuf> { of(ending) }).collect()
    }
}

/// Names of the folders in `folder` as `pick` shortens them, in order; `None`: not that one.
pub(super) fn folder_names(
    folder: &Path,
    pick: impl Fn(&str) -> Option<&str>,
) -> io::Result<Vec<String>> {
    let folders = list::entries(folder)?.into_iter().filter(|entry| entry.kind == Kind::Folder);
    let picked = folders.filter_map(|entry| pick(entry.name.to_str()?).map(str::to_owned));
    let mut names: Vec<_> = picked.filter(|name| is_name(name)).collect();
    names.sort();
    Ok(names)
}

/// All files and dead links below `folder`, by their names from there.
fn walk(
    folder: &Path,
    name: &str,
    depth: usize,
    files: &mut Vec<(String, PathBuf, Kind)>,
) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Error::TooDeep { path: folder.to_owned(), depth_max: DEPTH_MAX });
    }
    for entry in list::entries(folder)? {
        // It could be written into no list, and an image must not be left out without a word.
        let Some(own) = entry.name.to_str() else {
            return Err(Error::NotUtf8Name { path: entry.path });
        };
        let name = format!("{name}{own}");
        if entry.kind == Kind::Folder {
            walk(&entry.path, &format!("{name}/"), depth + 1, files)?;
        } else {
            files.push((name, entry.path, entry.kind));
        }
    }
    Ok(())
}
