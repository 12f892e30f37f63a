use super::*;
use crate::data::image_io::{voc_palette, write_png_mask, write_png_rgb};
use crate::data::{Mask, Rgb};

/// A folder that holds the given files: `.png` and `.jpg` an image of 2x1 pixels or a mask of
/// classes 0 and 2, others the text.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        let is_mask = name.contains("SegmentationClass") || name.contains("annotations");
        let bytes = if is_mask {
            let mask = Mask { width: 2, height: 1, classes: vec![0, 2] };
            write_png_mask(&mask, &voc_palette())
        } else if name.contains("mages/") {
            write_png_rgb(&Rgb { width: 2, height: 1, pixels: vec![9; 6] })
        } else {
            text.as_bytes().to_vec()
        };
        fs_err::write(path, bytes).unwrap();
    }
    dir
}

fn voc(root: Option<&str>) -> Config {
    let root = root.map(PathBuf::from);
    Config::Voc(VocConfig { root, train: "train".to_owned() })
}

fn voc_folder(split: &str, classes: &str) -> tempfile::TempDir {
    folder(&[
        ("VOC2012/JPEGImages/a.jpg", ""),
        ("VOC2012/JPEGImages/b.png", ""),
        ("VOC2012/SegmentationClass/a.png", ""),
        ("VOC2012/SegmentationClass/b.png", ""),
        ("VOC2012/ImageSets/Segmentation/train.txt", split),
        ("VOC2012/ImageSets/Segmentation/val.txt", "a\n"),
        ("VOC2012/classes.txt", classes),
    ])
}

const FOUR: &str = "0 null\n1 skin\n2 upper body\r\n\n3 hair\n";

#[test]
fn voc_layout_is_read() {
    let dir = voc_folder("b\r\n\n  a \n", FOUR);
    let dataset = open(&voc(Some("VOC2012")), &[dir.path().to_owned()]).unwrap();
    assert_eq!((dataset.name.as_str(), dataset.n_classes()), ("voc", 4));
    assert_eq!(dataset.classes[2], "upper body");
    let split = dataset.train_split().unwrap();
    let ids: Vec<_> = split.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["b", "a"]);
    assert!(split.items[0].image.ends_with("JPEGImages/b.png"));
    assert!(split.items[1].image.ends_with("JPEGImages/a.jpg"));
    assert_eq!(split.load(0).unwrap().mask.classes, [0, 2]);
    assert_eq!(dataset.split("val").unwrap().len(), 1);
}

#[test]
fn a_voc_folder_is_named_by_what_it_is() {
    let check = |root: &str, expect: &str| assert_eq!(name(&voc(None), Path::new(root)), expect);
    check("/data/VOCdevkit/VOC2012", "voc");
    check("/data/CCP8", "CCP8");
    check("/data/CCP8/.", "CCP8");
    check("/", "voc");
}

#[test]
fn classes_default_to_vocs() {
    let dir = voc_folder("a", FOUR);
    fs_err::remove_file(dir.path().join("VOC2012/classes.txt")).unwrap();
    let dataset = open_at(&voc(None), &dir.path().join("VOC2012")).unwrap();
    assert_eq!(dataset.n_classes(), 21);
    assert_eq!(
        (dataset.classes[0].as_str(), dataset.classes[20].as_str()),
        ("background", "tvmonitor")
    );
}

#[test]
fn a_missing_dataset_says_where_was_looked_and_what_to_do() {
    let dirs = [PathBuf::from("/none/a"), PathBuf::from("/none/b")];
    insta::assert_snapshot!(open(&voc(None), &dirs).unwrap_err(), @"no VOC dataset: looked in `/none/a/VOCdevkit/VOC2012`, `/none/b/VOCdevkit/VOC2012`; unpack VOCtrainval_11-May-2012.tar into a data folder, so that it holds `VOCdevkit/VOC2012`, or set `data.root` to a folder with `JPEGImages/`, `SegmentationClass/` and `ImageSets/Segmentation/<split>.txt`");
    insta::assert_snapshot!(open(&voc(Some("CCP8")), &dirs).unwrap_err(), @"no VOC dataset: looked in `CCP8`, `/none/a/CCP8`, `/none/b/CCP8`; unpack VOCtrainval_11-May-2012.tar into a data folder, so that it holds `VOCdevkit/VOC2012`, or set `data.root` to a folder with `JPEGImages/`, `SegmentationClass/` and `ImageSets/Segmentation/<split>.txt`");
    let ade20k = Config::Ade20k(Ade20kConfig { root: None });
    insta::assert_snapshot!(open(&ade20k, &dirs).unwrap_err(), @"no ADE20K dataset: looked in `/none/a/ADEChallengeData2016`, `/none/b/ADEChallengeData2016`; unpack ADEChallengeData2016.zip into a data folder, so that it holds `ADEChallengeData2016`, or set `data.root` to a folder with `images/` and `annotations/`, each with `training/` and `validation/`");
    insta::assert_snapshot!(open(&voc(None), &[]).unwrap_err(), @"no VOC dataset: looked in no folder (`data_dirs` is empty); unpack VOCtrainval_11-May-2012.tar into a data folder, so that it holds `VOCdevkit/VOC2012`, or set `data.root` to a folder with `JPEGImages/`, `SegmentationClass/` and `ImageSets/Segmentation/<split>.txt`");
}

