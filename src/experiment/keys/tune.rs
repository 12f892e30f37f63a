//! Keys of `tune`: the part of the encoder that is trained.

use serde_json::{Value, json};

use super::choices::{kinds, names};
use super::key::{Compound, Group, Key, Kinds, PLAIN, Resolved, resolved};
use super::value::{Refusal, Type, choice};
use crate::model::vit::Arch;
use crate::model::{self, LoraConfig, LoraTarget, TuneConfig, backbone};

static KINDS: Kinds = Kinds::of::<TuneConfig>("tune.kind");
/// Gives the keys of LoRA a meaning.
const WITH_LORA: &str = "tune.kind = 'lora'\ntune.rank = 4";

const TARGET: Type = choice(names::<LoraTarget>);
/// The type of `lora_rank`; 0 stands for a frozen encoder.
const LORA_RANK_TYPE: Type = Type::Int { min: 0, max: 1024 };

pub(super) static GROUP: Group = Group {
    name: "tune",
    doc: "The part of the encoder that is trained.",
    tables: &[],
    compounds: &[LORA_RANK],
    keys: &[
        Key::new(
            "tune.kind",
            choice(kinds::<TuneConfig>),
            "Train none of the encoder, low-rank updates of its linear layers, or all of it.",
        )
        .default("frozen")
        .run(PLAIN)
        .examples(["frozen", "full"]),
        Key::new("tune.rank", Type::Int { min: 1, max: 1024 }, "Rank of the LoRA update.")
            .of(&KINDS)
            .required()
            .run(PLAIN)
            .examples(["4", "9"])
            .with("tune.kind = 'lora'"),
        Key::new(
            "tune.alpha",
            Type::Positive { max: 1e6 },
            "Numerator of the scale of the update; see `tune.scaling`.",
        )
        .alias(&["lora_alpha"])
        .of(&KINDS)
        .unset("the rank")
        .run(resolved(alpha))
        .examples(["2", "8"])
        .with(WITH_LORA),
        Key::new("tune.targets", Type::List(&TARGET), "Linear layers that get an update.")
            .alias(&["lora_targets"])
            .of(&KINDS)
            .default("['q', 'v']")
            .run(resolved(targets))
            .examples(["['q', 'v']", "['all']"])
            .with(WITH_LORA),
        Key::new(
            "tune.scaling",
            choice(names::<model::Scaling>),
            "Scale of the update: `standard` is alpha / rank, `rslora` is alpha / √rank.",
        )
        .alias(&["lora_scaling"])
        .of(&KINDS)
        .default("standard")
        .run(PLAIN.since("standard"))
        .examples(["standard", "rslora"])
        .with(WITH_LORA),
        Key::new(
            "tune.dropout",
            Type::Float { min: 0.0, max: 0.9 },
            "Probability with which an input of the update is dropped in training.",
        )
        .alias(&["lora_dropout"])
        .of(&KINDS)
        .default("0")
        .run(PLAIN.since("0"))
        .examples(["0", "0.1"])
        .with(WITH_LORA),
        Key::new(
            "tune.blocks",
            Type::Range { max: 1023 },
            "First and last block that get an update, from 0.",
        )
        .alias(&["lora_blocks"])
        .of(&KINDS)
        .unset("all")
        .run(resolved(blocks))
        .examples(["[0, 11]", "[6, 11]"])
        .with(WITH_LORA),
    ],
};

const LORA_RANK: Compound = Compound {
    name: "lora_rank",
    doc: "0: the encoder stays frozen; else LoRA of this rank.",
    group: "tune",
    sets: &["tune.kind", "tune.rank"],
    allowed: || format!("{} (0: frozen encoder)", LORA_RANK_TYPE.allowed()),
    expand: |value| match LORA_RANK_TYPE.accept(value) {
        Ok(rank) if rank == 0 => Ok(vec![("tune.kind", json!("frozen"))]),
        Ok(rank) => Ok(vec![("tune.kind", json!("lora")), ("tune.rank", rank)]),
        Err(refused) => Err(refused
            .into_iter()
            .map(|Refusal { message, nearest }| Refusal {
                message: format!("{message} (0: frozen encoder)"),
                nearest,
            })
            .collect()),
    },
    shown: |value| match value("tune.kind")?.as_str() {
        Some("frozen") => Some("0".to_owned()),
        _ => value("tune.rank").map(|rank| rank.to_string()),
    },
    examples: ["0", "3"],
};

fn lora<'a>(run: &Resolved<'a>) -> Option<&'a LoraConfig> {
    match &run.spec.tune {
        TuneConfig::Lora(lora) => Some(lora),
        TuneConfig::Frozen {} | TuneConfig::Full {} => None,
    }
}

/// Of an encoder that a table row describes.
fn arch(run: &Resolved<'_>) -> Option<Arch> {
    backbone::find(&run.spec.model).map(|variant| variant.arch)
}

/// Alpha as a number.
fn alpha(run: &Resolved<'_>) -> Option<Value> {
    let lora = lora(run)?;
    Some(json!(lora.alpha.unwrap_or_else(|| f64::from(lora.rank.get()))))
}

/// The targets, each layer by its own name, sorted; as written where only a file tells which layers
/// exist.
fn targets(run: &Resolved<'_>) -> Option<Value> {
    let lora = lora(run)?;
    let targets = arch(run).map_or_else(|| lora.targets.clone(), |arch| lora.targets_in(&arch));
    let mut names: Vec<_> = targets.into_iter().map(LoraTarget::name).collect();
    names.sort_unstable();
    Some(json!(names))
}

/// The blocks; left out where they are all blocks, the only choice before the key existed.
fn blocks(run: &Resolved<'_>) -> Option<Value> {
    let blocks = lora(run)?.blocks?;
    let all = arch(run).and_then(|arch| u32::try_from(arch.depth).ok()).map(|n| [0, n - 1]);
    (Some(blocks) != all).then(|| json!(blocks))
}
