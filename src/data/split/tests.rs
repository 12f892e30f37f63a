use std::time::{Duration, Instant};

use super::*;
use crate::data::image_io::{voc_palette, write_png_mask, write_png_rgb};

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    /// `n` images of 4x3 pixels with masks of classes 0 and 1 and void.
    fn new(n: usize) -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap() };
        for index in 0..n {
            fixture.write_image(index, 4, 3);
            fixture.write_mask(index, 4, 3, &[0, 1, 255, (index % 2) as u8]);
        }
        fixture
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("set")
    }

    fn item(&self, index: usize) -> Item {
        let id = format!("{index:03}");
        let image = self.root().join("images").join(format!("{id}.png"));
        let mask = self.root().join("masks").join(format!("{id}.png"));
        Item { id, image, mask }
    }

    fn write_image(&self, index: usize, width: u32, height: u32) {
        let pixels = (0..width * height * 3).map(|i| (i + index as u32) as u8).collect();
        write(&self.item(index).image, &write_png_rgb(&Rgb { width, height, pixels }));
    }

    fn write_mask(&self, index: usize, width: u32, height: u32, classes: &[u8]) {
        let n = (width * height) as usize;
        let classes = classes.iter().cycle().take(n).copied().collect();
        let mask = Mask { width, height, classes };
        write(&self.item(index).mask, &write_png_mask(&mask, &voc_palette()));
    }

    fn split(&self, order: impl IntoIterator<Item = usize>) -> Split {
        self.split_of(order, &["ground", "thing"], Labels::Plain)
    }

    fn split_of(
        &self,
        order: impl IntoIterator<Item = usize>,
        classes: &[&str],
        labels: Labels,
    ) -> Split {
        let items = order.into_iter().map(|index| self.item(index)).collect();
        let classes: Vec<String> = classes.iter().map(|&name| name.to_owned()).collect();
        Split::new("train", items, &self.root(), classes.into(), labels)
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, bytes).unwrap();
}

#[test]
fn a_sample_is_image_and_mask() {
    let fixture = Fixture::new(2);
    let sample = fixture.split(0..2).load(1).unwrap();
    assert_eq!((sample.id.as_str(), sample.image.width, sample.image.height), ("001", 4, 3));
    assert_eq!(sample.mask.classes, [0, 1, 255, 1].repeat(3));
}

#[test]
fn a_mask_of_another_size_is_refused() {
    let fixture = Fixture::new(1);
    fixture.write_mask(0, 3, 4, &[0]);
    let error = fixture.split(0..1).load(0).unwrap_err();
    let Item { image, mask, .. } = fixture.item(0);
    let expect = format!(
        "mask `{}` is 3x4, but its image `{}` is 4x3 (width x height)",
        mask.display(),
        image.display()
    );
    assert_eq!(error.to_string(), expect);
}

#[test]
fn a_class_out_of_range_is_refused() {
    let fixture = Fixture::new(1);
    fixture.write_mask(0, 4, 3, &[0, 1, 255, 0, 0, 1, 2, 3, 0, 0, 0, 0]);
    let error = fixture.split(0..1).load(0).unwrap_err();
    let expect = format!(
        "mask `{}` has class 2 (first at x 2, y 1); allowed: 0 to 1, and 255 for void",
        fixture.item(0).mask.display()
    );
    assert_eq!(error.to_string(), expect);
}

#[test]
fn labels_from_one_count_down_and_zero_is_void() {
    let fixture = Fixture::new(1);
    let split = fixture.split_of(0..1, &["wall", "sky"], Labels::FromOne);
    fixture.write_mask(0, 4, 3, &[0, 1, 2, 255]);
    assert_eq!(split.load(0).unwrap().mask.classes, [255, 0, 1, 255].repeat(3));
    fixture.write_mask(0, 4, 3, &[0, 3]);
    let error = split.load(0).unwrap_err();
    assert!(matches!(error, Error::ClassOutOfRange { class: 3, class_max: 2, x: 1, y: 0, .. }));
}

#[test]
fn unreadable_files_are_named() {
    let fixture = Fixture::new(1);
    let split = fixture.split(0..1);
    let Item { image, mask, .. } = fixture.item(0);
    let whole = fs_err::read(&image).unwrap();
    write(&image, &whole[..whole.len() - 20]);
    let error = split.load(0).unwrap_err();
    assert!(matches!(error, Error::Truncated { path, .. } if path == image));
    fs_err::remove_file(&image).unwrap();
    let error = split.load(0).unwrap_err();
    assert!(matches!(error, Error::MissingImage { path } if path == image));
    write(&mask, b"<html><body>Not Found</body></html>");
    let error = split.load(0).unwrap_err();
    assert!(matches!(error, Error::NotAnImage { path, .. } if path == mask));
    fs_err::remove_file(&mask).unwrap();
    let error = split.load(0).unwrap_err();
    assert!(matches!(error, Error::MissingMask { path } if path == mask));
}

