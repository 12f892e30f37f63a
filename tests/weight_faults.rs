//! Weight files that are damaged, named as training programs name them, or no weight files: each is
//! read rightly, or refused by a message that says what it is and what to do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use dino_sweep::model::params::Params;
use dino_sweep::model::vit::pos_embed::Resize;
use dino_sweep::model::vit::{Arch, AttentionBias, Ffn, Position};
use dino_sweep::weights::{self, TensorFile};
use safetensors::tensor::{Dtype, TensorView};

/// Tensors by name, of any type.
type Tensors = BTreeMap<String, (String, Vec<usize>, Vec<u8>)>;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats").join(name)
}

fn read(path: &Path) -> Tensors {
    let file = TensorFile::open(path).unwrap();
    let entry = |name: String| {
        let (dtype, shape) = (file.dtype(&name).unwrap(), file.shape(&name).unwrap());
        let bytes = file.bytes(&name).unwrap();
        (name, (dtype, shape, bytes))
    };
    file.names().into_iter().map(entry).collect()
}

fn write(path: &Path, tensors: &Tensors) {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        let dtype = match dtype.as_str() {
            "f32" => Dtype::F32,
            "f16" => Dtype::F16,
            "bf16" => Dtype::BF16,
            other => panic!("{other}"),
        };
        (name, TensorView::new(dtype, shape.clone(), bytes).unwrap())
    });
    fs_err::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn v2(dim: usize, side: usize, ffn: Ffn) -> Arch {
    Arch {
        patch: 14,
        dim,
        depth: 2,
        heads: 2,
        ffn,
        registers: 4,
        norm_eps: 1e-6,
        bias: AttentionBias::All,
        layer_scale: 1.0,
        init_std: 0.02,
        position: Position::Learned { side, resize: Resize::Antialias },
    }
}

/// Files in official names, with the architecture of each.
fn official() -> [(&'static str, Arch); 3] {
    let gated = Arch { depth: 3, heads: 3, ..v2(48, 37, Ffn::SwiGlu { hidden: 128 }) };
    let v3 = Arch {
        patch: 16,
        norm_eps: 1e-5,
        bias: AttentionBias::QueryValue,
        ffn: Ffn::Mlp { hidden: 192 },
        position: Position::Rotary { base: 100.0 },
        ..gated
    };
    [
        ("official_dinov3_mlp.pth", v3),
        ("official_dinov2_reg_swiglu.pth", gated),
        ("tiny_teacher.pth", v2(12, 3, Ffn::Mlp { hidden: 48 })),
    ]
}

/// The encoder in `path`: every tensor under our names.
fn encoder(path: &Path, arch: Arch) -> Result<BTreeMap<String, Vec<f32>>, String> {
    let loaded = weights::load(path, ("this", arch), &Device::flex());
    let mut encoder = loaded.map_err(|error| error.to_string())?;
    let mut tensors = BTreeMap::new();
    encoder.each("", &mut |name, slot| drop(tensors.insert(name.to_owned(), slot.to_file())));
    Ok(tensors)
}

/// `sweep weights inspect`: exit code and JSON.
fn inspect(path: &Path, more: &[&str]) -> (Option<i32>, serde_json::Value) {
    let output = program::sweep(Path::new(env!("CARGO_MANIFEST_DIR")))
        .args(["weights", "inspect", "--json"])
        .args(more)
        .arg(path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = serde_json::from_slice(&output.stdout);
    (output.status.code(), json.unwrap_or_else(|error| panic!("{error}: {said}")))
}

/// `blocks.I.` as `blocks.C.I.`, two blocks a chunk; wrapped by `before` and, if asked, by what
/// PyTorch's own wrappers put in.
fn chunked(name: &str, before: &str, wrapper: &str) -> String {
    let Some((block, rest)) = name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.'))
    else {
        return format!("{before}{name}");
    };
    let chunk = block.parse::<usize>().unwrap() / 2;
    format!("{before}blocks.{chunk}.{block}.{wrapper}{rest}")
}

/// The model's tensors of an official file, without a prefix.
fn plain(file: &str) -> Tensors {
    let tensors = read(&data(file)).into_iter();
    tensors
        .filter(|(name, _)| !name.contains("dino_head") && !name.starts_with("optimizer"))
        .map(|(name, tensor)| (name.replace("teacher.backbone.", ""), tensor))
        .collect()
}

#[test]
fn blocks_in_chunks_are_the_blocks_of_both_dinos() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("any.safetensors");
    for (file, arch) in official() {
        let expect = encoder(&data(file), arch).unwrap();
        for (before, wrapper) in [
            ("", ""),
            ("backbone.", ""),
            ("teacher.backbone.", ""),
            ("model_ema.backbone.", ""),
            ("teacher.module.backbone.", "_checkpoint_wrapped_module."),
            ("module._orig_mod.", "_fsdp_wrapped_module."),
        ] {
            let named = plain(file).into_iter();
            let named = named.map(|(name, tensor)| (chunked(&name, before, wrapper), tensor));
            write(&path, &named.collect());
            assert_eq!(encoder(&path, arch).unwrap(), expect, "{file} {before}");
            let (_, json) = inspect(&path, &[]);
            assert_eq!(json["naming"], "official", "{file} {before}: {json}");
        }
    }
    let [.., (file, arch)] = official();
    let found = encoder(&data("tiny_chunks.pth"), arch).unwrap();
    assert_eq!(found, encoder(&data(file), arch).unwrap());
}

#[test]
fn a_training_checkpoint_with_a_student_gives_the_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("any.safetensors");
    let [.., (file, arch)] = official();
    let mut both = Tensors::new();
    for (name, tensor) in plain(file) {
        let (dtype, shape, bytes) = tensor.clone();
        let other = (dtype, shape, vec![0; bytes.len()]);
        both.insert(chunked(&name, "student.backbone.", ""), other);
        both.insert(chunked(&name, "teacher.backbone.", ""), tensor);
    }
    write(&path, &both);
    let expect = encoder(&data(file), arch).unwrap();
    assert_eq!(encoder(&path, arch).unwrap(), expect);
}

