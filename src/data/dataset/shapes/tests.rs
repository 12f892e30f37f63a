use std::collections::BTreeMap;

use super::*;
use crate::data::VOID;
use crate::data::dataset::{Config, open, open_at};

fn config() -> ShapesConfig {
    ShapesConfig { n_train: 6, n_val: 3, side_px: 48, seed: 1, ..ShapesConfig::default() }
}

fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for part in [voc::IMAGES, voc::MASKS, voc::SPLITS, ""] {
        for entry in fs_err::read_dir(root.join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                files.insert(name, fs_err::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn the_generator_is_pinned() {
    let mut bytes = Vec::new();
    for (split, index) in [("train", 0), ("train", 1), ("val", 0)] {
        let (image, mask) = generate(&ShapesConfig::default(), split, index);
        bytes.extend(image.pixels);
        bytes.extend(mask.classes);
    }
    insta::assert_snapshot!(sha256_bytes(&bytes), @"422877966289f59bf4fc615a2c6b15195c03e1956ddb6bee8eba9d938cd4409c");
    insta::assert_snapshot!(folder_name(&ShapesConfig::default()), @"cf97a9da6c5fa5b4");
}

#[test]
fn what_is_written_is_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = open(&Config::Shapes(config()), &[dir.path().to_owned()]).unwrap();
    assert_eq!((dataset.name.as_str(), dataset.n_classes()), ("shapes", 7));
    let (train, val) = (dataset.train_split().unwrap(), dataset.split("val").unwrap());
    assert_eq!((train.len(), val.len()), (6, 3));
    for (split, index) in [(&train, 5), (&val, 2)] {
        let (image, mask) = generate(&config(), &split.name, index);
        let sample = split.load(index as usize).unwrap();
        assert_eq!((sample.image, sample.mask), (image, mask));
    }
    insta::assert_snapshot!(val.fingerprint(None).unwrap(), @"ff8a407edc44d0d2f7c9d7b5ebc6e0cac936a12735e9f76d4d2ff01553edb7bd");
}

#[test]
fn files_do_not_depend_on_threads() {
    let write = |n_threads| {
        let dir = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        let data_dirs = [dir.path().to_owned()];
        let root = pool.install(|| materialise(&config(), &data_dirs)).unwrap();
        files(&root)
    };
    let one = write(1);
    assert_eq!(one.len(), 2 * 9 + 2 + 2);
    assert!(one == write(4));
}

#[test]
fn several_may_ask_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let data_dirs = [dir.path().to_owned()];
    std::thread::scope(|scope| {
        let tries: Vec<_> =
            (0..4).map(|_| scope.spawn(|| materialise(&config(), &data_dirs).unwrap())).collect();
        for attempt in tries {
            let root = attempt.join().unwrap();
            assert_eq!(files(&root).len(), 22);
        }
    });
    let entries = fs_err::read_dir(dir.path().join("shapes")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().all(|name| !name.contains("tmp")));
}

#[test]
fn an_unfinished_folder_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let data_dirs = [dir.path().to_owned()];
    let root = materialise(&config(), &data_dirs).unwrap();
    let whole = files(&root);
    fs_err::remove_file(root.join(MARKER)).unwrap();
    fs_err::remove_file(root.join(voc::IMAGES).join("val_000001.png")).unwrap();
    fs_err::create_dir_all(root.with_file_name(format!(".{}.tmp/x", folder_name(&config()))))
        .unwrap();
    assert_eq!(materialise(&config(), &data_dirs).unwrap(), root);
    assert!(files(&root) == whole);
}

