//! Damage that is certain to be a fault: `data check` names the file of every one, and nothing of
//! it is trained on.

use std::path::{Path, PathBuf};

use dino_sweep::data::Mask;
use dino_sweep::data::check::{Check, Kind};
use dino_sweep::data::dataset;
use dino_sweep::data::image_io::{voc_palette, write_png_mask_stored};
use dino_sweep::rng::{self, ChaCha8Rng};
use serde_json::json;

use super::mutate::{self, HEIGHT, WIDTH, below, frame_of, pick, relabelled};
use super::tally::{Table, setting, watched};
use super::{folder, voc};

/// Files in a run without `FUZZ_FILES`; with it, a fifth of that.
const FILES: usize = 1_200;
const PAIRS: usize = 100;
const LISTS: usize = 20;

const IMAGES: [&str; 9] = [
    "image: empty",
    "image: cut",
    "image: cut, and ended",
    "image: no image",
    "image: a wrong byte of a PNG",
    "image: no pixels",
    "image: a bomb",
    "image: missing",
    "image: no file",
];
const MASKS: [&str; 13] = [
    "mask: empty",
    "mask: cut",
    "mask: no image",
    "mask: a wrong byte",
    "mask: no pixels",
    "mask: a bomb",
    "mask: missing",
    "mask: no file",
    "mask: of another size",
    "mask: a class too many",
    "mask: in true colour",
    "mask: of 16 bits",
    "mask: a JPEG",
];
const SPLITS: [&str; 8] = [
    "list: twice",
    "list: leads out",
    "list: two columns",
    "list: not UTF-8",
    "list: no name",
    "list: too long a name",
    "list: empty",
    "list: no such image",
];
const CLASSES: [&str; 6] = [
    "classes: none",
    "classes: 256",
    "classes: not UTF-8",
    "classes: twice",
    "classes: one left out",
    "classes: without a name",
];

/// What lies in a file's place.
enum Content {
    Bytes(Vec<u8>),
    Missing,
    /// A folder or a pipe.
    NoFile,
}

#[test]
fn damaged_beyond_doubt_is_always_named() {
    let n = setting("FUZZ_FILES").map_or(FILES, |n_files| n_files / 5);
    let seed = setting("FUZZ_SEED").unwrap_or(0) as u64;
    let batches = n.div_ceil(PAIRS + 2 * LISTS) as u64;
    let state = (Table::default(), Vec::new());
    let (table, accepted) =
        watched("batch of certain faults", 0..batches, state, move |state, i| {
            batch(&mut rng::keyed(seed, "fuzz certain", &[i]), state);
        });
    println!("{}", table.text("certain faults"));
    assert!(accepted.is_empty(), "{accepted:#?}");
}

fn batch(rng: &mut ChaCha8Rng, (table, accepted): &mut (Table, Vec<String>)) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for part in ["JPEGImages", "SegmentationClass", "ImageSets/Segmentation"] {
        fs_err::create_dir_all(root.join(part)).unwrap();
    }
    fs_err::write(root.join("classes.txt"), "0 ground\n1 thing\n").unwrap();
    let stems: Vec<String> = (0..PAIRS).map(|i| format!("{i:05}\n")).collect();
    fs_err::write(root.join("ImageSets/Segmentation/train.txt"), stems.concat()).unwrap();
    let damaged: Vec<_> = (0..PAIRS).map(|i| write_pair(rng, root, i)).collect();
    let dataset = dataset::open_at(&voc(), root).unwrap();
    let report = Check::new(&dataset, &["train".to_owned()]).unwrap().run(&|| {});
    let split = dataset.split("train").unwrap();
    for (i, (kind, path)) in damaged.iter().enumerate() {
        let name = path.to_str().unwrap();
        let faults: Vec<_> = report
            .faults()
            .filter(|fault| fault.item.as_ref() == Some(&split.items[i].id))
            .collect();
        let is_named = faults.iter().any(|fault| fault.message.contains(name));
        // A picture that decodes is trained on, as by every other program.
        let decodes = faults.iter().all(|fault| fault.kind == Kind::DamagedImage);
        let is_refused = split.load(i).is_err_and(|error| error.to_string().contains(name));
        table.count(kind, is_named);
        if !is_named || !(is_refused || decodes) {
            accepted.push(format!("{kind}: {faults:?}, refused: {is_refused}"));
        }
    }
    for i in 0..LISTS {
        split_list(rng, root, i, (table, accepted));
        classes(rng, root, (table, accepted));
    }
}

