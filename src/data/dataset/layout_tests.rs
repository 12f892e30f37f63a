//! Cityscapes, ACDC, `trainaug` and folders of any layout.

use super::kind::train_name;
use super::*;
use crate::data::image_io::{voc_palette, write_png_mask, write_png_rgb};
use crate::data::{Mask, Rgb};

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.root().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }

    fn image(&self, name: &str, width: u32) {
        let pixels = vec![9; 3 * width as usize];
        self.write(name, &write_png_rgb(&Rgb { width, height: 1, pixels }));
    }

    /// As palette indices.
    fn mask(&self, name: &str, classes: &[u8]) {
        let mask = Mask { width: classes.len() as u32, height: 1, classes: classes.to_vec() };
        self.write(name, &write_png_mask(&mask, &voc_palette()));
    }

    fn png(&self, name: &str, color: png::ColorType, depth: png::BitDepth, data: &[u8]) {
        let width = data.len() * 8 / (color.samples() * depth as usize);
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width as u32, 1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(data).unwrap();
        writer.finish().unwrap();
        self.write(name, &bytes);
    }

    fn open(&self, json: &serde_json::Value) -> Result<Dataset, Error> {
        open_at(&serde_json::from_value(json.clone()).unwrap(), self.root())
    }
}

fn ids(split: &Split) -> Vec<&str> {
    split.items.iter().map(|item| item.id.as_str()).collect()
}

#[test]
fn cityscapes_ids_become_train_ids() {
    let files = Files::new();
    for city in ["ulm/ulm_000000_000019", "aachen/aachen_000000_000019"] {
        files.image(&format!("cityscapes/leftImg8bit/train/{city}_leftImg8bit.png"), 8);
        let ids = [0, 7, 8, 33, 29, 31, 255, 20];
        files.mask(&format!("cityscapes/gtFine/train/{city}_gtFine_labelIds.png"), &ids);
        // Made later by the official scripts: it changes nothing.
        files.mask(&format!("cityscapes/gtFine/train/{city}_gtFine_labelTrainIds.png"), &[5; 8]);
    }
    files.image("cityscapes/leftImg8bit/val/ulm/x_leftImg8bit.png", 2);
    files.mask("cityscapes/gtFine/val/ulm/x_gtFine_labelTrainIds.png", &[18, 255]);
    let config = CityscapesConfig { root: None, train: train_name() };
    let dataset = open(&Config::Cityscapes(config), &[files.root().to_owned()]).unwrap();
    assert_eq!((dataset.name.as_str(), dataset.n_classes()), ("cityscapes", 19));
    assert_eq!(dataset.splits().unwrap(), ["train", "val"]);
    let train = dataset.train_split().unwrap();
    assert_eq!(ids(&train), ["aachen/aachen_000000_000019", "ulm/ulm_000000_000019"]);
    assert_eq!(train.load(0).unwrap().mask.classes, [255, 0, 1, 18, 255, 16, 255, 7]);
    train.fingerprint(None).unwrap();
    assert_eq!(dataset.split("val").unwrap().load(0).unwrap().mask.classes, [18, 255]);
    let error = dataset.split("test").unwrap_err().to_string();
    assert!(error.ends_with("splits there: train, val"), "{error}");
    dataset.split("../val").unwrap_err();
    files.mask("cityscapes/gtFine/train/ulm/ulm_000000_000019_gtFine_labelIds.png", &[34; 8]);
    let error = train.load(1).unwrap_err();
    assert!(error.to_string().contains("has the value 34 (first at x 0, y 0)"), "{error}");
}

#[test]
fn acdc_has_a_split_for_each_condition() {
    let files = Files::new();
    for condition in ["fog", "night", "rain", "snow"] {
        for (split, frame) in [("train", 1), ("val", 2)] {
            let name = format!("{condition}/{split}/GOPR0475/GOPR0475_frame_{frame:06}");
            files.image(&format!("ACDC/rgb_anon/{name}_rgb_anon.png"), 2);
            files.mask(&format!("ACDC/gt/{name}_gt_labelIds.png"), &[7, 0]);
        }
    }
    let config = Config::Acdc(AcdcConfig { root: None, train: train_name() });
    let dataset = open(&config, &[files.root().to_owned()]).unwrap();
    assert_eq!(dataset.classes, cityscapes::classes());
    let splits = dataset.splits().unwrap();
    assert_eq!(splits[..5], ["train", "train_fog", "train_night", "train_rain", "train_snow"]);
    let fog = dataset.split("val_fog").unwrap();
    assert_eq!(ids(&fog), ["fog/GOPR0475/GOPR0475_frame_000002"]);
    assert_eq!(fog.load(0).unwrap().mask.classes, [0, 255]);
    let val = dataset.split("val").unwrap();
    assert_eq!((val.len(), &val.items[0]), (4, &fog.items[0]));
    dataset.split("val_sun").unwrap_err();
    fs_err::remove_dir_all(dataset.root.join("rgb_anon/rain/val")).unwrap();
    let error = dataset.split("val").unwrap_err();
    assert!(matches!(error, Error::MissingSplit { .. }), "{error}");
    assert_eq!(dataset.split("val_fog").unwrap().len(), 1);
}

