use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::data::dataset::{self, Config, ShapesConfig};

fn shapes(dir: &std::path::Path) -> Arc<Split> {
    let shapes =
        ShapesConfig { n_train: 11, n_val: 1, side_px: 32, seed: 0, ..ShapesConfig::default() };
    let dataset = dataset::open(&Config::Shapes(shapes), &[dir.to_owned()]).unwrap();
    Arc::new(dataset.train_split().unwrap())
}

fn config(split: &Arc<Split>, threads: usize) -> TrainLoaderConfig {
    TrainLoaderConfig {
        split: Arc::clone(split),
        input_px: [28, 42],
        transform: transform::Config::default(),
        photometric: false,
        batch_size: 4,
        seed: 7,
        flip: 0.5,
        void_as_background: false,
        threads,
        depth: 2,
        cache: Budget::default(),
    }
}

fn batches(config: TrainLoaderConfig, epoch: u32, first_batch: usize) -> Vec<Batch> {
    TrainLoader::new(config).epoch(epoch, first_batch).collect::<Result<_, _>>().unwrap()
}

#[test]
fn batches_depend_on_neither_threads_nor_start() {
    let dir = tempfile::tempdir().unwrap();
    let split = shapes(dir.path());
    let whole = batches(config(&split, 1), 3, 0);
    assert_eq!(whole.iter().map(|batch| batch.n).collect::<Vec<_>>(), [4, 4, 3]);
    for threads in [0, 1, 2, 8] {
        for first_batch in 0..5 {
            let part = batches(config(&split, threads), 3, first_batch);
            assert!(part == whole[first_batch.min(3)..], "{threads} threads from {first_batch}");
        }
    }
}

/// All that is random in training.
fn augmented(split: &Arc<Split>, threads: usize) -> TrainLoaderConfig {
    TrainLoaderConfig {
        transform: transform::Config::Crop(transform::crop::Config::default()),
        photometric: true,
        ..config(split, threads)
    }
}

