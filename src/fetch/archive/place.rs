//! Decides where entries of an archive may be written.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

/// Largest length of a name in bytes, on common file systems.
const NAME_BYTES_MAX: usize = 255;
const DEPTH_MAX: usize = 32;

/// The folder that an archive is unpacked into, and what is in it already.
pub(super) struct Place<'a> {
    root: PathBuf,
    wanted: &'a [&'a str],
    /// The entries by path in lower case: the path as written, and whether it is a folder.
    taken: HashMap<String, (String, bool)>,
    pub(super) n_files: usize,
    pub(super) bytes: u64,
}

impl<'a> Place<'a> {
    pub(super) fn new(root: &Path, wanted: &'a [&'a str]) -> Self {
        Self { root: root.to_owned(), wanted, taken: HashMap::new(), n_files: 0, bytes: 0 }
    }

    /// The entry's path below the root, made of plain names only; `None` where it is not wanted.
    pub(super) fn path(&self, name: &[u8]) -> Result<Option<PathBuf>, &'static str> {
        let name = std::str::from_utf8(name).map_err(|_| "has a name that is not UTF-8")?;
        if name.contains(['\0', '\\']) || name.chars().any(char::is_control) {
            return Err("has a name with characters that are not allowed");
        }
        if name.starts_with('/') || name.as_bytes().get(1) == Some(&b':') {
            return Err("has an absolute path");
        }
        let mut path = PathBuf::new();
        for (depth, part) in name.split('/').filter(|part| !matches!(*part, "" | ".")).enumerate() {
            if part == ".." {
                return Err("leads out of its folder");
            }
            if part.len() > NAME_BYTES_MAX || depth >= DEPTH_MAX {
                return Err("has a path that is too long");
            }
            path.push(part);
        }
        let is_wanted =
            self.wanted.is_empty() || self.wanted.iter().any(|wanted| path.starts_with(wanted));
        // The root itself, as `./`, is there.
        Ok((is_wanted && path.components().next().is_some()).then_some(path))
    }

    /// Records that `path` is made; refuses a file twice, or two names that differ in case only.
    pub(super) fn take(&mut self, path: &Path, is_folder: bool) -> Result<(), &'static str> {
        let text = path.to_str().expect("names are UTF-8");
        let ends = text.match_indices('/').map(|(at, _)| at).chain([text.len()]);
        for end in ends {
            let (part, is_folder) = (&text[..end], is_folder || end < text.len());
            let taken = self.taken.get(&part.to_lowercase());
            match taken {
                None => {
                    self.taken.insert(part.to_lowercase(), (part.to_owned(), is_folder));
                }
                Some((written, _)) if written != part => {
                    return Err("differs from another one in upper and lower case only");
                }
                Some((_, true)) if is_folder => {}
                Some(_) => return Err("occurs twice"),
            }
        }
        Ok(())
    }

    pub(super) fn make_folder(&self, path: &Path) -> io::Result<()> {
        fs_err::create_dir_all(self.root.join(path))
    }

    /// Creates a new file; an existing one is an error.
    pub(super) fn make_file(&mut self, path: &Path) -> io::Result<std::fs::File> {
        let path = self.root.join(path);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        self.n_files += 1;
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        file.map_err(|source| {
            io::Error::new(source.kind(), format!("{source}: `{}`", path.display()))
        })
    }
}
