//! Finds out why a path cannot be read as weights or as an adapter, and what to do about it.
//!
//! The readers of weights, of adapters and of the JSON files beside them call it with a path or
//! with the first bytes of a file; it returns the reason for their error message, only ever one
//! that was checked.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// A file format that this program does not read, but that lies beside weights or is mistaken for
/// them.
struct Foreign {
    what: &'static str,
    /// Extensions of such files, in lower case, without the dot.
    extensions: &'static [&'static str],
    /// First bytes of such files; none where the format has no fixed ones.
    beginnings: &'static [&'static [u8]],
    advice: &'static str,
}

const EXPORT: &str = "only safetensors and PyTorch files are read: save the model as one of these";
const UNPACK: &str = "unpack it first";

const FOREIGN: &[Foreign] = &[
    Foreign {
        what: "TensorFlow or Keras weights",
        extensions: &["h5", "hdf5", "keras"],
        beginnings: &[b"\x89HDF\r\n\x1a\n"],
        advice: EXPORT,
    },
    Foreign {
        what: "a TensorFlow graph",
        extensions: &["pb", "tflite"],
        beginnings: &[],
        advice: EXPORT,
    },
    Foreign { what: "Flax weights", extensions: &["msgpack"], beginnings: &[], advice: EXPORT },
    Foreign { what: "an ONNX graph", extensions: &["onnx"], beginnings: &[], advice: EXPORT },
    Foreign {
        what: "GGUF weights",
        extensions: &["gguf", "ggml"],
        beginnings: &[b"GGUF"],
        advice: EXPORT,
    },
    Foreign {
        what: "a NumPy file",
        extensions: &["npz", "npy"],
        beginnings: &[b"\x93NUMPY"],
        advice: EXPORT,
    },
    Foreign {
        what: "a compressed file",
        extensions: &["gz", "tgz", "bz2", "xz", "zst", "7z", "rar"],
        beginnings: &[
            b"\x1f\x8b",
            b"BZh",
            b"\xfd7zXZ\0",
            b"\x28\xb5\x2f\xfd",
            b"7z\xbc\xaf\x27\x1c",
            b"Rar!",
        ],
        advice: UNPACK,
    },
];

/// First words (in lower case) of texts that stand in place of a file, and what each means.
const STAND_INS: &[(&[&str], &str)] = &[
    (
        &["version https://git-lfs"],
        "it is a git-LFS pointer; fetch the file itself with `git lfs pull`",
    ),
    (&["/annex/objects/"], "it is a git-annex pointer; fetch the file itself with `git annex get`"),
    (
        &["<!doctype", "<html", "<head", "<body"],
        "it is an HTML page; the download was answered by a web page, not by the file: fetch it \
         again",
    ),
    (
        &["<?xml"],
        "it is an XML page; the download was answered by an error, not by the file: fetch it again",
    ),
];

/// Extensions that download programs give to unfinished files.
const UNFINISHED: &[&str] = &["incomplete", "part", "partial", "crdownload", "download", "aria2"];
/// Extensions of weights and adapters.
const WEIGHTS: &[&str] = &["safetensors", "pth", "pt", "bin", "ckpt"];
/// Number of bytes at the start of a file by which its format is recognised.
pub(crate) const HEAD: usize = 512;
/// Largest number of characters of a text that a message shows.
const LINE_MAX: usize = 100;
/// Largest number of names that a message lists.
const SHOWN: usize = 6;
/// Number of bytes at the end of a zip file in which its directory is found: the longest comment
/// and the record before it.
const ZIP_TAIL: u64 = 65_536 + 22;

