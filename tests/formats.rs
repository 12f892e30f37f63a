//! Weight files in the namings and containers that people have, held against the official code's
//! tokens; and files that are not what they should be.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use dino_sweep::fs::hash::sha256_file;
use dino_sweep::model::vit::pos_embed::Resize;
use dino_sweep::model::vit::{Arch, AttentionBias, Ffn, Position};
use dino_sweep::model::{Config, DinoType, Mode, Pretraining, Size};
use dino_sweep::weights::{self, Error, Inspection, Naming, TensorFile};
use safetensors::tensor::{Dtype, TensorView};

const TOKENS: f32 = 1e-4;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats").join(name)
}

fn v2(ffn: Ffn, registers: usize) -> Arch {
    let resize = if registers > 0 { Resize::Antialias } else { Resize::Offset(0.1) };
    Arch {
        patch: 14,
        dim: 48,
        depth: 3,
        heads: 3,
        ffn,
        registers,
        norm_eps: 1e-6,
        bias: AttentionBias::All,
        layer_scale: 1.0,
        init_std: 0.02,
        position: Position::Learned { side: 37, resize },
    }
}

fn v3() -> Arch {
    Arch {
        patch: 16,
        norm_eps: 1e-5,
        bias: AttentionBias::QueryValue,
        position: Position::Rotary { base: 100.0 },
        ..v2(Ffn::Mlp { hidden: 192 }, 4)
    }
}

fn check(file: &str, arch: Arch, expected: &str) {
    check_at(&data(file), arch, expected);
}

/// Tokens of the encoder in `path` against those of `expected`, whose input it holds too.
fn check_at(path: &Path, arch: Arch, expected: &str) {
    let expected = TensorFile::open(&data(expected)).unwrap();
    let shape = expected.shape("x").unwrap();
    compare(path, arch, (expected.read("x").unwrap(), shape), &expected);
}

fn compare(path: &Path, arch: Arch, (input, shape): (Vec<f32>, Vec<usize>), expected: &TensorFile) {
    let device = Device::flex();
    let encoder = weights::load(path, ("this", arch), &device).unwrap();
    let input = Tensor::<4>::from_data(TensorData::new(input, shape), &device);
    let features = encoder.forward(input, &[arch.depth - 1], Mode::Eval);
    for (name, tokens) in [("patch", &features.patches[0]), ("cls", &features.class[0])] {
        let ours: Vec<f32> = tokens.clone().into_data().try_into_vec().unwrap();
        let theirs = expected.read(name).unwrap();
        assert_eq!(ours.len(), theirs.len());
        let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < TOKENS, "{} {name}: differs by {worst}", path.display());
    }
}

/// The models of `make_formats.py`, on the grid that their positions are made for.
fn tiny_v2(ffn: Ffn, registers: usize) -> Arch {
    let Position::Learned { resize, .. } = v2(ffn, registers).position else { unreachable!() };
    let position = Position::Learned { side: 3, resize };
    Arch { dim: 12, depth: 2, heads: 2, position, ..v2(ffn, registers) }
}

fn tiny_v3(ffn: Ffn) -> Arch {
    Arch { dim: 8, depth: 2, heads: 1, ffn, ..v3() }
}

/// Against timm's own tokens.
fn check_tiny(file: &str, arch: Arch, expected: &str) {
    let side = 3 * arch.patch;
    let hashed = |i: u64| (i * 2_654_435_761 % (1 << 32)) as f64;
    let n = (3 * side * side) as u64;
    let input = (0..n).map(|i| (hashed(i) / f64::from(1 << 30) - 2.0) as f32).collect();
    let expected = TensorFile::open(&data(&format!("{expected}_expected.safetensors"))).unwrap();
    compare(&data(file), arch, (input, vec![1, 3, side, side]), &expected);
}

const SMALL_MLP: Ffn = Ffn::Mlp { hidden: 48 };

#[test]
fn official_pth_of_dinov3() {
    check("official_dinov3_mlp.pth", v3(), "expected_dinov3_mlp.safetensors");
}

#[test]
fn official_pth_of_dinov2_with_a_fused_swiglu() {
    let arch = v2(Ffn::SwiGlu { hidden: 128 }, 4);
    check("official_dinov2_reg_swiglu.pth", arch, "expected_dinov2_reg_swiglu.safetensors");
}

#[test]
fn hugging_face_dinov3() {
    check("hf_dinov3_mlp.safetensors", v3(), "expected_dinov3_mlp.safetensors");
}

