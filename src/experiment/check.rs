//! Checks a run's keys together: finds combinations that do not work though each value is allowed.
//!
//! The loader calls `combinations` for every cell of a grid. `input_px`, the size of the
//! network's input, is here too.

use serde_json::Value;

use super::RunSpec;
use crate::data::dataset::{self, EvalSet};
use crate::eval::{Mode, Select};
use crate::experiment::text::problem::quoted;
use crate::model::backbone::{self, Variant};
use crate::model::decoder::GridMin;
use crate::model::{DinoType, LoraConfig, Pretraining, Size, TuneConfig, WeightsConfig};
use crate::train::Input;

/// A combination that does not work, and the keys that make it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finding {
    /// The keys involved; messages name the first.
    pub(super) keys: &'static [&'static str],
    pub(super) value: String,
    pub(super) message: String,
}

/// Lists what is wrong with the keys of a run taken together.
pub(super) fn combinations(spec: &RunSpec) -> Vec<Finding> {
    let rules = [
        size_exists,
        pretraining_exists,
        custom_has_a_folder,
        weights_exist,
        lora_targets_exist,
        lora_blocks_exist,
        length_is_one,
        input_holds_a_patch,
        windows_touch,
        input_holds_the_decoder,
        batch_holds_the_decoder,
        best_needs_dev,
    ];
    let findings = rules.iter().filter_map(|rule| rule(spec));
    findings.chain(folders_are_whole(spec)).collect()
}

/// Checks the run's dataset and those it is scored on.
fn folders_are_whole(spec: &RunSpec) -> Vec<Finding> {
    let others = spec.eval.sets.iter().filter_map(|set| match set {
        EvalSet::Own(_) => None,
        EvalSet::Other { data, .. } => Some((data, "eval.sets")),
    });
    let mut findings = Vec::new();
    for (data, place) in std::iter::once((&spec.data, "")).chain(others) {
        let dataset::Config::Folder(folder) = data else { continue };
        findings.extend(folder.problems().into_iter().map(|problem| match place {
            "" => Finding { keys: problem.keys, value: String::new(), message: problem.message },
            _ => Finding {
                keys: &["eval.sets"],
                value: String::new(),
                message: format!("`{}` {}", problem.key(), problem.message),
            },
        }));
    }
    findings
}

fn size_exists(spec: &RunSpec) -> Option<Finding> {
    let sizes = backbone::sizes(spec.model.dino_type);
    if sizes.contains(&spec.model.size) {
        return None;
    }
    let (dino_type, size) = (name_of(spec.model.dino_type), name_of(spec.model.size));
    let message = format!(
        "{dino_type} has no size `{size}`; allowed: {} (in a grid, leave the cell out with \
         [[exclude]])",
        quoted(sizes.into_iter().map(Size::name))
    );
    Some(Finding { keys: &["model.size", "model.dino_type"], value: size, message })
}

fn pretraining_exists(spec: &RunSpec) -> Option<Finding> {
    let model = spec.model;
    let is_custom = model.dino_type == DinoType::Dinov3 && model.size == Size::CUSTOM;
    if model.pretraining == Pretraining::Lvd1689m || is_custom {
        return None;
    }
    let rows = || backbone::variants().filter(|row| row.pretraining == model.pretraining);
    if rows().any(|row| (row.dino_type, row.size) == (model.dino_type, model.size)) {
        return None;
    }
    let names: Vec<_> =
        rows().map(|row| format!("{} of {}", name_of(row.size), name_of(row.dino_type))).collect();
    let value = name_of(model.pretraining);
    let message = format!(
        "there are no `{value}` weights for size `{}` of {}; they exist for {}",
        name_of(model.size),
        name_of(model.dino_type),
        quoted(names.iter().map(String::as_str))
    );
    Some(Finding { keys: &["model.pretraining", "model.size", "model.dino_type"], value, message })
}

fn custom_has_a_folder(spec: &RunSpec) -> Option<Finding> {
    let is_file = matches!(spec.weights, WeightsConfig::File { .. });
    (spec.model.size == Size::CUSTOM && !is_file).then(|| Finding {
        keys: &["model.size", "weights.kind"],
        value: "custom".to_owned(),
        message: "size `custom` is read from a Hugging Face folder with a `config.json`: set \
                  `weights = { kind = \"file\", path = \"…\" }`"
            .to_owned(),
    })
}

fn weights_exist(spec: &RunSpec) -> Option<Finding> {
    let wants_release = matches!(spec.weights, WeightsConfig::Pretrained {});
    let was_released = backbone::find(&spec.model).is_none_or(|row| !row.files.is_empty());
    (wants_release && !was_released).then(|| Finding {
        keys: &["weights.kind", "model.size"],
        value: "pretrained".to_owned(),
        message: format!(
            "no pretrained weights exist for size `{}`; allowed: `random`, `file`",
            spec.model.size.name()
        ),
    })
}

fn lora_targets_exist(spec: &RunSpec) -> Option<Finding> {
    let (lora, variant) = lora_of(spec)?;
    let (unknown, message) = lora.unknown_target((variant.name, &variant.arch))?;
    let keys = &["tune.targets", "model.size", "model.dino_type"];
    Some(Finding { keys, value: unknown.name().to_owned(), message })
}

