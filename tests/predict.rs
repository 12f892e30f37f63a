//! `sweep predict`: its masks are what scores count, and what cannot be predicted is named.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;
mod video;

use std::path::{Path, PathBuf};

use dino_sweep::data::dataset::{self, Config, ShapesConfig};
use dino_sweep::data::image_io;
use dino_sweep::eval::score::confusion::Confusion;
use dino_sweep::eval::score::metrics::metrics;
use dino_sweep::fs::write_atomic;

const N_VAL: u32 = 5;

/// A folder with one trained run in it.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn trained() -> Self {
        Self::trained_with(&[])
    }

    fn trained_with(flags: &[&str]) -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        let usual = [
            "train",
            "--exp_name=a",
            "--dataset=shapes",
            "--size=tiny",
            "--dino_type=dinov2",
            "--img_dim",
            "42",
            "42",
            "--epochs=2",
            "--use_lora",
            "--lr=0.02",
            "--device=cpu",
            "--set=weights=random",
            "--set=data.n_train=4",
            &format!("--set=data.n_val={N_VAL}"),
            "--set=data.side_px=48",
        ];
        let (text, code) = bench.sweep(&[&usual, flags].concat());
        assert_eq!(code, Some(0), "{text}");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a verb says, and its exit code.
    fn sweep(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let output = program::sweep(self.folder.path()).args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (text.concat(), output.status.code())
    }

    /// The dataset's evaluation split.
    fn val(&self) -> dino_sweep::data::split::Split {
        let shapes =
            ShapesConfig { n_train: 4, n_val: N_VAL, side_px: 48, ..ShapesConfig::default() };
        let dataset = dataset::open(&Config::Shapes(shapes), &[self.path("data")]).unwrap();
        dataset.split("val").unwrap()
    }

    /// The clean mIoU that the run's journal has.
    fn journalled(&self) -> f64 {
        let run = fs_err::read_dir(self.path("results/runs")).unwrap().next().unwrap().unwrap();
        let text = fs_err::read_to_string(run.path().join("events.1.jsonl")).unwrap();
        let scored = text.lines().find(|line| line.contains(r#""kind":"score_ended""#)).unwrap();
        let scored: serde_json::Value = serde_json::from_str(scored).unwrap();
        scored["event"]["metrics"]["miou"].as_f64().unwrap()
    }

    /// The mIoU of the masks in a folder.
    fn miou(&self, folder: &Path) -> f64 {
        let val = self.val();
        let mut confusion = Confusion::new(val.n_classes() as usize);
        for (i, item) in val.items.iter().enumerate() {
            let stem = item.image.file_stem().unwrap().to_string_lossy().into_owned();
            let predicted = image_io::read_mask(&folder.join(format!("{stem}.png"))).unwrap();
            confusion.add(&val.load_mask(i).unwrap().classes, &predicted.classes);
        }
        metrics(&confusion, None, val.len() as u64).miou.unwrap()
    }
}

#[test]
fn masks_are_what_the_run_was_scored_by() {
    let bench = Bench::trained();
    let images: Vec<_> =
        bench.val().items.iter().map(|item| item.image.display().to_string()).collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    let (text, code) =
        bench.sweep(&[&["predict", "--run=latest", "--output=p"], images.as_slice()].concat());
    assert_eq!(code, Some(0), "{text}");
    assert!((bench.miou(&bench.path("p")) - bench.journalled()).abs() < 1e-12, "{text}");
}

#[test]
fn every_output_is_of_the_images_size_and_agrees_with_the_others() {
    let bench = Bench::trained();
    let item = &bench.val().items[0];
    let image = image_io::read_rgb(&item.image).unwrap();
    let name = item.image.file_stem().unwrap().to_string_lossy().into_owned();
    let file = item.image.display().to_string();
    let flags = ["--write=mask,overlay,confidence,probabilities", "--flip", "--scales=0.75,1"];
    let (text, code) = bench.sweep(&[&["predict", "--run=latest", &file], &flags[..]].concat());
    assert_eq!(code, Some(0), "{text}");
    let path = |end: &str| bench.path("predictions").join(format!("{name}{end}"));
    let mask = image_io::read_mask(&path(".png")).unwrap();
    let confidence = image_io::read_rgb(&path("_confidence.png")).unwrap();
    let overlay = image_io::read_rgb(&path("_overlay.png")).unwrap();
    assert_eq!((mask.width, mask.height), (image.width, image.height));
    assert_eq!((confidence.width, confidence.height), (image.width, image.height));
    assert!(overlay.width == image.width && overlay.height > image.height);
    let bytes = fs_err::read(path(".safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor("probabilities").unwrap();
    let n_pixels = mask.classes.len();
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(tensor.data());
    let of = |class: usize, i: usize| values[class * n_pixels + i];
    for (i, class) in mask.classes.iter().enumerate() {
        let all: Vec<f32> = (0..tensor.shape()[0]).map(|class| of(class, i)).collect();
        let most = all.iter().copied().fold(0.0, f32::max);
        assert!((all.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert!(of(usize::from(*class), i) > most - 1e-5, "the class is the likeliest");
        let shown = f32::from(confidence.pixels[3 * i]) / 255.0;
        assert!((shown - most).abs() < 0.003, "{shown} {most}");
    }
}

#[test]
fn an_image_that_cannot_be_read_is_named_and_the_others_go_on() {
    let bench = Bench::trained();
    let good = bench.val().items[0].image.clone();
    fs_err::create_dir(bench.path("in")).unwrap();
    fs_err::copy(&good, bench.path("in/good.png")).unwrap();
    write_atomic(&bench.path("in/bad.png"), b"this is no picture").unwrap();
    let (text, code) = bench.sweep(&["predict", "--run=latest", "in", "gone.png"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("in/bad.png") && text.contains("gone.png"), "{text}");
    assert!(bench.path("predictions/good.png").exists(), "{text}");
    // Nor is one image's output replaced by another's.
    fs_err::copy(&good, bench.path("good_overlay.png")).unwrap();
    let both = ["predict", "--run=latest", "in/good.png", "good_overlay.png", "--output=both"];
    let (text, code) = bench.sweep(&both);
    assert!(code == Some(2) && text.contains("would both be written into"), "{text}");
    assert!(!bench.path("both").exists());
    // An input is never overwritten.
    let (text, code) = bench.sweep(&["predict", "--run=latest", "in/good.png", "--output=in"]);
    assert!(code == Some(2) && text.contains("would be overwritten"), "{text}");
    assert_eq!(fs_err::read(good).unwrap(), fs_err::read(bench.path("in/good.png")).unwrap());
}

#[test]
fn a_video_is_predicted_frame_by_frame() {
    if !video::can_be_read() {
        return;
    }
    let bench = Bench::trained();
    let mut made = video::ffmpeg(&["-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=0.2"]);
    assert!(made.arg(bench.path("clip.mp4")).status().unwrap().success());
    let mut frames = video::ffmpeg(&["-i"]);
    fs_err::create_dir(bench.path("frames")).unwrap();
    let frames = frames.arg(bench.path("clip.mp4")).arg(bench.path("frames/%06d.png"));
    assert!(frames.status().unwrap().success());
    let (text, code) = bench.sweep(&["predict", "--run=latest", "clip.mp4"]);
    assert!(code == Some(0) && text.contains("5 frames"), "{text}");
    let (text, code) =
        bench.sweep(&["predict", "--run=latest", "frames", "--write=mask", "--output=masks"]);
    assert_eq!(code, Some(0), "{text}");
    let overlay = bench.path("predictions/clip_overlay.mp4");
    assert_eq!(video::probe(&overlay), "64,48,25/1,5");
    for i in 1..=5 {
        let read = |name: String| fs_err::read(bench.path(&name)).unwrap();
        let (ours, own) = (format!("predictions/clip/{i:06}.png"), format!("masks/{i:06}.png"));
        assert_eq!(read(ours), read(own), "frame {i}");
    }
    assert!(bench.path("predictions/clip_legend.png").exists());
}

#[test]
fn nonsense_is_one_clear_message() {
    let bench = Bench::trained();
    let refused = |arguments: &[&str], expect: &str, exit: i32| {
        let (text, code) = bench.sweep(&[&["predict"], arguments].concat());
        assert!(code == Some(exit) && text.contains(expect), "{arguments:?}: {code:?} {text}");
    };
    write_atomic(&bench.path("a.png"), b"-").unwrap();
    refused(&["a.png"], "--run <RUN>", 2);
    refused(&["a.png", "--run=zz"], "no run's id", 2);
    refused(&["*.gif", "--run=latest"], "no file is called", 2);
    refused(&["a.png", "--run=latest", "--slide=8,9"], "512,341", 2);
    refused(&["a.mp4", "--run=latest"], "`a.mp4` does not exist", 2);
    refused(&["a.png", "b.mp4", "--run=latest"], "must be the only input", 2);
    refused(&["a.png", "--adapter=no.pt", "--weights=no.pth"], "no.pt", 3);
    let one =
        image_io::write_png_rgb(&dino_sweep::data::Rgb { width: 1, height: 1, pixels: vec![9; 3] });
    write_atomic(&bench.path("one.png"), &one).unwrap();
    let (text, code) = bench.sweep(&["predict", "--run=latest", "one.png"]);
    assert_eq!(code, Some(0), "one pixel is an image: {text}");
}

#[test]
fn a_figure_shows_the_runs_first_set_though_it_is_of_another_dataset() {
    let sets = "--set=eval.sets=[{ kind = 'shapes', side_px = 32, n_val = 2, split = 'val' }]";
    let bench = Bench::trained_with(&[sets]);
    let flags = ["figure", "corruption", "--run", "latest", "--n=24", "--output=f.png"];
    let (text, code) = bench.sweep(&flags);
    assert_eq!(code, Some(0), "{text}");
    let width = image_io::read_rgb(&bench.path("f.png")).unwrap().width;
    // Its two images; the run's own dataset has five.
    assert!(width > 2 * 240 && width < 3 * 240 + 200, "{width}");
}

#[test]
fn a_figure_shows_runs_under_corruption() {
    let bench = Bench::trained();
    let figure = |flags: &[&str]| {
        bench.sweep(&[&["figure", "corruption", "--run", "latest"], flags].concat())
    };
    let (text, code) =
        figure(&["--n=2", "--corruptions=fog,fog", "--levels=0,5", "--output=f.png"]);
    assert_eq!(code, Some(0), "{text}");
    let picture = image_io::read_rgb(&bench.path("f.png")).unwrap();
    // Four columns: two images, clean and in fog.
    assert!(picture.width > 4 * 240 && picture.width < 5 * 240 + 200, "{}", picture.width);
    let (text, code) = figure(&["--n=1", "--output=f.svg"]);
    assert_eq!(code, Some(0), "{text}");
    let svg = fs_err::read_to_string(bench.path("f.svg")).unwrap();
    // Image, corrupted, labels, prediction and the legend.
    assert_eq!(svg.matches("<image").count(), 5);
    for (flags, expect) in [
        (&["--output=f.gif"][..], "must end in .png or .svg"),
        (&["--output=f.png", "--corruptions=fogg"], "did you mean `fog`?"),
        (&["--output=f.png", "--levels=6"], "0..=5"),
        (&["--output=f.png", "--images=nobody"], "has no image called `nobody`"),
        (&["--output=f.png", "--n=5", "--corruptions=all"], "more than 24"),
    ] {
        let (text, code) = figure(flags);
        assert!(code == Some(2) && text.contains(expect), "{flags:?}: {text}");
    }
}