/// The format of a file that begins with `head` and is neither safetensors nor JSON; `None` where
/// it is not certain.
pub(crate) fn of_bytes(head: &[u8]) -> Option<String> {
    if head.is_empty() {
        return Some("it is empty".to_owned());
    }
    if head.len() >= 16 && head.iter().all(|byte| *byte == 0) {
        return Some("it begins with zeros only: a download that was not finished".to_owned());
    }
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let text = without_comments(text.trim_start_matches('\u{feff}').trim_start());
    let begins = |beginnings: &&[&str]| beginnings.iter().any(|begin| text.starts_with(begin));
    if let Some((_, reason)) = STAND_INS.iter().find(|(beginnings, _)| begins(beginnings)) {
        return Some((*reason).to_owned());
    }
    let is_of = |foreign: &&Foreign| foreign.beginnings.iter().any(|begin| head.starts_with(begin));
    FOREIGN.iter().find(is_of).map(|found| format!("it is {}; {}", found.what, found.advice))
}

/// The reason why the JSON file at `path` does not parse, by its content.
pub(crate) fn of_json(path: &Path, bytes: &[u8], error: &serde_json::Error) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    of_bytes(&bytes[..bytes.len().min(HEAD)])
        .unwrap_or_else(|| format!("a broken {name}, or cut short: {error}"))
}

/// Strips the comments that an HTML or XML page may begin with.
fn without_comments(mut text: &str) -> &str {
    while let Some((_, rest)) = text.strip_prefix("<!--").and_then(|text| text.split_once("-->")) {
        text = rest.trim_start();
    }
    text
}

/// The reason why the file at `path`, which begins with `head`, was not read as a PyTorch file;
/// `error` is its reader's.
pub(super) fn unread(path: &Path, head: &[u8], error: &dyn std::fmt::Display) -> String {
    match head {
        [b'P', b'K', 3, 4, ..] => unread_zip(path, error),
        [0x80, ..] => {
            format!("a PyTorch file (legacy pickle) that is damaged or cut short: {error}")
        }
        _ => {
            if let Some(foreign) = by_name(path) {
                return format!("by its name it is {}; {}", foreign.what, foreign.advice);
            }
            let text = std::str::from_utf8(head).ok().filter(|text| text.len() > 8);
            let is_text = |text: &&str| !text.chars().any(|c| c.is_control() && !c.is_whitespace());
            match text.filter(is_text).and_then(|text| text.lines().next()) {
                Some(line) => format!(
                    "it is text, neither safetensors nor a PyTorch file, and begins `{}`; if a \
                     download was answered by a message, fetch it again",
                    line.chars().take(LINE_MAX).collect::<String>()
                ),
                None => format!("neither safetensors nor a PyTorch file, or cut short: {error}"),
            }
        }
    }
}

/// The reason why a zip file was not read as PyTorch's.
fn unread_zip(path: &Path, error: &dyn std::fmt::Display) -> String {
    match zip_names(path) {
        Err(_) if !has_zip_directory(path) => {
            "a zip file, as PyTorch's are, that is cut short: its end is missing; fetch it again"
                .to_owned()
        }
        Err(error) => {
            format!("a zip file, as PyTorch's are, that is damaged or cut short: {error}")
        }
        Ok(names) => of_zip(&names)
            .unwrap_or_else(|| format!("a PyTorch file (zip) that cannot be read: {error}")),
    }
}

/// The format of a sound zip file that is not PyTorch's, by the names in it.
fn of_zip(names: &[String]) -> Option<String> {
    let any = |test: &dyn Fn(&str) -> bool| names.iter().any(|name| test(name));
    if any(&|name| extension(name).is_some_and(|end| end == "npy")) {
        return Some(format!("it is a NumPy archive (.npz); {EXPORT}"));
    }
    if any(&|name| name.ends_with(".weights.h5")) {
        return Some(format!("it is a Keras model; {EXPORT}"));
    }
    if any(&|name| name.ends_with("/constants.pkl")) {
        return Some(
            "it is a TorchScript program; save the weights alone: \
             `torch.save(model.state_dict(), …)`"
                .to_owned(),
        );
    }
    if any(&|name| name.ends_with("data.pkl")) {
        return None;
    }
    let shown = some_of(names);
    Some(format!("it is a zip file, but not one of PyTorch's (it holds {shown}); {UNPACK}"))
}

