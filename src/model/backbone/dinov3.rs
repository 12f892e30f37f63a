//! DINOv3 (facebookresearch/dinov3 6876159; gated, under its own licence): patch 16, RoPE, four
//! storage tokens.

use super::variant::{IMAGENET, INIT_STD, INIT_STD_TINY, SAT_493M, Size, Variant};
use crate::model::arch::{Arch, AttentionBias, Ffn, Position};
use crate::model::config::{DinoType, Pretraining};

/// Base of RoPE's periods.
pub const BASE_PERIOD: f64 = 100.0;
/// Channels of ViT-L.
pub const LARGE_DIM: usize = LARGE.dims[0];

struct Row {
    name: &'static str,
    size: &'static str,
    letter: &'static str,
    spellings: &'static [&'static str],
    pretraining: Pretraining,
    dims: [usize; 3],
    ffn: Ffn,
    bias: AttentionBias,
    /// Initial LayerScale: 1e-5 officially; 1 for `tiny`, whose blocks would otherwise be
    /// near-identity untrained.
    layer_scale: f64,
    init_std: f64,
    files: &'static [&'static str],
    folders: &'static [&'static str],
    timm: &'static [&'static str],
    sha256: &'static str,
    params: u64,
}

const fn variant(row: &Row) -> Variant {
    let (mean, std) = match row.pretraining {
        Pretraining::Lvd1689m => IMAGENET,
        Pretraining::Sat493m => SAT_493M,
    };
    Variant {
        name: row.name,
        dino_type: DinoType::Dinov3,
        size: Size::of_row(row.size),
        letter: row.letter,
        spellings: row.spellings,
        registers: true,
        pretraining: row.pretraining,
        arch: Arch {
            patch: 16,
            dim: row.dims[0],
            depth: row.dims[1],
            heads: row.dims[2],
            ffn: row.ffn,
            registers: 4,
            norm_eps: 1e-5,
            bias: row.bias,
            layer_scale: row.layer_scale,
            init_std: row.init_std,
            position: Position::Rotary { base: BASE_PERIOD },
        },
        files: row.files,
        folders: row.folders,
        timm: row.timm,
        sha256: row.sha256,
        // Those of the gated files are not published.
        bytes: None,
        source: "https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/ \
                 (gated: DINOv3 License)",
        mean,
        std,
        params: row.params,
    }
}

const TINY: Row = Row {
    name: "dinov3_tiny16",
    size: "tiny",
    letter: "tiny",
    spellings: &[],
    pretraining: Pretraining::Lvd1689m,
    dims: [64, 4, 4],
    ffn: Ffn::Mlp { hidden: 256 },
    bias: AttentionBias::QueryValue,
    layer_scale: 1.0,
    init_std: INIT_STD_TINY,
    files: &[],
    folders: &[],
    timm: &[],
    sha256: "",
    params: 0,
};

const SMALL: Row = Row {
    name: "dinov3_vits16",
    size: "small",
    letter: "S",
    spellings: &[],
    pretraining: Pretraining::Lvd1689m,
    dims: [384, 12, 6],
    ffn: Ffn::Mlp { hidden: 1536 },
    bias: AttentionBias::QueryValue,
    layer_scale: 1e-5,
    init_std: INIT_STD,
    files: &["dinov3_vits16_pretrain_lvd1689m-08c60483.pth"],
    folders: &["dinov3-vits16-pretrain-lvd1689m"],
    // Without `_qkvb` the biases are left out, which only in B, L and H+ were trained to zero.
    timm: &["vit_small_patch16_dinov3_qkvb.lvd1689m"],
    sha256: "08c60483",
    params: 21_601_152,
};

const SMALL_PLUS: Row = Row {
    name: "dinov3_vits16plus",
    size: "small_plus",
    letter: "S+",
    spellings: &["s_plus", "s+", "small+"],
    ffn: Ffn::SwiGlu { hidden: 1536 },
    files: &["dinov3_vits16plus_pretrain_lvd1689m-4057cbaa.pth"],
    folders: &["dinov3-vits16plus-pretrain-lvd1689m"],
    timm: &["vit_small_plus_patch16_dinov3_qkvb.lvd1689m"],
    sha256: "4057cbaa",
    params: 28_697_472,
    ..SMALL
};

