//! Path templates of files: a path below the dataset's folder with `{stem}` and optionally
//! `{split}`.
//!
//! Every kind of dataset finds its images and masks by templates, so that all treat names alike:
//! those that begin with a dot are skipped, endings may be in upper or lower case, and results are
//! sorted.

mod files;

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::data::image_io::ENDINGS;
use crate::fs::list::ending;

pub(super) use files::{Found, Seen};

const STEM: &str = "{stem}";
const SPLIT: &str = "{split}";

/// A path template, for example `images/{split}/{stem}.jpg`. A stem may hold folders
/// (`aachen/aachen_000000`); `.*` at the end stands for the endings of images that can be read. It
/// may begin with `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template(String);

/// The match of a file's name with a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match<'a> {
    /// It fits, with this stem.
    Whole(&'a str),
    /// It would fit with another ending.
    ButForEnding(&'a str),
    No,
}

impl Template {
    /// A template that is written in the code.
    pub(super) fn of(text: &str) -> Self {
        text.parse().expect("written in the code, and tested")
    }

    /// Whether each split has a place of its own.
    pub fn has_split(&self) -> bool {
        self.0.contains(SPLIT)
    }

    /// The file of `stem` in lower-case letters' ending: where it would be looked for first.
    fn first_path(&self, root: &Path, split: &str, stem: &str) -> PathBuf {
        let path = self.0.replace(SPLIT, split).replace(STEM, stem);
        match path.strip_suffix(".*") {
            None => root.join(path),
            Some(bare) => root.join(format!("{bare}.{}", ENDINGS[0])),
        }
    }

    /// Endings that fit, in lower case and in the order in which they are looked for; `None` where
    /// it names none.
    pub(super) fn endings(&self) -> Option<Vec<String>> {
        if self.0.ends_with(".*") {
            return Some(ENDINGS.map(str::to_owned).to_vec());
        }
        let (_, after) = self.0.split_once(STEM).expect("checked by `from_str`");
        let last = after.rsplit('/').next().unwrap_or_default();
        let ending = ending(format!("x{last}"));
        (!ending.is_empty()).then(|| vec![ending])
    }

    /// The folder that all files lie below, and how their names from there on begin and end.
    fn parts(&self, root: &Path, split: &str) -> Parts {
        let text = self.0.replace(SPLIT, split);
        let (before, after) = text.split_once(STEM).expect("checked by `from_str`");
        let (folder, start) = before.rsplit_once('/').unwrap_or(("", before));
        // Of `/{stem}.jpg`.
        let folder = if before.starts_with('/') && folder.is_empty() { "/" } else { folder };
        let endings = self.endings();
        let bare = match &endings {
            Some(_) => after.rsplit_once('.').map_or(after, |(bare, _)| bare),
            None => after,
        };
        Parts { folder: root.join(folder), start: start.to_owned(), bare: bare.to_owned(), endings }
    }

    /// The existing values of `{split}`, in order; none without `{split}`.
    pub(super) fn splits(&self, root: &Path) -> std::io::Result<Vec<String>> {
        let Some((before, after)) = self.0.split_once(SPLIT) else { return Ok(Vec::new()) };
        let (folder, start) = before.rsplit_once('/').unwrap_or(("", before));
        let end = after.split_once('/').map_or(after, |(end, _)| end);
        let folder = root.join(folder);
        if !after.contains('/') || !folder.is_dir() {
            return Ok(Vec::new());
        }
        files::folder_names(&folder, |name| {
            name.strip_prefix(start).and_then(|rest| rest.strip_suffix(end))
        })
    }
}

/// A template taken apart, with its split in place.
struct Parts {
    folder: PathBuf,
    /// Before the stem.
    start: String,
    /// Between the stem and the ending.
    bare: String,
    /// The endings, as [`Template::endings`].
    endings: Option<Vec<String>>,
}

impl Parts {
    /// `name` is that of a file from the folder on.
    fn matches<'a>(&self, name: &'a str) -> Match<'a> {
        let Some(name) = name.strip_prefix(&self.start) else { return Match::No };
        let Some(endings) = &self.endings else {
            let stem = name.strip_suffix(&self.bare).filter(|stem| !stem.is_empty());
            return stem.map_or(Match::No, Match::Whole);
        };
        let Some((name, ending)) = name.rsplit_once('.') else { return Match::No };
        let Some(stem) = name.strip_suffix(&self.bare).filter(|stem| !stem.is_empty()) else {
            return Match::No;
        };
        if endings.contains(&ending.to_lowercase()) {
            Match::Whole(stem)
        } else {
            Match::ButForEnding(stem)
        }
    }
}

/// Whether `text` can be one folder's name.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', '\\', '\0']) && !text.starts_with('.')
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |problem: &str| Err(format!("`{text}` {problem}"));
        if text.matches(STEM).count() != 1 {
            return refused("does not have `{stem}` exactly once");
        }
        if text.matches(SPLIT).count() > 1 {
            return refused("has `{split}` more than once");
        }
        let rest = text.replace(STEM, "").replace(SPLIT, "");
        if rest.contains(['{', '}']) {
            return refused("has braces around something other than `stem` and `split`");
        }
        let example = text.replace(STEM, "a").replace(SPLIT, "b");
        let mut parts = Path::new(&example).components();
        let is_below = parts.all(|part| matches!(part, Component::Normal(_) | Component::RootDir));
        if !is_below || text.contains(['\0', '\\']) {
            return refused("is not a path below the dataset's folder");
        }
        if rest.strip_suffix(".*").unwrap_or(&rest).contains('*') {
            return refused("has a `*` other than as its ending");
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
    use crate::data::Error;

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
        check("images/a.jpg", "does not have `{stem}` exactly once");
        check("{stem}/{stem}.jpg", "does not have `{stem}` exactly once");
        check("{split}/{split}/{stem}.jpg", "`{split}` more than once");
        check("{stam}/{stem}.jpg", "has braces");
        check("../{stem}.jpg", "is not a path below");
        check("/data/../{stem}.jpg", "is not a path below");
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
            for (found, (_, path)) in
                template.find(dir.path(), split, &stems).unwrap().iter().zip(&found)
            {
                assert_eq!(found.path, *path);
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
