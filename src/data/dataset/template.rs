//! Where files lie: a path below the dataset's folder with `{stem}` and perhaps `{split}` in it.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::data::Error;

/// Folders below each other; more are a link that leads back.
const DEPTH_MAX: usize = 12;
/// What `.*` stands for, in this order; upper case too.
const EXTENSIONS: [&str; 6] = ["jpg", "jpeg", "png", "JPG", "JPEG", "PNG"];
const STEM: &str = "{stem}";
const SPLIT: &str = "{split}";

/// For example `images/{split}/{stem}.jpg`. A stem may hold folders (`aachen/aachen_000000`); `.*`
/// at the end stands for `.jpg`, `.jpeg` or `.png`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template(String);

impl Template {
    /// Whether each split has a place of its own.
    pub fn has_split(&self) -> bool {
        self.0.contains(SPLIT)
    }

    /// The file of `stem`; where there is none of any ending, that of a JPEG.
    pub(super) fn path(&self, root: &Path, split: &str, stem: &str) -> PathBuf {
        let path = self.0.replace(SPLIT, split).replace(STEM, stem);
        match path.strip_suffix(".*") {
            None => root.join(path),
            Some(bare) => {
                let with = |extension: &str| root.join(format!("{bare}.{extension}"));
                let found = EXTENSIONS.into_iter().map(with).find(|path| path.is_file());
                found.unwrap_or_else(|| with("jpg"))
            }
        }
    }

    /// The stems of the files that match, with the files, in the order of the stems.
    pub(super) fn list(&self, root: &Path, split: &str) -> Result<Vec<(String, PathBuf)>, Error> {
        let text = self.0.replace(SPLIT, split);
        let (before, after) = text.split_once(STEM).expect("checked by `from_str`");
        let (folder, start) = before.rsplit_once('/').unwrap_or(("", before));
        let folder = root.join(folder);
        let mut files = Vec::new();
        if folder.is_dir() {
            walk(&folder, "", 0, &mut files)?;
        }
        let mut found: Vec<_> = files
            .into_iter()
            .filter_map(|(name, path)| {
                let stem = stem(name.strip_prefix(start)?, after)?;
                (!stem.is_empty()).then(|| (stem.to_owned(), path))
            })
            .collect();
        found.sort();
        Ok(found)
    }

    /// What stands in the place of `{split}`, in order; nothing without one.
    pub(super) fn splits(&self, root: &Path) -> Result<Vec<String>, Error> {
        let Some((before, after)) = self.0.split_once(SPLIT) else { return Ok(Vec::new()) };
        let (folder, start) = before.rsplit_once('/').unwrap_or(("", before));
        let end = after.split_once('/').map_or(after, |(end, _)| end);
        let folder = root.join(folder);
        let mut names = Vec::new();
        if !folder.is_dir() {
            return Ok(names);
        }
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_folder = after.contains('/') && entry.path().is_dir();
            let middle = name.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
            names.extend(
                middle.filter(|_| is_folder).filter(|name| is_name(name)).map(str::to_owned),
            );
        }
        names.sort();
        Ok(names)
    }
}

/// Whether `text` can be one folder's name.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', '\\', '\0']) && !text.starts_with('.')
}

/// `name` without its end `after`.
fn stem<'a>(name: &'a str, after: &str) -> Option<&'a str> {
    let Some(after) = after.strip_suffix(".*") else { return name.strip_suffix(after) };
    let (bare, extension) = name.rsplit_once('.')?;
    EXTENSIONS.contains(&extension).then(|| bare.strip_suffix(after))?
}