#[test]
fn hugging_face_dinov2_with_registers_and_swiglu() {
    let arch = v2(Ffn::SwiGlu { hidden: 128 }, 4);
    check("hf_dinov2_reg_swiglu.safetensors", arch, "expected_dinov2_reg_swiglu.safetensors");
}

#[test]
fn hugging_face_dinov2_without_registers_keeps_the_official_offset() {
    let arch = v2(Ffn::Mlp { hidden: 192 }, 0);
    check("hf_dinov2_noreg_mlp.safetensors", arch, "expected_dinov2_noreg_mlp.safetensors");
}

#[test]
fn timm_dinov2() {
    check_tiny("tiny_timm_v2.safetensors", tiny_v2(SMALL_MLP, 0), "tiny_timm_v2");
}

#[test]
fn timm_dinov2_with_registers_has_the_position_in_its_class_token() {
    check_tiny("tiny_timm_v2_reg.safetensors", tiny_v2(SMALL_MLP, 4), "tiny_timm_v2_reg");
}

#[test]
fn timm_dinov2_with_registers_and_packed_swiglu_in_bf16() {
    let arch = tiny_v2(Ffn::SwiGlu { hidden: 32 }, 4);
    check_tiny("tiny_timm_v2_reg_swiglu.safetensors", arch, "tiny_timm_v2_reg_swiglu");
}

#[test]
fn timm_dinov3_with_biases() {
    let arch = tiny_v3(Ffn::Mlp { hidden: 32 });
    check_tiny("tiny_timm_v3_qkvb.safetensors", arch, "tiny_timm_v3_qkvb");
}

#[test]
fn timm_dinov3_without_biases_has_them_zero() {
    let arch = tiny_v3(Ffn::SwiGlu { hidden: 16 });
    check_tiny("tiny_timm_v3_swiglu.safetensors", arch, "tiny_timm_v3_swiglu");
    // The same file in an architecture that has none at all, as the 7B.
    let none = Arch { bias: AttentionBias::None, ..arch };
    check_tiny("tiny_timm_v3_swiglu.safetensors", none, "tiny_timm_v3_swiglu");
    let found = inspected(&data("tiny_timm_v3_swiglu.safetensors"));
    assert_eq!((found.naming, found.qkv_bias), (Some("timm (DINOv3)"), None));
}

#[test]
fn legacy_pickle() {
    check_tiny("tiny_legacy.pth", tiny_v2(SMALL_MLP, 4), "tiny_timm_v2_reg");
    assert_eq!(inspected(&data("tiny_legacy.pth")).container, "PyTorch legacy pickle");
}

#[test]
fn the_teacher_of_a_training_checkpoint() {
    check_tiny("tiny_teacher.pth", tiny_v2(SMALL_MLP, 4), "tiny_timm_v2_reg");
    let found = inspected(&data("tiny_teacher.pth"));
    assert_eq!(found.prefix.as_deref(), Some("teacher.backbone."));
    assert_eq!(found.beside, ["optimizer.exp_avg", "teacher.dino_head.last_layer.weight"]);
}

/// Tensors of a file, to be written again in another way.
fn tensors(file: &str) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    let file = TensorFile::open(&data(file)).unwrap();
    let read = |name: String| {
        let bytes = file.read(&name).unwrap().into_iter().flat_map(f32::to_le_bytes).collect();
        let shape = file.shape(&name).unwrap();
        (name, (shape, bytes))
    };
    file.names().into_iter().map(read).collect()
}

fn write<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a String, &'a (Vec<usize>, Vec<u8>))>,
) {
    let views = tensors.into_iter().map(|(name, (shape, bytes))| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    dino_sweep::fs::write_atomic(path, &bytes).unwrap();
}

#[test]
fn official_names_in_safetensors_with_and_without_a_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("any.safetensors");
    let plain = tensors("official_dinov3_mlp.pth");
    for prefix in ["", "backbone.", "teacher.backbone.", "module.", "model."] {
        let named: BTreeMap<_, _> =
            plain.iter().map(|(name, t)| (format!("{prefix}{name}"), t.clone())).collect();
        write(&path, &named);
        check_at(&path, v3(), "expected_dinov3_mlp.safetensors");
        let found = weights::identify(&path).unwrap();
        assert_eq!((found.arch.heads, found.naming), (3, Naming::Official));
        assert_eq!((found.dino_type, found.variant), (DinoType::Dinov3, None));
    }
    let mut mixed: BTreeMap<_, _> =
        plain.iter().map(|(name, t)| (format!("model.{name}"), t.clone())).collect();
    mixed.insert("head.weight".to_owned(), plain["norm.weight"].clone());
    write(&path, &mixed);
    let text = fails(&path, v3());
    assert!(text.contains("1 unexpected (head.weight)"), "{text}");
    let strange: BTreeMap<_, _> =
        plain.iter().map(|(name, t)| (format!("visual.{name}"), t.clone())).collect();
    write(&path, &strange);
    assert!(fails(&path, v3()).contains("its names begin with `visual.`"));
}

