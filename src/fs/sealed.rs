//! JSON files that begin with the sha256 of the rest of the file; caches are stored in them.
//!
//! A cache only saves time, so one that is missing, damaged or of another version is an empty one.
//! A wrong digit in it, however, would name another dataset or another weight file, and runs by it:
//! hence the seal.

use std::io::{self, ErrorKind};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::hash::sha256_bytes;
use super::write_atomic;

/// Length of a sha256 in hex digits.
const SUM_BYTES: usize = 64;

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    content: T,
}

/// Reads the content of the file at `path`; the default where it is missing, damaged or of another
/// version.
pub fn read<T: Default + DeserializeOwned>(path: &Path, version: u32) -> T {
    let bytes = match fs_err::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                tracing::warn!(%error, "cannot read a cache file; it will be written again");
            }
            return T::default();
        }
    };
    opened(&bytes, version).unwrap_or_default()
}

/// Writes `content` to the file at `path`.
pub fn write<T: Serialize>(path: &Path, version: u32, content: &T) -> io::Result<()> {
    let json = serde_json::to_vec(&Versioned { version, content })?;
    write_atomic(path, &[sha256_bytes(&json).into_bytes(), json].concat())
}

fn opened<T: DeserializeOwned>(bytes: &[u8], version: u32) -> Option<T> {
    let (sum, json) = bytes.split_at_checked(SUM_BYTES)?;
    if sha256_bytes(json).as_bytes() != sum {
        return None;
    }
    // What is sound and cannot be parsed is of another version.
    let versioned: Versioned<T> = serde_json::from_slice(json).ok()?;
    (versioned.version == version).then_some(versioned.content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_comes_back_in_its_version_only() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.json");
        assert_eq!(read::<Vec<u32>>(&path, 1), [0; 0]);
        write(&path, 1, &vec![1, 2]).unwrap();
        assert_eq!(read::<Vec<u32>>(&path, 1), [1, 2]);
        assert_eq!(read::<Vec<u32>>(&path, 2), [0; 0]);
        assert_eq!(read::<Vec<String>>(&path, 1), [""; 0]);
    }

    /// Damages every bit of the file, one at a time, and cuts it to every length.
    #[test]
    fn damaged_anywhere_it_is_empty() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.json");
        write(&path, 1, &vec![1, 2]).unwrap();
        let sound = fs_err::read(&path).unwrap();
        for at in 0..sound.len() {
            for bit in 0..8 {
                let mut bytes = sound.clone();
                bytes[at] ^= 1 << bit;
                assert_eq!(opened::<Vec<u32>>(&bytes, 1), None);
            }
        }
        for len in 0..sound.len() {
            assert_eq!(opened::<Vec<u32>>(&sound[..len], 1), None);
        }
    }
}