#[test]
fn crops_and_colours_depend_on_neither_threads_nor_start() {
    let dir = tempfile::tempdir().unwrap();
    let split = shapes(dir.path());
    let whole = batches(augmented(&split, 1), 3, 0);
    for threads in [0, 1, 2, 8] {
        for first_batch in 0..4 {
            let part = batches(augmented(&split, threads), 3, first_batch);
            assert!(part == whole[first_batch.min(3)..], "{threads} threads from {first_batch}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for cache in budgets(folder.path()) {
        let loader = TrainLoader::new(TrainLoaderConfig { cache, ..augmented(&split, 2) });
        for _ in 0..2 {
            assert!(loader.epoch(3, 0).map(Result::unwrap).eq(whole.iter().cloned()));
        }
    }
    let images = |config| -> Vec<_> {
        let batches = batches(config, 4, 0).into_iter();
        let samples = batches.flat_map(|batch| {
            let n = batch.images.len() / batch.n;
            batch.images.chunks(n).map(<[u32]>::to_vec).zip(batch.ids).collect::<Vec<_>>()
        });
        let mut samples: Vec<_> = samples.map(|(image, id)| (id, image)).collect();
        samples.sort_by(|a, b| a.0.cmp(&b.0));
        samples
    };
    let mut before: Vec<_> = whole.iter().flat_map(|batch| batch.ids.clone()).collect();
    before.sort();
    let after = images(augmented(&split, 1));
    assert!(after.iter().map(|(id, _)| id).eq(&before));
    assert!(after != images(TrainLoaderConfig { seed: 8, ..augmented(&split, 1) }));
    assert!(after != images(TrainLoaderConfig { photometric: false, ..augmented(&split, 1) }));
}

#[test]
fn what_a_crop_lacks_is_void_and_beside_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let split = shapes(dir.path());
    let small = transform::crop::Config { scale: [0.5, 0.5], ..Default::default() };
    let config = TrainLoaderConfig {
        transform: transform::Config::Crop(small),
        void_as_background: true,
        ..augmented(&split, 2)
    };
    for batch in batches(config, 0, 0) {
        assert_eq!(batch.images.len(), batch.n * 28 * 42);
        for (i, &target) in batch.targets.iter().enumerate() {
            let (y, x) = (i / 42 % 28, i % 42);
            let is_padded = y >= 14 || x >= 14;
            assert_eq!(target == VOID, is_padded, "{y} {x}");
            let is_inside = batch.images[i] >= transform::INSIDE;
            assert_eq!(is_inside, !is_padded, "{y} {x}");
            assert!(is_inside || batch.images[i] == 0);
        }
    }
}

/// Budgets for none, some and all of 11 samples, by memory and disk.
fn budgets(folder: &std::path::Path) -> Vec<Budget> {
    let sample_bytes: u64 = 28 * 42 * 4;
    let budget = |memory: u64, disk: u64| Budget {
        memory_bytes: memory * sample_bytes,
        disk_bytes: disk * sample_bytes + 7,
        folder: folder.to_owned(),
    };
    let some = [(0, 0), (3, 0), (0, 3), (11, 0), (0, 11), (2, 4), (5, 50)];
    some.map(|(memory, disk)| budget(memory, disk)).to_vec()
}

#[test]
fn batches_depend_on_no_cache() {
    let dir = tempfile::tempdir().unwrap();
    let split = shapes(dir.path());
    let expect: Vec<_> = (0..3).map(|epoch| batches(config(&split, 1), epoch, 0)).collect();
    let folder = tempfile::tempdir().unwrap();
    for cache in budgets(folder.path()) {
        for threads in [0, 1, 2, 8] {
            let config = TrainLoaderConfig { cache: cache.clone(), ..config(&split, threads) };
            let loader = TrainLoader::new(config);
            // As a resumed run: the first epoch from its second batch on.
            for (epoch, first_batch) in [(0, 1), (1, 0), (2, 0), (2, 2)] {
                let got = loader.epoch(epoch, first_batch).collect::<Result<Vec<_>, _>>().unwrap();
                let expect = &expect[epoch as usize][first_batch..];
                assert!(got == expect, "{cache:?}, {threads} threads, epoch {epoch}");
            }
            assert_eq!(loader.take_warning(), None);
        }
    }
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_is_kept_needs_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let split = shapes(dir.path());
    let cache = Budget { memory_bytes: 1 << 20, ..Budget::default() };
    let loader = TrainLoader::new(TrainLoaderConfig { cache, ..config(&split, 2) });
    assert_eq!(loader.epoch(0, 0).flatten().count(), 3);
    fs_err::write(&split.items[5].image, b"").unwrap();
    assert_eq!(loader.epoch(1, 0).flatten().count(), 3);
}

#[test]
fn every_thread_has_work_at_any_batch_size() {
    let check = |threads, batch_size, expect| assert_eq!(depth(threads, batch_size), expect);
    check(1, 1, 4);
    check(2, 4, 4);
    check(64, 1, 128);
    check(64, 16, 8);
    check(64, 64, 4);
}

#[test]
fn waiting_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    let split = shapes(dir.path());
    // Without threads all of loading is waited for.
    let mut epoch = TrainLoader::new(config(&split, 0)).epoch(0, 0);
    assert_eq!(epoch.waited(), Duration::ZERO);
    epoch.next().unwrap().unwrap();
    let first = epoch.waited();
    epoch.next().unwrap().unwrap();
    assert!(first > Duration::ZERO && epoch.waited() > first);
}

#[test]
fn batches_have_their_shapes() {
    let dir = tempfile::tempdir().unwrap();
    let split = shapes(dir.path());
    let loader = TrainLoader::new(config(&split, 2));
    assert_eq!(loader.batches_per_epoch(), 3);
    for batch in loader.epoch(0, 0) {
        let batch = batch.unwrap();
        assert_eq!(batch.ids.len(), batch.n);
        assert_eq!(batch.images.len(), batch.n * 28 * 42);
        assert_eq!(batch.targets.len(), batch.n * 28 * 42);
        assert!(batch.targets.iter().all(|&class| class < 7 || class == VOID));
        assert!(batch.images.iter().all(|pixel| *pixel >= transform::INSIDE));
    }
}

#[test]
fn an_epoch_shows_every_image_once_in_its_own_order() {
    let dir = tempfile::tempdir().unwrap();
    let split = shapes(dir.path());
    let ids = |seed, epoch| -> Vec<String> {
        let config = TrainLoaderConfig { seed, ..config(&split, 2) };
        batches(config, epoch, 0).into_iter().flat_map(|batch| batch.ids).collect()
    };
    let mut sorted = ids(7, 0);
    assert_ne!(sorted, ids(7, 1));
    assert_ne!(sorted, ids(8, 0));
    sorted.sort();
    assert_eq!(sorted, split.items.iter().map(|item| item.id.clone()).collect::<Vec<_>>());
}