fn lora_blocks_exist(spec: &RunSpec) -> Option<Finding> {
    let (lora, variant) = lora_of(spec)?;
    let message = lora.unknown_blocks((variant.name, &variant.arch))?;
    let [first, last] = lora.blocks?;
    let keys = &["tune.blocks", "model.size", "model.dino_type"];
    Some(Finding { keys, value: format!("[{first}, {last}]"), message })
}

/// The LoRA of a run and its encoder, where it has both. Sizes that only a weight file shows are
/// checked when that is read.
fn lora_of(spec: &RunSpec) -> Option<(&LoraConfig, &'static Variant)> {
    let TuneConfig::Lora(lora) = &spec.tune else { return None };
    Some((lora, backbone::find(&spec.model)?))
}

fn length_is_one(spec: &RunSpec) -> Option<Finding> {
    (spec.train.epochs.is_some() == spec.train.steps.is_some()).then(|| Finding {
        keys: &["train.epochs", "train.steps"],
        value: "both or none".to_owned(),
        message: "exactly one of `epochs` and `steps` must be set".to_owned(),
    })
}

fn input_holds_a_patch(spec: &RunSpec) -> Option<Finding> {
    let patch = backbone::patch_px(spec.model.dino_type);
    let Input::Px([height, width]) = spec.train.input else { return None };
    (height < patch || width < patch).then(|| Finding {
        keys: &["train.input.px", "model.dino_type"],
        value: format!("{height}x{width}"),
        message: format!(
            "`{height}x{width}` is less than one patch of {}; allowed: {patch} or more",
            name_of(spec.model.dino_type)
        ),
    })
}

fn windows_touch(spec: &RunSpec) -> Option<Finding> {
    let Mode::Slide { crop, stride, .. } = spec.eval.mode else { return None };
    (stride > crop).then(|| Finding {
        keys: &["eval.mode.stride", "eval.mode.crop"],
        value: stride.to_string(),
        message: format!(
            "windows of {crop} px every {stride} px leave gaps; allowed: a stride of {crop} or \
             less"
        ),
    })
}

fn input_holds_the_decoder(spec: &RunSpec) -> Option<Finding> {
    let patch = backbone::patch_px(spec.model.dino_type);
    let GridMin { side, otherwise } = spec.decoder.grid_min()?;
    let needed = side as u32;
    let [rows, columns] = input_px(spec).map(|side| side / patch);
    // An input of less than one patch has its own message.
    (rows.min(columns) < needed && rows.min(columns) > 0).then(|| {
        let side_px = needed * patch;
        Finding {
            keys: match spec.train.input {
                Input::Tokens(_) => &["train.input.tokens", "decoder.kind"],
                Input::Px(_) => &["train.input.px", "decoder.kind", "model.dino_type"],
            },
            value: format!("{rows}x{columns}"),
            message: format!(
                "an input of {rows}x{columns} patches {otherwise}; allowed: {needed}x{needed} \
                 patches ({side_px} px) or more, or another decoder"
            ),
        }
    })
}

/// The last batch of an epoch may be smaller yet: that is met when it comes.
fn batch_holds_the_decoder(spec: &RunSpec) -> Option<Finding> {
    let patch = backbone::patch_px(spec.model.dino_type);
    let grid = input_px(spec).map(|side| (side / patch) as usize);
    // An input of less than one patch has its own message.
    let is_input = grid.iter().all(|side| *side > 0);
    let reason = spec.decoder.check_batch(spec.train.batch_size as usize, grid).err()?;
    is_input.then(|| Finding {
        keys: match spec.train.input {
            Input::Tokens(_) => &["train.batch_size", "train.input.tokens", "decoder.kind"],
            Input::Px(_) => &["train.batch_size", "train.input.px", "decoder.kind"],
        },
        value: spec.train.batch_size.to_string(),
        message: format!(
            "`{}` cannot be trained: {reason}; allowed: a larger batch, a larger input, or another \
             decoder",
            spec.decoder.kind()
        ),
    })
}

fn best_needs_dev(spec: &RunSpec) -> Option<Finding> {
    (spec.eval.select == Select::Best && spec.train.dev.fraction <= 0.0).then(|| Finding {
        keys: &["eval.select", "train.dev.fraction"],
        value: "best".to_owned(),
        message: "`best` is chosen on a held-out part of the train split, and there is none; \
                  allowed: `last`, or set `train.dev.fraction` above 0"
            .to_owned(),
    })
}

/// The network input in pixels, height and width, lowered to whole patches.
pub fn input_px(spec: &RunSpec) -> [u32; 2] {
    let patch = backbone::patch_px(spec.model.dino_type);
    match spec.train.input {
        Input::Tokens(side) => [side.saturating_mul(patch); 2],
        Input::Px(sides) => sides.map(|side| side / patch * patch),
    }
}

/// A note in words where [`input_px`] differs from what was asked for.
pub(super) fn lowered(spec: &RunSpec) -> Option<String> {
    let Input::Px(asked) = spec.train.input else { return None };
    let used = input_px(spec);
    let patch = backbone::patch_px(spec.model.dino_type);
    (used != asked).then(|| {
        format!(
            "train.input.px: {}x{} is lowered to {}x{} for {}, whose patches are {patch} pixels",
            asked[0],
            asked[1],
            used[0],
            used[1],
            name_of(spec.model.dino_type)
        )
    })
}

/// The name of a choice as a spec writes it.
pub(super) fn name_of(choice: impl serde::Serialize) -> String {
    match serde_json::to_value(choice) {
        Ok(Value::String(name)) => name,
        _ => unreachable!("a choice is written as a string"),
    }
}