/// A sound pair but for one fault: which, and of which file.
fn write_pair(rng: &mut ChaCha8Rng, root: &Path, i: usize) -> (&'static str, PathBuf) {
    let image_path = root.join(format!("JPEGImages/{i:05}.jpg"));
    let mask_path = root.join(format!("SegmentationClass/{i:05}.png"));
    let sound = || {
        (
            Content::Bytes(pick(&mut rng.clone(), &mutate::images()).clone()),
            sound_mask([WIDTH, HEIGHT], 1),
        )
    };
    let (image, mask) = sound();
    if below(rng, 2) == 0 {
        let kind = IMAGES[below(rng, IMAGES.len())];
        put(&image_path, self::image(rng, kind));
        put(&mask_path, Content::Bytes(mask));
        (kind, image_path)
    } else {
        let kind = MASKS[below(rng, MASKS.len())];
        put(&image_path, image);
        put(&mask_path, self::mask(rng, kind));
        (kind, mask_path)
    }
}

fn put(path: &Path, content: Content) {
    match content {
        Content::Bytes(bytes) => fs_err::write(path, bytes).unwrap(),
        Content::Missing => {}
        Content::NoFile if path.to_str().unwrap().ends_with("1.jpg") => pipe(path),
        Content::NoFile => fs_err::create_dir(path).unwrap(),
    }
}

/// Whoever opens it waits for a writer, for ever.
fn pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
}

fn image(rng: &mut ChaCha8Rng, kind: &str) -> Content {
    let all = mutate::images();
    let of = |is_png: bool| -> Vec<Vec<u8>> {
        all.iter().filter(|seed| seed.starts_with(b"\x89PNG") == is_png).cloned().collect()
    };
    Content::Bytes(match kind {
        "image: missing" => return Content::Missing,
        "image: no file" => return Content::NoFile,
        "image: cut, and ended" => {
            let seed = pick(rng, &of(false)).clone();
            let scan = seed.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 16;
            let cut = scan + below(rng, seed.len() - 4 - scan);
            [&seed[..cut], &[0xff, 0xd9]].concat()
        }
        "image: no pixels" | "image: a bomb" => {
            let is_png = below(rng, 2) == 0;
            let seed = pick(rng, &of(is_png)).clone();
            let side = if kind == "image: no pixels" { 0 } else { 16_000 + below(rng, 48_000) };
            resized(seed, side as u32)
        }
        "image: a wrong byte of a PNG" => {
            wrong_byte(rng, pick(&mut rng.clone(), &of(true)).clone())
        }
        _ => common(rng, kind, &all),
    })
}

fn mask(rng: &mut ChaCha8Rng, kind: &str) -> Content {
    let sound = [sound_mask([WIDTH, HEIGHT], 1)];
    Content::Bytes(match kind {
        "mask: missing" => return Content::Missing,
        "mask: no file" => return Content::NoFile,
        "mask: no pixels" => relabelled(sound[0].clone(), WIDTH, 0),
        "mask: a bomb" => resized(sound[0].clone(), 16_000 + below(rng, 48_000) as u32),
        "mask: of another size" => {
            let more = 1 + below(rng, 9) as u32;
            let sizes = [[WIDTH + more, HEIGHT], [WIDTH, HEIGHT - more], [HEIGHT, WIDTH]];
            sound_mask(sizes[below(rng, 3)], 1)
        }
        "mask: a class too many" => sound_mask([WIDTH, HEIGHT], 2 + below(rng, 253) as u8),
        "mask: in true colour" => mutate::masks().pop().unwrap(),
        "mask: of 16 bits" => mutate::masks().swap_remove(6),
        "mask: a JPEG" => {
            let mut all = mutate::images();
            all.retain(|seed| !seed.starts_with(b"\x89PNG"));
            pick(rng, &all).clone()
        }
        "mask: a wrong byte" => wrong_byte(rng, sound[0].clone()),
        _ => common(rng, kind, &sound),
    })
}

fn common(rng: &mut ChaCha8Rng, kind: &str, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut seed = pick(rng, seeds).clone();
    match kind.split_once(": ").unwrap().1 {
        "empty" => Vec::new(),
        "cut" => {
            seed.truncate(1 + below(rng, seed.len() - 1));
            seed
        }
        "no image" => {
            let starts = [
                "<!DOCTYPE html><html>",
                "GIF89a\x17\0\x11\0",
                "BM6\x05",
                "RIFF\0\0\0\0WEBP",
                "\0\0\0\0",
            ];
            let mut bytes = starts[below(rng, starts.len())].as_bytes().to_vec();
            bytes.extend(&seed[8..]);
            bytes
        }
        _ => unreachable!("{kind}"),
    }
}

