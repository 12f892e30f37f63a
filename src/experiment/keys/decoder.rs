//! Keys of `decoder`: the head on the patch tokens.

use super::choices::kinds;
use super::key::{Group, Key, Kinds, PLAIN};
use super::value::{Type, choice};
use crate::model::DecoderConfig;

static KINDS: Kinds = Kinds::of::<DecoderConfig>("decoder.kind");

pub(super) static GROUP: Group = Group {
    name: "decoder",
    doc: "The head on the patch tokens.",
    tables: &[],
    compounds: &[],
    keys: &[
        Key::new("decoder.kind", choice(kinds::<DecoderConfig>), "Head on the patch tokens.")
            .default("linear")
            .run(PLAIN)
            .examples(["linear", "fpn"]),
        Key::new(
            "decoder.layers",
            Type::Int { min: 1, max: 4 },
            "Number of last layers that the head reads.",
        )
        .of(&KINDS)
        .default("1")
        .run(PLAIN)
        .examples(["1", "4"])
        .with("decoder.kind = 'linear_bn'"),
        Key::new(
            "decoder.dropout",
            Type::Float { min: 0.0, max: 0.9 },
            "Probability that a channel is dropped in training.",
        )
        .of(&KINDS)
        .default("0.1")
        .run(PLAIN)
        .examples(["0.1", "0.5"])
        .with("decoder.kind = 'linear_bn'"),
        Key::new(
            "decoder.channels",
            Type::Int { min: 8, max: 4096 },
            "Channels of the first FPN stage.",
        )
        .of(&KINDS)
        .default("128")
        .run(PLAIN)
        .examples(["128", "64"])
        .with("decoder.kind = 'fpn'"),
    ],
};
