//! Damaged and hostile archives: nothing is written outside the target, nothing is left of a
//! failure, and its message names the archive.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use dino_sweep::fetch::archive::{Limits, unpack};
use dino_sweep::rng::{self, ChaCha8Rng};
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};
use zip::write::SimpleFileOptions;

use super::mutate::{below, damaged, set_field};
use super::tally::{Table, setting, watched};

/// Archives in a run without `FUZZ_FILES`; with it, a fifth of that.
const ARCHIVES: usize = 600;
const LIMITS: Limits = Limits { bytes_max: 1 << 20, entries_max: 1000 };
const CANARY: &str = "nobody touches this";

/// Name, kind, and content or target.
type Entry<'a> = (&'a str, EntryType, &'a [u8]);

const TREE: [Entry<'static>; 5] = [
    ("top/", EntryType::Directory, b""),
    ("top/ImageSets/train.txt", EntryType::Regular, b"a\nb\n"),
    ("top/JPEGImages/a.jpg", EntryType::Regular, &[7; 900]),
    ("top/JPEGImages/b.jpg", EntryType::Regular, &[8; 40]),
    ("top/empty", EntryType::Regular, b""),
];

/// What nobody packs who means well. `{outer}` is the folder around all.
const HOSTILE: [(&str, Entry<'static>); 18] = [
    ("parent", ("../canary", EntryType::Regular, b"x")),
    ("parent further in", ("top/../../../canary", EntryType::Regular, b"x")),
    ("parent folder", ("../evil/", EntryType::Directory, b"")),
    ("absolute", ("{outer}/evil", EntryType::Regular, b"x")),
    ("absolute folder", ("{outer}/evil/", EntryType::Directory, b"")),
    ("drive", ("C:/evil", EntryType::Regular, b"x")),
    ("backslashes", ("..\\..\\evil", EntryType::Regular, b"x")),
    ("symbolic link", ("top/link", EntryType::Symlink, b"{outer}")),
    ("link to the parent", ("top/link", EntryType::Symlink, b"..")),
    ("hard link", ("top/link", EntryType::Link, b"../canary")),
    ("device", ("top/device", EntryType::Char, b"")),
    ("pipe", ("top/pipe", EntryType::Fifo, b"")),
    ("twice", ("top/JPEGImages/a.jpg", EntryType::Regular, b"other")),
    ("in another case", ("TOP/jpegimages/A.jpg", EntryType::Regular, b"other")),
    ("a file as a folder", ("top/empty/x", EntryType::Regular, b"x")),
    ("a folder as a file", ("top/JPEGImages", EntryType::Regular, b"x")),
    ("newline", ("top/a\nb", EntryType::Regular, b"x")),
    ("bomb", ("top/bomb", EntryType::Regular, &[0; LIMITS.bytes_max as usize])),
];

/// Where it happens: `outer/canary`, `outer/inner/archive`, `outer/inner/out`.
struct Place {
    folder: tempfile::TempDir,
    table: Table,
}

#[test]
fn damaged_archives_write_nothing_outside_and_leave_nothing() {
    let n = setting("FUZZ_FILES").map_or(ARCHIVES, |n_files| n_files / 5);
    let seed = setting("FUZZ_SEED").unwrap_or(0) as u64;
    let seeds = [tar(&TREE), gz(&tar(&TREE)), zip(&TREE)];
    let place = Place::new();
    for bytes in &seeds {
        assert!(place.holds_after(bytes), "the seeds are sound");
    }
    let place = watched("archive", 0..n as u64, place, move |place, i| {
        let mut rng = rng::keyed(seed, "fuzz archives", &[i]);
        let (kind, bytes) = any(&mut rng, &seeds, &place.outer());
        let is_refused = !place.holds_after(&bytes);
        place.table.count(kind, is_refused);
        assert!(is_refused || !kind.starts_with("hostile"), "archive {i} is unpacked: {kind}");
    });
    println!("{}", place.table.text("archives"));
    let total = place.table.total();
    assert!(total.named > n / 2, "most damage is seen: {total:?}");
}

/// An archive and what is wrong with it.
fn any(rng: &mut ChaCha8Rng, seeds: &[Vec<u8>; 3], outer: &Path) -> (&'static str, Vec<u8>) {
    match below(rng, 7) {
        0 => ("tar, tar.gz or zip, any damage", damaged(rng, seeds).0),
        1 => {
            let (bytes, _) = damaged(rng, &seeds[..1]);
            ("tar, checksums mended", mend_tar(bytes))
        }
        2 => {
            let (bytes, _) = damaged(rng, &seeds[..1]);
            ("tar.gz of a damaged tar", gz(&mend_tar(bytes)))
        }
        3 => {
            let mut bytes = seeds[0].clone();
            let header = 512 * below(rng, bytes.len() / 512);
            let (from, width) =
                [(0, 100), (100, 8), (124, 12), (156, 1), (157, 100), (345, 155)][below(rng, 6)];
            for _ in 0..=below(rng, 4) {
                bytes[header + from + below(rng, width)] = below(rng, 256) as u8;
            }
            ("tar, header fields", mend_tar(bytes))
        }
        4 => ("zip, any damage", damaged(rng, &seeds[2..]).0),
        5 => {
            let mut bytes = seeds[2].clone();
            let records: Vec<usize> =
                (0..bytes.len()).filter(|at| is_record(&bytes, *at)).collect();
            let at = records[below(rng, records.len())] + 4 + below(rng, 40);
            if at < bytes.len() {
                set_field(rng, &mut bytes, at);
            }
            ("zip, record fields", bytes)
        }
        _ => hostile(rng, outer),
    }
}

/// A sound tree with one hostile entry at any place; a bomb of two entries.
fn hostile(rng: &mut ChaCha8Rng, outer: &Path) -> (&'static str, Vec<u8>) {
    let (kind, (name, entry, content)) = HOSTILE[below(rng, HOSTILE.len())];
    let put = |text: &str| text.replace("{outer}", outer.to_str().unwrap());
    let name = put(name);
    let target = std::str::from_utf8(content).map(put).unwrap_or_default();
    let is_link = matches!(entry, EntryType::Symlink | EntryType::Link);
    let content = if is_link { target.as_bytes() } else { content };
    let mut tree = TREE.to_vec();
    let at = below(rng, tree.len() + 1);
    tree.insert(at, (&name, entry, content));
    // The tree alone is within the limit, and so is the bomb alone.
    let kind = match kind {
        "bomb" => "hostile: bomb",
        "twice" | "in another case" => "hostile: names that meet",
        "a file as a folder" | "a folder as a file" => "hostile: a file and a folder of one name",
        "symbolic link" | "link to the parent" | "hard link" => "hostile: link",
        "device" | "pipe" => "hostile: device",
        "newline" | "backslashes" => "hostile: no name",
        _ => "hostile: leads out",
    };
    // A zip has no devices and hard links.
    let is_zip =
        below(rng, 3) == 0 && !matches!(entry, EntryType::Link | EntryType::Char | EntryType::Fifo);
    let bytes = if is_zip { zip(&tree) } else { tar(&tree) };
    (kind, if !is_zip && below(rng, 2) == 0 { gz(&bytes) } else { bytes })
}

fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
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

/// Names are written raw: the writer's own would not take all, nor one twice.
fn zip(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    // As long as the real ones, and like no other bytes of the archive.
    let stand_in =
        |i: usize, name: &str| format!("{}{i:02}", "\u{1}".repeat(name.len().max(3) - 2));
    for (i, (name, kind, content)) in entries.iter().enumerate() {
        let (name, options) = (stand_in(i, name), SimpleFileOptions::default());
        if *kind == EntryType::Symlink {
            writer.add_symlink(name, std::str::from_utf8(content).unwrap(), options).unwrap();
        } else {
            writer.start_file(name, options).unwrap();
            writer.write_all(content).unwrap();
        }
    }
    let mut bytes = writer.finish().unwrap().into_inner();
    for (i, (name, ..)) in entries.iter().enumerate() {
        let stand_in = stand_in(i, name);
        let places = bytes.windows(stand_in.len()).enumerate();
        let places: Vec<usize> =
            places.filter(|(_, text)| *text == stand_in.as_bytes()).map(|(at, _)| at).collect();
        for at in places {
            bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
        }
    }
    bytes
}

/// Where a local or central header or the end of a zip begins.
fn is_record(bytes: &[u8], at: usize) -> bool {
    [&b"PK\x01\x02"[..], b"PK\x03\x04", b"PK\x05\x06"]
        .iter()
        .any(|tag| bytes[at..].starts_with(tag))
}

/// Sets the checksum of every block that looks like a header.
fn mend_tar(mut bytes: Vec<u8>) -> Vec<u8> {
    for block in bytes.as_chunks_mut::<512>().0 {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    bytes
}

impl Place {
    fn new() -> Self {
        // Unpacking ends with a sync of the whole file system, which this one does not mind.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory).unwrap()
        } else {
            tempfile::tempdir().unwrap()
        };
        let place = Self { folder, table: Table::default() };
        fs_err::create_dir_all(place.outer().join("inner")).unwrap();
        fs_err::write(place.outer().join("canary"), CANARY).unwrap();
        place
    }

    fn outer(&self) -> PathBuf {
        self.folder.path().join("outer")
    }

    /// Unpacks as `sweep fetch` does; whether that went well. Holds what must hold either way.
    fn holds_after(&self, bytes: &[u8]) -> bool {
        let (archive, target) =
            (self.outer().join("inner/archive"), self.outer().join("inner/out"));
        fs_err::write(&archive, bytes).unwrap();
        let result = unpack(&archive, &target, (&[], LIMITS), &mut |_| {});
        let mut files = BTreeMap::new();
        tree(self.folder.path(), &mut files);
        let is_inside = |path: &PathBuf| path.starts_with(&target);
        let inside: Vec<_> = files.extract_if(.., |path, _| is_inside(path)).collect();
        assert_eq!(files.remove(&self.outer().join("canary")), Some(CANARY.len() as u64));
        assert_eq!(files.remove(&archive), Some(bytes.len() as u64));
        assert!(files.is_empty(), "more than was to be unpacked: {files:?}");
        assert!(!self.outer().join("inner/.out.unpacking").exists());
        match result {
            Ok(unpacked) => {
                let bytes: u64 = inside.iter().map(|(_, bytes)| *bytes).sum();
                assert_eq!((unpacked.n_files, unpacked.bytes), (inside.len(), bytes));
                assert!(bytes <= LIMITS.bytes_max, "{unpacked:?}");
                fs_err::remove_dir_all(&target).unwrap();
                true
            }
            Err(error) => {
                assert!(!target.exists(), "what is left of {error}");
                let text = error.to_string();
                assert!(text.contains("inner/archive"), "the archive is not named: {text}");
                false
            }
        }
    }
}

/// Files below `folder`, with their lengths; links and devices are not expected at all.
fn tree(folder: &Path, files: &mut BTreeMap<PathBuf, u64>) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        assert!(kind.is_dir() || kind.is_file(), "{} is a {kind:?}", entry.path().display());
        if kind.is_dir() {
            tree(&entry.path(), files);
        } else {
            files.insert(entry.path(), entry.metadata().unwrap().len());
        }
    }
}
