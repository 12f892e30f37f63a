//! `sweep pca`: images, a folder, a basis from a file, a video; and what it refuses.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;
mod video;

use std::path::{Path, PathBuf};

use dino_sweep::data::Rgb;
use dino_sweep::data::image_io::{read_rgb, write_png_rgb};
use dino_sweep::fs::write_atomic;
use dino_sweep::weights::TensorFile;

/// Patch of the encoder, pixels.
const PATCH: u32 = 14;

/// A folder with the weights of a tiny DINOv2 and three images, `a`, `b` and `wide`.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        // As Hugging Face has them, whose config says how many heads the tiny model has.
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/v2_reg");
        let meta = fs_err::read(model.join("meta.json")).unwrap();
        let meta: serde_json::Value = serde_json::from_slice(&meta).unwrap();
        let config = serde_json::json!({
            "model_type": "dinov2_with_registers",
            "num_attention_heads": meta["num_heads"],
        });
        write_atomic(&bench.path("weights/config.json"), config.to_string().as_bytes()).unwrap();
        let file = bench.path("weights/model.safetensors");
        fs_err::copy(model.join("backbone.safetensors"), file).unwrap();
        for (name, width, height, phase) in
            [("a", 70, 56, 0), ("b", 70, 56, 9), ("wide", 150, 42, 4)]
        {
            let path = bench.path(&format!("in/{name}.png"));
            write_atomic(&path, &write_png_rgb(&picture(width, height, phase))).unwrap();
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `sweep pca` says, and its exit code; `words` are split at blanks.
    fn pca(&self, words: &str) -> (String, Option<i32>) {
        let mut command = program::sweep(self.folder.path());
        command.args(["pca", "--device=cpu", "--weights=weights"]);
        if !words.contains("--px") {
            command.arg("--px=56");
        }
        let output = command.args(words.split_whitespace()).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (text.concat(), output.status.code())
    }

    fn done(&self, words: &str) -> String {
        let (text, code) = self.pca(words);
        assert_eq!(code, Some(0), "{words}: {text}");
        text
    }

    fn read(&self, name: &str) -> Rgb {
        read_rgb(&self.path(name)).unwrap()
    }
}

/// A bright disc on a dark ground with some texture.
fn picture(width: u32, height: u32, phase: u32) -> Rgb {
    let pixel = |i: u32| {
        let (x, y) = (i % width, i / width);
        let (dx, dy) = (x.abs_diff(width / 2 + phase), y.abs_diff(height / 2));
        let is_disc = dx * dx + dy * dy < 300;
        let level = if is_disc { 200 } else { 40 } + ((x * 7 + y * 13 + phase) % 23) as u8;
        [level, level / 2, 255 - level]
    };
    Rgb { width, height, pixels: (0..width * height).flat_map(pixel).collect() }
}

#[test]
fn pictures_have_their_images_size_and_one_basis() {
    let bench = Bench::new();
    let text = bench.done("in --sheet sheet.png --save-basis basis.safetensors -o out");
    assert!(text.contains("3 images"), "{text}");
    let mut levels = vec![];
    for name in ["a", "b", "wide"] {
        let (image, colours) =
            (bench.read(&format!("in/{name}.png")), bench.read(&format!("out/{name}.png")));
        assert_eq!((colours.width, colours.height), (image.width, image.height), "{name}");
        levels.extend(colours.pixels);
    }
    // All images share the ends of the scale.
    for channel in 0..3 {
        let values = || levels.iter().skip(channel).step_by(3);
        assert_eq!((values().min(), values().max()), (Some(&0), Some(&255)));
    }
    let sheet = bench.read("sheet.png");
    assert!(sheet.width > 290 && sheet.height > 112, "{}x{}", sheet.width, sheet.height);

    // The basis of all on one of them gives the same picture; its own another one.
    bench.done("in/a.png --basis basis.safetensors -o again");
    assert_eq!(bench.read("again/a.png"), bench.read("out/a.png"));
    bench.done("in --basis each -o each");
    bench.done("in/a.png -o own");
    assert_eq!(bench.read("each/a.png"), bench.read("own/a.png"));
    assert_ne!(bench.read("own/a.png"), bench.read("out/a.png"));
    bench.done("in --basis chunk=2 -o chunks");
    bench.done("in/a.png in/b.png -o pair");
    assert_eq!(bench.read("chunks/b.png"), bench.read("pair/b.png"));
    assert_eq!(fs_err::read_dir(bench.path("out")).unwrap().count(), 3, "nothing else is left");
    let basis = TensorFile::open(&bench.path("basis.safetensors")).unwrap();
    let about = |key: &str| basis.metadata()[key].as_str();
    assert_eq!((about("layer"), about("norm")), ("4", "final"));
    assert_eq!(about("weights_sha256").len(), 64);
    assert_eq!(basis.shape("components").unwrap()[0], 3);
}

