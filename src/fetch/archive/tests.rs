use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};
use zip::write::SimpleFileOptions;

use super::*;

const LIMITS: Limits = Limits { bytes_max: 1 << 20, entries_max: 100 };

/// An entry to pack: its name, kind and content (or the target of a link).
type Packed<'a> = (&'a str, EntryType, &'a [u8]);

const TREE: &[Packed<'static>] = &[
    ("top/", EntryType::Directory, b""),
    ("top/a.txt", EntryType::Regular, b"first"),
    ("./top/deep/b.txt", EntryType::Regular, b"second"),
    ("top/empty", EntryType::Regular, b""),
    ("top/folder/", EntryType::Directory, b""),
];

fn tar(entries: &[Packed<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o777);
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        // Written raw: `Header::set_path` refuses what attackers write.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        if is_link {
            header.as_mut_bytes()[157..157 + content.len()].copy_from_slice(content);
        }
        let data = if is_link { &[] } else { *content };
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip_of(entries: &[Packed<'_>]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, kind, content) in entries {
        let options = SimpleFileOptions::default();
        match kind {
            EntryType::Directory => writer.add_directory(*name, options).unwrap(),
            EntryType::Symlink => {
                let target = std::str::from_utf8(content).unwrap();
                writer.add_symlink(*name, target, options).unwrap();
            }
            _ => {
                writer.start_file(*name, options).unwrap();
                writer.write_all(content).unwrap();
            }
        }
    }
    writer.finish().unwrap().into_inner()
}

/// A folder with an archive in it.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("archive"), bytes).unwrap();
        Self { folder }
    }

    fn unpack(&self, wanted: &[&str], limits: Limits) -> Result<Unpacked, Error> {
        let root = self.folder.path();
        unpack(&root.join("archive"), &root.join("out"), (wanted, limits), &mut |_| {})
    }

    /// Files and folders of the bench, with the files' content.
    fn tree(&self) -> BTreeMap<String, String> {
        let mut tree = BTreeMap::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs_err::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.folder.path()).unwrap().to_str().unwrap();
                let content = if path.is_dir() {
                    folders.push(path.clone());
                    "/".to_owned()
                } else {
                    String::from_utf8_lossy(&fs_err::read(&path).unwrap()).into_owned()
                };
                tree.insert(name.to_owned(), content);
            }
        }
        tree.remove("archive");
        tree
    }
}

/// The archive is refused with the words of `expect`, and nothing of it is left.
fn refuses(bytes: &[u8], expect: &str) {
    let bench = Bench::new(bytes);
    let error = bench.unpack(&[], LIMITS).unwrap_err().to_string();
    assert!(error.contains(expect), "no `{expect}` in: {error}");
    assert_eq!(bench.tree(), BTreeMap::new(), "{expect}");
}

#[test]
fn all_formats_unpack_to_the_same() {
    for bytes in [tar(TREE), gz(&tar(TREE)), zip_of(TREE)] {
        let bench = Bench::new(&bytes);
        let unpacked = bench.unpack(&[], LIMITS).unwrap();
        assert_eq!(unpacked, Unpacked { n_files: 3, bytes: 11 });
        let expect = [
            ("out", "/"),
            ("out/top", "/"),
            ("out/top/a.txt", "first"),
            ("out/top/deep", "/"),
            ("out/top/deep/b.txt", "second"),
            ("out/top/empty", ""),
            ("out/top/folder", "/"),
        ];
        let expect = expect.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(bench.tree(), BTreeMap::from(expect));
    }
}

#[test]
fn only_what_is_wanted_is_written() {
    for bytes in [tar(TREE), zip_of(TREE)] {
        let bench = Bench::new(&bytes);
        bench.unpack(&["top/deep", "top/a.tx"], LIMITS).unwrap();
        let names: Vec<_> = bench.tree().into_keys().collect();
        assert_eq!(names, ["out", "out/top", "out/top/deep", "out/top/deep/b.txt"]);
    }
}

#[test]
fn no_entry_leaves_the_folder() {
    let file = EntryType::Regular;
    for (name, expect) in [
        ("../up", "leads out"),
        ("top/../../up", "leads out"),
        ("top/..", "leads out"),
        ("/etc/passwd", "absolute"),
        ("C:/windows", "absolute"),
        ("..\\up", "characters"),
        ("top/line\nbreak", "characters"),
    ] {
        refuses(&tar(&[("ok", file, b"1"), (name, file, b"x")]), expect);
        refuses(&gz(&tar(&[(name, file, b"x")])), expect);
        refuses(&zip_of(&[("ok", file, b"1"), (name, file, b"x")]), expect);
    }
    let long = vec!["d"; 40].join("/");
    refuses(&tar(&[(&long, file, b"x")]), "too long");
}

