//! `sweep upsample` on the original code's cases, and what it refuses.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use std::path::{Path, PathBuf};
use std::process::Output;

use dino_sweep::weights::TensorFile;
use safetensors::serialize;
use safetensors::tensor::{Dtype, TensorView};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/upsample").join(name)
}

/// Runs `sweep upsample`; `words` are split at blanks, `@` begins a path of the original's data.
fn sweep(dir: &Path, words: &str) -> Output {
    let mut command = program::sweep(dir);
    command.arg("upsample");
    for word in words.split_whitespace() {
        match word.strip_prefix('@') {
            Some(name) => command.arg(data(name)),
            None => command.arg(word),
        };
    }
    command.output().unwrap()
}

fn upsampled(dir: &Path, words: &str) -> TensorFile {
    let output = sweep(dir, &format!("{words} --output out.safetensors"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    TensorFile::open(&dir.join("out.safetensors")).unwrap()
}

/// Runs it with the output `out.safetensors`, which must not come to be; returns the message.
fn refused(dir: &Path, words: &str, exit: i32) -> String {
    let output = sweep(dir, &format!("{words} --output out.safetensors"));
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(exit), "{words}: {message}");
    assert!(!dir.join("out.safetensors").exists(), "{words}");
    message
}

fn write(path: &Path, tensors: &[(&str, &[usize], f32)]) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, shape, value)| value.to_le_bytes().repeat(shape.iter().product()))
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
    });
    fs_err::write(path, serialize(views, None).unwrap()).unwrap();
}

/// (case, flags beside it); the published formats are read in two of them.
const CASES: &[(&str, &str)] = &[
    ("jbu/case_a", "--method jbu --weights @jbu/weights_norm_c12.safetensors"),
    ("jbu/case_b", "--method jbu --weights @jbu/weights_norm_c12.ckpt"),
    ("jbu/case_c", "--method jbu --weights @jbu/weights_nonorm_c12.safetensors"),
    ("anyup/case_a", "--method anyup --weights @anyup/weights_qk32.safetensors"),
    ("anyup/case_b", "--method anyup --weights @anyup/weights_qk32.safetensors --size 21,25"),
    ("anyup/case_c", "--method anyup --weights @anyup/weights_qk32.safetensors"),
    ("anyup/case_d", "--method anyup --weights @anyup/weights_qk32.safetensors --size 20,27"),
    ("naf/case_a", "--method naf --weights @naf/weights_dim32.pth --kernel 3"),
    ("naf/case_b", "--method naf --weights @naf/weights_dim32.safetensors"),
    ("naf/case_c", "--method naf --weights @naf/weights_dim32.pth --kernel 5 --size 21,26"),
    ("naf/case_d", "--method naf --weights @naf/weights_dim32.pth --kernel 3 --size 10x16"),
    ("naf/case_e", "--method naf --weights @naf/weights_dim32.pth --kernel 3 --size 30,35"),
];

#[test]
fn every_case_of_the_original_code_is_reached() {
    let dir = tempfile::tempdir().unwrap();
    for (case, flags) in CASES {
        let ours = upsampled(dir.path(), &format!("@{case}.safetensors {flags}"));
        let golden = TensorFile::open(&data(&format!("{case}.safetensors"))).unwrap();
        assert_eq!(ours.names(), ["features"]);
        assert_eq!(ours.shape("features"), golden.shape("output"), "{case}");
        let (ours, expect) = (ours.read("features").unwrap(), golden.read("output").unwrap());
        let largest = expect.iter().fold(0.0f32, |max, value| max.max(value.abs()));
        let worst = ours.iter().zip(&expect).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
        let limit = if case.starts_with("anyup") { 1e-5 } else { 2e-5 };
        assert!(worst <= limit * largest, "{case}: {}", worst / largest);
    }
}

