//! Damaged images, masks and lists through `data check` and the loaders: no panic, no hang, every
//! fault named. `scripts/fuzz_data.sh` runs many more of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "data_faults/archives.rs"]
mod archives;
#[path = "data_faults/certain.rs"]
mod certain;
#[path = "data_faults/mutate.rs"]
mod mutate;
mod program;
#[path = "data_faults/tally.rs"]
mod tally;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use dino_sweep::data::check::{Check, Kind, Report};
use dino_sweep::data::dataset::{self, Config, Dataset};
use dino_sweep::data::image_io::{decode_mask, decode_rgb, read_rgb, write_png_mask_stored};
use dino_sweep::data::loader::{Budget, TrainLoader, TrainLoaderConfig};
use dino_sweep::data::split::{Item, Split};
use dino_sweep::data::transform::Config as Transform;
use dino_sweep::data::{Error, Mask};
use dino_sweep::rng::{self, ChaCha8Rng};
use mutate::{below, damaged, relabelled};
use serde_json::json;
use tally::{Table, setting, watched};

/// Damaged files in a run without `FUZZ_FILES`.
const FILES: usize = 2_000;
/// Images, and as many masks, of one dataset.
const PAIRS: usize = 200;
/// Lists of one dataset.
const LISTS: usize = 40;
/// Of every three pairs two masks and two images; and the lists.
const BATCH_FILES: usize = 2 * PAIRS * 2 / 3 + LISTS;
/// What became of the files of a batch.
#[derive(Default)]
struct Tally {
    /// By kind of damage, of the dataset in VOC layout.
    images: Table,
    masks: Table,
    lists: Table,
    /// Findings of `data check` by kind.
    kinds: BTreeMap<&'static str, usize>,
    pairs_loaded: usize,
    pairs_refused: usize,
}