#[test]
fn held_out_images_are_drawn_by_seed() {
    let fixture = Fixture::new(0);
    let split = fixture.split(0..20);
    let (rest, dev) = split.hold_out(0.25, 1);
    assert_eq!((rest.name.as_str(), rest.len()), ("train", 15));
    assert_eq!((dev.name.as_str(), dev.len()), ("dev", 5));
    let mut all: Vec<Item> = rest.items.iter().chain(&dev.items).cloned().collect();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(all, split.items);
    assert!(rest.items.is_sorted_by_key(|item| &item.id));
    assert!(dev.items.is_sorted_by_key(|item| &item.id));
    assert_eq!(split.hold_out(0.25, 1).1.items, dev.items);
    assert_ne!(split.hold_out(0.25, 2).1.items, dev.items);
    assert_eq!(split.hold_out(0.0, 1).1.len(), 0);
    assert_eq!(split.hold_out(1.0, 1).0.len(), 1);
    assert_eq!(split.hold_out(0.001, 1).1.len(), 1);
    assert_eq!(fixture.split(0..1).hold_out(0.5, 1).1.len(), 0);
}

#[test]
fn the_fingerprint_tells_what_matters() {
    let fixture = Fixture::new(3);
    let print = || fixture.split(0..3).fingerprint(None).unwrap();
    let first = print();
    assert_eq!(first.len(), 64);
    assert_eq!(first, print());

    assert_ne!(first, fixture.split([1, 0, 2]).fingerprint(None).unwrap());
    assert_ne!(first, fixture.split(0..2).fingerprint(None).unwrap());
    let names = |classes: &[&str]| fixture.split_of(0..3, classes, Labels::Plain);
    assert_ne!(first, names(&["ground", "thin"]).fingerprint(None).unwrap());
    assert_ne!(first, names(&["ground", "thing", "x"]).fingerprint(None).unwrap());
    let other = fixture.split_of(0..3, &["ground", "thing"], Labels::FromOne);
    assert_ne!(first, other.fingerprint(None).unwrap());

    fixture.write_mask(1, 4, 3, &[1, 0, 255, 1]);
    assert_ne!(first, print());
    fixture.write_mask(1, 4, 3, &[0, 1, 255, 1]);
    assert_eq!(first, print());

    let image = fixture.item(2).image;
    let whole = fs_err::read(&image).unwrap();
    write(&image, &[&whole[..], b"x"].concat());
    assert_ne!(first, print());
}

#[test]
fn the_fingerprint_stays_where_the_dataset_moves() {
    let (here, there) = (Fixture::new(3), Fixture::new(3));
    let print = |fixture: &Fixture| fixture.split(0..3).fingerprint(None).unwrap();
    assert_eq!(print(&here), print(&there));
}

#[test]
fn all_missing_files_are_counted() {
    let fixture = Fixture::new(9);
    for index in [1, 2, 3, 4] {
        fs_err::remove_file(fixture.item(index).image).unwrap();
    }
    for index in [0, 1, 2] {
        fs_err::remove_file(fixture.item(index).mask).unwrap();
    }
    let error = fixture.split(0..9).fingerprint(None).unwrap_err();
    let Error::MissingFiles { n_items: 9, n_images: 4, n_masks: 3, first, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(first.len(), 5);
    assert_eq!(first[4], fixture.item(0).mask);
    let text = error.to_string();
    assert!(text.starts_with("split `train` of 9 images lacks 4 images and 3 masks"), "{text}");
    assert!(text.contains("and 2 more"), "{text}");
}

/// A time at which files written now count as settled.
fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(10)
}

#[test]
fn the_cache_is_quick_and_never_stale() {
    let fixture = Fixture::new(320);
    let cache = fixture.dir.path().join("cache/prints.json");
    let masks = fixture.dir.path().join("cache/prints.masks.json");
    let print = || fingerprint::of(&fixture.split(0..320), Some(&cache), later()).unwrap();
    let truth = || fixture.split(0..320).fingerprint(None).unwrap();

    // Files that may still change within one tick of the clock are not cached.
    let newest = fs_err::metadata(fixture.item(0).mask).unwrap().modified().unwrap();
    let print_now = fingerprint::of(&fixture.split(0..320), Some(&cache), newest);
    assert_eq!(print_now.unwrap(), truth());
    assert!(!cache.exists() && !masks.exists());
    let first = print();
    assert_eq!(first, truth());
    assert!(cache.exists() && masks.exists());

    let start = Instant::now();
    assert_eq!(print(), first);
    let time = start.elapsed();
    // 8 ms on an idle machine; here others may be building.
    assert!(time < Duration::from_secs(1), "{time:?} for 320 cached files");

    // The same length, put back to the same modification time.
    let path = fixture.item(7).mask;
    let modified = fs_err::metadata(&path).unwrap().modified().unwrap();
    let length = fs_err::metadata(&path).unwrap().len();
    let mut bytes = fs_err::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs_err::write(&path, &bytes).unwrap();
    fs_err::OpenOptions::new().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert_eq!(fs_err::metadata(&path).unwrap().len(), length);
    assert_eq!(print(), truth());
    assert_ne!(print(), first);

    write(&cache, b"{\"version\": 1, \"splits\": [");
    write(&masks, b"{\"version\": 99, \"masks\": {}}");
    assert_eq!(print(), truth());
}

#[test]
fn a_cache_that_cannot_be_written_costs_only_time() {
    let fixture = Fixture::new(2);
    write(&fixture.dir.path().join("file"), b"");
    let cache = fixture.dir.path().join("file/prints.json");
    let split = fixture.split(0..2);
    let print = fingerprint::of(&split, Some(&cache), later()).unwrap();
    assert_eq!(print, split.fingerprint(None).unwrap());
}
