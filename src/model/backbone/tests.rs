use burn::tensor::Device;

use super::*;
use crate::model::arch::{Arch, AttentionBias};
use crate::model::config::{DinoType, Pretraining};
use crate::model::mode::Mode;
use crate::model::params::Params;
use crate::model::vit::Encoder;

fn size(name: &str) -> Size {
    Size::named(name).unwrap()
}

/// Counts parameters as the official code does: the masked key bias of DINOv3 and `mask_token`
/// included, RoPE periods not.
fn count(variant: &Variant) -> u64 {
    let mut arch = variant.arch;
    let depth = arch.depth as u64;
    arch.depth = 1;
    let mut encoder = Encoder::zeros(arch, &Device::flex());
    let (mut block, mut rest) = (0, 0);
    encoder.each("", &mut |name, slot| match name {
        "rope_embed.periods" => {}
        _ if name.starts_with("blocks.0.") => block += slot.n_elements() as u64,
        _ => rest += slot.n_elements() as u64,
    });
    let dim = arch.dim as u64;
    let masked = match arch.bias {
        AttentionBias::QueryValue => dim,
        _ => 0,
    };
    depth * (block + masked) + rest + dim
}

#[test]
fn parameters_are_those_published() {
    for variant in variants().filter(|v| v.params > 0 && v.size != size("7b")) {
        // SAT's ViT-L has norms for local crops, which an encoder in eval mode lacks.
        let local_norm = match variant.pretraining {
            Pretraining::Sat493m => 2 * variant.arch.dim as u64,
            Pretraining::Lvd1689m => 0,
        };
        assert_eq!(count(variant) + local_norm, variant.params, "{}", variant.name);
    }
}

#[test]
fn every_name_is_used_once() {
    let names: std::collections::BTreeSet<_> = variants().map(|v| v.name).collect();
    assert_eq!(names.len(), variants().count());
}

#[test]
fn giant_of_dinov3_does_not_exist() {
    assert!(find(&dinov3(size("giant"), Pretraining::Lvd1689m)).is_none());
}

fn dinov3(size: Size, pretraining: Pretraining) -> Config {
    Config { dino_type: DinoType::Dinov3, size, registers: true, pretraining }
}

#[test]
fn satellite_rows_are_large_and_7b_with_their_own_mean() {
    let sat = |size: Size| find(&dinov3(size, Pretraining::Sat493m));
    let with: Vec<_> = variants().filter(|v| sat(v.size).is_some()).map(|v| v.size).collect();
    assert!(with.iter().all(|with| [size("large"), size("7b")].contains(with)));
    for size in [size("large"), size("7b")] {
        let (sat, lvd) = (sat(size).unwrap(), find(&dinov3(size, Pretraining::Lvd1689m)));
        let lvd = lvd.unwrap();
        assert_eq!((sat.mean, sat.std), SAT_493M);
        assert_eq!((sat.arch, (lvd.mean, lvd.std)), (lvd.arch, IMAGENET));
        assert_ne!((sat.label(), sat.sha256, sat.files), (lvd.label(), lvd.sha256, lvd.files));
    }
}

/// Runs one block, because the whole row needs 27 GB; its blocks are all alike.
#[test]
fn a_7b_of_one_block_runs_and_counts_as_published() {
    let row = find(&dinov3(size("7b"), Pretraining::Lvd1689m)).unwrap();
    // The norms for local crops, which are not used here.
    assert_eq!(count(row) + 2 * row.arch.dim as u64, row.params);
    let encoder = Encoder::zeros(Arch { depth: 1, ..row.arch }, &Device::flex());
    let images = burn::tensor::Tensor::ones([1, 3, 32, 48], &Device::flex());
    let features = encoder.forward(images, &[0], Mode::Eval);
    assert_eq!(features.patches[0].dims(), [1, 6, 4096]);
    assert_eq!(features.class[0].dims(), [1, 1, 4096]);
}

#[test]
fn sizes_are_listed_from_the_smallest_to_the_largest() {
    let expect = ["tiny", "small", "small_plus", "base", "large", "large_plus", "huge_plus"];
    assert_eq!(size_names()[..7], expect);
    assert_eq!(size_names()[7..], ["giant", "7b", "custom"]);
    let names = |family| sizes(family).into_iter().map(Size::name).collect::<Vec<_>>();
    assert_eq!(names(DinoType::Dinov2), ["tiny", "small", "base", "large", "giant", "custom"]);
    assert!(!names(DinoType::Dinov3).contains(&"giant"));
}

#[test]
fn a_size_is_its_name_in_json() {
    for name in size_names() {
        let json = serde_json::to_string(&size(name)).unwrap();
        assert_eq!(json, format!("\"{name}\""));
        assert_eq!(serde_json::from_str::<Size>(&json).unwrap(), size(name));
    }
    let unknown = serde_json::from_str::<Size>("\"h+\"").unwrap_err().to_string();
    assert!(unknown.starts_with("unknown variant `h+`, expected one of `tiny`, `small`"));
}

#[test]
fn spellings_are_of_one_size_and_no_name() {
    assert_eq!(Size::spelled("h+"), Size::named("huge_plus"));
    assert_eq!(Size::spelled("base"), Size::named("base"));
    assert_eq!((Size::spelled("x"), Size::named("h+")), (None, None));
    for row in variants() {
        for text in row.spellings {
            assert_eq!(Size::spelled(text), Some(row.size), "{text}");
            assert_eq!(Size::named(text), None, "{text}");
        }
    }
}

#[test]
fn rows_of_one_size_have_one_letter() {
    for (a, b) in variants().flat_map(|a| variants().map(move |b| (a, b))) {
        assert_eq!(a.size == b.size, a.letter == b.letter, "{} and {}", a.name, b.name);
    }
}

#[test]
fn labels_are_those_of_the_papers() {
    let label = |name| variants().find(|v| v.name == name).unwrap().label();
    assert_eq!(label("dinov2_tiny14"), "ViT-tiny/14");
    assert_eq!(label("dinov2_vitg14_reg"), "ViT-g/14");
    assert_eq!(label("dinov3_vitl16_sat493m"), "ViT-L/16 SAT");
    assert_eq!(label("dinov3_vith16plus"), "ViT-H+/16");
}

#[test]
fn patches_and_registers_are_those_of_the_family() {
    assert_eq!([DinoType::Dinov2, DinoType::Dinov3].map(patch_px), [14, 16]);
    let config = |dino_type, registers| {
        registers_of(Config { registers, ..dinov3(Size::CUSTOM, Pretraining::Sat493m) }, dino_type)
    };
    assert_eq!(config(DinoType::Dinov2, false), 0);
    assert_eq!(config(DinoType::Dinov2, true), 4);
    assert_eq!(config(DinoType::Dinov3, false), 4);
}

fn registers_of(config: Config, dino_type: DinoType) -> u32 {
    registers(&Config { dino_type, ..config })
}