/// What was done to the images and masks of a dataset, by their paths.
#[derive(Default)]
struct Damaged {
    images: Vec<(String, &'static str)>,
    masks: Vec<(String, &'static str)>,
}

impl Damaged {
    /// Which of it was told of, by name.
    fn count(&self, report: &Report, tally: &mut Tally) {
        let is_named = |path: &str| report.faults().any(|fault| fault.message.contains(path));
        for (path, kind) in &self.images {
            tally.images.count(kind, is_named(path));
        }
        for (path, kind) in &self.masks {
            tally.masks.count(kind, is_named(path));
        }
    }
}

struct Seeds {
    images: Vec<Vec<u8>>,
    masks: Vec<Vec<u8>>,
    lists: Vec<Vec<u8>>,
}

#[test]
fn damaged_files_are_named_and_nothing_panics_or_hangs() {
    let n_files = setting("FUZZ_FILES").map_or(FILES, |n_files| n_files * 3 / 5);
    let seed = setting("FUZZ_SEED").unwrap_or(0) as u64;
    // To look at one batch again.
    let first = setting("FUZZ_FROM").unwrap_or(0) as u64;
    let last = first + n_files.div_ceil(BATCH_FILES) as u64;
    let seeds = seeds();
    let started = Instant::now();
    let total = watched("batch", first..last, Tally::default(), move |total, batch| {
        run_batch(&seeds, &mut rng::keyed(seed, "fuzz data", &[batch]), total);
    });
    for (table, title) in
        [(&total.images, "images"), (&total.masks, "masks"), (&total.lists, "lists")]
    {
        println!("{}", table.text(title));
    }
    let Tally { kinds, pairs_loaded, pairs_refused, .. } = &total;
    println!("findings of three datasets: {kinds:?}");
    println!("pairs of three datasets: {pairs_loaded} loaded, {pairs_refused} refused");
    println!("in {:.1?}", started.elapsed());
    for table in [&total.images, &total.masks] {
        let total = table.total();
        assert!(total.named > total.files / 3, "most damage is seen: {total:?}");
    }
    assert!(*pairs_loaded > n_files / 50, "some damage does no harm");
}

/// Sound files; `FUZZ_SEEDS` names a folder with more of them.
fn seeds() -> Seeds {
    let mut seeds = Seeds { images: mutate::images(), masks: mutate::masks(), lists: lists() };
    if let Ok(folder) = std::env::var("FUZZ_SEEDS") {
        for entry in fs_err::read_dir(folder).unwrap() {
            let bytes = fs_err::read(entry.unwrap().path()).unwrap();
            if decode_mask(&bytes, Path::new("seed")).is_ok() {
                seeds.masks.push(bytes.clone());
            }
            if decode_rgb(&bytes, Path::new("seed")).is_ok() {
                seeds.images.push(bytes);
            }
        }
    }
    seeds
}

fn lists() -> Vec<Vec<u8>> {
    let stems: Vec<String> = (0..20).map(|i| format!("{i:05}\n")).collect();
    let classes = "0 ground\n1 thing\n2 other\n";
    let texts = [
        stems.concat(),
        stems.concat().replace('\n', "\r\n"),
        format!("\u{feff}{}", stems.concat()),
        "2007_000032\n../../x\n/etc/passwd\na b\n\u{e9}\n".to_owned(),
        classes.to_owned(),
        "ground\nthing\n".to_owned(),
    ];
    texts.into_iter().map(String::into_bytes).collect()
}

fn run_batch(seeds: &Seeds, rng: &mut ChaCha8Rng, tally: &mut Tally) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let damaged = write_pairs(rng, seeds, root);
    for config in
        [voc(), folder(&json!({})), folder(&json!({ "label_map": { "0,0,0": 0, "128,0,0": 1 } }))]
    {
        let dataset = dataset::open_at(&config, root).unwrap();
        let report = check_pairs(&dataset, tally);
        if config == voc() {
            damaged.count(&report, tally);
        }
    }
    for _ in 0..LISTS {
        check_list(rng, seeds, root, tally);
    }
}

fn voc() -> Config {
    serde_json::from_value(json!({ "kind": "voc" })).unwrap()
}

fn folder(extra: &serde_json::Value) -> Config {
    let mut config = json!({
        "kind": "folder",
        "root": ".",
        "images": "JPEGImages/{stem}.*",
        "masks": "SegmentationClass/{stem}.png",
        "classes": { "names": ["ground", "thing"] },
        "splits": { "train": "ImageSets/Segmentation/train.txt" },
    });
    config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

/// Pairs of which the image, the mask or both are damaged.
fn write_pairs(rng: &mut ChaCha8Rng, seeds: &Seeds, root: &Path) -> Damaged {
    let mut done = Damaged::default();
    for part in ["JPEGImages", "SegmentationClass", "ImageSets/Segmentation"] {
        fs_err::create_dir_all(root.join(part)).unwrap();
    }
    fs_err::write(root.join("classes.txt"), "0 ground\n1 thing\n").unwrap();
    for i in 0..PAIRS {
        let which = below(rng, 3);
        let (image_name, mask_name) =
            (format!("JPEGImages/{i:05}.jpg"), format!("SegmentationClass/{i:05}.png"));
        let image = if which == 0 {
            mutate::pick(rng, &seeds.images).clone()
        } else {
            let (bytes, kind) = damaged(rng, &seeds.images);
            done.images.push((image_name.clone(), kind));
            bytes
        };
        let mask = if which == 1 {
            sound_mask(&image)
        } else {
            let (bytes, kind) = damaged(rng, &seeds.masks);
            done.masks.push((mask_name.clone(), kind));
            bytes
        };
        fs_err::write(root.join(image_name), image).unwrap();
        fs_err::write(root.join(mask_name), mask).unwrap();
    }
    let list: Vec<String> = (0..PAIRS).map(|i| format!("{i:05}\n")).collect();
    fs_err::write(root.join("ImageSets/Segmentation/train.txt"), list.concat()).unwrap();
    done
}

/// Of the size that the damaged image has now, so that what loads goes on to the loader.
fn sound_mask(image: &[u8]) -> Vec<u8> {
    let size = decode_rgb(image, Path::new("x")).map(|image| [image.width, image.height]);
    let [width, height] = size.unwrap_or([mutate::WIDTH, mutate::HEIGHT]);
    let mask = Mask { width, height, classes: vec![1; (width * height) as usize] };
    write_png_mask_stored(&mask, &dino_sweep::data::image_io::voc_palette())
}

/// `data check` finds a fault in just the pairs that do not load; those that do make batches.
fn check_pairs(dataset: &Dataset, tally: &mut Tally) -> Report {
    let report = Check::new(dataset, &["train".to_owned()]).unwrap().run(&|| {});
    count(&report, tally);
    let split = dataset.split("train").unwrap();
    let mut sound: Vec<Item> = Vec::new();
    for (index, item) in split.items.iter().enumerate() {
        let faults: Vec<_> =
            report.faults().filter(|fault| fault.item.as_ref() == Some(&item.id)).collect();
        let stops = faults.iter().any(|fault| fault.kind != Kind::DamagedImage);
        match split.load(index) {
            Ok(sample) => {
                assert!(!stops, "{faults:?} in a pair that loads");
                let n = (sample.image.width * sample.image.height) as usize;
                assert_eq!((sample.image.pixels.len(), sample.mask.classes.len()), (3 * n, n));
                assert!(sample.mask.classes.iter().all(|class| matches!(class, 0 | 1 | 255)));
                sound.push(item.clone());
                tally.pairs_loaded += 1;
            }
            Err(error) => {
                assert!(stops, "{}: `data check` does not see: {error}", item.id);
                let names = |text: &str| text.contains(&item.id);
                assert!(names(&error.to_string()), "the file is not named: {error}");
                assert!(faults.iter().all(|fault| names(&fault.message)), "{faults:?}");
                tally.pairs_refused += 1;
            }
        }
    }
    let classes = dataset.classes.clone().into();
    load_all(Split::new("train", sound, &dataset.root, classes, split.labels().clone()));
    report
}

fn load_all(split: Split) {
    let n = split.len();
    let loader = TrainLoader::new(TrainLoaderConfig {
        split: Arc::new(split),
        input_px: [28, 42],
        transform: Transform::default(),
        photometric: false,
        batch_size: 16,
        seed: 0,
        flip: 0.5,
        void_as_background: false,
        threads: 2,
        depth: 2,
        cache: Budget::default(),
    });
    let loaded: usize = loader.epoch(0, 0).map(|batch| batch.unwrap().n).sum();
    assert_eq!(loaded, n);
}

/// A damaged list as split and as class file.
fn check_list(rng: &mut ChaCha8Rng, seeds: &Seeds, root: &Path, tally: &mut Tally) {
    let (bytes, kind) = damaged(rng, &seeds.lists);
    let list = root.join("ImageSets/Segmentation/val.txt");
    fs_err::write(&list, &bytes).unwrap();
    let dataset = dataset::open_at(&voc(), root).unwrap();
    let check = Check::new(&dataset, &["val".to_owned()]).unwrap();
    let n_pairs = check.len();
    let report = check.run(&|| {});
    assert_eq!(report.n_pairs as usize, n_pairs);
    // Lines that name no image are told of by the image's name.
    tally.lists.count(kind, report.faults().next().is_some());
    match dataset.split("val") {
        Ok(split) => {
            let names: Vec<&PathBuf> = split.items.iter().map(|item| &item.image).collect();
            assert!(names.iter().all(|path| path.starts_with(&dataset.root)), "{names:?}");
        }
        Err(error) => {
            assert!(report.faults().next().is_some(), "`data check` does not see: {error}");
            assert!(error.to_string().contains("val.txt"), "the file is not named: {error}");
        }
    }
    let classes = root.join("names.txt");
    fs_err::write(&classes, &bytes).unwrap();
    let config = folder(&json!({ "classes": { "file": "names.txt" } }));
    match dataset::open_at(&config, root) {
        Ok(dataset) => assert!((1..=255).contains(&dataset.classes.len())),
        Err(error) => assert!(error.to_string().contains("names.txt"), "not named: {error}"),
    }
}

fn count(report: &Report, tally: &mut Tally) {
    for finding in &report.findings {
        *tally.kinds.entry(finding.kind.name()).or_insert(0) += 1;
    }
}

#[test]
fn sizes_that_do_not_fit_into_a_file_are_refused_before_memory_is_taken() {
    let path = Path::new("bomb.png");
    for seed in mutate::images().into_iter().filter(|seed| seed.starts_with(b"\x89PNG")) {
        for side in [16_000, 16_384] {
            let error = decode_rgb(&relabelled(seed.clone(), side, side), path).unwrap_err();
            assert!(matches!(error, Error::Overdeclared { .. }), "{error}");
        }
        let error = decode_rgb(&relabelled(seed, 60_000, 60_000), path).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    }
    for seed in mutate::masks() {
        let error = decode_mask(&relabelled(seed, 16_000, 16_000), path).unwrap_err();
        assert!(matches!(error, Error::Overdeclared { .. }), "{error}");
    }
    for mut seed in mutate::images().into_iter().filter(|seed| !seed.starts_with(b"\x89PNG")) {
        let at =
            seed.windows(2).position(|w| w[0] == 0xff && (0xc0..=0xc2).contains(&w[1])).unwrap();
        seed[at + 5..at + 9].copy_from_slice(&[0x3f, 0xff, 0x3f, 0xff]);
        let error = decode_rgb(&seed, path).unwrap_err();
        assert!(matches!(error, Error::Overdeclared { .. }), "{error}");
    }
}

#[test]
fn a_file_at_which_a_decoder_panics_never_reaches_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/faults/decoder_panics.jpg");
    let error = read_rgb(&path).unwrap_err().to_string();
    assert!(
        error.contains("decoder_panics.jpg` cannot be read: its channels are in separate scans"),
        "{error}"
    );
}

#[test]
fn the_seeds_are_sound() {
    for (i, seed) in mutate::images().into_iter().enumerate() {
        let image = decode_rgb(&seed, Path::new("x"));
        let image = image.unwrap_or_else(|error| panic!("seed {i}: {error:?}"));
        assert_eq!((image.width, image.height), (mutate::WIDTH, mutate::HEIGHT));
    }
}

fn sweep_check(root: &Path, args: &[&str]) -> (Option<i32>, Vec<u8>, String) {
    let mut command = program::sweep(root);
    command.args(["data", "check"]).args(args).env("SWEEP_DATA_DIRS", root.join("none"));
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), output.stdout, words)
}

