use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::data::Rgb;
use crate::data::dataset::{self, Config, VocConfig};
use crate::data::image_io::{voc_palette, write_png_mask, write_png_rgb};

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
    split list train -: `ImageSets/Segmentation/train.txt` line 4: `two words` has more than one column; expected one file stem a line, without extension
    split list train -: `ImageSets/Segmentation/train.txt` line 8: `sound` is already on line 1; expected one file stem a line, without extension
    duplicate stem train -: two images are called `twice`: `JPEGImages/twice.jpg` and `JPEGImages/twice.png`; rename one of them
    missing image train no_image: image `JPEGImages/no_image.jpg` does not exist; restore it, or take it out of the split
    missing mask train no_mask: mask `SegmentationClass/no_mask.png` does not exist; restore it, or take the image out of the split
    truncated image train cut: `JPEGImages/cut.png` is truncated: it ends after 67 bytes, in the middle; fetch it again
    truncated mask train cut: `SegmentationClass/cut.png` is truncated: it ends after 843 bytes, in the middle; fetch it again
    size mismatch train size: mask `SegmentationClass/size.png` is 2x1, but its image `JPEGImages/size.png` is 3x1 (width x height)
    unknown class train class: mask `SegmentationClass/class.png` has class 7 (first at x 0, y 0); allowed: 0 to 2, and 255 for void; in all: 7 (2 pixels), 3 (1 pixel)
    unreadable mask train page: `SegmentationClass/page.png` is a web page, not a PNG file; the download answered with an error page; fetch it again
    ");
    assert_eq!((report.n_pairs, report.n_faulty), (8, 6));
    assert_eq!(report.faults().count(), report.findings.len());
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
    insta::assert_snapshot!(lines(&report, folder.dir.path()), @r#"damaged image train broken: image `JPEGImages/broken.jpg` decodes, but parts of it may be grey: "Bad Huffman Code 0xFFFF, corrupt JPEG""#);
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
    ");
    assert_eq!((report.n_pairs, report.n_faulty, report.faults().count()), (3, 0, 0));
}

#[test]
fn a_pair_in_two_splits_is_looked_at_once_and_counted_in_both() {
    let folder = Folder::new(&[("train", "a\n"), ("trainval", "a\n")]);
    folder.pair("a", &[7]);
    let report = folder.check(&[]).unwrap();
    assert_eq!((report.n_pairs, report.findings.len()), (1, 1));
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
