//! The backbones: rows of tables over the shared blocks of [`super::vit`].

pub mod dinov2;
pub mod dinov3;

use super::config::{Config, DinoType, Size};
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
    pub arch: Arch,
    /// Released file names that hold these weights, best first; empty for `tiny`.
    pub files: &'static [&'static str],
    /// Folder names of Hugging Face's copies, best first.
    pub folders: &'static [&'static str],
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

/// Mean and standard deviation of ImageNet, RGB.
pub const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

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
            && (v.dino_type == DinoType::Dinov3 || v.registers == config.registers)
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
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
            assert_eq!(count(variant), variant.params, "{}", variant.name);
        }
    }

    #[test]
    fn every_name_is_used_once() {
        let names: std::collections::BTreeSet<_> = variants().map(|v| v.name).collect();
        assert_eq!(names.len(), variants().count());
    }

    #[test]
    fn giant_of_dinov3_does_not_exist() {
        let config = Config { dino_type: DinoType::Dinov3, size: Size::Giant, registers: true };
        assert!(find(&config).is_none());
    }
}