#[test]
fn an_incomplete_folder_says_what_it_lacks() {
    let dir = voc_folder("a", FOUR);
    fs_err::remove_dir_all(dir.path().join("VOC2012/SegmentationClass")).unwrap();
    let error = open_at(&voc(None), &dir.path().join("VOC2012")).unwrap_err();
    assert!(
        matches!(error, Error::IncompleteDataset { ref missing, .. } if missing == "SegmentationClass")
    );
}

#[test]
fn a_missing_split_lists_what_there_is() {
    let dir = voc_folder("a", FOUR);
    let dataset = open_at(&voc(None), &dir.path().join("VOC2012")).unwrap();
    let error = dataset.split("trainaug").unwrap_err().to_string();
    assert!(error.starts_with("no split `trainaug`: there is no `"), "{error}");
    assert!(error.ends_with("trainaug.txt`; splits there: train, val"), "{error}");
}

#[test]
fn bad_split_lines_are_named() {
    let check = |text: &str, expect: &str| {
        let dir = voc_folder(text, FOUR);
        let dataset = open_at(&voc(None), &dir.path().join("VOC2012")).unwrap();
        let error = dataset.train_split().unwrap_err().to_string();
        assert!(error.contains("train.txt`") && error.contains(expect), "{error}");
    };
    check("a\n2007_000032 -1\n", "line 2: `2007_000032 -1` has more than one column; expected one");
    check("a\nb\n\na\n", "line 4: `a` is already on line 1");
    check("../../etc/passwd\n", "line 1: `../../etc/passwd` leads out of the image folder");
    check("/etc/passwd\n", "leads out of the image folder");
    check("a\0b\n", "is not a file name");
    check("\n \n", "lists no images");
}

#[test]
fn bad_class_lines_are_named() {
    let check = |text: &str, expect: &str| {
        let dir = voc_folder("a", text);
        let error = open_at(&voc(None), &dir.path().join("VOC2012")).unwrap_err().to_string();
        assert!(error.contains("classes.txt`") && error.contains(expect), "{error}");
    };
    check("0 null\n2 skin\n", "line 2: `2 skin` does not start with 1; expected `<index> <name>`");
    check("null\nskin\n", "line 1: `null` does not start with 0");
    check("0 null\n1\n", "line 2: `1` has no name");
    check("", "lists 0 classes");
    let many: Vec<String> = (0..256).map(|index| format!("{index} c\n")).collect();
    check(&many.concat(), "lists 256 classes; allowed: 1 to 255");
}

#[test]
fn ade20k_layout_is_read() {
    let dir = folder(&[
        ("ADEChallengeData2016/images/training/t2.jpg", ""),
        ("ADEChallengeData2016/images/training/t1.jpg", ""),
        ("ADEChallengeData2016/images/training/notes.txt", ""),
        ("ADEChallengeData2016/images/validation/v.jpg", ""),
        ("ADEChallengeData2016/annotations/training/t1.png", ""),
        ("ADEChallengeData2016/annotations/validation/v.png", ""),
    ]);
    let config = Config::Ade20k(Ade20kConfig { root: None });
    let dataset = open(&config, &[PathBuf::from("/none"), dir.path().to_owned()]).unwrap();
    assert_eq!((dataset.name.as_str(), dataset.n_classes()), ("ade20k", 150));
    assert_eq!((dataset.classes[0].as_str(), dataset.classes[149].as_str()), ("wall", "flag"));
    for name in ["train", "training"] {
        let split = dataset.split(name).unwrap();
        let ids: Vec<_> = split.items.iter().map(|item| item.id.as_str()).collect();
        assert_eq!((split.name.as_str(), ids), (name, vec!["t1", "t2"]));
        let error = split.fingerprint(None).unwrap_err();
        assert!(matches!(error, Error::MissingFiles { n_images: 0, n_masks: 1, .. }), "{error}");
    }
    // 0 is void, and classes count from 1.
    assert_eq!(dataset.split("val").unwrap().load(0).unwrap().mask.classes, [255, 1]);
    let error = dataset.split("test").unwrap_err().to_string();
    assert!(error.ends_with("splits there: train, val"), "{error}");
    assert!(dataset.split("../images/training").is_err());
}

#[test]
fn every_kind_is_named_as_specs_name_it() {
    for config in usual().chain([folder_of_anything()]) {
        let value = serde_json::to_value(&config).unwrap();
        assert_eq!(value["kind"], config.kind());
        assert!(KINDS.contains(&config.kind()));
        assert_eq!(serde_json::from_value::<Config>(value).unwrap(), config);
    }
    let usual: Vec<_> = usual().map(|config| config.kind()).collect();
    assert_eq!(usual, ["voc", "ade20k", "cityscapes", "acdc", "shapes"]);
    assert_eq!(KINDS.len(), usual.len() + 1);
}