#[test]
fn block_numbers_that_clash_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("any.safetensors");
    let [.., (file, arch)] = official();
    // Numbered anew in each chunk: both blocks would be block 0.
    let clash = |name: &str| match name.strip_prefix("blocks.1.") {
        Some(rest) => format!("blocks.1.0.{rest}"),
        None => name.replace("blocks.0.", "blocks.0.0."),
    };
    let named = plain(file).into_iter().map(|(name, tensor)| (clash(&name), tensor));
    write(&path, &named.collect());
    let text = encoder(&path, arch).unwrap_err();
    assert!(text.contains("block 0 twice, as `blocks.0.0` and as `blocks.1.0`"), "{text}");
    let (code, json) = inspect(&path, &[]);
    assert!(code == Some(1) && json.to_string().contains("block 0 twice"), "{json}");
}

/// Puts NaN (and, where there is place, minus infinity) into a tensor.
fn spoil((dtype, _, bytes): &mut (String, Vec<usize>, Vec<u8>)) {
    let (nan, infinite) = match dtype.as_str() {
        "f32" => (f32::NAN.to_le_bytes().to_vec(), f32::NEG_INFINITY.to_le_bytes().to_vec()),
        "f16" => (vec![0, 0x7e], vec![0, 0xfc]),
        _ => (vec![0xc0, 0x7f], vec![0x80, 0xff]),
    };
    let width = nan.len();
    bytes[..width].copy_from_slice(&nan);
    bytes[width..2 * width].copy_from_slice(&infinite);
}

#[test]
fn values_that_are_not_finite_are_counted_by_tensor_on_loading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("any.safetensors");
    let half = v2(12, 3, Ffn::SwiGlu { hidden: 32 });
    let [_, (gated, gated_arch), (tiny, tiny_arch)] = official();
    for (file, arch, name) in [
        // Taken apart into q, k and v, and into two gates: named once, as the file has it.
        (gated, gated_arch, "blocks.1.attn.qkv.weight"),
        (gated, gated_arch, "blocks.2.mlp.w12.bias"),
        (tiny, tiny_arch, "teacher.backbone.norm.weight"),
        ("tiny_timm_v2_reg_swiglu.safetensors", half, "blocks.0.mlp.fc1.weight"),
    ] {
        let mut tensors = read(&data(file));
        let tensor = tensors.get_mut(name).unwrap();
        spoil(tensor);
        let n: usize = tensor.1.iter().product();
        let expect = format!("1 tensor with values that are not finite: {name} (1 NaN and 1 ");
        let prefix = if name.starts_with("teacher.") { "teacher." } else { "" };
        tensors.retain(|name, _| name.starts_with(prefix));
        write(&path, &tensors);
        let text = encoder(&path, arch).unwrap_err();
        assert!(text.contains(&expect) && text.contains(&format!("of {n} values")), "{text}");
    }
}