/// The reason why a PyTorch file holds no tensor.
pub(super) fn without_tensors(path: &Path) -> String {
    // A file that is no zip, or that cannot be read again, is none of the kinds that a zip may be.
    let names = zip_names(path).unwrap_or_default();
    of_zip(&names).filter(|_| !names.is_empty()).unwrap_or_else(|| {
        "it holds no tensors; if a whole model was saved as an object, save its weights instead: \
         `torch.save(model.state_dict(), …)`"
            .to_owned()
    })
}

fn zip_names(path: &Path) -> io::Result<Vec<String>> {
    let archive = zip::ZipArchive::new(fs_err::File::open(path)?)?;
    let mut names = vec![];
    for name in archive.file_names() {
        names.push(name?.into_owned());
    }
    names.sort();
    Ok(names)
}

/// Tells whether the file has the record that ends every zip file.
fn has_zip_directory(path: &Path) -> bool {
    let tail = || -> io::Result<Vec<u8>> {
        let mut file = fs_err::File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(ZIP_TAIL)))?;
        let mut tail = Vec::new();
        file.take(ZIP_TAIL).read_to_end(&mut tail)?;
        Ok(tail)
    };
    // A file that cannot be read again shows no record.
    tail().is_ok_and(|tail| tail.windows(4).any(|window| window == b"PK\x05\x06"))
}

/// Tells whether nothing is at `path`, which may be a link that leads nowhere.
pub(crate) fn is_absent(path: &Path) -> bool {
    let found = fs_err::metadata(path);
    found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The reason why nothing is at `path`, as far as the folders above it and links show.
pub(crate) fn absent(path: &Path) -> String {
    if let Ok(target) = fs_err::read_link(path) {
        let fetch = if target.components().any(|part| part.as_os_str() == "annex") {
            "; `git annex get` fetches it"
        } else {
            ""
        };
        return format!("it is a link to `{}`, which does not exist{fetch}", target.display());
    }
    let folder = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return "no such file or folder".to_owned(),
    };
    let Ok(listing) = Listing::of(folder) else {
        let what = if folder.exists() { "cannot be listed" } else { "does not exist either" };
        return format!("no such file or folder; its folder `{}` {what}", folder.display());
    };
    let near = listing.of_weights();
    let near = if near.is_empty() { listing.folders } else { near };
    match near.as_slice() {
        [] => "no such file or folder".to_owned(),
        near => format!("no such file or folder; beside it are {}", some_of(near)),
    }
}

/// The names in a folder, sorted.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) files: Vec<String>,
    pub(crate) folders: Vec<String>,
}

impl Listing {
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let mut listing = Self::default();
        for entry in fs_err::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let names = if path.is_dir() { &mut listing.folders } else { &mut listing.files };
            names.push(name);
        }
        listing.files.sort();
        listing.folders.sort();
        Ok(listing)
    }

    /// The reason why this folder, which has none of the `usual` names, cannot be read, and what to
    /// do instead.
    pub(crate) fn instead(&self, folder: &Path, usual: &[&str]) -> String {
        if self.files.is_empty() && self.folders.is_empty() {
            return "it is empty".to_owned();
        }
        let dangling = self.files.iter().find(|name| usual.contains(&name.as_str()));
        if let Some(name) = dangling {
            return format!("`{name}`: {}", absent(&folder.join(name)));
        }
        if let Some(name) = self.files.iter().find(|name| has_end(name, UNFINISHED)) {
            return format!("the download of `{name}` is not finished: fetch it again");
        }
        if let Some(name) = self.files.iter().find(|name| name.ends_with(".bin.index.json")) {
            return format!(
                "`{name}` lists PyTorch shards, which are not read: save the model as safetensors"
            );
        }
        let weights = self.of_weights();
        if !weights.is_empty() {
            return format!("name one of its files instead: {}", some_of(&weights));
        }
        let foreign = |name: &String| by_name(Path::new(name)).map(|found| (name.clone(), found));
        if let Some((name, found)) = self.files.iter().find_map(foreign) {
            return format!("it holds {} (`{name}`); {}", found.what, found.advice);
        }
        let below =
            |name: &&String| usual.iter().any(|file| folder.join(name).join(file).is_file());
        if let Some(name) = self.folders.iter().find(below) {
            return format!("its folder `{name}` holds some: name that one");
        }
        let names: Vec<_> = self.files.iter().chain(&self.folders).cloned().collect();
        format!("it holds {}", some_of(&names))
    }

    /// The files that may be weights, by their extensions.
    fn of_weights(&self) -> Vec<String> {
        self.files.iter().filter(|name| has_end(name, WEIGHTS)).cloned().collect()
    }
}