#[test]
fn looks_differ_as_asked() {
    let bench = Bench::new();
    bench.done("in/a.png -o plain");
    let plain = bench.read("plain/a.png");
    bench.done("in/a.png --components=-1,2,3 -o turned");
    let turned = bench.read("turned/a.png");
    for (a, b) in plain.pixels.chunks(3).zip(turned.pixels.chunks(3)) {
        assert!((i32::from(a[0]) + i32::from(b[0]) - 255).abs() <= 1 && a[1..] == b[1..]);
    }
    for (flags, name) in [
        ("--style dinov3", "style"),
        ("--foreground auto", "foreground"),
        ("--layer 1 --no-norm", "layer"),
        ("--upsample bilinear", "smooth"),
        ("--kmeans 3", "clusters"),
    ] {
        bench.done(&format!("in/a.png {flags} -o {name}"));
        let look = bench.read(&format!("{name}/a.png"));
        assert_eq!((look.width, look.height), (plain.width, plain.height), "{flags}");
        assert_ne!(look, plain, "{flags}");
    }
    let colours = |name: &str| {
        let pixels = bench.read(name).pixels;
        pixels.chunks(3).map(<[u8]>::to_vec).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(colours("clusters/a.png").len(), 3);
    assert!(colours("foreground/a.png").contains(&vec![0, 0, 0]));
    // As squares there is a colour a patch; smoothly there are more.
    let n_patches = (56 / PATCH * (70 / PATCH)) as usize;
    assert!(colours("plain/a.png").len() <= n_patches && colours("smooth/a.png").len() > n_patches);
    bench.done("in/a.png --beside -o beside");
    assert_eq!(bench.read("beside/a.png").width, 140);
}

#[test]
fn an_image_that_cannot_be_read_is_named_and_the_others_are_shown() {
    let bench = Bench::new();
    write_atomic(&bench.path("in/text.png"), b"no image").unwrap();
    write_atomic(&bench.path("in/dot.png"), &write_png_rgb(&picture(1, 1, 0))).unwrap();
    let (text, code) = bench.pca("in -o out");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("not shown:") && text.contains("text.png"), "{text}");
    assert!(text.contains("dot.png` is 1x1 pixels, less than a patch"), "{text}");
    assert_eq!(fs_err::read_dir(bench.path("out")).unwrap().count(), 3);
}

#[test]
fn nonsense_is_one_clear_message() {
    let bench = Bench::new();
    fs_err::create_dir(bench.path("empty")).unwrap();
    write_atomic(&bench.path("text.mp4"), b"no video").unwrap();
    bench.done("in --save-basis basis.safetensors -o out");
    let n = 56 / PATCH * (70 / PATCH);
    for (words, code, said) in [
        ("empty", 2, "has no image"),
        ("none.png", 1, "`none.png` does not exist"),
        ("in --kmeans 0", 2, "0 is not in 1..=255"),
        (&format!("in/a.png --kmeans {}", n + 1), 2, "there are only 20 patches"),
        ("in --layer 99", 2, "--layer 99"),
        ("in --components 1,2", 2, "three components"),
        ("in --components 1,2,999", 2, "no component 999"),
        ("in --basis nothing", 2, "joint, each, chunk=N"),
        ("in --basis weights/model.safetensors", 2, "is not a basis"),
        ("in --basis each --save-basis x.safetensors", 2, "--basis joint"),
        ("in --basis basis.safetensors --layer 1", 2, "its layer is"),
        ("in --upsample naf", 2, "--upsample-weights"),
        ("in -o in", 2, "would be overwritten"),
        ("in --sheet sheet.jpg", 2, "must end in .png"),
        ("in -o out --sheet out/a.png", 2, "would both be written into"),
        ("in -o out --sheet in/a.png", 2, "would be overwritten"),
        ("text.mp4 in/a.png", 2, "must be the only input"),
        ("in --px 13", 2, "less than one patch"),
    ] {
        let (text, found) = bench.pca(words);
        assert_eq!(found, Some(code), "{words}: {text}");
        assert!(text.contains(said), "{words}: {text}");
        assert_eq!(text.matches("error:").count(), 1, "{words}: {text}");
    }
    let mut command = program::sweep(bench.folder.path());
    command.args(["pca", "text.mp4", "--device=cpu", "--weights=weights"]);
    // A place with `env` and nothing else.
    std::os::unix::fs::symlink("/usr/bin/env", bench.path("empty/env")).unwrap();
    let output = command.env("PATH", bench.path("empty")).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("install FFmpeg"), "{text}");
    if video::can_be_read() {
        let (text, code) = bench.pca("text.mp4");
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("`text.mp4` cannot be read as a video"), "{text}");
    }
}

#[test]
fn a_video_keeps_size_rate_and_frames() {
    if !video::can_be_read() {
        return;
    }
    let bench = Bench::new();
    let mut made =
        video::ffmpeg(&["-f", "lavfi", "-i", "testsrc=size=98x57:rate=30000/1001:duration=0.5"]);
    assert!(made.arg(bench.path("clip.mp4")).status().unwrap().success());
    bench.done("clip.mp4 -o out");
    bench.done("clip.mp4 --beside --upsample bilinear -o beside");
    // Odd sides are padded, as players demand.
    assert_eq!(video::probe(&bench.path("clip.mp4")), "98,57,30000/1001,15");
    assert_eq!(video::probe(&bench.path("out/clip.mp4")), "98,58,30000/1001,15");
    assert_eq!(video::probe(&bench.path("beside/clip.mp4")), "196,58,30000/1001,15");
    assert_eq!(fs_err::read_dir(bench.path("out")).unwrap().count(), 1, "nothing else is left");
    // A video without frames.
    let mut sound = video::ffmpeg(&["-f", "lavfi", "-i", "sine=duration=0.1"]);
    assert!(sound.arg(bench.path("sound.mp4")).status().unwrap().success());
    let (text, code) = bench.pca("sound.mp4");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("it has no frames"), "{text}");
}
