//! Lists the entries of a folder, the same way for every list of files in `sweep`.
//!
//! Everything that reads a user's folder, such as datasets and masks to score, calls [`entries`]
//! and gets them sorted by name, without those whose name begins with a dot (`._a.png` is macOS's
//! note about `a.png`, not a picture), and with links followed.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub name: OsString,
    pub path: PathBuf,
    pub kind: Kind,
}

/// The kind of an entry, after following links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Folder,
    /// A file, or anything else that is not a folder: opening a pipe or a device gives its own
    /// error.
    File,
    /// A link whose target is missing or may not be read.
    DeadLink,
}

/// The entries of `folder`, sorted by name; those whose name begins with a dot are left out.
pub fn entries(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if is_hidden(&name) {
            continue;
        }
        let path = entry.path();
        let mut file_type = Some(entry.file_type()?);
        if file_type.is_some_and(|file_type| file_type.is_symlink()) {
            // Why a link leads nowhere makes no difference to what can be done with it.
            file_type = fs_err::metadata(&path).ok().map(|target| target.file_type());
        }
        let kind = match file_type {
            None => Kind::DeadLink,
            Some(file_type) if file_type.is_dir() => Kind::Folder,
            Some(_) => Kind::File,
        };
        entries.push(Entry { name, path, kind });
    }
    entries.sort();
    Ok(entries)
}

/// The part of a file's name after its last dot, in lower case; empty where there is none.
pub fn ending(name: impl AsRef<Path>) -> String {
    let ending = name.as_ref().extension().unwrap_or_default();
    ending.to_string_lossy().to_lowercase()
}

fn is_hidden(name: &OsString) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn entries_are_sorted_links_are_followed_and_dots_passed_over() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        for name in ["b.png", "a.png", "._a.png", ".hidden"] {
            fs_err::write(at(name), b"").unwrap();
        }
        fs_err::create_dir(at("folder")).unwrap();
        symlink(at("folder"), at("c")).unwrap();
        symlink(at("a.png"), at("d.png")).unwrap();
        symlink(at("gone.png"), at("e.png")).unwrap();
        symlink(at("f.png"), at("f.png")).unwrap();
        let found: Vec<_> = entries(temp.path())
            .unwrap()
            .into_iter()
            .map(|entry| (entry.name.into_string().unwrap(), entry.kind))
            .collect();
        let expect = [
            ("a.png", Kind::File),
            ("b.png", Kind::File),
            ("c", Kind::Folder),
            ("d.png", Kind::File),
            ("e.png", Kind::DeadLink),
            ("f.png", Kind::DeadLink),
            ("folder", Kind::Folder),
        ];
        assert_eq!(found, expect.map(|(name, kind)| (name.to_owned(), kind)));
        entries(&at("none")).unwrap_err();
    }

    #[test]
    fn endings_are_lower_case() {
        let check = |name: &str, expect: &str| assert_eq!(ending(name), expect);
        check("a.JPG", "jpg");
        check("a.v1.Png", "png");
        check("a", "");
        check("dir.x/a", "");
    }
}