/// A sharded copy of Hugging Face's DINOv3, in two files.
fn shards(folder: &Path) -> BTreeMap<String, String> {
    let all = tensors("hf_dinov3_mlp.safetensors");
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let mut weight_map = BTreeMap::new();
    for (i, shard) in names.iter().enumerate() {
        let part: Vec<_> = all.iter().skip(i).step_by(2).collect();
        weight_map.extend(part.iter().map(|(name, _)| ((*name).clone(), (*shard).to_owned())));
        write(&folder.join(shard), part);
    }
    index(folder, &weight_map);
    weight_map
}

fn index(folder: &Path, weight_map: &BTreeMap<String, String>) -> PathBuf {
    let path = folder.join("model.safetensors.index.json");
    let json = serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": weight_map });
    dino_sweep::fs::write_atomic(&path, json.to_string().as_bytes()).unwrap();
    path
}

#[test]
fn shards_behind_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let weight_map = shards(folder.path());
    let path = index(folder.path(), &weight_map);
    check_at(folder.path(), v3(), "expected_dinov3_mlp.safetensors");
    check_at(&path, v3(), "expected_dinov3_mlp.safetensors");
    assert_eq!(inspected(&path).container, "sharded safetensors");

    let mut more = weight_map.clone();
    more.insert("layer.9.norm1.bias".to_owned(), weight_map["norm.bias"].clone());
    index(folder.path(), &more);
    assert!(fails(&path, v3()).contains("lacks layer.9.norm1.bias"));
    let mut fewer = weight_map.clone();
    fewer.remove("norm.bias");
    index(folder.path(), &fewer);
    assert!(fails(&path, v3()).contains("holds norm.bias"));
    let mut out = weight_map.clone();
    out.insert("norm.bias".to_owned(), "../model.safetensors".to_owned());
    index(folder.path(), &out);
    assert!(fails(&path, v3()).contains("not a file name in its own folder"));
    index(folder.path(), &weight_map);
    fs_err::remove_file(folder.path().join(&weight_map["norm.bias"])).unwrap();
    assert!(fails(&path, v3()).contains("cannot read weights"));
}

const CONFIG: &str = r#"{"model_type": "dinov3_vit", "hidden_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 3, "patch_size": 16, "num_register_tokens": 4, "layer_norm_eps": 1e-05,
    "intermediate_size": 192, "use_gated_mlp": false, "hidden_act": "gelu", "rope_theta": 100.0,
    "query_bias": true, "key_bias": false, "value_bias": true, "image_size": 224}"#;

/// A Hugging Face folder with this `config.json`.
fn hf_folder(file: &str, config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs_err::copy(data(file), folder.path().join("model.safetensors")).unwrap();
    fs_err::write(folder.path().join("config.json"), config).unwrap();
    folder
}

fn custom(dino_type: DinoType, registers: bool) -> Config {
    let pretraining = Pretraining::Lvd1689m;
    Config { dino_type, size: Size::CUSTOM, registers, pretraining }
}

