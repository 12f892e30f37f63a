use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::data::dataset::{self, Config, VocConfig};
use crate::data::image_io::{Palette, Stored, voc_palette, write_png_mask, write_png_rgb};
use crate::data::{Mask, Rgb};

const CLASSES: &str = "0 null\n1 skin\n2 hair\n";

struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    fn new(splits: &[(&str, &str)]) -> Self {
        let folder = Self { dir: tempfile::tempdir().unwrap() };
        folder.write("classes.txt", CLASSES.as_bytes());
        for part in ["JPEGImages", "SegmentationClass", "ImageSets/Segmentation"] {
            fs_err::create_dir_all(folder.dir.path().join(part)).unwrap();
        }
        for (name, text) in splits {
            folder.write(&format!("ImageSets/Segmentation/{name}.txt"), text.as_bytes());
        }
        folder
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.dir.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }

    fn image(&self, stem: &str, width: u32, height: u32) {
        let pixels = vec![9; (width * height * 3) as usize];
        let bytes = write_png_rgb(&Rgb { width, height, pixels });
        self.write(&format!("JPEGImages/{stem}.png"), &bytes);
    }

    fn mask(&self, stem: &str, classes: &[u8]) {
        let mask = Mask { width: classes.len() as u32, height: 1, classes: classes.to_vec() };
        let bytes = write_png_mask(&mask, &voc_palette());
        self.write(&format!("SegmentationClass/{stem}.png"), &bytes);
    }

    fn pair(&self, stem: &str, classes: &[u8]) {
        self.image(stem, classes.len() as u32, 1);
        self.mask(stem, classes);
    }

    fn check(&self, splits: &[&str]) -> Result<Report, Error> {
        let config = Config::Voc(VocConfig { root: None, train: "train".to_owned() });
        let dataset = dataset::open_at(&config, self.dir.path()).unwrap();
        let names: Vec<_> = splits.iter().map(|&name| name.to_owned()).collect();
        let names = if names.is_empty() { labelled_splits(&dataset).unwrap() } else { names };
        let ticks = AtomicUsize::new(0);
        let check = Check::new(&dataset, &names)?;
        let n = check.len();
        let report = check.run(&|| {
            ticks.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(ticks.into_inner(), n);
        Ok(report)
    }
}

/// Findings one a line, without the folder.
fn lines(report: &Report, root: &Path) -> String {
    let root = format!("{}/", root.display());
    let line = |finding: &Finding| {
        let item = finding.item.as_deref().unwrap_or("-");
        let message = finding.message.replace(&root, "");
        format!("{} {} {item}: {message}", finding.kind.name(), finding.split)
    };
    report.findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_sound_dataset_has_a_histogram_and_no_findings() {
    let folder = Folder::new(&[("train", "a\nb\n"), ("val", "c\n"), ("test", "none\n")]);
    folder.pair("a", &[0, 1, 255]);
    folder.pair("b", &[1, 1, 2]);
    folder.pair("c", &[2, 2]);
    let report = folder.check(&[]).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!((report.n_pairs, report.n_faulty), (3, 0));
    assert_eq!(report.stored, BTreeMap::from([(Stored::Colour, 3)]));
    let [train, val] = &report.splits[..] else { panic!("{report:?}") };
    assert_eq!((train.n_images, train.void_pixels), (2, 1));
    assert_eq!((&train.pixels[..], &train.images[..]), (&[1, 3, 1][..], &[1, 2, 1][..]));
    assert_eq!((val.split.as_str(), &val.pixels[..]), ("val", &[0, 0, 2][..]));
}

#[test]
fn every_fault_is_found_and_named() {
    let train = "sound\nno_image\nno_mask\ntwo words\ncut\nsize\nclass\nsound\npage\ntwice\n";
    let folder = Folder::new(&[("train", train)]);
    folder.pair("sound", &[0, 1]);
    folder.mask("no_image", &[1]);
    folder.image("no_mask", 1, 1);
    folder.pair("cut", &[1, 1]);
    for name in ["JPEGImages/cut.png", "SegmentationClass/cut.png"] {
        let whole = fs_err::read(folder.dir.path().join(name)).unwrap();
        folder.write(name, &whole[..whole.len() - 5]);
    }
    folder.image("size", 3, 1);
    folder.mask("size", &[1, 1]);
    folder.pair("class", &[7, 1, 7, 3]);
    folder.image("page", 1, 1);
    folder.write("SegmentationClass/page.png", b"<html>404");
    folder.pair("twice", &[1]);
    folder.write(
        "JPEGImages/twice.jpg",
        &fs_err::read(folder.dir.path().join("JPEGImages/twice.png")).unwrap(),
    );
    let report = folder.check(&[]).unwrap();
    insta::assert_snapshot!(lines(&report, folder.dir.path()), @"
    split list train -: `ImageSets/Segmentation/train.txt` line 4: `two words` has more than one column; expected one file stem per line, no extension
    split list train -: `ImageSets/Segmentation/train.txt` line 8: `sound` is already on line 1; expected one file stem per line, no extension
    duplicate stem train -: two images are called `twice`: `JPEGImages/twice.jpg` and `JPEGImages/twice.png`; rename one of them
    missing image train no_image: image `JPEGImages/no_image.jpg` does not exist; restore it, or take it out of the split
    missing mask train no_mask: mask `SegmentationClass/no_mask.png` does not exist; restore it, or take the image out of the split
    truncated image train cut: `JPEGImages/cut.png` is truncated: it ends after 67 bytes, before its last chunk (IEND); fetch it again
    truncated mask train cut: `SegmentationClass/cut.png` is truncated: it ends after 843 bytes, before its last chunk (IEND); fetch it again
    size mismatch train size: mask `SegmentationClass/size.png` is 2x1, but its image `JPEGImages/size.png` is 3x1 (width x height)
    unknown class train class: mask `SegmentationClass/class.png` has class 7 (first at x 0, y 0); allowed: 0 to 2, and 255 for void; in all: 7 (2 pixels), 3 (1 pixel)
    unreadable mask train page: `SegmentationClass/page.png` is a web page, not a PNG file; the download answered with an error page; fetch it again
    absent class train -: class 2 (`hair`) has no pixel in the training split `train`
    ");
    assert_eq!((report.n_pairs, report.n_faulty), (8, 6));
    assert_eq!(report.faults().count(), report.findings.len() - 1);
}

#[test]
fn a_jpeg_with_a_code_that_is_none_is_a_fault_though_it_loads() {
    let folder = Folder::new(&[("train", "whole\nbroken\n")]);
    let pixels: Vec<u8> = (0..64 * 64 * 3u32).map(|i| (i * i % 251) as u8).collect();
    let mut bytes = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    encoder.encode(&pixels, 64, 64, jpeg_encoder::ColorType::Rgb).unwrap();
    let mask = Mask { width: 64, height: 64, classes: vec![1; 64 * 64] };
    for stem in ["whole", "broken"] {
        folder.write(&format!("JPEGImages/{stem}.jpg"), &bytes);
        let mask = write_png_mask(&mask, &voc_palette());
        folder.write(&format!("SegmentationClass/{stem}.png"), &mask);
        // No Huffman code is all ones.
        let middle = bytes.len() * 3 / 4;
        bytes.splice(middle..middle, [0xff, 0x00].repeat(8));
    }
    let report = folder.check(&[]).unwrap();
    insta::assert_snapshot!(lines(&report, folder.dir.path()), @r#"
    damaged image train broken: image `JPEGImages/broken.jpg` decodes, but parts of it may be wrong: "Bad Huffman Code 0xFFFF, corrupt JPEG"
    absent class train -: class 0 (`null`) has no pixel in the training split `train`
    absent class train -: class 2 (`hair`) has no pixel in the training split `train`
    "#);
    assert_eq!((report.n_faulty, report.faults().count()), (1, 1));
}

#[test]
fn what_is_odd_but_works_is_a_note() {
    let folder = Folder::new(&[
        ("train", "a\nvoid\n"),
        ("val", "a\nnull\n"),
        ("trainval", "a\nvoid\nnull\n"),
    ]);
    folder.pair("a", &[1]);
    folder.pair("void", &[255, 255]);
    folder.pair("null", &[0, 255]);
    let report = folder.check(&[]).unwrap();
    insta::assert_snapshot!(lines(&report, folder.dir.path()), @"
    all void train void: mask `SegmentationClass/void.png` is all void
    empty mask trainval null: mask `SegmentationClass/null.png` has nothing but `null`
    also in train val a: `a` is also in the training split
    absent class train -: class 0 (`null`) has no pixel in the training split `train`; 2 pixels of its masks have the value 255, which is void: if it stands for a class, map all values by the `data.label_map` of a `folder` dataset, with 255 = 0 in it
    absent class train -: class 2 (`hair`) has no pixel in the training split `train`; 2 pixels of its masks have the value 255, which is void: if it stands for a class, map all values by the `data.label_map` of a `folder` dataset, with 255 = 2 in it
    ");
    assert_eq!((report.n_pairs, report.n_faulty, report.faults().count()), (3, 0, 0));
}

#[test]
fn a_pair_in_two_splits_is_looked_at_once_and_counted_in_both() {
    let folder = Folder::new(&[("train", "a\n"), ("trainval", "a\n")]);
    folder.pair("a", &[7]);
    let report = folder.check(&[]).unwrap();
    assert_eq!((report.n_pairs, report.faults().count()), (1, 1));
    assert!(report.splits.iter().all(|split| split.n_faulty == 1));
}

#[test]
fn the_report_does_not_depend_on_threads() {
    let stems: Vec<String> = (0..50).map(|i| format!("s{i}\n")).collect();
    let folder = Folder::new(&[("train", &stems.concat())]);
    for i in 0..50u8 {
        if i % 3 != 0 {
            folder.pair(&format!("s{i}"), &[i % 5, 1]);
        }
    }
    let on = |n: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| folder.check(&[]).unwrap())
    };
    assert_eq!(on(1), on(8));
}

#[test]
fn a_split_that_is_not_there_is_no_finding() {
    let folder = Folder::new(&[("train", "a\n")]);
    let error = folder.check(&["none"]).unwrap_err();
    assert!(matches!(error, Error::MissingSplit { .. }), "{error}");
}

#[test]
fn a_list_that_is_no_text_is_a_fault() {
    let folder = Folder::new(&[("val", "")]);
    folder.write("ImageSets/Segmentation/train.txt", b"\xff\xfe\x00");
    let report = folder.check(&[]).unwrap();
    let kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [Kind::SplitList, Kind::SplitList]);
}

/// A dataset of any layout in a folder of its own.
struct Any {
    dir: tempfile::TempDir,
}

impl Any {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.dir.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }

    /// A picture of two pixels, another one for another name.
    fn image(&self, name: &str) {
        let value = name.bytes().fold(7u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        let pixels = vec![value, 1, 2, 3, 4, 5];
        self.write(name, &write_png_rgb(&Rgb { width: 2, height: 1, pixels }));
    }

    fn mask(&self, name: &str, classes: [u8; 2]) {
        self.mask_of(name, classes, &voc_palette());
    }

    fn mask_of(&self, name: &str, classes: [u8; 2], palette: &Palette) {
        let mask = Mask { width: 2, height: 1, classes: classes.to_vec() };
        self.write(name, &write_png_mask(&mask, palette));
    }

    fn link(&self, name: &str) {
        let path = self.dir.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/mnt/gone/x", path).unwrap();
    }

    fn check(&self, config: &serde_json::Value, splits: &[&str]) -> Report {
        let mut config = config.clone();
        if config["kind"] == "folder" {
            config["root"] = serde_json::json!(self.dir.path());
            config["classes"] = serde_json::json!({ "names": ["a", "b", "c"] });
        }
        let config: Config = serde_json::from_value(config).unwrap();
        let dataset = dataset::open_at(&config, self.dir.path()).unwrap();
        let names: Vec<_> = splits.iter().map(|&name| name.to_owned()).collect();
        Check::new(&dataset, &names).unwrap().run(&|| {})
    }

    fn lines(&self, config: &serde_json::Value, splits: &[&str]) -> String {
        lines(&self.check(config, splits), self.dir.path())
    }
}

fn folder(images: &str, masks: &str) -> serde_json::Value {
    serde_json::json!({ "kind": "folder", "images": images, "masks": masks })
}

fn with(mut config: serde_json::Value, key: &str, value: serde_json::Value) -> serde_json::Value {
    config[key] = value;
    config
}

#[test]
fn files_that_are_left_out_are_named() {
    let any = Any::new();
    for stem in ["a", "b"] {
        any.image(&format!("img/{stem}.jpg"));
        any.mask(&format!("seg/{stem}.png"), [0, 1]);
    }
    any.mask("seg/c.png", [1, 2]);
    for name in ["img/c.webp", "img/d.BMP", "img/e.tif", "img/f.jfif", "img/g.gif", "img/h.npy"] {
        any.write(name, b"RIFF");
    }
    any.write("img/notes.txt", b"");
    any.write("img/._a.jpg", b"");
    any.write("img/.DS_Store", b"");
    any.write("seg/d.bmp", b"");
    any.mask("seg/z.png", [1, 1]);
    any.link("img/i.jpg");
    any.link("seg/i.png");
    let fractions = serde_json::json!({ "train": 1.0 });
    let config = with(folder("img/{stem}.*", "seg/{stem}.png"), "fractions", fractions.clone());
    insta::assert_snapshot!(any.lines(&config, &["train"]), @"
    other ending train -: `img/c.webp` is left out: only files ending in `.jpg`, `.png` or `.jpeg` are looked for there; convert or rename it
    other ending train -: `img/d.BMP` is left out: only files ending in `.jpg`, `.png` or `.jpeg` are looked for there; convert or rename it
    other ending train -: `img/e.tif` is left out: only files ending in `.jpg`, `.png` or `.jpeg` are looked for there; convert or rename it
    other ending train -: `img/f.jfif` is left out: only files ending in `.jpg`, `.png` or `.jpeg` are looked for there; convert or rename it
    other ending train -: `img/g.gif` is left out: only files ending in `.jpg`, `.png` or `.jpeg` are looked for there; convert or rename it
    other ending train -: `img/h.npy` is left out: only files ending in `.jpg`, `.png` or `.jpeg` are looked for there; convert or rename it
    dead link train -: `img/i.jpg` is left out: it is a link to `/mnt/gone/x`, which does not exist
    other ending train -: `seg/d.bmp` is left out: only files ending in `.png` are looked for there; convert or rename it
    dead link train -: `seg/i.png` is left out: it is a link to `/mnt/gone/x`, which does not exist
    unused mask train -: mask `seg/z.png` is left out: no image has its name; restore the image, or remove the mask
    absent class train -: class 2 (`c`) has no pixel in the training split `train`
    ");
    // A template with an ending leaves out those of all others, also those that can be read.
    any.image("img/k.png");
    let config = with(folder("img/{stem}.jpg", "seg/{stem}.png"), "fractions", fractions);
    let text = any.lines(&config, &["train"]);
    assert!(text.contains("`img/k.png` is left out: only files ending in `.jpg` are"), "{text}");
}

#[test]
fn files_are_left_out_in_every_layout_and_named() {
    let any = Any::new();
    let bytes = b"RIFF";
    let voc = serde_json::json!({ "kind": "voc" });
    any.write("ImageSets/Segmentation/train.txt", b"a\n");
    any.image("JPEGImages/a.jpg");
    any.mask("SegmentationClass/a.png", [0, 1]);
    any.write("JPEGImages/b.webp", bytes);
    any.mask("SegmentationClass/c.png", [0, 1]);
    any.image("JPEGImages/d.jpg");
    any.mask("SegmentationClass/d.png", [0, 1]);
    any.image("JPEGImages/e.jpg");
    let report = any.check(&voc, &["train"]);
    let text = lines(&report, any.dir.path());
    let rest: Vec<_> = text.lines().filter(|line| !line.starts_with("absent class")).collect();
    insta::assert_snapshot!(rest.join("\n"), @"
    other ending train -: `JPEGImages/b.webp` is left out: only files ending in `.jpg`, `.png` or `.jpeg` are looked for there; convert or rename it
    unused mask train -: mask `SegmentationClass/c.png` is left out: no image has its name; restore the image, or remove the mask
    unused images train -: 1 image with a mask that no split lists (the first: `JPEGImages/d.jpg`)
    unused images train -: 1 image without a mask that no split lists (the first: `JPEGImages/e.jpg`)
    ");

    let any = Any::new();
    any.image("images/training/a.jpg");
    any.mask("annotations/training/a.png", [0, 1]);
    any.write("images/training/b.tif", bytes);
    any.mask("annotations/training/c.png", [0, 1]);
    // Of another split, which is not asked for.
    any.write("images/validation/b.tif", bytes);
    let text = any.lines(&serde_json::json!({ "kind": "ade20k" }), &["train"]);
    let rest: Vec<_> = text.lines().filter(|line| !line.starts_with("absent class")).collect();
    insta::assert_snapshot!(rest.join("\n"), @"
    unused mask train -: mask `annotations/training/c.png` is left out: no image has its name; restore the image, or remove the mask
    other ending train -: `images/training/b.tif` is left out: only files ending in `.jpg`, `.png` or `.jpeg` are looked for there; convert or rename it
    ");

    for (kind, image, mask) in [
        ("cityscapes", "leftImg8bit/train/ulm/X_leftImg8bit", "gtFine/train/ulm/X_gtFine_labelIds"),
        ("acdc", "rgb_anon/fog/train/s/X_rgb_anon", "gt/fog/train/s/X_gt_labelIds"),
    ] {
        let any = Any::new();
        let at = |name: &str, stem: &str| name.replace('X', stem);
        any.image(&format!("{}.png", at(image, "a")));
        any.mask(&format!("{}.png", at(mask, "a")), [7, 8]);
        any.write(&format!("{}.jpg", at(image, "b")), bytes);
        any.mask(&format!("{}.png", at(mask, "c")), [7, 8]);
        // What the official archives hold beside the masks.
        any.write(&at(mask, "a").replace("labelIds", "color.png"), bytes);
        any.write(&at(mask, "a").replace("labelIds", "polygons.json"), bytes);
        let split = if kind == "acdc" { "train_fog" } else { "train" };
        let text = any.lines(&serde_json::json!({ "kind": kind }), &[split]);
        let rest = text.lines().filter(|line| !line.starts_with("absent class"));
        let rest: Vec<_> = rest.map(|line| line.split_once(':').unwrap().0).collect();
        assert_eq!(
            rest,
            [format!("unused mask {split} -"), format!("other ending {split} -")],
            "{text}"
        );
    }
}

/// Masks of all splits may lie together although the images do not.
#[test]
fn a_mask_of_another_split_is_no_mask_without_an_image() {
    let any = Any::new();
    for (split, stem) in [("train", "a"), ("val", "b")] {
        any.image(&format!("img/{split}/{stem}.png"));
        any.mask(&format!("seg/{stem}.png"), [1, 2]);
    }
    any.mask("seg/c.png", [0, 1]);
    let text = any.lines(&folder("img/{split}/{stem}.*", "seg/{stem}.png"), &["train"]);
    let unused: Vec<_> = text.lines().filter(|line| line.starts_with("unused mask")).collect();
    assert!(unused.len() == 1 && unused[0].contains("`seg/c.png`"), "{text}");
}

#[test]
fn a_link_of_a_list_that_leads_nowhere_is_a_fault() {
    let any = Any::new();
    any.write("t.txt", b"a\nb\n");
    any.image("img/a.png");
    any.link("seg/a.png");
    any.link("img/b.png");
    any.mask("seg/b.png", [0, 1]);
    let splits = serde_json::json!({ "train": "t.txt" });
    let config = with(folder("img/{stem}.*", "seg/{stem}.png"), "splits", splits);
    let text = any.lines(&config, &["train"]);
    let rest: Vec<_> = text.lines().filter(|line| !line.starts_with("absent class")).collect();
    insta::assert_snapshot!(rest.join("\n"), @"
    missing mask train a: `seg/a.png` is a link to `/mnt/gone/x`, which does not exist; restore it, or take it out of the split
    missing image train b: `img/b.png` is a link to `/mnt/gone/x`, which does not exist; restore it, or take it out of the split
    ");
}

#[test]
fn a_class_that_no_training_pixel_has_is_named_with_what_255_is() {
    let any = Any::new();
    for (stem, classes) in [("a", [0, 255]), ("b", [255, 1])] {
        any.image(&format!("img/train/{stem}.png"));
        any.mask(&format!("seg/train/{stem}.png"), classes);
    }
    any.image("img/val/c.png");
    any.mask("seg/val/c.png", [2, 2]);
    let config = folder("img/{split}/{stem}.*", "seg/{split}/{stem}.png");
    insta::assert_snapshot!(any.lines(&config, &["train", "val"]), @"absent class train -: class 2 (`c`) has no pixel in the training split `train`; 2 pixels of its masks have the value 255, which is void: if it stands for a class, map all values by the `data.label_map` of a `folder` dataset, with 255 = 2 in it");
    // Without the value there is nothing to hint at, and what is not trained on is not missing.
    any.mask("seg/train/a.png", [0, 0]);
    any.mask("seg/train/b.png", [0, 1]);
    insta::assert_snapshot!(any.lines(&config, &["train"]), @"absent class train -: class 2 (`c`) has no pixel in the training split `train`");
    assert_eq!(any.lines(&config, &["val"]), "");
    // A map that gives it a class has said all.
    let map = serde_json::json!({ "0": 0, "1": 1, "255": 2 });
    any.mask("seg/train/a.png", [0, 255]);
    assert_eq!(any.lines(&with(config, "label_map", map), &["train"]), "");
}

#[test]
fn pictures_that_come_twice_are_named() {
    let any = Any::new();
    let picture = |name: &str, red: u8| {
        let pixels = vec![red, 1, 2, 3, 4, 5];
        any.write(name, &write_png_rgb(&Rgb { width: 2, height: 1, pixels }));
    };
    for (name, red, classes) in [
        ("train/x0", 1, [0, 1]),
        ("train/x1", 2, [1, 2]),
        ("train/x2", 2, [1, 2]),
        ("val/x0", 1, [0, 1]),
        ("val/x9", 2, [0, 0]),
        ("val/new", 3, [0, 0]),
    ] {
        picture(&format!("img/{name}.png"), red);
        any.mask(&format!("seg/{name}.png"), classes);
    }
    let config = folder("img/{split}/{stem}.*", "seg/{split}/{stem}.png");
    let report = any.check(&config, &["train", "val"]);
    insta::assert_snapshot!(lines(&report, any.dir.path()), @"
    same picture train x2: image `img/train/x2.png` has the pixels of `img/train/x1.png` in `train`
    same picture val x0: image `img/val/x0.png` has the pixels of `img/train/x0.png` in `train`: a score on one of them is a score on what was trained on
    same picture val x9: image `img/val/x9.png` has the pixels of `img/train/x1.png` in `train`, with other labels: a score on one of them is a score on what was trained on
    ");
    assert_eq!(report.faults().count(), 0);
}

#[test]
fn palettes_that_differ_are_named() {
    let any = Any::new();
    let mut other = voc_palette();
    other[1] = [0, 0, 255];
    other[9] = [1, 2, 3];
    for (stem, palette) in [("a", &voc_palette()), ("b", &other), ("c", &voc_palette())] {
        any.image(&format!("img/{stem}.png"));
        any.mask_of(&format!("seg/{stem}.png"), [1, 2], palette);
    }
    // Differs only in what it does not have.
    any.image("img/d.png");
    any.mask_of("seg/d.png", [0, 2], &other);
    let fractions = serde_json::json!({ "train": 1.0 });
    let config = with(folder("img/{stem}.*", "seg/{stem}.png"), "fractions", fractions);
    insta::assert_snapshot!(any.lines(&config, &["train"]), @"other palette train b: mask `seg/b.png` has another palette: index 1 is 0,0,255 there, and 128,0,0 in most masks; if its indices mean the same classes, nothing is wrong, else map colours by `data.label_map`");
    let map = serde_json::json!({ "128,0,0": 0, "0,128,0": 1, "0,0,255": 0, "0,0,0": 2 });
    assert_eq!(any.lines(&with(config, "label_map", map), &["train"]), "");
}

#[test]
fn an_index_without_a_colour_is_an_unknown_class() {
    let any = Any::new();
    any.image("img/a.png");
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(vec![0, 0, 0, 128, 0, 0]);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[1, 2]).unwrap();
    writer.finish().unwrap();
    any.write("seg/a.png", &bytes);
    let config = with(
        folder("img/{stem}.*", "seg/{stem}.png"),
        "fractions",
        serde_json::json!({ "train": 1.0 }),
    );
    let map = serde_json::json!({ "0,0,0": 0, "128,0,0": 1 });
    let report = any.check(&with(config, "label_map", map), &["train"]);
    let kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [Kind::UnknownClass]);
}

/// The orientation tag of a JPEG whose sides are those of its mask, swapped.
#[test]
fn an_exif_rotation_is_named_where_it_swaps_the_sides() {
    let any = Any::new();
    let pixels: Vec<u8> = (0..16 * 8 * 3u32).map(|i| (i * i % 251) as u8).collect();
    let jpeg = |orientation: u8| {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
        let head = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0";
        let exif = [&head[..], &[orientation], b"\0\0\0\0\0\0"].concat();
        encoder.add_app_segment(1, exif).unwrap();
        encoder.encode(&pixels, 16, 8, jpeg_encoder::ColorType::Rgb).unwrap();
        bytes
    };
    for (stem, orientation, size) in [
        ("a", 6, [8, 16]),
        ("b", 1, [8, 16]),
        ("c", 6, [16, 8]),
        ("d", 6, [9, 9]),
        ("e", 3, [8, 16]),
    ] {
        any.write(&format!("img/{stem}.jpg"), &jpeg(orientation));
        let [width, height] = size;
        let classes = (0..width * height).map(|i| (i % 3) as u8).collect();
        any.write(
            &format!("seg/{stem}.png"),
            &write_png_mask(&Mask { width, height, classes }, &voc_palette()),
        );
    }
    let config = with(
        folder("img/{stem}.*", "seg/{stem}.png"),
        "fractions",
        serde_json::json!({ "train": 1.0 }),
    );
    let report = any.check(&config, &["train"]);
    let text = lines(&report, any.dir.path());
    let rest: Vec<_> = text.lines().filter(|line| line.starts_with("size mismatch")).collect();
    insta::assert_snapshot!(rest.join("\n"), @"
    size mismatch train a: mask `seg/a.png` is 8x16, but its image `img/a.jpg` is 16x8 (width x height): its EXIF data asks for a rotation by 90 degrees, which is not applied here, and the mask was drawn on the turned picture; turn the stored pixels of such images (`exiftran -ai FILE`, or `mogrify -auto-orient FILE`)
    size mismatch train b: mask `seg/b.png` is 8x16, but its image `img/b.jpg` is 16x8 (width x height)
    size mismatch train d: mask `seg/d.png` is 9x9, but its image `img/d.jpg` is 16x8 (width x height)
    size mismatch train e: mask `seg/e.png` is 8x16, but its image `img/e.jpg` is 16x8 (width x height)
    ");
    assert_eq!(report.n_rotated, 4);
}