#[test]
fn gated_datasets_say_where_to_get_them() {
    let dirs = [PathBuf::from("/none")];
    let config = Config::Acdc(AcdcConfig { root: None, train: train_name() });
    insta::assert_snapshot!(open(&config, &dirs).unwrap_err(), @"no ACDC dataset: looked in `/none/ACDC`; register at https://acdc.vision.ee.ethz.ch (it may not be redistributed), unpack rgb_anon_trainvaltest.zip and gt_trainval.zip into the folder `ACDC` of a data folder, or set `data.root` to the folder with `rgb_anon/` and `gt/`");
    let config = Config::Cityscapes(CityscapesConfig { root: None, train: train_name() });
    insta::assert_snapshot!(open(&config, &dirs).unwrap_err(), @"no Cityscapes dataset: looked in `/none/cityscapes`; register at https://www.cityscapes-dataset.com (it may not be redistributed), unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip into the folder `cityscapes` of a data folder, or set `data.root` to the folder with `leftImg8bit/` and `gtFine/`");
}

#[test]
fn trainaug_has_masks_of_its_own_where_they_are() {
    let files = Files::new();
    for split in ["train", "trainaug"] {
        files.write(&format!("ImageSets/Segmentation/{split}.txt"), b"a\n");
    }
    files.image("JPEGImages/a.png", 1);
    files.mask("SegmentationClass/a.png", &[1]);
    let mask = |split: &str| {
        let dataset = files.open(&serde_json::json!({ "kind": "voc" })).unwrap();
        dataset.split(split).unwrap().load(0).unwrap().mask.classes
    };
    assert_eq!(mask("trainaug"), [1]);
    files.mask("SegmentationClassAug/a.png", &[2]);
    assert_eq!((mask("trainaug"), mask("train")), (vec![2], vec![1]));
}

fn folder_config(extra: &serde_json::Value) -> serde_json::Value {
    let mut config = serde_json::json!({
        "kind": "folder",
        "root": ".",
        "images": "img/{stem}.*",
        "masks": "seg/{stem}_mask.png",
        "classes": { "names": ["ground", "thing"] },
        "fractions": { "train": 1.0 },
    });
    for (key, value) in extra.as_object().unwrap() {
        if value.is_null() {
            config.as_object_mut().unwrap().remove(key);
        } else {
            config[key] = value.clone();
        }
    }
    config
}

#[test]
fn masks_of_any_kind_are_mapped() {
    use png::{BitDepth, ColorType};
    let files = Files::new();
    files.image("img/a.png", 3);
    let check = |extra: serde_json::Value, expect: &[u8]| {
        let dataset = files.open(&folder_config(&extra)).unwrap();
        assert_eq!(dataset.train_split().unwrap().load(0).unwrap().mask.classes, expect, "{extra}");
    };
    files.mask("seg/a_mask.png", &[0, 1, 255]);
    check(serde_json::json!({}), &[0, 1, 255]);
    files.mask("seg/a_mask.png", &[0, 1, 2]);
    check(serde_json::json!({ "reduce_zero_label": true }), &[255, 0, 1]);
    check(serde_json::json!({ "void": "2" }), &[0, 1, 255]);
    let map = serde_json::json!({ "label_map": { "0": 1, "1": 0, "2": 255 } });
    check(map, &[1, 0, 255]);
    // The colours of the same palette.
    let map = serde_json::json!({ "label_map": { "128,0,0": 1, "0,0,0": 0 }, "void": "0,128,0" });
    check(map, &[0, 1, 255]);
    let bytes = [1, 2, 3, 9, 9, 9, 0, 0, 0];
    files.png("seg/a_mask.png", ColorType::Rgb, BitDepth::Eight, &bytes);
    let map = serde_json::json!({ "label_map": { "1,2,3": 1, "9,9,9": 0, "0,0,0": 255 } });
    check(map, &[1, 0, 255]);
    let sixteen = [300u16, 7, 65535].map(u16::to_be_bytes).concat();
    files.png("seg/a_mask.png", ColorType::Grayscale, BitDepth::Sixteen, &sixteen);
    check(serde_json::json!({ "label_map": { "300": 1, "7": 0 }, "void": "65535" }), &[1, 0, 255]);
    // A binary mask: 255 is a class where it is given one.
    files.png("seg/a_mask.png", ColorType::Grayscale, BitDepth::Eight, &[0, 255, 255]);
    check(serde_json::json!({ "label_map": { "0": 0, "255": 1 } }), &[0, 1, 1]);
}

