//! Keys of `model`: which encoder.

use serde_json::{Value, json};

use super::choices::names;
use super::key::{Compound, Group, Key, PLAIN, Resolved, resolved};
use super::value::{Choice, Refusal, Type, choice};
use crate::experiment::text::problem::{nearest, quoted};
use crate::experiment::text::tree::label_of;
use crate::model::backbone::{self, Variant};
use crate::model::{DinoType, Pretraining};

pub(super) static GROUP: Group = Group {
    name: "model",
    doc: "The choice of the encoder.",
    tables: &[],
    compounds: &[BACKBONE],
    keys: &[
        Key::new(
            "model.size",
            SIZE,
            "Size of the encoder; `custom`: read from the Hugging Face folder at `weights.path`.",
        )
        .alias(&["size"])
        .default("small")
        .run(PLAIN)
        .examples(["base", "large"]),
        Key::new("model.dino_type", choice(names::<DinoType>), "Family of the encoder.")
            .alias(&["dino_type"])
            .default("dinov2")
            .run(PLAIN)
            .examples(["dinov2", "dinov3"])
            // Whole patches of both.
            .with("train.input.px = 448"),
        Key::new(
            "model.registers",
            Type::Bool,
            "Whether DINOv2 has register tokens; DINOv3 always has them.",
        )
        .alias(&["registers"])
        .default("true")
        .run(resolved(|run| is_dinov2(run).then(|| json!(run.spec.model.registers))))
        .examples(["true", "false"]),
        Key::new(
            "model.pretraining",
            choice(names::<Pretraining>),
            "Images that DINOv3 was trained on: from the web or from satellites.",
        )
        .alias(&["pretraining"])
        .default("lvd1689m")
        .run(
            resolved(|run| (!is_dinov2(run)).then(|| json!(run.spec.model.pretraining)))
                .since("lvd1689m"),
        )
        .examples(["lvd1689m", "sat493m"])
        .with("dino_type = 'dinov3'\nsize = 'large'"),
    ],
};

const SIZE: Type = Type::Choice(Choice {
    names: || backbone::size_names().to_vec(),
    spellings: || {
        let of_row =
            |row: &'static Variant| row.spellings.iter().map(|text| (*text, row.size.name()));
        backbone::variants().flat_map(of_row).collect()
    },
});

const BACKBONE: Compound = Compound {
    name: "backbone",
    doc: "Encoder by its official name: sets all keys of `model` at once.",
    group: "model",
    sets: &["model.dino_type", "model.size", "model.registers", "model.pretraining"],
    allowed: || quoted(official().map(|variant| variant.name)),
    expand: |value| {
        let name = label_of(value);
        let Some(variant) = official().find(|variant| variant.name == name) else {
            let allowed = (BACKBONE.allowed)();
            let message = format!("`{name}` is not known; allowed: {allowed}");
            let nearest = nearest(&name, official().map(|variant| variant.name));
            return Err(vec![Refusal { message, nearest }]);
        };
        Ok(vec![
            ("model.dino_type", json!(variant.dino_type)),
            ("model.size", json!(variant.size)),
            ("model.registers", json!(variant.registers)),
            ("model.pretraining", json!(variant.pretraining)),
        ])
    },
    shown: |value| {
        let is = |name: &str, of: Value| value(name) == Some(of);
        let named = official().find(|variant| {
            is("model.dino_type", json!(variant.dino_type))
                && is("model.size", json!(variant.size))
                && match variant.dino_type {
                    DinoType::Dinov2 => is("model.registers", json!(variant.registers)),
                    DinoType::Dinov3 => is("model.pretraining", json!(variant.pretraining)),
                }
        });
        let text = |name: &str| value(name).map(|value| label_of(&value));
        match named {
            Some(variant) => Some(variant.name.to_owned()),
            None => Some(format!("{} {}", text("model.dino_type")?, text("model.size")?)),
        }
    },
    examples: ["dinov2_vitb14", "dinov3_vitl16_sat493m"],
};

/// The released encoders, those of the usual pretraining first.
fn official() -> impl Iterator<Item = &'static Variant> {
    let of = |is_usual: bool| {
        let is_of = move |row: &Variant| (row.pretraining == Pretraining::default()) == is_usual;
        backbone::variants().filter(move |row| !row.files.is_empty() && is_of(row))
    };
    of(true).chain(of(false))
}

fn is_dinov2(run: &Resolved<'_>) -> bool {
    run.spec.model.dino_type == DinoType::Dinov2
}