#[test]
fn links_and_devices_are_refused() {
    let neither = "neither a file nor a folder";
    for kind in [EntryType::Symlink, EntryType::Link] {
        refuses(&tar(&[("link", kind, b"/etc"), ("link/x", EntryType::Regular, b"x")]), neither);
        refuses(&tar(&[("link", kind, b"a.txt")]), neither);
    }
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::GNUSparse] {
        refuses(&tar(&[("device", kind, b"")]), "archive`");
    }
    refuses(&zip_of(&[("link", EntryType::Symlink, b"/etc/passwd")]), neither);
}

#[test]
fn a_name_comes_once_in_any_case() {
    let file = EntryType::Regular;
    let twice = [("top/a", file, &b"1"[..]), ("top/a", file, b"2")];
    refuses(&tar(&twice), "occurs twice");
    let case = "upper and lower case";
    for bytes in [
        tar(&[("top/a", file, b"1"), ("top/A", file, b"2")]),
        tar(&[("top/a", file, b"1"), ("TOP/b", file, b"2")]),
        zip_of(&[("top/a", file, b"1"), ("top/A", file, b"2")]),
    ] {
        refuses(&bytes, case);
    }
    refuses(&tar(&[("a", file, b"1"), ("a/b", file, b"2")]), "occurs twice");
    refuses(&tar(&[("a/b", file, b"1"), ("a", file, b"2")]), "occurs twice");
    refuses(&tar(&[("a/", EntryType::Directory, b""), ("a", file, b"2")]), "occurs twice");
}

#[test]
fn bombs_are_refused() {
    let file = EntryType::Regular;
    let zeros = vec![0; 2 << 20];
    for bytes in [gz(&tar(&[("big", file, &zeros)])), zip_of(&[("big", file, &zeros)])] {
        refuses(&bytes, "more than 1048576 bytes");
    }
    let half = vec![0; 700 << 10];
    refuses(&zip_of(&[("a", file, &half), ("b", file, &half)]), "more than 1048576 bytes");
    let names: Vec<_> = (0..101).map(|i| format!("f{i}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), file, &b""[..])).collect();
    refuses(&tar(&many), "more than 100 entries");
    refuses(&zip_of(&many), "more than 100 entries");
    // One that lies about its length.
    let mut bytes = zip_of(&[("big", file, &zeros)]);
    let real = (zeros.len() as u32).to_le_bytes();
    let places: Vec<_> = (0..bytes.len() - 4).filter(|at| bytes[*at..*at + 4] == real).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + 4].copy_from_slice(&9_u32.to_le_bytes());
    }
    refuses(&bytes, "archive`");
}

#[test]
fn an_archive_that_is_cut_short_is_named() {
    let whole = tar(TREE);
    // The two blocks of zeros at the end; one would do.
    for len in (0..=whole.len() - 1024).step_by(64) {
        let expect = if len < 262 { "is not an archive" } else { "damaged or cut short" };
        refuses(&whole[..len], expect);
    }
    for bytes in [gz(&whole), zip_of(TREE)] {
        for len in 2..bytes.len() {
            refuses(&bytes[..len], "damaged or cut short");
        }
    }
}

#[test]
fn damage_is_found_or_harmless() {
    for whole in [gz(&tar(TREE)), zip_of(TREE), tar(TREE)] {
        let good = Bench::new(&whole);
        good.unpack(&[], LIMITS).unwrap();
        for at in (0..whole.len()).step_by(whole.len().div_ceil(60)) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x41;
            let bench = Bench::new(&bytes);
            if bench.unpack(&[], LIMITS).is_err() {
                assert_eq!(bench.tree(), BTreeMap::new());
            }
        }
    }
}

#[test]
fn other_files_are_no_archives() {
    refuses(b"", "it is empty");
    refuses(b"<!doctype html>", "web page");
    refuses(b"version https://git-lfs", "neither tar");
}

#[test]
fn what_a_killed_unpacking_left_is_removed() {
    let bench = Bench::new(&tar(TREE));
    let left = bench.folder.path().join(".out.unpacking/top");
    fs_err::create_dir_all(&left).unwrap();
    fs_err::write(left.join("a.txt"), "half").unwrap();
    bench.unpack(&[], LIMITS).unwrap();
    let tree = bench.tree();
    assert_eq!(tree["out/top/a.txt"], "first");
    assert!(tree.keys().all(|name| name.starts_with("out")), "{tree:?}");
}