#[test]
fn images_and_targets_are_flipped_together() {
    let dir = tempfile::tempdir().unwrap();
    let split = shapes(dir.path());
    let all = |flip| {
        let config = TrainLoaderConfig { flip, input_px: [32, 32], ..config(&split, 2) };
        batches(config, 0, 0)
    };
    let (plain, flipped) = (all(0.0), all(1.0));
    for (plain, flipped) in plain.iter().zip(&flipped) {
        let mirrored: Vec<u8> =
            plain.targets.chunks(32).flat_map(|r| r.iter().rev()).copied().collect();
        assert!(plain.targets != flipped.targets && mirrored == flipped.targets);
        let mirrored: Vec<u32> =
            plain.images.chunks(32).flat_map(|r| r.iter().rev()).copied().collect();
        assert!(mirrored == flipped.images);
    }
    let some = all(0.5);
    assert!(some != plain && some != flipped);
}

#[test]
fn void_can_be_trained_as_background() {
    let dir = tempfile::tempdir().unwrap();
    let split = shapes(dir.path());
    let count = |void_as_background, class| {
        let config = TrainLoaderConfig { void_as_background, ..config(&split, 2) };
        let targets = batches(config, 0, 0).into_iter().flat_map(|batch| batch.targets);
        targets.filter(|&target| target == class).count()
    };
    let n_void = count(false, VOID);
    assert!(n_void > 0 && count(true, VOID) == 0);
    assert_eq!(count(true, 0), count(false, 0) + n_void);
}

#[test]
fn an_unreadable_image_ends_the_epoch_with_its_error() {
    let dir = tempfile::tempdir().unwrap();
    let split = shapes(dir.path());
    fs_err::write(&split.items[5].image, b"").unwrap();
    let items: Vec<_> = TrainLoader::new(config(&split, 2)).epoch(0, 0).collect();
    let (last, before) = items.split_last().unwrap();
    assert!(before.iter().all(Result::is_ok));
    assert!(matches!(last, Err(Error::NotAnImage { path, .. }) if *path == split.items[5].image));
}

#[test]
fn results_come_in_order_however_long_each_takes() {
    for n_threads in [0, 1, 3, 20] {
        let map = ordered_map(40, n_threads, 5, |i| {
            std::thread::sleep(Duration::from_micros((i as u64 * 7919) % 500));
            i * 2
        });
        assert_eq!(map.size_hint(), (40, Some(40)));
        assert!(map.eq((0..40).map(|i| i * 2)));
    }
}

#[test]
fn no_more_than_depth_is_computed_ahead() {
    let started = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&started);
    let mut map = ordered_map(100, 4, 3, move |_| seen.fetch_add(1, Ordering::SeqCst));
    for taken in 1..=50 {
        map.next().unwrap();
        std::thread::sleep(Duration::from_micros(200));
        let n = started.load(Ordering::SeqCst);
        assert!((taken..=taken + 3).contains(&n), "{n} started, {taken} taken");
    }
}

#[test]
fn dropping_stops_the_threads() {
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    let mut map = ordered_map(1_000_000, 4, 2, move |i| (Arc::strong_count(&inside), i).1);
    assert_eq!(map.next(), Some(0));
    drop(map);
    assert_eq!(Arc::strong_count(&held), 1);
    drop(ordered_map(0, 4, 2, |i| i));
    drop(ordered_map(9, 4, usize::MAX, |i| i));
}

#[test]
fn a_panic_comes_out_at_its_place() {
    for n_threads in [0, 2] {
        let mut map = ordered_map(10, n_threads, 4, |i| {
            assert_ne!(i, 3, "the third");
            i
        });
        assert_eq!(map.by_ref().take(3).collect::<Vec<_>>(), [0, 1, 2]);
        let next = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| map.next()));
        let message = next.unwrap_err();
        assert!(message.downcast_ref::<String>().unwrap().contains("the third"));
        assert_eq!(map.next(), Some(4));
    }
}
