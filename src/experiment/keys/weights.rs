//! Keys of `weights`: where the encoder's weights come from.

use serde_json::{Value, json};

use super::choices::kinds;
use super::key::{Group, Key, Kinds, Resolved, resolved};
use super::value::{Type, choice};
use crate::model::WeightsConfig;

static KINDS: Kinds = Kinds::of::<WeightsConfig>("weights.kind");

pub(super) static GROUP: Group = Group {
    name: "weights",
    doc: "Where the encoder's weights come from.",
    tables: &[],
    compounds: &[],
    keys: &[
        Key::new(
            "weights.kind",
            choice(kinds::<WeightsConfig>),
            "The released file, a file of your own, or weights drawn from the run's seed.",
        )
        .default("pretrained")
        // Other weights are there by what is in their file.
        .run(resolved(random).at("weights"))
        .examples(["pretrained", "random"]),
        Key::new(
            "weights.path",
            Type::Path,
            "Weight file or folder; relative to the current folder.",
        )
        .of(&KINDS)
        .required()
        .content("part of the run's id by the sha256 of the file")
        .examples(["a.pth", "b.pth"])
        .with("weights.kind = 'file'"),
    ],
};

fn random(run: &Resolved<'_>) -> Option<Value> {
    match run.spec.weights {
        WeightsConfig::Random {} => Some(json!("random")),
        WeightsConfig::Pretrained {} | WeightsConfig::File { .. } => None,
    }
}