#[test]
fn settings_have_their_own_folder_and_limits() {
    let dir = tempfile::tempdir().unwrap();
    let data_dirs = [dir.path().to_owned()];
    let other = ShapesConfig { seed: 2, ..config() };
    assert_ne!(folder_name(&config()), folder_name(&other));
    let error = materialise(&ShapesConfig { side_px: 8, ..config() }, &data_dirs).unwrap_err();
    assert_eq!(error.to_string(), "`data.side_px` is 8; allowed: 32 to 1024");
    let error = materialise(&ShapesConfig { n_val: 0, ..config() }, &data_dirs).unwrap_err();
    assert_eq!(error.to_string(), "`data.n_val` is 0; allowed: 1 to 1000000");
    let error =
        materialise(&ShapesConfig { colour_hint_pct: 101, ..config() }, &data_dirs).unwrap_err();
    assert_eq!(error.to_string(), "`data.colour_hint_pct` is 101; allowed: 0 to 100");
    let error = materialise(&config(), &[]).unwrap_err();
    assert!(matches!(error, Error::NoDataDir), "{error}");
}

#[test]
fn a_hint_moves_the_colours_of_objects_alone() {
    let plain = generate(&config(), "val", 0);
    let mean_change = |colour_hint_pct| {
        let hinted = generate(&ShapesConfig { colour_hint_pct, ..config() }, "val", 0);
        assert_eq!(hinted.1, plain.1);
        let mut changes = [(0_u64, 0_u64); 256];
        let pixels = plain.0.pixels.chunks(3).zip(hinted.0.pixels.chunks(3));
        for ((before, after), class) in pixels.zip(&plain.1.classes) {
            let change = before.iter().zip(after).map(|(a, b)| u64::from(a.abs_diff(*b)));
            let (sum, n) = &mut changes[usize::from(*class)];
            (*sum, *n) = (*sum + change.sum::<u64>(), *n + 1);
        }
        let mean = |(sum, n): &(u64, u64)| *sum as f64 / *n as f64;
        // But for corners of objects that reach into a pixel of the ground.
        assert!(mean(&changes[0]) < 1.0, "the ground {}", mean(&changes[0]));
        changes[1..CLASSES.len()].iter().filter(|(_, n)| *n > 0).map(mean).fold(f64::MAX, f64::min)
    };
    let (half, all) = (mean_change(50), mean_change(100));
    assert!(half > 20.0 && all > 1.5 * half, "{half} {all}");
}

#[test]
fn another_hint_is_another_dataset() {
    let dir = tempfile::tempdir().unwrap();
    let fingerprint = |colour_hint_pct| {
        let config = Config::Shapes(ShapesConfig { colour_hint_pct, ..config() });
        let dataset = open(&config, &[dir.path().to_owned()]).unwrap();
        dataset.split("val").unwrap().fingerprint(None).unwrap()
    };
    let all: std::collections::BTreeSet<_> = [0, 40, 60].into_iter().map(fingerprint).collect();
    assert_eq!(all.len(), 3);
}

#[test]
fn a_folder_that_is_known_is_opened_without_being_written() {
    let dir = tempfile::tempdir().unwrap();
    let error = open_at(&Config::Shapes(config()), &dir.path().join("gone")).unwrap_err();
    assert!(matches!(error, Error::MissingDataset { .. }), "{error}");
    assert!(!dir.path().join("gone").exists());
}

#[test]
fn every_class_is_there_and_most_pixels_are_labelled() {
    let config = ShapesConfig { side_px: 64, ..ShapesConfig::default() };
    let mut counts = [0usize; 256];
    for index in 0..60 {
        for class in generate(&config, "val", index).1.classes {
            counts[usize::from(class)] += 1;
        }
    }
    let total: usize = counts.iter().sum();
    assert_eq!(counts[..CLASSES.len()].iter().sum::<usize>() + counts[usize::from(VOID)], total);
    let share = |class: usize| counts[class] as f64 / total as f64;
    assert!(share(0) > 0.4 && share(0) < 0.8, "ground {}", share(0));
    assert!((1..CLASSES.len()).all(|class| share(class) > 0.02), "{counts:?}");
    assert!(share(usize::from(VOID)) < 0.1);
}