#[test]
fn bilinear_needs_no_weights_and_the_file_says_how_it_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let file = upsampled(dir.path(), "@naf/case_a.safetensors --method bilinear --size 7,9");
    assert_eq!(file.shape("features").unwrap(), [1, 12, 7, 9]);
    assert_eq!(file.metadata()["method"], "bilinear");
    assert_eq!(file.metadata()["size"], "7x9");
    let naf = "@naf/case_a.safetensors --method naf --weights @naf/weights_dim32.pth --kernel 3";
    let file = upsampled(dir.path(), naf);
    assert_eq!(file.metadata()["kernel"], "3");
    assert_eq!(file.metadata()["weights_sha256"].len(), 64);
}

#[test]
fn what_does_not_fit_is_one_clear_message() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let check = |words: &str, exit: i32, expect: &str| {
        let message = refused(dir, words, exit);
        assert!(message.contains(expect), "{words}: {message}");
        let errors = message.lines().filter(|line| !line.is_empty()).count();
        assert_eq!(errors, 1, "{words}: {message}");
    };
    let naf = "--method naf --weights @naf/weights_dim32.safetensors";
    let nan = f32::NAN;
    let file = |name: &str, image: &[usize], features: &[usize], values: [f32; 2]| {
        let path = dir.join(name);
        write(&path, &[("image", image, values[0]), ("features", features, values[1])]);
    };
    file("rank.safetensors", &[3, 8, 8], &[1, 12, 2, 2], [0.0; 2]);
    file("nan.safetensors", &[1, 3, 8, 8], &[1, 12, 2, 2], [0.0, nan]);
    file("grey.safetensors", &[1, 1, 8, 8], &[1, 12, 2, 2], [0.0; 2]);
    file("batch.safetensors", &[2, 3, 8, 8], &[1, 12, 2, 2], [0.0; 2]);
    file("ten.safetensors", &[1, 3, 40, 40], &[1, 10, 10, 10], [0.0; 2]);
    write(&dir.join("none.safetensors"), &[("image", &[1, 3, 8, 8], 0.0)]);
    check(&format!("rank.safetensors {naf}"), 2, "no usable `image`: it is [3, 8, 8], not [batch");
    check(&format!("nan.safetensors {naf} --kernel 1"), 2, "`features`: image 0 of it (from 0)");
    check(&format!("grey.safetensors {naf}"), 2, "1 channels, not 3");
    check(&format!("batch.safetensors {naf}"), 2, "of 1 images, `image` has 2");
    check(&format!("none.safetensors {naf}"), 2, "`features`: it is missing; the file's tensors");
    check(&format!("ten.safetensors {naf}"), 2, "10 channels; NAF needs a multiple of 4");
    check(&format!("@naf/case_a.safetensors {naf}"), 2, "largest that fits is 5 (--kernel 5)");
    check(&format!("absent.safetensors {naf}"), 3, "absent.safetensors");
    let anyup = "@anyup/case_a.safetensors --method anyup";
    check(&format!("{anyup} --weights @naf/weights_dim32.pth"), 2, "use --method naf");
    check(&format!("{anyup} --weights absent.pth"), 3, "absent.pth");
    check(anyup, 2, "name their file with --weights");
    let kernel = "--weights @anyup/weights_qk32.safetensors --kernel 3";
    check(&format!("{anyup} {kernel}"), 2, "--kernel: AnyUp has no window to choose");
    let bilinear = "@naf/case_a.safetensors --method bilinear";
    check(&format!("{bilinear} --weights @naf/weights_dim32.pth"), 2, "has no weights");
}

#[test]
fn an_output_that_is_an_input_or_has_no_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs_err::copy(data("naf/case_a.safetensors"), dir.join("in.safetensors")).unwrap();
    let before = fs_err::read(dir.join("in.safetensors")).unwrap();
    for (output, exit, expect) in [
        ("./in.safetensors", 2, "is the input: name another file"),
        ("no/out.safetensors", 3, "folder `no` does not exist"),
        (".", 2, "is a folder"),
    ] {
        let ran = sweep(dir, &format!("in.safetensors --method bilinear --output {output}"));
        let message = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(exit), "{message}");
        assert!(message.contains(expect), "{message}");
    }
    assert_eq!(fs_err::read(dir.join("in.safetensors")).unwrap(), before);
}
