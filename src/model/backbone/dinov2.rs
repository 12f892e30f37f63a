//! DINOv2 (facebookresearch/dinov2 b8931f7; Apache-2.0): patch 14, learned positions.

use super::variant::{IMAGENET, INIT_STD, INIT_STD_TINY, Size, Variant};
use crate::model::arch::{Arch, AttentionBias, Ffn, Position, Resize};
use crate::model::config::{DinoType, Pretraining};

/// Positions are learned on 37 x 37 patches: 518 px.
const SIDE: usize = 37;

const fn arch(dims: [usize; 3], ffn: Ffn, registers: usize) -> Arch {
    let resize = if registers == 0 { Resize::Offset(0.1) } else { Resize::Antialias };
    Arch {
        patch: 14,
        dim: dims[0],
        depth: dims[1],
        heads: dims[2],
        ffn,
        registers,
        norm_eps: 1e-6,
        bias: AttentionBias::All,
        layer_scale: 1.0,
        init_std: if dims[0] == TINY.dims[0] { INIT_STD_TINY } else { INIT_STD },
        position: Position::Learned { side: SIDE, resize },
    }
}

struct Row {
    names: [&'static str; 2],
    size: &'static str,
    letter: &'static str,
    dims: [usize; 3],
    ffn: Ffn,
    files: [&'static [&'static str]; 2],
    folders: [&'static [&'static str]; 2],
    timm: [&'static [&'static str]; 2],
    /// sha256 of the file without registers; of those with, neither sum nor length is published.
    sha256: &'static str,
    bytes: Option<u64>,
    params: [u64; 2],
}

/// The variant of a row without (0) or with (1) registers.
const fn variant(row: &Row, with: usize) -> Variant {
    Variant {
        name: row.names[with],
        dino_type: DinoType::Dinov2,
        size: Size::of_row(row.size),
        letter: row.letter,
        spellings: &[],
        registers: with == 1,
        pretraining: Pretraining::Lvd1689m,
        arch: arch(row.dims, row.ffn, if with == 1 { 4 } else { 0 }),
        files: row.files[with],
        folders: row.folders[with],
        timm: row.timm[with],
        // No sha256 of the register files is published; theirs is recorded when first used.
        sha256: if with == 0 { row.sha256 } else { "" },
        bytes: if with == 0 { row.bytes } else { None },
        source: "https://dl.fbaipublicfiles.com/dinov2/ (Apache-2.0)",
        mean: IMAGENET.0,
        std: IMAGENET.1,
        params: row.params[with],
    }
}

const TINY: Row = Row {
    names: ["dinov2_tiny14", "dinov2_tiny14_reg"],
    size: "tiny",
    letter: "tiny",
    dims: [64, 4, 4],
    ffn: Ffn::Mlp { hidden: 256 },
    files: [&[], &[]],
    folders: [&[], &[]],
    timm: [&[], &[]],
    sha256: "",
    bytes: None,
    params: [0, 0],
};

const SMALL: Row = Row {
    names: ["dinov2_vits14", "dinov2_vits14_reg"],
    size: "small",
    letter: "S",
    dims: [384, 12, 6],
    ffn: Ffn::Mlp { hidden: 1536 },
    files: [&["dinov2_vits14_pretrain.pth"], &["dinov2_vits14_reg4_pretrain.pth"]],
    folders: [&["dinov2-small"], &["dinov2-with-registers-small"]],
    timm: [&["vit_small_patch14_dinov2.lvd142m"], &["vit_small_patch14_reg4_dinov2.lvd142m"]],
    sha256: "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
    bytes: Some(88_283_115),
    params: [22_056_576, 22_058_112],
};

const BASE: Row = Row {
    names: ["dinov2_vitb14", "dinov2_vitb14_reg"],
    size: "base",
    letter: "B",
    dims: [768, 12, 12],
    ffn: Ffn::Mlp { hidden: 3072 },
    files: [&["dinov2_vitb14_pretrain.pth"], &["dinov2_vitb14_reg4_pretrain.pth"]],
    folders: [&["dinov2-base"], &["dinov2-with-registers-base"]],
    timm: [&["vit_base_patch14_dinov2.lvd142m"], &["vit_base_patch14_reg4_dinov2.lvd142m"]],
    sha256: "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
    bytes: Some(346_378_731),
    params: [86_580_480, 86_583_552],
};

const LARGE: Row = Row {
    names: ["dinov2_vitl14", "dinov2_vitl14_reg"],
    size: "large",
    letter: "L",
    dims: [1024, 24, 16],
    ffn: Ffn::Mlp { hidden: 4096 },
    files: [&["dinov2_vitl14_pretrain.pth"], &["dinov2_vitl14_reg4_pretrain.pth"]],
    folders: [&["dinov2-large"], &["dinov2-with-registers-large"]],
    timm: [&["vit_large_patch14_dinov2.lvd142m"], &["vit_large_patch14_reg4_dinov2.lvd142m"]],
    sha256: "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
    bytes: Some(1_217_586_395),
    params: [304_368_640, 304_372_736],
};

const GIANT: Row = Row {
    names: ["dinov2_vitg14", "dinov2_vitg14_reg"],
    size: "giant",
    letter: "g",
    dims: [1536, 40, 24],
    ffn: Ffn::SwiGlu { hidden: 4096 },
    files: [&["dinov2_vitg14_pretrain.pth"], &["dinov2_vitg14_reg4_pretrain.pth"]],
    folders: [&["dinov2-giant"], &["dinov2-with-registers-giant"]],
    timm: [&["vit_giant_patch14_dinov2.lvd142m"], &["vit_giant_patch14_reg4_dinov2.lvd142m"]],
    sha256: "",
    bytes: None,
    params: [1_136_480_768, 1_136_486_912],
};

pub const VARIANTS: &[Variant] = &[
    variant(&TINY, 0),
    variant(&TINY, 1),
    variant(&SMALL, 0),
    variant(&SMALL, 1),
    variant(&BASE, 0),
    variant(&BASE, 1),
    variant(&LARGE, 0),
    variant(&LARGE, 1),
    variant(&GIANT, 0),
    variant(&GIANT, 1),
];