#[test]
fn a_size_of_ones_own_is_built_from_config_json() {
    let folder = hf_folder("hf_dinov3_mlp.safetensors", CONFIG);
    let found = weights::identify(folder.path()).unwrap();
    assert_eq!((found.name.as_str(), found.variant), ("dinov3_custom_48x3", None));
    let built = weights::custom(&custom(DinoType::Dinov3, true), folder.path()).unwrap();
    assert_eq!(built.arch, Arch { init_std: 0.02, ..v3() });
    check_at(folder.path(), built.arch, "expected_dinov3_mlp.safetensors");

    let text = |config: Config| weights::custom(&config, folder.path()).unwrap_err().to_string();
    assert!(text(custom(DinoType::Dinov2, true)).contains("`model.dino_type` is another"));
    let v2_config = r#"{"model_type": "dinov2_with_registers", "hidden_size": 48,
        "num_hidden_layers": 3, "num_attention_heads": 3, "patch_size": 14, "image_size": 518,
        "use_swiglu_ffn": true, "hidden_act": "gelu", "num_register_tokens": 4}"#;
    let folder = hf_folder("hf_dinov2_reg_swiglu.safetensors", v2_config);
    let arch = v2(Ffn::SwiGlu { hidden: 128 }, 4);
    assert_eq!(weights::identify(folder.path()).unwrap().arch, arch);
    let error = weights::custom(&custom(DinoType::Dinov2, false), folder.path()).unwrap_err();
    assert!(error.to_string().contains("it has 4 registers"), "{error}");
}

#[test]
fn a_config_that_says_something_else_is_refused() {
    let check = |from: &str, to: &str, expect: &str| {
        let folder = hf_folder("hf_dinov3_mlp.safetensors", &CONFIG.replace(from, to));
        let error = weights::identify(folder.path()).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    check("\"patch_size\": 16", "\"patch_size\": 14", "patch_size is 14, not 16");
    check("\"hidden_size\": 48", "\"hidden_size\": 64", "hidden_size is 64, not 48");
    check("\"num_attention_heads\": 3", "\"num_attention_heads\": 5", "into 5 heads");
    check("\"gelu\"", "\"relu\"", "hidden_act is relu");
    check("dinov3_vit", "bert", "its model is a `bert`");
    check("{", "", "broken config.json");
    let folder = hf_folder("hf_dinov3_mlp.safetensors", CONFIG);
    let text = fails(folder.path(), Arch { heads: 6, ..v3() });
    assert!(text.contains("num_attention_heads is 3, not 6"), "{text}");
}

#[test]
fn heads_that_nothing_tells_are_asked_for() {
    let error = weights::identify(&data("hf_dinov3_mlp.safetensors")).unwrap_err().to_string();
    assert!(error.contains("number of heads"), "{error}");
}

fn inspected(path: &Path) -> Inspection {
    weights::inspect(path, &mut |file| sha256_file(file)).unwrap()
}

#[test]
fn inspection_says_what_is_stored_and_what_is_not() {
    let official = inspected(&data("official_dinov3_mlp.pth"));
    assert_eq!((official.problems.len(), official.container), (0, "PyTorch zip"));
    assert_eq!(official.naming, Some("official"));
    assert!(official.periods.unwrap().starts_with("stored"), "{official:?}");
    assert!(official.unused.contains(&"mask_token".to_owned()));
    assert_eq!(official.sha256, sha256_file(&data("official_dinov3_mlp.pth")).unwrap());

    let folder = hf_folder("hf_dinov3_mlp.safetensors", CONFIG);
    let hf = inspected(folder.path());
    assert_eq!(hf.problems, Vec::<String>::new());
    assert_eq!((hf.naming, hf.tensors), (Some("Hugging Face (DINOv3)"), 58));
    assert_eq!(hf.dtypes, BTreeMap::from([("f32".to_owned(), 58)]));
    assert_eq!(hf.periods, Some("by the formula, in f32"));
    assert_eq!(hf.qkv_bias, official.qkv_bias);
    assert_eq!(hf.defaults, ["RoPE periods: not stored, the formula's in f32"]);
    assert_eq!(hf.released, None);
}

fn inspect(path: &Path) -> (Option<i32>, String, String) {
    let output = program::sweep(Path::new(env!("CARGO_MANIFEST_DIR")))
        .args(["weights", "inspect", "--load", "--json"])
        .arg(path)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_verb_ends_with_1_where_a_file_cannot_be_loaded() {
    let (code, json, _) = inspect(&data("official_dinov3_mlp.pth"));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["problems"]), (Some(0), &serde_json::json!([])));
    assert_eq!(json["variant"], serde_json::Value::Null);
    let adapter = "tests/data/models/v2_reg/adapter_linear.pt";
    let (code, json, _) = inspect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(adapter));
    assert!(code == Some(1) && json.contains("adapter (LoRA), not a backbone"), "{json}");
    let (code, json, errors) = inspect(Path::new("absent.pth"));
    assert!(code == Some(1) && json.contains("cannot read weights"), "{json} {errors}");
}

