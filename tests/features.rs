//! `sweep features` on the tiny models, against the official code's numbers; and input that it
//! refuses.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use std::path::{Path, PathBuf};
use std::process::Output;

use dino_sweep::data::Rgb;
use dino_sweep::data::image_io::write_png_rgb;
use dino_sweep::upsample::{Map, Method, Model, Options, Task};
use dino_sweep::weights::TensorFile;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde_json::{Value, json};

const MODELS: [&str; 6] = ["v2_reg", "v2_noreg", "v2_giant_reg", "v3_mlp", "v3_swiglu", "v3_7b"];
/// Ten times the official code's own f32 error against f64.
const TOKENS: f32 = 1e-4;
const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
const PLAIN: ([f32; 3], [f32; 3]) = ([0.0; 3], [1.0; 3]);

fn data(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models").join(model)
}

fn golden(model: &str, file: &str) -> TensorFile {
    TensorFile::open(&data(model).join(file)).unwrap()
}

fn meta(model: &str) -> Value {
    serde_json::from_slice(&fs_err::read(data(model).join("meta.json")).unwrap()).unwrap()
}

/// A folder as Hugging Face has them, whose config says how many heads the tiny model has.
fn weights(model: &str, dir: &Path) -> PathBuf {
    let meta = meta(model);
    let registers = meta["config"]["reg"].as_u64().unwrap_or(4);
    let kind = match (meta["family"].as_str().unwrap(), registers) {
        ("dinov3", _) => "dinov3_vit",
        (_, 0) => "dinov2",
        _ => "dinov2_with_registers",
    };
    let config = json!({ "model_type": kind, "num_attention_heads": meta["num_heads"] });
    let folder = dir.join("weights");
    fs_err::create_dir_all(&folder).unwrap();
    fs_err::write(folder.join("config.json"), config.to_string()).unwrap();
    fs_err::copy(data(model).join("backbone.safetensors"), folder.join("model.safetensors"))
        .unwrap();
    folder
}

/// Pixels `[batch, 3, height, width]` of a golden file, and their shape.
fn pixels(model: &str, file: &str) -> (Vec<u8>, Vec<usize>) {
    let content = fs_err::read(data(model).join(file)).unwrap();
    let tensors = SafeTensors::deserialize(&content).unwrap();
    let view = tensors.tensor("image_u8").unwrap();
    (view.data().to_vec(), view.shape().to_vec())
}

/// Writes them as `input`, normalised.
fn tensor_file(path: &Path, (pixels, shape): &(Vec<u8>, Vec<usize>), of: ([f32; 3], [f32; 3])) {
    let plane = shape[2] * shape[3];
    let bytes: Vec<u8> = pixels
        .iter()
        .enumerate()
        .map(|(i, value)| (i / plane % 3, f32::from(*value) / 255.0))
        .flat_map(|(channel, value)| ((value - of.0[channel]) / of.1[channel]).to_le_bytes())
        .collect();
    write_tensor(path, ("input", Dtype::F32), shape, &bytes);
}

fn write_tensor(path: &Path, (name, dtype): (&str, Dtype), shape: &[usize], bytes: &[u8]) {
    let view = TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
    fs_err::write(path, serialize([(name, view)], None).unwrap()).unwrap();
}

/// `words` are split at blanks; paths of the folder have none.
fn sweep(dir: &Path, words: &str) -> Output {
    program::sweep(dir)
        .args(["features", "--device", "cpu", "--output", "out.safetensors"])
        .args(words.split_whitespace())
        .output()
        .unwrap()
}

