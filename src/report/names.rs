//! How a table names what a run is made of.

use crate::model::{
    Config, DecoderConfig, DinoType, Pretraining, Size, TuneConfig, WeightsConfig, backbone,
};
use crate::spec::RunSpec;

/// The parts that were trained: `1x1 decoder`, `LoRA r=4 + FPN decoder`.
pub(super) fn finetuned(spec: &RunSpec) -> String {
    let decoder = decoder(&spec.decoder);
    match &spec.tune {
        TuneConfig::Frozen {} => decoder,
        TuneConfig::Lora(lora) => format!("LoRA r={} + {decoder}", lora.rank),
        TuneConfig::Full {} => format!("full + {decoder}"),
    }
}

fn decoder(config: &DecoderConfig) -> String {
    match config {
        DecoderConfig::Linear {} => "1x1 decoder".to_owned(),
        DecoderConfig::LinearBn { layers: 1, .. } => "BN + 1x1 decoder".to_owned(),
        DecoderConfig::LinearBn { layers, .. } => format!("BN + 1x1 decoder ({layers} layers)"),
        DecoderConfig::Fpn { .. } => "FPN decoder".to_owned(),
        DecoderConfig::FpnReference { .. } => "FPN (reference) decoder".to_owned(),
    }
}

pub(super) fn pretraining(spec: &RunSpec) -> String {
    let dino = match (spec.model.dino_type, spec.model.pretraining) {
        (DinoType::Dinov2, _) => "DINOv2",
        (DinoType::Dinov3, Pretraining::Lvd1689m) => "DINOv3",
        (DinoType::Dinov3, Pretraining::Sat493m) => "DINOv3 SAT",
    };
    match spec.weights {
        WeightsConfig::Random {} => format!("random ({dino})"),
        WeightsConfig::Pretrained {} | WeightsConfig::File { .. } => dino.to_owned(),
    }
}

/// `ViT-L/14`.
pub(super) fn model(model: Config) -> String {
    let size = match model.size {
        Size::Tiny => "tiny",
        Size::Small => "S",
        Size::SmallPlus => "S+",
        Size::Base => "B",
        Size::Large => "L",
        Size::LargePlus => "L+",
        Size::HugePlus => "H+",
        Size::Giant => "g",
        Size::SevenB => "7B",
        Size::Custom => "custom",
    };
    format!("ViT-{size}/{}", patch_px(model))
}

/// Register (storage) tokens.
pub(super) fn registers(model: Config) -> u64 {
    backbone::registers(&model).into()
}

/// Side of a patch.
pub(super) fn patch_px(model: Config) -> u32 {
    backbone::patch_px(model.dino_type)
}

/// `304.4 M`, `17.2 k`.
pub(super) fn parameters(n: u64) -> String {
    match n {
        0..1000 => n.to_string(),
        1000..100_000 => format!("{:.1} k", n as f64 / 1e3),
        _ => format!("{:.1} M", n as f64 / 1e6),
    }
}

/// `448x448`.
pub(super) fn size(hw: [u32; 2]) -> String {
    format!("{}x{}", hw[0], hw[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_keep_one_decimal() {
        assert_eq!(parameters(21), "21");
        assert_eq!(parameters(8085), "8.1 k");
        assert_eq!(parameters(294_912), "0.3 M");
        assert_eq!(parameters(304_372_736), "304.4 M");
    }

    #[test]
    fn dinov3_always_has_registers() {
        let mut config = Config {
            dino_type: DinoType::Dinov3,
            size: Size::HugePlus,
            registers: false,
            pretraining: Pretraining::Lvd1689m,
        };
        assert_eq!((registers(config), model(config)), (4, "ViT-H+/16".to_owned()));
        config.dino_type = DinoType::Dinov2;
        assert_eq!(registers(config), 0);
    }
}
