//! Damaged archives: nothing is written outside the target, nothing is left of a failure.

use std::io::Write;
use std::path::Path;

use dino_sweep::files::archive::{Limits, unpack};
use dino_sweep::rng;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::mutate::damaged;

/// Archives in a run without `FUZZ_FILES`; with it, a fifth of that.
const ARCHIVES: usize = 300;
const LIMITS: Limits = Limits { bytes_max: 1 << 20, entries_max: 1000 };

const TREE: [(&str, &[u8]); 4] = [
    ("top/ImageSets/train.txt", b"a\nb\n"),
    ("top/JPEGImages/a.jpg", &[7; 900]),
    ("top/JPEGImages/b.jpg", &[8; 40]),
    ("top/empty", b""),
];

fn tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in TREE {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

fn zip() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in TREE {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn seeds() -> Vec<Vec<u8>> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(&tar()).unwrap();
    vec![tar(), gz.finish().unwrap(), zip()]
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs_err::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn damaged_archives_write_nothing_outside_and_leave_nothing() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<usize>().unwrap());
    let n = number("FUZZ_FILES").map_or(ARCHIVES, |n_files| n_files / 5);
    let seed = number("FUZZ_SEED").unwrap_or(0) as u64;
    let outer = tempfile::tempdir().unwrap();
    let inner = outer.path().join("inner");
    fs_err::create_dir(&inner).unwrap();
    let (archive, target) = (inner.join("archive"), inner.join("out"));
    let seeds = seeds();
    let mut n_unpacked = 0;
    for i in 0..n as u64 {
        let mut rng = rng::keyed(seed, "fuzz archives", &[i]);
        fs_err::write(&archive, damaged(&mut rng, &seeds)).unwrap();
        match unpack(&archive, &target, (&[], LIMITS), &mut |_| {}) {
            Ok(unpacked) => {
                assert!(unpacked.bytes <= LIMITS.bytes_max, "archive {i}: {unpacked:?}");
                assert_eq!(names(&inner), ["archive", "out"], "archive {i}");
                fs_err::remove_dir_all(&target).unwrap();
                n_unpacked += 1;
            }
            Err(error) => {
                assert_eq!(names(&inner), ["archive"], "archive {i}");
                let text = error.to_string();
                assert!(text.contains("inner/"), "archive {i} is not named: {text}");
            }
        }
        assert_eq!(names(outer.path()), ["inner"], "archive {i}");
    }
    println!("{n} archives, {n_unpacked} unpacked");
    assert!(n_unpacked < n / 2, "most damage is seen: {n_unpacked} of {n}");
}