fn features(dir: &Path, words: &str) -> TensorFile {
    let output = sweep(dir, words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    TensorFile::open(&dir.join("out.safetensors")).unwrap()
}

fn close(what: &str, ours: &[f32], expect: &[f32], limit: f32) {
    assert_eq!(ours.len(), expect.len(), "{what}");
    let worst = ours.iter().zip(expect).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(worst <= limit, "{what}: differs by {worst}, limit {limit}");
}

/// `[batch, dim, rows, columns]` as `[batch, rows * columns, dim]`.
fn as_tokens(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let (dim, n) = (shape[1], shape[2] * shape[3]);
    let image =
        |map: &[f32]| -> Vec<f32> { (0..n * dim).map(|i| map[i % dim * n + i / dim]).collect() };
    values.chunks_exact(dim * n).flat_map(image).collect()
}

#[test]
fn a_tensors_features_are_the_official_codes() {
    for model in MODELS {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        weights(model, dir);
        tensor_file(
            &dir.join("x.safetensors"),
            &pixels(model, "backbone_io.safetensors"),
            IMAGENET,
        );
        let golden = golden(model, "backbone_io.safetensors");
        let expect = |name: &str| golden.read(name).unwrap();
        let depth = meta(model)["depth"].as_u64().unwrap() as usize;
        let last: Vec<_> = (depth - 3..=depth).collect();
        let listed = last.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let words = format!("x.safetensors --weights weights --layers {listed} --batch-size 1");
        let found = features(dir, &words);
        let ours = |name: &str| found.read(name).unwrap();
        close(model, &ours("patch_tokens"), &expect("x_norm_patchtokens"), TOKENS);
        close(model, &ours("class_token"), &expect("x_norm_clstoken"), TOKENS);
        for (i, layer) in last.into_iter().enumerate() {
            let name = format!("inter4_{i}_patch_BCHW");
            let expect = as_tokens(&expect(&name), &golden.shape(&name).unwrap());
            close(model, &ours(&format!("layer.{layer}")), &expect, TOKENS);
        }
        let shape = found.shape("patch_tokens").unwrap();
        assert_eq!(shape, golden.shape("x_norm_patchtokens").unwrap());
        assert_eq!(found.shape("class_token").unwrap(), [shape[0], shape[2]]);
        let raw = features(dir, "x.safetensors --weights weights --layers 1,3 --no-norm");
        for (i, layer) in [1, 3].into_iter().enumerate() {
            let expect = expect(&format!("inter_list02_nonorm_{i}"));
            let ours = raw.read(&format!("layer.{layer}")).unwrap();
            // Raw tokens are larger than normed ones, and so is their rounding.
            let largest = expect.iter().fold(1.0f32, |most, x| most.max(x.abs()));
            close(model, &ours, &expect, TOKENS * largest);
        }
    }
}

/// As `sweep upsample` would make them of the tokens.
#[test]
fn dense_features_are_the_patch_tokens_upsampled() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    weights("v3_mlp", dir);
    let pixels = pixels("v3_mlp", "backbone_io.safetensors");
    tensor_file(&dir.join("x.safetensors"), &pixels, IMAGENET);
    let upsampler = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/upsample/anyup/weights_qk32.safetensors");
    let words = format!(
        "x.safetensors --weights weights --batch-size 1 --upsample anyup --upsample-weights {}",
        upsampler.display()
    );
    let found = features(dir, &words);
    let (n, size) = (pixels.1[0], [pixels.1[2], pixels.1[3]]);
    let tokens = found.read("patch_tokens").unwrap();
    let dim = found.shape("patch_tokens").unwrap()[2];
    assert_eq!(found.shape("dense").unwrap(), [n, dim, size[0], size[1]]);
    let images = TensorFile::open(&dir.join("x.safetensors")).unwrap().read("input").unwrap();
    let method = Method::find("anyup").unwrap();
    let model = Model::open(method, Some(&upsampler), &Options::default()).unwrap();
    let per_image = (images.len() / n, tokens.len() / n);
    let pairs = images.chunks_exact(per_image.0).zip(tokens.chunks_exact(per_image.1));
    let expect = pairs.flat_map(|(image, tokens)| {
        let image = Map::from_planes(image, 3, size);
        let features = Map::from_pixels(tokens, dim, size.map(|side| side / 16));
        let task = Task { image: &image, features: &features, projection: None, size };
        model.upsample(&task).unwrap().to_planes()
    });
    assert_eq!(found.read("dense").unwrap(), expect.collect::<Vec<_>>());
    assert_eq!(found.metadata()["upsample"], "anyup");

    let output = sweep(dir, "x.safetensors --weights weights --upsample naf");
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("name their file with --upsample-weights"), "{message}");
}