#[test]
fn what_a_map_does_not_name_is_refused() {
    let files = Files::new();
    files.image("img/a.png", 2);
    files.mask("seg/a_mask.png", &[0, 2]);
    let error = |extra: serde_json::Value| {
        let split = files.open(&folder_config(&extra)).unwrap().train_split().unwrap();
        let error = split.load(0).unwrap_err().to_string();
        error.replace(&format!("{}/", files.root().display()), "")
    };
    insta::assert_snapshot!(error(serde_json::json!({})), @"mask `seg/a_mask.png` has the value 2 (first at x 1, y 0), which is no class; correct the mask, or, in a `folder` dataset, name the value in `data.label_map` (255: void)");
    insta::assert_snapshot!(error(serde_json::json!({ "label_map": { "0,0,0": 0 } })), @"mask `seg/a_mask.png` has the value 0,128,0 (first at x 1, y 0), which is no class; correct the mask, or, in a `folder` dataset, name the value in `data.label_map` (255: void)");
    files.png("seg/a_mask.png", png::ColorType::Rgb, png::BitDepth::Eight, &[0; 6]);
    insta::assert_snapshot!(error(serde_json::json!({})), @"mask `seg/a_mask.png` is Rgb of 8 bits; expected a PNG of palette indices or grey of up to 16 bits, one id per pixel (colours need a `data.label_map` of colours)");
}

#[test]
fn splits_are_lists_fractions_or_folders() {
    let files = Files::new();
    for stem in ["a", "b", "c"] {
        files.image(&format!("img/{stem}.png"), 1);
        files.mask(&format!("seg/{stem}_mask.png"), &[0]);
    }
    files.write("lists/t.txt", b"c\na\n");
    let lists = serde_json::json!({ "splits": { "train": "lists/t.txt", "val": "lists/v.txt" }, "fractions": null });
    let dataset = files.open(&folder_config(&lists)).unwrap();
    assert_eq!(ids(&dataset.train_split().unwrap()), ["c", "a"]);
    assert_eq!(dataset.splits().unwrap(), ["train", "val"]);
    assert!(matches!(dataset.split("val"), Err(Error::MissingSplit { .. })));
    let error = dataset.split("test").unwrap_err();
    assert_eq!(error.to_string(), "no split `test`; there are: train, val");

    files.image("by/train/x/1.png", 1);
    files.image("by/val/1.png", 1);
    let by = serde_json::json!({ "images": "by/{split}/{stem}.png", "fractions": null });
    let dataset = files.open(&folder_config(&by)).unwrap();
    assert_eq!(dataset.splits().unwrap(), ["train", "val"]);
    assert_eq!(ids(&dataset.train_split().unwrap()), ["x/1"]);
    assert!(matches!(dataset.split("test"), Err(Error::UnknownSplit { .. })));
    assert!(matches!(dataset.split("../val"), Err(Error::UnknownSplit { .. })));

    files.image("img/a.jpg", 1);
    let error =
        files.open(&folder_config(&serde_json::json!({}))).unwrap().train_split().unwrap_err();
    assert!(matches!(error, Error::DuplicateStem { .. }), "{error}");
}

#[test]
fn fractions_draw_by_stem_and_stay_when_files_are_added() {
    let files = Files::new();
    let add = |range: std::ops::Range<u32>| {
        for i in range {
            files.write(&format!("img/{i:03}.png"), b"");
        }
    };
    let config = |seed: u64| {
        let fractions = serde_json::json!({ "train": 0.7, "val": 0.2, "dev": 0.1 });
        folder_config(&serde_json::json!({ "fractions": fractions, "split_seed": seed }))
    };
    let drawn = |seed: u64, split: &str| -> Vec<String> {
        let split = files.open(&config(seed)).unwrap().split(split).unwrap();
        split.items.into_iter().map(|item| item.id).collect()
    };
    add(0..300);
    let [train, val, dev] = ["train", "val", "dev"].map(|split| drawn(0, split));
    let mut all = [train.clone(), val.clone(), dev].concat();
    all.sort();
    assert_eq!(all.len(), 300);
    assert!((180..240).contains(&train.len()) && (40..80).contains(&val.len()), "{}", train.len());
    assert_ne!(val, drawn(1, "val"));
    add(300..400);
    let more = drawn(0, "val");
    assert!(val.len() < more.len() && val.iter().all(|stem| more.contains(stem)));
}