const BASE: Row = Row {
    name: "dinov3_vitb16",
    size: "base",
    letter: "B",
    dims: [768, 12, 12],
    ffn: Ffn::Mlp { hidden: 3072 },
    files: &["dinov3_vitb16_pretrain_lvd1689m-73cec8be.pth"],
    folders: &["dinov3-vitb16-pretrain-lvd1689m"],
    timm: &["vit_base_patch16_dinov3_qkvb.lvd1689m", "vit_base_patch16_dinov3.lvd1689m"],
    sha256: "73cec8be",
    params: 85_669_632,
    ..SMALL
};

const LARGE: Row = Row {
    name: "dinov3_vitl16",
    size: "large",
    letter: "L",
    dims: [1024, 24, 16],
    ffn: Ffn::Mlp { hidden: 4096 },
    files: &["dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth"],
    folders: &["dinov3-vitl16-pretrain-lvd1689m"],
    timm: &["vit_large_patch16_dinov3_qkvb.lvd1689m", "vit_large_patch16_dinov3.lvd1689m"],
    sha256: "8aa4cbdd",
    params: 303_154_176,
    ..SMALL
};

const LARGE_SAT: Row = Row {
    name: "dinov3_vitl16_sat493m",
    pretraining: Pretraining::Sat493m,
    files: &["dinov3_vitl16_pretrain_sat493m-eadcf0ff.pth"],
    folders: &["dinov3-vitl16-pretrain-sat493m"],
    timm: &["vit_large_patch16_dinov3_qkvb.sat493m", "vit_large_patch16_dinov3.sat493m"],
    sha256: "eadcf0ff",
    params: 303_156_224,
    ..LARGE
};

const LARGE_PLUS: Row = Row {
    name: "dinov3_vitl16plus",
    size: "large_plus",
    letter: "L+",
    spellings: &["l_plus", "l+", "large+"],
    ffn: Ffn::SwiGlu { hidden: 4096 },
    files: &["dinov3_vitl16plus_pretrain_lvd1689m-46503df0.pth"],
    // Neither has it.
    folders: &[],
    timm: &[],
    sha256: "46503df0",
    params: 403_915_776,
    ..LARGE
};

const HUGE_PLUS: Row = Row {
    name: "dinov3_vith16plus",
    size: "huge_plus",
    letter: "H+",
    spellings: &["h_plus", "h+", "huge+"],
    dims: [1280, 32, 20],
    ffn: Ffn::SwiGlu { hidden: 5120 },
    files: &["dinov3_vith16plus_pretrain_lvd1689m-7c1da9a5.pth"],
    folders: &["dinov3-vith16plus-pretrain-lvd1689m"],
    timm: &["vit_huge_plus_patch16_dinov3_qkvb.lvd1689m", "vit_huge_plus_patch16_dinov3.lvd1689m"],
    sha256: "7c1da9a5",
    params: 840_633_600,
    ..SMALL
};

const SEVEN_B: Row = Row {
    name: "dinov3_vit7b16",
    size: "7b",
    letter: "7B",
    dims: [4096, 40, 32],
    ffn: Ffn::SwiGlu { hidden: 8192 },
    bias: AttentionBias::None,
    files: &["dinov3_vit7b16_pretrain_lvd1689m-a955f4ea.pth"],
    folders: &["dinov3-vit7b16-pretrain-lvd1689m"],
    timm: &["vit_7b_patch16_dinov3.lvd1689m"],
    sha256: "a955f4ea",
    params: 6_716_043_264,
    ..SMALL
};

const SEVEN_B_SAT: Row = Row {
    name: "dinov3_vit7b16_sat493m",
    pretraining: Pretraining::Sat493m,
    files: &["dinov3_vit7b16_pretrain_sat493m-a6675841.pth"],
    folders: &["dinov3-vit7b16-pretrain-sat493m"],
    timm: &["vit_7b_patch16_dinov3.sat493m"],
    sha256: "a6675841",
    ..SEVEN_B
};

pub const VARIANTS: &[Variant] = &[
    variant(&TINY),
    variant(&SMALL),
    variant(&SMALL_PLUS),
    variant(&BASE),
    variant(&LARGE),
    variant(&LARGE_SAT),
    variant(&LARGE_PLUS),
    variant(&HUGE_PLUS),
    variant(&SEVEN_B),
    variant(&SEVEN_B_SAT),
];