#[test]
fn images_are_normalised_and_their_file_says_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    weights("v3_mlp", dir);
    let (pixels, shape) = pixels("v3_mlp", "backbone_io.safetensors");
    let (height, width) = (shape[2], shape[3]);
    let mut words = format!("--weights weights --px {height},{}", width + 1);
    for (i, image) in pixels.chunks_exact(3 * height * width).enumerate() {
        let place = |k: usize| k % 3 * height * width + k / 3;
        let pixels = (0..image.len()).map(|k| image[place(k)]).collect();
        let image = Rgb { width: width as u32, height: height as u32, pixels };
        fs_err::write(dir.join(format!("{i}.png")), write_png_rgb(&image)).unwrap();
        words.extend([" ", &i.to_string(), ".png"]);
    }
    let output = sweep(dir, &words);
    let said = String::from_utf8(output.stderr).unwrap();
    let lowered = format!("{height}x{} is lowered to {height}x{width}", width + 1);
    assert!(output.status.success() && said.contains(&lowered), "{said}");
    let found = TensorFile::open(&dir.join("out.safetensors")).unwrap();
    let expect = golden("v3_mlp", "backbone_io.safetensors").read("x_norm_patchtokens").unwrap();
    close("images", &found.read("patch_tokens").unwrap(), &expect, TOKENS);
    assert_eq!(found.names(), ["class_token", "patch_tokens"]);
    let bytes = fs_err::read(dir.join("out.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    assert_eq!(metadata["px"], format!("{height}x{width}"));
    assert_eq!(metadata["grid"], format!("{}x{}", height / 16, width / 16));
    assert_eq!(metadata["mean"], "0.485,0.456,0.406");
    assert_eq!(metadata["inputs"], r#"["0.png","1.png"]"#);
    assert_eq!(metadata["weights_sha256"].len(), 64);
}

#[test]
fn an_adapters_logits_are_the_references() {
    for case in ["linear", "fpn_small"] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        weights("v2_reg", dir);
        let file = format!("seed_{case}.safetensors");
        tensor_file(&dir.join("x.safetensors"), &pixels("v2_reg", &file), PLAIN);
        let adapter = data("v2_reg").join(format!("adapter_{case}.pt"));
        fs_err::copy(adapter, dir.join("adapter.pt")).unwrap();
        let found = features(dir, "x.safetensors --weights weights --adapter adapter.pt");
        let golden = golden("v2_reg", &file);
        let name = "eval_logits_low";
        assert_eq!(found.shape("logits"), golden.shape(name), "{case}");
        close(case, &found.read("logits").unwrap(), &golden.read(name).unwrap(), 1.1e-4);
    }
}

#[test]
fn bad_input_is_one_clear_error_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    weights("v2_reg", dir);
    fs_err::copy(data("v2_reg").join("adapter_fpn_small.pt"), dir.join("fpn.pt")).unwrap();
    let tensor = |name: &str, called: (&str, Dtype), shape: &[usize], width: usize| {
        let bytes = vec![0; shape.iter().product::<usize>() * width];
        write_tensor(&dir.join(name), called, shape, &bytes);
    };
    tensor("good.safetensors", ("input", Dtype::F32), &[1, 3, 28, 42], 4);
    tensor("named.safetensors", ("image", Dtype::F32), &[1, 3, 28, 42], 4);
    tensor("rank.safetensors", ("input", Dtype::F32), &[3, 28, 42], 4);
    tensor("dtype.safetensors", ("input", Dtype::U8), &[1, 3, 28, 42], 1);
    tensor("side.safetensors", ("input", Dtype::F32), &[1, 3, 28, 40], 4);
    tensor("none.safetensors", ("input", Dtype::F32), &[0, 3, 28, 42], 4);
    fs_err::copy(data("v2_noreg").join("adapter_linear.pt"), dir.join("narrow.pt")).unwrap();
    fs_err::write(dir.join("photo.jpg"), "not a photo").unwrap();
    fs_err::write(dir.join("cut.safetensors"), [9, 0, 0, 0, 0, 0, 0, 0, b'{', b'}']).unwrap();
    let check = |words: &str, exit: i32, expect: &str| {
        let output = sweep(dir, &format!("--weights weights {words}"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(exit), "{words}: {said}");
        assert!(said.contains(expect), "{words}: {said}");
        let files = fs_err::read_dir(dir).unwrap().map(|file| file.unwrap().file_name());
        let left: Vec<_> =
            files.filter(|name| name.to_string_lossy().contains("out.safetensors")).collect();
        assert!(left.is_empty(), "{words}: {left:?}");
    };
    check("named.safetensors", 2, "no usable `input`: it is missing; the file's tensors: image");
    check("rank.safetensors", 2, "it is [3, 28, 42], not [batch, 3, height, width]");
    check("dtype.safetensors", 2, "it is u8; f32");
    check("side.safetensors", 2, "its size of 28x40 is no multiple of the patch of 14 pixels");
    check("none.safetensors", 2, "its batch is empty");
    check("cut.safetensors", 2, "cut short");
    check("good.safetensors --px 28", 2, "--px works only with images");
    check("good.safetensors photo.jpg", 2, "`good.safetensors` is not an image");
    check("good.safetensors --layers 0", 2, "--layers 0: ");
    check("good.safetensors --layers 2,5", 2, "has layers 1 to 4");
    check("good.safetensors --variant dinov2_vits15", 2, "no encoder is called `dinov2_vits15`");
    check("good.safetensors --variant dinov2_vits14", 3, "is not dinov2_vits14");
    check("good.safetensors --adapter fpn.pt", 2, "it needs 7x7, 98 pixels");
    check("good.safetensors --adapter none.pt", 3, "none.pt");
    check("good.safetensors --adapter narrow.pt", 2, "adapter `narrow.pt`");
    check("good.safetensors --adapter photo.jpg", 2, "`photo.jpg` is not an adapter file");
    check("photo.jpg", 3, "photo.jpg");
    check("photo.jpg --px 13", 2, "less than one patch of 14 pixels");
    check("photo.jpg --px 0", 2, "--px");
    check("no.jpg", 2, "input `no.jpg` does not exist");
    check("weights", 2, "is a folder");
    check("", 2, "<INPUT>");
}
