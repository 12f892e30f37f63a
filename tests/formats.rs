//! Weight files in the namings and containers that people have, held against the official code's
//! tokens; and files that are not what they should be.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use dino_sweep::model::Mode;
use dino_sweep::model::vit::pos_embed::Resize;
use dino_sweep::model::vit::{Arch, AttentionBias, Ffn, Position};
use dino_sweep::model::weights::{self, Error, TensorFile};

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
    let expected = TensorFile::open(&data(expected)).unwrap();
    let device = Device::flex();
    let mut encoder = weights::load(&data(file), (file, arch), &device).unwrap();
    let shape = expected.shape("x").unwrap();
    let input = Tensor::<4>::from_data(
        TensorData::new(expected.read("x").unwrap(), shape.clone()),
        &device,
    );
    encoder.prepare([shape[2], shape[3]]);
    let features = encoder.forward(input, &[arch.depth - 1], Mode::Eval);
    for (name, tokens) in [("patch", &features.patches[0]), ("cls", &features.class[0])] {
        let ours: Vec<f32> = tokens.clone().into_data().try_into_vec().unwrap();
        let theirs = expected.read(name).unwrap();
        assert_eq!(ours.len(), theirs.len());
        let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < TOKENS, "{file} {name}: differs by {worst}");
    }
}

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
        dino_sweep::files::write_atomic(&path, bytes).unwrap();
        fails(&path, v3())
    };
    assert!(write(b"").contains("empty"));
    assert!(write(b"version https://git-lfs.github.com/spec/v1\n").contains("git-LFS pointer"));
    assert!(write(b"<!DOCTYPE html><html>").contains("HTML page"));
    let whole = fs_err::read(data("hf_dinov3_mlp.safetensors")).unwrap();
    for cut in [9, 100, 5_000, whole.len() - 1] {
        let text = write(&whole[..cut]);
        assert!(text.contains("cut short") || text.contains("PyTorch"), "{cut}: {text}");
    }
    let whole = fs_err::read(data("official_dinov3_mlp.pth")).unwrap();
    for cut in [10, 1_000, whole.len() / 2, whole.len() - 1] {
        let text = write(&whole[..cut]);
        assert!(text.contains("cut short"), "{cut}: {text}");
    }
    assert!(fails(&folder.path().join("absent.pth"), v3()).contains("cannot read weights"));
}
