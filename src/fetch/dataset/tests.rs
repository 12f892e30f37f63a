use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::data::image_io::{read_mask, voc_palette, write_png_mask, write_png_rgb};
use crate::data::{Mask, Rgb};
use crate::fetch::download::server::{Fault, Plan, Server};
use crate::fetch::download::{Checksum, Proxy, Settings, Size};
use crate::fs::hash::sha256_bytes;

/// 5 wide, 3 high; see `mat`.
const MAT: &[u8] = include_bytes!("../../../tests/data/sbd/scipy.mat");

type Files = Vec<(String, Vec<u8>)>;

fn image() -> Vec<u8> {
    // Told by its content, whatever it is called.
    write_png_rgb(&Rgb { width: 5, height: 3, pixels: vec![9; 45] })
}

fn mask(class: u8) -> Vec<u8> {
    let mask = Mask { width: 5, height: 3, classes: vec![class; 15] };
    write_png_mask(&mask, &voc_palette())
}

fn voc_files() -> Files {
    let root = "VOCdevkit/VOC2012";
    let mut files = vec![
        (format!("{root}/ImageSets/Segmentation/train.txt"), b"t0\n".to_vec()),
        (format!("{root}/ImageSets/Segmentation/val.txt"), b"v0\n".to_vec()),
        (format!("{root}/SegmentationClass/t0.png"), mask(1)),
        (format!("{root}/SegmentationClass/v0.png"), mask(2)),
    ];
    files.extend(["t0", "v0", "x0", "x1"].map(|s| (format!("{root}/JPEGImages/{s}.jpg"), image())));
    files
}

fn sbd_files() -> Files {
    let root = "benchmark_RELEASE/dataset";
    let mut files = vec![
        (format!("{root}/train.txt"), b"t0\nx1\n".to_vec()),
        (format!("{root}/val.txt"), b"v0\nx0\n".to_vec()),
        (format!("{root}/img/x0.jpg"), image()),
        ("benchmark_RELEASE/README".to_owned(), b"words".to_vec()),
    ];
    files.extend(["t0", "v0", "x0", "x1"].map(|s| (format!("{root}/cls/{s}.mat"), MAT.to_vec())));
    files
}

fn ade_files() -> Files {
    let split = |(split, stem): (&str, &str)| {
        let root = "ADEChallengeData2016";
        [
            (format!("{root}/images/{split}/{stem}.jpg"), image()),
            (format!("{root}/annotations/{split}/{stem}.png"), mask(3)),
        ]
    };
    [("training", "a"), ("validation", "b")].into_iter().flat_map(split).collect()
}

fn tar(files: &Files) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn tgz(files: &Files) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&tar(files)).unwrap();
    encoder.finish().unwrap()
}

fn zip(files: &Files) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// The row of that name, with other content of its files and fewer images.
fn row_of(name: &str, contents: &[Vec<u8>]) -> Row {
    let real = find(name).unwrap();
    let files = real.files.iter().zip(contents).map(|(file, content)| Source {
        size: Size::Exact(content.len() as u64),
        checksum: Checksum::Sha256(sha256_bytes(content).leak()),
        ..*file
    });
    let recipe = match real.recipe {
        Recipe::Sbd { limits, .. } => Recipe::Sbd { n_trainaug: 3, limits },
        other => other,
    };
    Row { files: files.collect::<Vec<_>>().leak(), recipe, unpacked_bytes: 0, ..*real }
}