fn fails(path: &Path, arch: Arch) -> String {
    let error = weights::load(path, ("this variant", arch), &Device::flex()).unwrap_err();
    let mut text = error.to_string();
    if let Error::Read { source, .. } = &error {
        text.push_str(&source.to_string());
    }
    text
}

#[test]
fn another_models_file_is_refused_by_names_and_shapes() {
    let text = fails(&data("hf_dinov3_mlp.safetensors"), Arch { dim: 64, heads: 4, ..v3() });
    assert!(text.contains("of another shape"), "{text}");
    let text = fails(&data("hf_dinov3_mlp.safetensors"), Arch { depth: 4, ..v3() });
    assert!(text.contains("missing (layer.3.norm1.weight"), "{text}");
    let text = fails(&data("hf_dinov3_mlp.safetensors"), Arch { depth: 2, ..v3() });
    assert!(text.contains("unexpected (layer.2."), "{text}");
    let text = fails(&data("official_dinov3_mlp.pth"), v2(Ffn::Mlp { hidden: 192 }, 4));
    assert!(text.contains("missing (pos_embed"), "{text}");
}

#[test]
fn files_that_are_no_weights_say_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    let write = |bytes: &[u8]| {
        dino_sweep::fs::write_atomic(&path, bytes).unwrap();
        fails(&path, v3())
    };
    assert!(write(b"").contains("empty"));
    assert!(write(b"version https://git-lfs.github.com/spec/v1\n").contains("git-LFS pointer"));
    assert!(write(b"<!DOCTYPE html><html>").contains("HTML page"));
    assert!(write(b"{\"a\": 1}").contains("neither safetensors nor a PyTorch file"));
    assert!(fails(&folder.path().join("absent.pth"), v3()).contains("cannot read weights"));
}

#[test]
fn folders_without_weights_say_what_they_lack() {
    let folder = tempfile::tempdir().unwrap();
    let text = fails(folder.path(), v3());
    assert!(text.contains("holds no weights; looked for model.safetensors"), "{text}");
    fs_err::write(folder.path().join("adapter_model.safetensors"), b"x").unwrap();
    assert!(fails(folder.path(), v3()).contains("an adapter, not a backbone"));
}

/// Cuts a file at many places, the first 200 bytes each; every one is refused as cut short.
fn check_cuts(file: &str, arch: Arch) {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs_err::read(data(file)).unwrap();
    let path = folder.path().join(file);
    let cuts = (1..200).chain((200..whole.len()).step_by(487)).chain([whole.len() - 1]);
    for cut in cuts {
        fs_err::write(&path, &whole[..cut]).unwrap();
        let text = fails(&path, arch);
        assert!(text.contains("cut short"), "{file} cut at {cut}: {text}");
    }
}

#[test]
fn truncated_safetensors() {
    check_cuts("tiny_timm_v2_reg.safetensors", tiny_v2(SMALL_MLP, 4));
}

#[test]
fn truncated_pytorch_zip() {
    check_cuts("tiny_teacher.pth", tiny_v2(SMALL_MLP, 4));
}

#[test]
fn truncated_legacy_pickle() {
    check_cuts("tiny_legacy.pth", tiny_v2(SMALL_MLP, 4));
}

#[test]
fn truncated_shards_and_index() {
    let folder = tempfile::tempdir().unwrap();
    let weight_map = shards(folder.path());
    let path = index(folder.path(), &weight_map);
    for name in ["model-00002-of-00002.safetensors", "model.safetensors.index.json"] {
        let whole = fs_err::read(folder.path().join(name)).unwrap();
        for cut in [1, 8, 20, whole.len() / 2, whole.len() - 1] {
            fs_err::write(folder.path().join(name), &whole[..cut]).unwrap();
            let text = fails(&path, v3());
            assert!(text.contains("cut short"), "{name} cut at {cut}: {text}");
        }
        fs_err::write(folder.path().join(name), &whole).unwrap();
    }
}

#[test]
fn code_in_a_pickle_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let (path, trace) = (folder.path().join("evil.pth"), folder.path().join("trace"));
    // Protocol 0: os.system("touch …") as a dictionary's value.
    let command = format!("touch {}", trace.display());
    let pickle = format!("(dS'cls_token'\ncos\nsystem\n(S'{command}'\ntRs.");
    fs_err::write(&path, pickle).unwrap();
    let text = fails(&path, v3());
    assert!(text.contains("no tensors") || text.contains("PyTorch"), "{text}");
    assert!(!trace.exists());
}