/// In the picture's data, its checksum left as it was.
fn wrong_byte(rng: &mut ChaCha8Rng, mut seed: Vec<u8>) -> Vec<u8> {
    let name = seed.windows(4).position(|name| name == b"IDAT").unwrap();
    let length = u32::from_be_bytes(seed[name - 4..name].try_into().unwrap()) as usize;
    let at = name + 4 + below(rng, length);
    seed[at] ^= 1 + below(rng, 255) as u8;
    seed
}

fn resized(mut seed: Vec<u8>, side: u32) -> Vec<u8> {
    match frame_of(&seed).filter(|_| !seed.starts_with(b"\x89PNG")) {
        None => relabelled(seed, side, side),
        Some(frame) => {
            let side = (side as u16).to_be_bytes();
            seed[frame + 5..frame + 9].copy_from_slice(&[side, side].concat());
            seed
        }
    }
}

/// All of class 1, but for one pixel.
fn sound_mask([width, height]: [u32; 2], odd: u8) -> Vec<u8> {
    let mut classes = vec![1; (width * height) as usize];
    classes[(width * height / 2) as usize] = odd;
    write_png_mask_stored(&Mask { width, height, classes }, &voc_palette())
}

fn split_list(
    rng: &mut ChaCha8Rng,
    root: &Path,
    i: usize,
    (table, accepted): (&mut Table, &mut Vec<String>),
) {
    let kind = SPLITS[below(rng, SPLITS.len())];
    let mut lines: Vec<Vec<u8>> = (0..8).map(|i| format!("{i:05}").into_bytes()).collect();
    let wrong: &[u8] = match kind {
        "list: twice" => b"00003",
        "list: leads out" => [&b"../00001"[..], b"/etc/passwd", b"a/../../b", b".."][below(rng, 4)],
        "list: two columns" => b"00009 -1",
        "list: not UTF-8" => b"00009\xff",
        "list: no name" => b"a\0b",
        "list: too long a name" => &[b'a'; 300],
        "list: no such image" => b"not_there",
        _ => b"",
    };
    lines.insert(below(rng, lines.len() + 1), wrong.to_vec());
    let end = [&b"\n"[..], b"\r\n", b"\n\n", b" \n"][below(rng, 4)];
    let text = if kind == "list: empty" { end.to_vec() } else { lines.join(end) };
    let name = format!("list{i}");
    fs_err::write(root.join(format!("ImageSets/Segmentation/{name}.txt")), text).unwrap();
    let dataset = dataset::open_at(&voc(), root).unwrap();
    let report = Check::new(&dataset, std::slice::from_ref(&name)).unwrap().run(&|| {});
    let file = if kind == "list: no such image" { "not_there" } else { &*format!("{name}.txt") };
    let is_named = report.faults().any(|fault| fault.message.contains(file));
    let refused = dataset.split(&name).and_then(|split| split.fingerprint(None));
    let is_refused = refused.is_err_and(|error| error.to_string().contains(file));
    table.count(kind, is_named);
    if !is_named || !is_refused {
        accepted.push(format!("{kind}: named: {is_named}, refused: {is_refused}"));
    }
}

fn classes(rng: &mut ChaCha8Rng, root: &Path, (table, accepted): (&mut Table, &mut Vec<String>)) {
    let kind = CLASSES[below(rng, CLASSES.len())];
    let many: Vec<_> = (0..256).map(|i| format!("class{i}\n")).collect();
    let text = match kind {
        "classes: none" => b"\n \n".to_vec(),
        "classes: 256" => many.concat().into_bytes(),
        "classes: not UTF-8" => b"0 a\n1 \xe9\n".to_vec(),
        "classes: twice" => b"ground\nthing\nground\n".to_vec(),
        "classes: one left out" => b"0 a\n2 b\n".to_vec(),
        _ => b"0 a\n1\n".to_vec(),
    };
    fs_err::write(root.join("names.txt"), text).unwrap();
    let config = folder(&json!({ "classes": { "file": "names.txt" } }));
    let error = dataset::open_at(&config, root).err();
    let is_named = error.as_ref().is_some_and(|error| error.to_string().contains("names.txt"));
    table.count(kind, is_named);
    if !is_named {
        accepted.push(format!("{kind}: {error:?}"));
    }
}