#[test]
fn a_draw_that_takes_none_of_the_images_says_so() {
    let none = |stems: &[&str], split: &str| {
        let files = Files::new();
        for stem in stems {
            files.image(&format!("img/{stem}.png"), 1);
            files.mask(&format!("seg/{stem}_mask.png"), &[0]);
        }
        let fractions = serde_json::json!({ "train": 0.5, "val": 0.5 });
        let config = folder_config(&serde_json::json!({ "fractions": fractions }));
        files.open(&config).unwrap().split(split).unwrap_err().to_string()
    };
    let six = ["a b", "naïve", "x.v1.2", "été 1", "пример", "日本"];
    insta::assert_snapshot!(none(&six, "train"), @"0 of 6 images drawn for `train`: each is drawn by its name with a probability of 0.5, and none was; list the images by `data.splits`, or set another `data.split_seed`");
    insta::assert_snapshot!(none(&["im0"], "val"), @"0 of 1 images drawn for `val`: each is drawn by its name with a probability of 0.5, and none was; list the images by `data.splits`, or set another `data.split_seed`, or add images: one cannot make two splits");
}

#[test]
fn the_fingerprint_of_a_folder_is_its_content() {
    let print = |images: &str, extra: serde_json::Value| {
        let files = Files::new();
        files.image(&format!("{images}/a.png"), 1);
        files.mask("seg/a_mask.png", &[0]);
        let mut config = folder_config(&extra);
        config["images"] = format!("{images}/{{stem}}.*").into();
        files.open(&config).unwrap().train_split().unwrap().fingerprint(None).unwrap()
    };
    let first = print("img", serde_json::json!({}));
    assert_eq!(first, print("pictures", serde_json::json!({})));
    // What is the default may be said.
    assert_eq!(first, print("img", serde_json::json!({ "void": "255" })));
    let map = serde_json::json!({ "label_map": { "0": 0, "1": 1 } });
    assert_eq!(first, print("img", map));
    for other in [
        serde_json::json!({ "label_map": { "0": 1, "1": 0 } }),
        serde_json::json!({ "label_map": { "0": 0, "1": 1, "2": 255 } }),
        serde_json::json!({ "reduce_zero_label": true }),
        serde_json::json!({ "classes": { "names": ["ground", "other"] } }),
    ] {
        assert_ne!(first, print("img", other.clone()), "{other}");
    }
}

#[test]
fn classes_are_read_with_and_without_their_index() {
    let files = Files::new();
    files.image("img/a.png", 1);
    let config = folder_config(&serde_json::json!({ "classes": { "file": "names.txt" } }));
    let check = |text: &str, expect: &[&str]| {
        files.write("names.txt", text.as_bytes());
        assert_eq!(files.open(&config).unwrap().classes, expect);
    };
    check("ground\r\n\nupper body\n", &["ground", "upper body"]);
    check("0 ground\n1 upper body\n", &["ground", "upper body"]);
    let refused = |text: &str, expect: &str| {
        files.write("names.txt", text.as_bytes());
        let error = files.open(&config).unwrap_err().to_string();
        assert!(error.contains("names.txt`") && error.contains(expect), "{error}");
    };
    refused(
        "ground\nthing\nground\n",
        "line 3: `ground` is already on line 1; expected each name once",
    );
    refused("0 ground\n2 thing\n", "line 2: `2 thing` does not start with 1");
    refused("", "lists 0 classes");
    fs_err::remove_file(files.root().join("names.txt")).unwrap();
    assert!(matches!(files.open(&config), Err(Error::BadKey { key: "data.classes", .. })));
    let map = serde_json::json!({ "label_map": { "0": 2 } });
    let error = files.open(&folder_config(&map)).unwrap_err().to_string();
    insta::assert_snapshot!(error, @"`data.label_map`: maps 0 to 2, but there are 2 classes; allowed: 0 to 1, and 255 for void");
}