fn by_name(path: &Path) -> Option<&'static Foreign> {
    let name = path.file_name()?.to_string_lossy();
    FOREIGN.iter().find(|foreign| has_end(&name, foreign.extensions))
}

fn has_end(name: &str, ends: &[&str]) -> bool {
    extension(name).is_some_and(|end| ends.contains(&end.as_str()))
}

/// The part of a name after its last dot, in lower case.
fn extension(name: &str) -> Option<String> {
    name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase())
}

fn some_of(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &[u8], expect: &str) {
        let found = of_bytes(head).unwrap_or_default();
        assert!(found.contains(expect), "{found}");
    }

    #[test]
    fn files_are_known_by_their_first_bytes() {
        check(b"", "it is empty");
        check(&[0; 512], "not finished");
        check(b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull");
        check(b"/annex/objects/MD5E-s1--2.pth\n", "git annex get");
        check(b"\xef\xbb\xbf \n<!-- a --> <!-- b -->\n<HTML>", "HTML page");
        check(b"<!DOCTYPE html>", "HTML page");
        check(b"<?xml version=\"1.0\"?><Error>", "XML page");
        check(b"\x89HDF\r\n\x1a\n\0", "TensorFlow or Keras");
        check(b"GGUF\x03\0", "GGUF");
        check(b"\x93NUMPY\x01", "NumPy");
        check(b"\x1f\x8b\x08", "compressed file; unpack it first");
        assert_eq!(of_bytes(b"PK\x03\x04"), None);
    }

    #[test]
    fn a_folder_says_what_it_has_instead() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path();
        let put = |name: &str| {
            let path = folder.join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(&path, b"x").unwrap();
            path
        };
        let said = || Listing::of(folder).unwrap().instead(folder, &["model.safetensors"]);
        let check = |name: &str, expect: &str| {
            let path = put(name);
            assert!(said().contains(expect), "{name}: {}", said());
            fs_err::remove_file(path).unwrap();
        };
        assert_eq!(said(), "it is empty");
        check("tf_model.h5", "TensorFlow or Keras weights (`tf_model.h5`); only safetensors");
        check("flax_model.msgpack", "Flax weights");
        check("model.onnx", "an ONNX graph");
        check("a.NPZ", "a NumPy file");
        check("model.gguf", "GGUF");
        check("model.safetensors.incomplete", "not finished");
        check("pytorch_model.bin.index.json", "lists PyTorch shards");
        check("mine.pth", "name one of its files instead: `mine.pth`");
        check("notes.txt", "it holds `notes.txt`");
        put("sub/model.safetensors");
        assert!(said().contains("its folder `sub` holds some"), "{}", said());
        std::os::unix::fs::symlink("blobs/gone", folder.join("model.safetensors")).unwrap();
        assert!(said().contains("a link to `blobs/gone`, which does not exist"), "{}", said());
    }

    #[test]
    fn what_is_not_there_is_looked_for_around_it() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(absent(&temp.path().join("a.pth")), "no such file or folder");
        assert!(absent(&temp.path().join("a/b.pth")).contains("does not exist either"));
        fs_err::write(temp.path().join("c.pth"), b"x").unwrap();
        assert!(absent(&temp.path().join("a.pth")).ends_with("beside it are `c.pth`"));
    }
}