#[test]
fn the_program_says_the_same_on_any_number_of_threads_and_ends_as_the_manual_says() {
    let dir = tempfile::tempdir().unwrap();
    write_pairs(&mut rng::keyed(7, "fuzz data", &[]), &seeds(), dir.path());
    let faulty = ["voc", "--root", "."];
    let (code, text, _) = sweep_check(dir.path(), &[&faulty[..], &["--jobs", "1"]].concat());
    assert_eq!(code, Some(1));
    let (_, other, _) = sweep_check(dir.path(), &[&faulty[..], &["--jobs", "7"]].concat());
    assert!(text == other, "the order depends on the threads");
    let (code, text, _) = sweep_check(dir.path(), &[&faulty[..], &["--json"]].concat());
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!((code, &value["version"]), (Some(1), &json!(1)));
    let findings = value["datasets"][0]["report"]["findings"].as_array().unwrap();
    let faults = findings.iter().filter(|finding| finding["level"] == "fault");
    assert_eq!(faults.count() as u64, value["n_faults"].as_u64().unwrap());

    fs_err::write(dir.path().join("ImageSets/Segmentation/val.txt"), "sound\n").unwrap();
    for (part, seed) in [("JPEGImages", mutate::images()), ("SegmentationClass", mutate::masks())] {
        fs_err::write(dir.path().join(part).join("sound.png"), &seed[0]).unwrap();
    }
    let check = |args: &[&str], code: i32, expect: &str| {
        let (found, _, words) = sweep_check(dir.path(), args);
        assert!(found == Some(code) && words.contains(expect), "{args:?}: {found:?} {words}");
    };
    check(&[&faulty[..], &["--split", "val"]].concat(), 0, "");
    check(&[&faulty[..], &["--split", "other"]].concat(), 3, "splits there: train, val");
    check(&["cityscapes"], 3, "https://www.cityscapes-dataset.com");
    check(&["vox"], 2, "neither a kind of dataset");
    check(&["voc", "--set", "data.images=a.png"], 2, "data.images");
    check(&["folder", "--root", "."], 2, "data.classes: missing");
    fs_err::write(dir.path().join("x.toml"), "data.root = '.'\n").unwrap();
    check(&["x.toml"], 1, "");
    check(&["x.toml", "--split", "val"], 0, "");
    check(&["x.toml", "--root", "."], 2, "`--root` works only with a kind of dataset");
}

