//! Keys of `eval`: what a trained run is scored on, and how.

use serde_json::{Value, json};

use super::choices::{kinds, names};
use super::key::{Group, Key, Kinds, PLAIN, Resolved, resolved};
use super::sets;
use super::value::{Type, choice};
use crate::corrupt::suite::SUITES;
use crate::eval::{Mode, Select, Tta};

/// The name that asks for clean scores only.
pub(in crate::experiment) const NO_SUITE: &str = "none";

static MODES: Kinds = Kinds::of::<Mode>("eval.mode.kind");
const WITH_SLIDE: &str = "eval.mode.kind = 'slide'\neval.mode.crop = 512\neval.mode.stride = 341";

const SET: Type = Type::Form(&sets::SET);
const SIDE: Type = Type::Int { min: 14, max: 8192 };
const SEVERITY: Type = Type::Int { min: 1, max: 5 };
/// Scale factors from an eighth to eight: beyond, inputs are single patches or fill the memory.
const SCALE: Type = Type::Float { min: 0.125, max: 8.0 };

pub(super) static GROUP: Group = Group {
    name: "eval",
    doc: "What a trained run is scored on, and how; not part of the run's id.",
    tables: &[],
    compounds: &[],
    keys: &[
        Key::new(
            "eval.sets",
            Type::List(&SET),
            "Splits to score, of the run's dataset or of others.",
        )
        .alias(&["sets"])
        .default("['val']")
        .asks()
        .examples(["['val']", "['val', { kind = 'acdc', split = 'val_fog' }]"]),
        Key::new(
            "eval.mode.kind",
            choice(kinds::<Mode>),
            "How an image is predicted: squashed whole to the input size, or in windows that slide \
             over it.",
        )
        .default("whole")
        .score(PLAIN.at("mode.kind"))
        .examples(["whole", "{ kind = 'slide', crop = 512, stride = 341 }"]),
        Key::new("eval.mode.crop", SIDE, "Side of the windows, in pixels.")
            .of(&MODES)
            .required()
            .score(PLAIN.at("mode.crop"))
            .examples(["512", "448"])
            .with(WITH_SLIDE),
        Key::new("eval.mode.stride", Type::Int { min: 1, max: 8192 }, "Stride of windows, pixels.")
            .of(&MODES)
            .required()
            .score(PLAIN.at("mode.stride"))
            .examples(["341", "256"])
            .with(WITH_SLIDE),
        Key::new("eval.mode.short_side", SIDE, "Short side that images are resized to first.")
            .of(&MODES)
            .unset("`crop`")
            .score(resolved(short_side).at("mode.short_side"))
            .examples(["512", "640"])
            .with(WITH_SLIDE),
        Key::new("eval.tta.flip", Type::Bool, "Average with the prediction of the mirrored image.")
            .default("false")
            .score(resolved(|run| tta(run).map(|tta| json!(tta.flip))).at("tta.flip"))
            .examples(["false", "true"]),
        Key::new("eval.tta.scales", Type::List(&SCALE), "Average over these factors on the size.")
            .default("[1.0]")
            .score(resolved(|run| tta(run).map(|tta| json!(tta.scales))).at("tta.scales"))
            .examples(["[1.0]", "[0.5, 1.0, 2.0]"]),
        Key::new(
            "eval.corruption.suite",
            choice(suites),
            "Suite of corruptions to score; `none`: clean images only.",
        )
        .alias(&["suite"])
        .default("imagenet-c-15")
        .asks()
        .examples(["imagenet-c-15", "none"]),
        Key::new(
            "eval.corruption.severities",
            Type::List(&SEVERITY),
            "Severities at which each corruption is scored.",
        )
        .alias(&["severities"])
        .default("[5]")
        .asks()
        .examples(["[5]", "[1, 3, 5]"]),
        Key::new(
            "eval.select",
            choice(names::<Select>),
            "Checkpoint that is scored: the last, or the best on the held-out part.",
        )
        .alias(&["select"])
        .default("last")
        .score(PLAIN.at("select"))
        .examples(["last", "best"])
        .with("train.dev.fraction = 0.25"),
    ],
};

fn suites() -> Vec<&'static str> {
    SUITES.iter().map(|suite| suite.name).chain([NO_SUITE]).collect()
}

fn short_side(run: &Resolved<'_>) -> Option<Value> {
    match run.spec.eval.mode {
        Mode::Whole {} => None,
        Mode::Slide { crop, short_side, .. } => Some(json!(short_side.unwrap_or(crop))),
    }
}

/// The test-time augmentation, if any: ids of scores made before it existed have none.
fn tta<'a>(run: &Resolved<'a>) -> Option<&'a Tta> {
    let tta = &run.spec.eval.tta;
    (*tta != Tta::default()).then_some(tta)
}
