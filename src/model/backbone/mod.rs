//! The backbones: rows of tables over the shared blocks of [`super::vit`].

pub mod dinov2;
pub mod dinov3;

use super::config::{Config, DinoType, Pretraining, Size};
use super::vit::Arch;

/// One released (or, for `tiny`, made-up) encoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variant {
    /// Official name, e.g. `dinov2_vits14_reg`.
    pub name: &'static str,
    /// As tables show it, e.g. `ViT-S/14`.
    pub label: &'static str,
    pub dino_type: DinoType,
    pub size: Size,
    /// Whether the register tokens of DINOv2 are there; always true for DINOv3.
    pub registers: bool,
    /// Of DINOv2 always the default.
    pub pretraining: Pretraining,
    pub arch: Arch,
    /// Released file names that hold these weights, best first; empty for `tiny`.
    pub files: &'static [&'static str],
    /// Names of the Hugging Face repositories of `facebook`, and of folders like them.
    pub folders: &'static [&'static str],
    /// Those of `timm`, best first.
    pub timm: &'static [&'static str],
    /// sha256 of the first of `files`, in full or its released prefix; empty where unknown.
    pub sha256: &'static str,
    /// Where the weights come from.
    pub source: &'static str,
    /// Mean of the pre-training images, RGB, 0 to 1.
    pub mean: [f32; 3],
    pub std: [f32; 3],
    /// Parameters of the encoder as published; 0 for `tiny`.
    pub params: u64,
}

/// What a run needs to know of its encoder, be it a table row or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Backbone {
    pub name: String,
    pub arch: Arch,
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

impl From<&Variant> for Backbone {
    fn from(variant: &Variant) -> Self {
        let Variant { name, arch, mean, std, .. } = *variant;
        Self { name: name.to_owned(), arch, mean, std }
    }
}

/// Mean and standard deviation of ImageNet, RGB.
pub const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
/// Those of the satellite images of DINOv3's SAT-493M.
pub const SAT_493M: ([f32; 3], [f32; 3]) = ([0.430, 0.411, 0.296], [0.213, 0.156, 0.143]);

/// Standard deviation of the official initialisers of weights and tokens.
const INIT_STD: f64 = 0.02;
/// That of the `tiny` variants, 1/√dim: at their width 0.02 would leave every block near-identity,
/// and an untrained encoder nothing to tell apart.
const INIT_STD_TINY: f64 = 0.125;

/// Every variant of both families.
pub fn variants() -> impl Iterator<Item = &'static Variant> {
    dinov2::VARIANTS.iter().chain(dinov3::VARIANTS)
}

/// The variant a config names; `None` where that size does not exist for that DINO.
pub fn find(config: &Config) -> Option<&'static Variant> {
    variants().find(|v| {
        v.dino_type == config.dino_type
            && v.size == config.size
            && match v.dino_type {
                DinoType::Dinov2 => v.registers == config.registers,
                DinoType::Dinov3 => v.pretraining == config.pretraining,
            }
    })
}

/// Side of a family's patch, pixels.
pub fn patch_px(dino_type: DinoType) -> u32 {
    match dino_type {
        DinoType::Dinov2 => 14,
        DinoType::Dinov3 => 16,
    }
}

/// Register (storage) tokens of a config.
pub fn registers(config: &Config) -> u32 {
    match config.dino_type {
        DinoType::Dinov2 if !config.registers => 0,
        DinoType::Dinov2 | DinoType::Dinov3 => 4,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::mode::Mode;
    use crate::model::params::Params;
    use crate::model::vit::Encoder;

    /// Counted as the official code counts: the masked key bias of DINOv3 and `mask_token`
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
            crate::model::vit::AttentionBias::QueryValue => dim,
            _ => 0,
        };
        depth * (block + masked) + rest + dim
    }

    #[test]
    fn parameters_are_those_published() {
        for variant in variants().filter(|v| v.params > 0 && v.size != Size::SevenB) {
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
        assert!(find(&dinov3(Size::Giant, Pretraining::Lvd1689m)).is_none());
    }

    fn dinov3(size: Size, pretraining: Pretraining) -> Config {
        Config { dino_type: DinoType::Dinov3, size, registers: true, pretraining }
    }

    #[test]
    fn satellite_rows_are_large_and_7b_with_their_own_mean() {
        let sat = |size| find(&dinov3(size, Pretraining::Sat493m));
        let with: Vec<_> = variants().filter(|v| sat(v.size).is_some()).map(|v| v.size).collect();
        assert!(with.iter().all(|size| [Size::Large, Size::SevenB].contains(size)));
        for size in [Size::Large, Size::SevenB] {
            let (sat, lvd) = (sat(size).unwrap(), find(&dinov3(size, Pretraining::Lvd1689m)));
            let lvd = lvd.unwrap();
            assert_eq!((sat.mean, sat.std), SAT_493M);
            assert_eq!((sat.arch, (lvd.mean, lvd.std)), (lvd.arch, IMAGENET));
            assert_ne!((sat.label, sat.sha256, sat.files), (lvd.label, lvd.sha256, lvd.files));
        }
    }

    /// The whole row needs 27 GB; its blocks are all alike.
    #[test]
    fn a_7b_of_one_block_runs_and_counts_as_published() {
        let row = find(&dinov3(Size::SevenB, Pretraining::Lvd1689m)).unwrap();
        // The norms for local crops, which are not used here.
        assert_eq!(count(row) + 2 * row.arch.dim as u64, row.params);
        let mut encoder = Encoder::zeros(Arch { depth: 1, ..row.arch }, &Device::flex());
        encoder.prepare([32, 48]);
        let images = burn::tensor::Tensor::ones([1, 3, 32, 48], &Device::flex());
        let features = encoder.forward(images, &[0], Mode::Eval);
        assert_eq!(features.patches[0].dims(), [1, 6, 4096]);
        assert_eq!(features.class[0].dims(), [1, 1, 4096]);
    }
}