/// A data folder, and a mirror with the files of a row.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn dirs(&self) -> Vec<PathBuf> {
        vec![self.dir.path().to_owned()]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, row: &Row, server: &Server) -> Result<(PathBuf, bool), Error> {
        let settings =
            Settings { wait: Duration::from_millis(1), proxy: Proxy::None, ..Settings::default() };
        let downloader = Downloader::new(settings).unwrap();
        let (data_dirs, mirror) = (&self.dirs(), Some(server.base.as_str()));
        Job { row, data_dirs, mirror, downloader: &downloader }.run(&mut |_| {})
    }

    fn names(&self) -> Vec<String> {
        let entries = fs_err::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn serve(row: &Row, contents: &[Vec<u8>], faults: Vec<Fault>) -> Server {
    let mut plan = Plan::of("none", b"", faults);
    for (file, content) in row.files.iter().zip(contents) {
        plan.files.insert(file.name.to_owned(), content.clone());
    }
    Server::start(plan)
}

fn voc_config(train: &str) -> Config {
    Config::Voc(VocConfig { root: None, train: train.to_owned() })
}

#[test]
fn voc_lies_where_the_dataset_is_looked_for() {
    let contents = [tar(&voc_files())];
    let row = row_of("voc", &contents);
    let server = serve(&row, &contents, vec![Fault::Drop(3000), Fault::Status(503)]);
    let bench = Bench::new();
    assert_eq!(state(&row, &bench.dirs()), State::Missing);
    let target = bench.path("VOCdevkit/VOC2012");
    assert_eq!(bench.run(&row, &server).unwrap(), (target.clone(), true));
    assert_eq!(state(&row, &bench.dirs()), State::There(target.clone()));
    assert_eq!(bench.names(), ["VOCdevkit"], "nothing else stays");
    let dataset = dataset::open(&voc_config("train"), &bench.dirs()).unwrap();
    assert_eq!(dataset.name, "voc");
    let sample = dataset.train_split().unwrap().load(0).unwrap();
    assert_eq!(sample.mask.classes, [1; 15]);
    let asked = server.requests().len();
    assert_eq!(bench.run(&row, &server).unwrap(), (target, false));
    assert_eq!(server.requests().len(), asked, "what is there is not asked for");
}

#[test]
fn ade20k_lies_where_the_dataset_is_looked_for() {
    let contents = [zip(&ade_files())];
    let row = row_of("ade20k", &contents);
    let bench = Bench::new();
    bench.run(&row, &serve(&row, &contents, vec![])).unwrap();
    let config = Config::Ade20k(Ade20kConfig { root: None });
    let dataset = dataset::open(&config, &bench.dirs()).unwrap();
    assert_eq!(dataset.split("val").unwrap().load(0).unwrap().mask.classes, [2; 15]);
}

#[test]
fn sbd_makes_trainaug_of_voc() {
    let (voc, sbd) = ([tar(&voc_files())], [tgz(&sbd_files())]);
    let (voc_row, sbd_row) = (row_of("voc", &voc), row_of("sbd", &sbd));
    let server = serve(&sbd_row, &sbd, vec![]);
    let bench = Bench::new();
    let error = bench.run(&sbd_row, &server).unwrap_err();
    assert!(matches!(error, Error::NoVoc), "{error}");
    assert_eq!(server.requests(), [""; 0], "nothing is downloaded for nothing");
    bench.run(&voc_row, &serve(&voc_row, &voc, vec![])).unwrap();
    assert!(bench.run(&sbd_row, &server).unwrap().1);
    let root = bench.path("VOCdevkit/VOC2012");
    let lines = fs_err::read_to_string(root.join("ImageSets/Segmentation/trainaug.txt")).unwrap();
    assert_eq!(lines, "t0\nx0\nx1\n", "VOC's val is not among them");
    let read = |stem: &str| {
        read_mask(&root.join("SegmentationClassAug").join(format!("{stem}.png"))).unwrap().classes
    };
    assert_eq!(read("t0"), [1; 15], "VOC's own mask");
    assert_eq!(read("x0"), read_mask_of_mat());
    assert_eq!(read("x1"), read_mask_of_mat());
    let split = dataset::open(&voc_config("trainaug"), &bench.dirs()).unwrap();
    assert_eq!(split.train_split().unwrap().len(), 3);
    assert_eq!(bench.names(), ["VOCdevkit"]);
    assert!(!bench.run(&sbd_row, &server).unwrap().1);
    // Once more where only the split file is gone: nothing is converted twice.
    fs_err::remove_file(root.join("ImageSets/Segmentation/trainaug.txt")).unwrap();
    assert!(bench.run(&sbd_row, &server).unwrap().1);
}

fn read_mask_of_mat() -> Vec<u8> {
    mat::read_u8_field(MAT, "GTcls", "Segmentation").unwrap().classes
}

#[test]
fn an_sbd_that_is_not_whole_adds_nothing() {
    let voc = [tar(&voc_files())];
    let voc_row = row_of("voc", &voc);
    let bench = Bench::new();
    bench.run(&voc_row, &serve(&voc_row, &voc, vec![])).unwrap();
    let mut files = sbd_files();
    files.retain(|(name, _)| !name.ends_with("/val.txt"));
    files.push(("benchmark_RELEASE/dataset/val.txt".to_owned(), b"v0\n".to_vec()));
    let fails = |files: &Files, expect: &str| {
        let sbd = [tgz(files)];
        let row = row_of("sbd", &sbd);
        let error = bench.run(&row, &serve(&row, &sbd, vec![])).unwrap_err().to_string();
        assert!(error.contains(expect), "no `{expect}` in {error}");
        let root = bench.path("VOCdevkit/VOC2012");
        assert!(!root.join("SegmentationClassAug").exists());
        assert!(!root.join("ImageSets/Segmentation/trainaug.txt").exists());
        fs_err::remove_dir_all(bench.path(WORK)).unwrap();
    };
    fails(&files, "2 images instead of 3");
    let mut files = sbd_files();
    for (name, content) in &mut files {
        if name.ends_with("x1.mat") {
            content.truncate(200);
        }
    }
    fails(&files, "`x1.mat`");
}

#[test]
fn frost_is_six_files_in_a_folder() {
    let contents: Vec<_> = (0..6_u8).map(|i| vec![i; 100]).collect();
    let row = row_of("frost", &contents);
    let server = serve(&row, &contents, vec![]);
    let bench = Bench::new();
    bench.run(&row, &server).unwrap();
    for (file, content) in row.files.iter().zip(&contents) {
        assert_eq!(fs_err::read(bench.path("frost").join(file.name)).unwrap(), *content);
    }
    // One was changed since: it is named, and stays.
    fs_err::write(bench.path("frost/frost2.png"), "mine").unwrap();
    let error = bench.run(&row, &server).unwrap_err().to_string();
    assert!(error.contains("frost2.png"), "{error}");
}

#[test]
fn an_archive_that_was_put_there_by_hand_is_used_and_kept() {
    let contents = [tar(&voc_files())];
    let row = row_of("voc", &contents);
    let server = serve(&row, &contents, vec![]);
    let bench = Bench::new();
    let by_hand = bench.path("VOCtrainval_11-May-2012.tar");
    fs_err::write(&by_hand, &contents[0][..500]).unwrap();
    let error = bench.run(&row, &server).unwrap_err().to_string();
    assert!(error.contains("VOCtrainval_11-May-2012.tar`"), "{error}");
    fs_err::write(&by_hand, &contents[0]).unwrap();
    assert!(bench.run(&row, &server).unwrap().1);
    assert_eq!(server.requests(), [""; 0]);
    assert!(by_hand.exists());
}

#[test]
fn what_a_killed_call_left_is_gone_on_with() {
    let contents = [tar(&voc_files())];
    let row = row_of("voc", &contents);
    let bench = Bench::new();
    // Killed in the download,
    let part = bench.path(".fetch/VOCtrainval_11-May-2012.tar.part");
    fs_err::create_dir_all(part.parent().unwrap()).unwrap();
    fs_err::write(&part, &contents[0][..1000]).unwrap();
    assert_eq!(state(&row, &bench.dirs()), State::Partial(1000));
    let server = serve(&row, &contents, vec![]);
    bench.run(&row, &server).unwrap();
    assert_eq!(server.requests(), ["/VOCtrainval_11-May-2012.tar from 1000"]);
    // in unpacking,
    let target = bench.path("VOCdevkit/VOC2012");
    fs_err::remove_dir_all(&target).unwrap();
    fs_err::create_dir_all(bench.path(".fetch/.voc.unpacking/VOCdevkit/VOC2012/junk")).unwrap();
    bench.run(&row, &serve(&row, &contents, vec![])).unwrap();
    assert!(!target.join("junk").exists());
    // and between unpacking and the last rename.
    fs_err::create_dir_all(bench.path(".fetch/voc")).unwrap();
    fs_err::rename(bench.path("VOCdevkit"), bench.path(".fetch/voc/VOCdevkit")).unwrap();
    let server = serve(&row, &contents, vec![]);
    bench.run(&row, &server).unwrap();
    assert_eq!(server.requests(), [""; 0], "the archive is not needed any more");
    assert_eq!(bench.names(), ["VOCdevkit"]);
}

#[test]
fn what_the_user_has_is_not_written_over() {
    let contents = [tar(&voc_files())];
    let row = row_of("voc", &contents);
    let server = serve(&row, &contents, vec![]);
    let bench = Bench::new();
    fs_err::create_dir_all(bench.path("VOCdevkit/VOC2012/JPEGImages")).unwrap();
    let error = bench.run(&row, &server).unwrap_err();
    assert!(matches!(error, Error::Incomplete { .. }), "{error}");
    assert!(error.to_string().contains("SegmentationClass"), "{error}");
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn an_archive_of_something_else_is_refused() {
    let contents = [tar(&ade_files())];
    let row = row_of("voc", &contents);
    let bench = Bench::new();
    let error = bench.run(&row, &serve(&row, &contents, vec![])).unwrap_err();
    assert!(matches!(error, Error::NotInside { .. }), "{error}");
    assert!(!bench.path("VOCdevkit").exists());
}

#[test]
fn gated_rows_say_what_to_do_and_where() {
    let bench = Bench::new();
    let row = find("cityscapes").unwrap();
    let server = serve(row, &[], vec![]);
    let error = bench.run(row, &server).unwrap_err().to_string();
    for part in
        ["register at https://www.cityscapes", "gtFine", bench.path("cityscapes").to_str().unwrap()]
    {
        assert!(error.contains(part), "no `{part}` in {error}");
    }
    fs_err::create_dir_all(bench.path("cityscapes/leftImg8bit")).unwrap();
    fs_err::create_dir_all(bench.path("cityscapes/gtFine")).unwrap();
    assert!(!bench.run(row, &server).unwrap().1);
}

#[test]
fn rows_are_complete() {
    for row in ROWS {
        let is_gated = matches!(row.recipe, Recipe::Gated { .. });
        assert_eq!(row.files.is_empty(), is_gated, "{}", row.name);
        for file in row.files {
            assert!(!file.urls.is_empty());
            assert!(file.urls.iter().all(|url| url.ends_with(file.name)), "{}", file.name);
            let (digits, n) = match file.checksum {
                Checksum::Sha256(digits) => (digits, 64),
                Checksum::Md5(digits) => (digits, 32),
                Checksum::Unpublished => panic!("{} is not checked", file.name),
            };
            assert!(digits.len() == n && digits.chars().all(|c| c.is_ascii_hexdigit()));
        }
    }
    assert_eq!(catalog::VOC.name, "voc");
}