/// A Hugging Face folder whose second block has a bad value.
fn spoiled_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = read(&data("hf_dinov3_mlp.safetensors"));
    spoil(tensors.get_mut("layer.1.mlp.up_proj.weight").unwrap());
    write(&folder.path().join("model.safetensors"), &tensors);
    let config = r#"{"model_type": "dinov3_vit", "num_attention_heads": 3}"#;
    fs_err::write(folder.path().join("config.json"), config).unwrap();
    folder
}

#[test]
fn inspection_claims_nothing_of_values_that_it_did_not_read() {
    let folder = spoiled_folder();
    let (code, json) = inspect(folder.path(), &[]);
    assert_eq!((code, &json["values"]), (Some(0), &"not_read".into()), "{json}");
    let (code, json) = inspect(folder.path(), &["--load"]);
    assert_eq!((code, &json["values"]), (Some(1), &"read".into()), "{json}");
    let problem = json["problems"][0].as_str().unwrap();
    assert!(problem.contains("layer.1.mlp.up_proj.weight (1 NaN and 1 infinite of 9216 values)"));
}

/// What `sweep weights inspect` says of a file or folder that is no weights.
fn refused(path: &Path) -> String {
    let (code, json) = inspect(path, &[]);
    assert_eq!(code, Some(1), "{json}");
    let problems = json["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{json}");
    problems[0].as_str().unwrap().to_owned()
}

#[test]
fn files_of_other_programs_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bin");
    let check = |content: &[u8], expect: &str| {
        fs_err::write(&path, content).unwrap();
        let text = refused(&path);
        assert!(text.contains(expect) && !text.contains("cut short"), "{text}");
    };
    check(b"\x89HDF\r\n\x1a\n\0\0", "TensorFlow or Keras weights; only safetensors and PyTorch");
    check(b"GGUF\x03\0\0\0", "GGUF weights");
    check(b"\x1f\x8b\x08\0", "a compressed file; unpack it first");
    check(&[0; 600], "a download that was not finished");
    check(b"Access to model x is restricted.\n", "text, neither safetensors nor a PyTorch file");
    check(&zipped(&["x.npy"]), "a NumPy archive (.npz)");
    check(&zipped(&["m/constants.pkl", "m/data.pkl"]), "torch.save(model.state_dict()");
    check(
        &zipped(&["model.safetensors"]),
        "but not one of PyTorch's (it holds `model.safetensors`)",
    );
    let onnx = folder.path().join("model.onnx");
    fs_err::write(&onnx, b"\x08\x07\x12\x07pytorch").unwrap();
    assert!(refused(&onnx).contains("by its name it is an ONNX graph"));
}

fn zipped(names: &[&str]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    for name in names {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn a_zip_is_called_cut_short_only_if_its_end_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pth");
    let whole = fs_err::read(data("tiny_teacher.pth")).unwrap();
    fs_err::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(refused(&path).contains("cut short: its end is missing; fetch it again"));
}

#[test]
fn what_is_missing_is_said_with_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let text = refused(&folder.path().join("a.pth"));
    assert!(text.ends_with("`: no such file or folder"), "{text}");
    fs_err::write(folder.path().join("flax_model.msgpack"), b"x").unwrap();
    let text = refused(folder.path());
    assert!(
        text.contains("looked for model.safetensors") && text.contains("Flax weights"),
        "{text}"
    );
    std::os::unix::fs::symlink("../blobs/ab", folder.path().join("model.safetensors")).unwrap();
    for path in [folder.path().to_owned(), folder.path().join("model.safetensors")] {
        let text = refused(&path);
        assert!(text.contains("a link to `../blobs/ab`, which does not exist"), "{text}");
    }
}