fn folder_of_anything() -> Config {
    serde_json::from_value(serde_json::json!({
        "kind": "folder", "images": "a/{stem}.*", "masks": "b/{stem}.png",
        "classes": { "names": ["a"] },
    }))
    .unwrap()
}

/// As cameras and Windows write them.
#[test]
fn endings_count_in_upper_case_in_every_layout() {
    let dir = folder(&[
        ("voc/JPEGImages/a.JPG", ""),
        ("voc/JPEGImages/b.Jpeg", ""),
        ("voc/SegmentationClass/a.PNG", ""),
        ("voc/SegmentationClass/b.png", ""),
        ("voc/ImageSets/Segmentation/train.txt", "a\nb\n"),
        ("voc/classes.txt", FOUR),
        ("ade/images/training/a.JPG", ""),
        ("ade/annotations/training/a.PNG", ""),
        ("cityscapes/leftImg8bit/train/ulm/a_leftImg8bit.PNG", ""),
        ("cityscapes/gtFine/train/ulm/SegmentationClass", ""),
        ("ACDC/rgb_anon/fog/train/s/a_rgb_anon.PNG", ""),
        ("ACDC/gt/fog/train/s/a", ""),
        ("any/mages/x.JPG", ""),
        ("any/mages/y.PNG", ""),
        ("any/SegmentationClass/x.PNG", ""),
        ("any/SegmentationClass/y.png", ""),
    ]);
    let at = |path: &str| dir.path().join(path);
    let mask = fs_err::read(at("voc/SegmentationClass/b.png")).unwrap();
    let image = fs_err::read(at("voc/JPEGImages/a.JPG")).unwrap();
    for name in [
        "cityscapes/leftImg8bit/train/ulm/a_leftImg8bit.PNG",
        "ACDC/rgb_anon/fog/train/s/a_rgb_anon.PNG",
    ] {
        fs_err::write(at(name), &image).unwrap();
    }
    for name in [
        "cityscapes/gtFine/train/ulm/a_gtFine_labelIds.PNG",
        "ACDC/gt/fog/train/s/a_gt_labelIds.PNG",
    ] {
        fs_err::write(at(name), &mask).unwrap();
    }
    let any = |images: &str| {
        serde_json::json!({ "kind": "folder", "images": images, "masks": "SegmentationClass/{stem}.png",
            "classes": { "names": ["a", "b", "c"] }, "fractions": { "train": 1.0 } })
    };
    let mut listed = any("mages/{stem}.*");
    listed["fractions"] = serde_json::json!({});
    listed["splits"] = serde_json::json!({ "train": "list.txt" });
    fs_err::write(at("any/list.txt"), "x\ny\n").unwrap();
    let kind = |kind: &str| serde_json::json!({ "kind": kind });
    for (root, config, split, n) in [
        ("voc", kind("voc"), "train", 2),
        ("ade", kind("ade20k"), "train", 1),
        ("cityscapes", kind("cityscapes"), "train", 1),
        ("ACDC", kind("acdc"), "train_fog", 1),
        ("any", any("mages/{stem}.*"), "train", 2),
        ("any", any("mages/{stem}.jpg"), "train", 1),
        ("any", listed, "train", 2),
    ] {
        let mut config = config;
        if root == "any" {
            config["root"] = serde_json::json!(at(root));
        }
        let config: Config = serde_json::from_value(config).unwrap();
        let split = open_at(&config, &at(root)).unwrap().split(split).unwrap();
        assert_eq!(split.len(), n, "{root}");
        split.fingerprint(None).unwrap();
        split.load(0).unwrap();
    }
}

/// Found as every split of every kind is found.
#[test]
fn what_begins_with_a_dot_is_no_image_mask_or_split() {
    let dir = voc_folder("a", FOUR);
    for name in
        ["JPEGImages/._a.jpg", "SegmentationClass/._a.png", "ImageSets/Segmentation/._val.txt"]
    {
        fs_err::write(dir.path().join("VOC2012").join(name), "Mac OS X").unwrap();
    }
    let dataset = open_at(&voc(None), &dir.path().join("VOC2012")).unwrap();
    assert_eq!(dataset.splits().unwrap(), ["train", "val"]);
    let ade = folder(&[
        ("images/training/a.jpg", ""),
        ("images/training/._a.jpg", ""),
        ("images/.trash/a.jpg", ""),
        ("annotations/training/a.png", ""),
    ]);
    let dataset = open_at(&Config::Ade20k(Ade20kConfig { root: None }), ade.path()).unwrap();
    assert_eq!(dataset.splits().unwrap(), ["train"]);
    assert_eq!(dataset.split("train").unwrap().len(), 1);
}
