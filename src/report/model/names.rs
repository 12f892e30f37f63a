//! The words of a table's cells: the parts of a run, its size and its name.

use crate::experiment::RunSpec;
use crate::id::RunId;
use crate::model::{
    Config, DinoType, LoraConfig, Pretraining, Scaling, TuneConfig, WeightsConfig, backbone,
};

/// The text of an empty cell.
pub(in crate::report) const NOTHING: &str = "–";

/// The part of a run's id that tables show; `sweep show` takes it.
pub(in crate::report) fn short(run: &RunId) -> &str {
    &run.as_str()[..8]
}

/// The parts that were trained: `1x1 decoder`, `LoRA r=4 + FPN decoder`.
pub(in crate::report) fn finetuned(spec: &RunSpec) -> String {
    let decoder = spec.decoder.label();
    match &spec.tune {
        TuneConfig::Frozen {} => decoder,
        TuneConfig::Lora(config) => format!("{} + {decoder}", lora(config)),
        TuneConfig::Full {} => format!("full + {decoder}"),
    }
}

/// A run in words: `LoRA r=4 + 1x1 decoder, DINOv2 ViT-S/14`.
pub fn title(spec: &RunSpec) -> String {
    format!("{}, {} {}", finetuned(spec), pretraining(spec), model(spec.model))
}

/// A run's LoRA: `LoRA r=4`, and in brackets what is unusual: `rsLoRA r=16 (all, blocks 6-11)`.
fn lora(config: &LoraConfig) -> String {
    let LoraConfig { rank, alpha, targets, scaling, dropout, blocks } = config;
    let name = match scaling {
        Scaling::Standard => "LoRA",
        Scaling::Rslora => "rsLoRA",
    };
    let mut unusual = vec![];
    if *targets != LoraConfig::reference(*rank).targets {
        let targets: Vec<_> = targets.iter().map(|target| target.name()).collect();
        unusual.push(targets.join(" "));
    }
    unusual.extend(blocks.map(|[first, last]| format!("blocks {first}-{last}")));
    let alpha = alpha.filter(|alpha| (alpha - f64::from(rank.get())).abs() > 0.0);
    unusual.extend(alpha.map(|alpha| format!("alpha {alpha}")));
    unusual.extend((*dropout > 0.0).then(|| format!("dropout {dropout}")));
    match unusual.as_slice() {
        [] => format!("{name} r={rank}"),
        _ => format!("{name} r={rank} ({})", unusual.join(", ")),
    }
}

pub(in crate::report) fn pretraining(spec: &RunSpec) -> String {
    let dino = match (spec.model.dino_type, spec.model.pretraining) {
        (DinoType::Dinov3, Pretraining::Sat493m) => "DINOv3 SAT",
        (dino_type, _) => dino_type.label(),
    };
    match spec.weights {
        WeightsConfig::Random {} => format!("random ({dino})"),
        WeightsConfig::Pretrained {} | WeightsConfig::File { .. } => dino.to_owned(),
    }
}

/// The encoder's size and patch: `ViT-L/14`.
pub(in crate::report) fn model(model: Config) -> String {
    match backbone::find(&model) {
        Some(row) => row.architecture(),
        None => format!("ViT-{}/{}", model.size.name(), patch_px(model)),
    }
}

/// Number of register (storage) tokens.
pub(in crate::report) fn registers(model: Config) -> u64 {
    backbone::registers(&model).into()
}

/// Side of a patch.
pub(in crate::report) fn patch_px(model: Config) -> u32 {
    backbone::patch_px(model.dino_type)
}

/// A number of parameters: `304.4 M`, `17.2 k`.
pub(in crate::report) fn parameters(n: u64) -> String {
    match n {
        0..1000 => n.to_string(),
        1000..100_000 => format!("{:.1} k", n as f64 / 1e3),
        _ => format!("{:.1} M", n as f64 / 1e6),
    }
}

/// Height and width: `448x448`.
pub(in crate::report) fn size(hw: [u32; 2]) -> String {
    format!("{}x{}", hw[0], hw[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LoraTarget, Size};

    #[test]
    fn lora_names_what_is_unusual() {
        let usual = LoraConfig::reference(4.try_into().unwrap());
        assert_eq!(lora(&usual), "LoRA r=4");
        assert_eq!(lora(&LoraConfig { alpha: Some(4.0), ..usual.clone() }), "LoRA r=4");
        let other = LoraConfig {
            alpha: Some(8.0),
            targets: vec![LoraTarget::Q, LoraTarget::Fc1],
            scaling: Scaling::Rslora,
            dropout: 0.1,
            blocks: Some([6, 11]),
            ..usual
        };
        assert_eq!(lora(&other), "rsLoRA r=4 (q fc1, blocks 6-11, alpha 8, dropout 0.1)");
    }

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
            size: Size::named("huge_plus").unwrap(),
            registers: false,
            pretraining: Pretraining::Lvd1689m,
        };
        assert_eq!((registers(config), model(config)), (4, "ViT-H+/16".to_owned()));
        config.dino_type = DinoType::Dinov2;
        assert_eq!(registers(config), 0);
    }
}