#[test]
fn a_root_that_is_no_folder_and_names_that_are_no_text_are_named() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("file"), "x").unwrap();
    let check = |args: &[&str], code: i32, expect: &str| {
        let (found, out, words) = sweep_check(dir.path(), args);
        let words = words + &String::from_utf8_lossy(&out);
        assert!(found == Some(code) && words.contains(expect), "{args:?}: {found:?} {words}");
    };
    check(&["voc", "--root", "file"], 3, "`file` is not a folder, as the VOC dataset must be");
    check(&["ade20k", "--root", "."], 3, "is not the ADE20K dataset: it has no `images`");
    fs_err::create_dir_all(dir.path().join("img")).unwrap();
    let odd = dir.path().join(OsStr::from_bytes(b"img/\xff.png"));
    fs_err::write(odd, &mutate::images()[0]).unwrap();
    let text = "name = 'x'\n[data]\nkind = 'folder'\nroot = '.'\nimages = 'img/{stem}.png'\n\
                masks = 'msk/{stem}.png'\nclasses = ['a']\nfractions = { train = 0.5, val = 0.5 }\n";
    fs_err::write(dir.path().join("x.toml"), text).unwrap();
    check(&["x.toml"], 1, "has a name that is not UTF-8; rename it");
}

#[test]
fn quiet_is_quiet() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("a.png"), &mutate::images()[0]).unwrap();
    let words = |quiet: &[&str]| {
        let mut command = program::sweep(dir.path());
        command.args(["corrupt", "a.png", "--corruption", "frost", "--severity", "5"]);
        command.args(["--output", "b.png"]).args(quiet).env("SWEEP_DATA_DIRS", dir.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(words(&[]).contains("wrote `b.png`"));
    assert_eq!(words(&["-q"]), "");
}