/// All files below `folder`, by their names from there.
fn walk(
    folder: &Path,
    name: &str,
    depth: usize,
    files: &mut Vec<(String, PathBuf)>,
) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Error::TooDeep { path: folder.to_owned(), depth_max: DEPTH_MAX });
    }
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let own = entry.file_name();
        // Hidden files are the file system's own (`._a.jpg`).
        if own.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // It could be written into no list, and an image must not be left out without a word.
        let Some(own) = own.to_str() else {
            return Err(Error::NotUtf8Name { path: entry.path() });
        };
        let name = format!("{name}{own}");
        let mut kind = entry.file_type()?;
        if kind.is_symlink() {
            // A link that leads nowhere is no file.
            let Ok(target) = fs_err::metadata(entry.path()) else { continue };
            kind = target.file_type();
        }
        if kind.is_dir() {
            walk(&entry.path(), &format!("{name}/"), depth + 1, files)?;
        } else {
            files.push((name, entry.path()));
        }
    }
    Ok(())
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |problem: &str| Err(format!("`{text}` {problem}"));
        if text.matches(STEM).count() != 1 {
            return refused("does not have `{stem}` in one place");
        }
        if text.matches(SPLIT).count() > 1 {
            return refused("has `{split}` more than once");
        }
        let rest = text.replace(STEM, "").replace(SPLIT, "");
        if rest.contains(['{', '}']) {
            return refused("has braces around something else than `stem` and `split`");
        }
        let example = text.replace(STEM, "a").replace(SPLIT, "b");
        let is_below =
            Path::new(&example).components().all(|part| matches!(part, Component::Normal(_)));
        if !is_below || text.contains(['\0', '\\']) {
            return refused("is not a path below the dataset's folder");
        }
        if rest.strip_suffix(".*").unwrap_or(&rest).contains('*') {
            return refused("has a `*` elsewhere than as its ending");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        text.parse().unwrap()
    }

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, b"").unwrap();
        }
        dir
    }

    #[test]
    fn what_is_no_template_says_why() {
        let check = |text: &str, expect: &str| {
            let error = text.parse::<Template>().unwrap_err();
            assert!(error.contains(expect), "{error}");
        };
        check("images/a.jpg", "does not have `{stem}` in one place");
        check("{stem}/{stem}.jpg", "does not have `{stem}` in one place");
        check("{split}/{split}/{stem}.jpg", "`{split}` more than once");
        check("{stam}/{stem}.jpg", "has braces");
        check("../{stem}.jpg", "is not a path below");
        check("/data/{stem}.jpg", "is not a path below");
        check("*/{stem}.jpg", "has a `*`");
    }

    #[test]
    fn stems_are_found_where_paths_put_them() {
        let dir = folder(&[
            "images/train/b_rgb.png",
            "images/train/city/a_rgb.png",
            "images/train/._b_rgb.png",
            "images/train/a_gt.png",
            "images/val/c_rgb.png",
            "flat/x.JPG",
            "flat/y.png",
            "flat/z.txt",
        ]);
        let check = |text: &str, split: &str, expect: &[&str]| {
            let template = template(text);
            let found = template.list(dir.path(), split).unwrap();
            let stems: Vec<_> = found.iter().map(|(stem, _)| stem.as_str()).collect();
            assert_eq!(stems, expect, "{text}");
            for (stem, path) in found {
                assert_eq!(template.path(dir.path(), split, &stem), path);
            }
        };
        check("images/{split}/{stem}_rgb.png", "train", &["b", "city/a"]);
        check("images/{split}/{stem}_rgb.png", "val", &["c"]);
        check("images/{split}/{stem}_rgb.png", "test", &[]);
        check("flat/{stem}.*", "", &["x", "y"]);
        check("flat/{stem}.png", "", &["y"]);
        check(
            "{stem}.png",
            "",
            &[
                "flat/y",
                "images/train/a_gt",
                "images/train/b_rgb",
                "images/train/city/a_rgb",
                "images/val/c_rgb",
            ],
        );
    }

    #[test]
    fn splits_are_what_stands_in_their_place() {
        let dir = folder(&["a/train_rgb/x.png", "a/val_rgb/x.png", "a/other/x.png", "a/file_rgb"]);
        let splits = |text: &str| template(text).splits(dir.path()).unwrap();
        assert_eq!(splits("a/{split}_rgb/{stem}.png"), ["train", "val"]);
        assert_eq!(splits("a/{split}/{stem}.png"), ["other", "train_rgb", "val_rgb"]);
        assert_eq!(splits("none/{split}/{stem}.png"), [""; 0]);
        assert_eq!(splits("a/{stem}.png"), [""; 0]);
    }

    #[test]
    fn a_link_that_leads_back_is_an_error() {
        let dir = folder(&["images/a.png"]);
        std::os::unix::fs::symlink(dir.path(), dir.path().join("images/back")).unwrap();
        let error = template("images/{stem}.png").list(dir.path(), "").unwrap_err();
        assert!(matches!(error, Error::TooDeep { .. }), "{error}");
    }
}
