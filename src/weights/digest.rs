//! Computes the sha256 of weights, and compares it with that of the released file.
//!
//! Called when an experiment is resolved, by inspection and by `features`, with a function that
//! hashes one file.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use super::{Error, TensorFile, folder};
use crate::fs::hash::sha256_bytes;
use crate::model::backbone::Variant;

/// A function that hashes one file to 64 hex digits.
pub type Hasher<'a> = dyn FnMut(&Path) -> io::Result<String> + 'a;

/// Hex digits of a sha256.
const SHA256_DIGITS: usize = 64;

/// The sha256 of the weights at `path`: for a file its own; for shards, and for a folder (whose
/// `config.json` counts), that of the lines `<name> <sha256>` of their files.
pub fn digest(path: &Path, hash: &mut Hasher<'_>) -> Result<String, Error> {
    let mut files = parts(path)?;
    let is_folder = path.is_dir();
    if !is_folder && files.len() == 1 && !folder::is_index(path) {
        return hashed(&files[0], hash);
    }
    files.extend(folder::config(path).filter(|_| is_folder));
    files.sort();
    let mut lines = String::new();
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let sha256 = hashed(file, hash)?;
        writeln!(lines, "{name} {sha256}").expect("writing to a String cannot fail");
    }
    Ok(sha256_bytes(lines.as_bytes()))
}

/// The files that hold the tensors of `path`.
fn parts(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let file = folder::weight_file(path)?;
    if folder::is_index(&file) {
        return Ok(TensorFile::open(&file)?.parts().to_vec());
    }
    Ok(vec![file])
}

fn hashed(path: &Path, hash: &mut Hasher<'_>) -> Result<String, Error> {
    hash(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// Compares a file that was found under its released name with what is published of it: the sha256
/// in full or its beginning; in Hugging Face's cache, the sha256 that its blob is named by.
pub fn check_release(variant: &Variant, path: &Path, sha256: &str) -> Result<(), Error> {
    let Some(expected) = published(variant, path).or_else(|| blob_name(path)) else {
        return Ok(());
    };
    if sha256.starts_with(&expected) {
        return Ok(());
    }
    Err(Error::Checksum { path: path.to_owned(), expected, found: sha256.to_owned() })
}

/// Tells whether a sha256 is published for this file.
pub fn is_published(variant: &Variant, path: &Path) -> bool {
    published(variant, path).or_else(|| blob_name(path)).is_some()
}

fn published(variant: &Variant, path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let is_released = variant.files.first() == Some(&name) && !variant.sha256.is_empty();
    is_released.then(|| variant.sha256.to_owned())
}

/// The sha256 in the name of a file in Hugging Face's cache, which keeps large files as
/// `blobs/<sha256>` with links to them.
fn blob_name(path: &Path) -> Option<String> {
    let target = fs_err::read_link(path).ok()?;
    let name = target.file_name()?.to_str()?;
    let is_hex = name.len() == SHA256_DIGITS && name.bytes().all(|b| b.is_ascii_hexdigit());
    (is_hex && target.parent()?.ends_with("blobs")).then(|| name.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::hash::sha256_file;
    use crate::model::backbone::variants;

    fn check(name: &str, path: &Path, sha256: &str) -> Result<(), Error> {
        check_release(variants().find(|v| v.name == name).unwrap(), path, sha256)
    }

    #[test]
    fn a_released_name_must_hold_the_released_file() {
        let path = Path::new("w/dinov3_vits16_pretrain_lvd1689m-08c60483.pth");
        check("dinov3_vits16", path, "08c60483aa").unwrap();
        let text = check("dinov3_vits16", path, "18c60483aa").unwrap_err().to_string();
        assert!(text.contains("should begin with 08c60483;"), "{text}");
        assert!(text.contains("kind = \"file\""), "{text}");
        // No sha256 is published of the register files, nor of a file of another name.
        check("dinov2_vits14_reg", Path::new("dinov2_vits14_reg4_pretrain.pth"), "00").unwrap();
        check("dinov3_vits16", Path::new("mine.pth"), "00").unwrap();
    }

    #[test]
    fn a_blob_of_the_cache_must_be_what_it_is_named_by() {
        let temp = tempfile::tempdir().unwrap();
        let name = "ab".repeat(32);
        let path = temp.path().join("model.safetensors");
        std::os::unix::fs::symlink(format!("../../blobs/{name}"), &path).unwrap();
        check("dinov3_vits16", &path, &name).unwrap();
        assert!(check("dinov3_vits16", &path, &"cd".repeat(32)).is_err());
    }

    #[test]
    fn a_folders_digest_sees_every_file_and_the_config() {
        let temp = tempfile::tempdir().unwrap();
        let (folder, single) = (temp.path(), temp.path().join("model.safetensors"));
        fs_err::write(&single, b"tensors").unwrap();
        let of = |path: &Path| digest(path, &mut |file| sha256_file(file)).unwrap();
        assert_eq!(of(&single), sha256_bytes(b"tensors"));
        let without = of(folder);
        fs_err::write(folder.join("config.json"), b"{}").unwrap();
        let with = of(folder);
        assert!(with != without && with != of(&single));
        assert_eq!(of(&single), sha256_bytes(b"tensors"));
    }
}
