//! Keys of `train`, and the recipes that fill them.
//!
//! `modern` follows DINOv3's linear protocol where this program has the parts (warm-up, cosine to
//! 0, batch 16, head rate 1e-3, the backbone's own mean and standard deviation) and the usual rate
//! for LoRA. `reference` is the reference project's own (`RobvanGastel/dinov2-finetune`, `main.py`:
//! AdamW 3e-4 on everything, PyTorch's weight decay, batch 12, 100 epochs, 490 px, pixels in 0 to
//! 1, VOC's void trained as background, every 5th epoch validated).

use serde_json::{Value, json};

use super::choices::{kinds, names};
use super::key::{Group, Key, Kinds, PLAIN, Part, Resolved, resolved};
use super::seed::SEED;
use super::value::{Type, choice};
use crate::data::transform;
use crate::model::TuneConfig;
use crate::train::Recipe::{Modern, Reference};
use crate::train::{Normalise, Precision, Recipe, Schedule, VoidLabel};

static SCHEDULES: Kinds = Kinds::of::<Schedule>("train.schedule.kind");
static TRANSFORMS: Kinds = Kinds::of::<transform::Config>("train.transform.kind");
const WITH_CROP: &str = "train.transform.kind = 'crop'";
const WITH_DEV: &str = "train.dev.fraction = 0.25";

/// The input size in ids: in pixels, however it was given.
const INPUT_PX: Part = resolved(|run| Some(json!(run.input_px)));

const RATE: Type = Type::Positive { max: 10.0 };

pub(super) static GROUP: Group = Group {
    name: "train",
    doc: "How a run is trained.",
    tables: &[("transform", "train.transform"), ("input", "train.input")],
    compounds: &[],
    keys: &[
        Key::new(
            "train.recipe",
            choice(names::<Recipe>),
            "Named set of values for the keys of `train` that are not given.",
        )
        .alias(&["recipe"])
        .default("modern")
        .content("not part of ids itself; the values it sets are")
        .examples(["modern", "reference"]),
        Key::new(
            "train.epochs",
            Type::Int { min: 1, max: 100_000 },
            "Passes over the train split.",
        )
        .alias(&["epochs"])
        .excludes("train.steps")
        .recipes(&[(Modern, "50"), (Reference, "100")])
        .run(PLAIN)
        .examples(["50", "51"]),
        Key::new(
            "train.steps",
            Type::Int { min: 1, max: 100_000_000 },
            "Optimiser steps, instead of `epochs`.",
        )
        .alias(&["steps"])
        .run(PLAIN)
        .examples(["50", "51"]),
        Key::new("train.batch_size", Type::Int { min: 1, max: 4096 }, "Images per step.")
            .alias(&["batch_size"])
            .recipes(&[(Modern, "16"), (Reference, "12")])
            .run(PLAIN)
            // The reference project's metric is a mean over batches.
            .score(PLAIN.at("reference_metric_batch"))
            .examples(["8", "16"]),
        Key::new("train.lr", RATE, "Learning rate of the decoder.")
            .alias(&["lr"])
            .recipes(&[(Modern, "1e-3"), (Reference, "3e-4")])
            .run(PLAIN)
            .examples(["1e-3", "2e-3"]),
        Key::new("train.lr_encoder", RATE, "Learning rate of LoRA or of the whole encoder.")
            .alias(&["lr_encoder"])
            .recipes(&[(Modern, "2e-4"), (Reference, "3e-4")])
            .run(resolved(|run| (!is_frozen(run)).then(|| json!(run.spec.train.lr_encoder))))
            .examples(["2e-4", "2e-3"])
            .with("tune.kind = 'full'"),
        Key::new(
            "train.weight_decay",
            Type::Float { min: 0.0, max: 10.0 },
            "Weight decay, decoupled as in AdamW.",
        )
        .alias(&["weight_decay"])
        .recipes(&[(Modern, "0.05"), (Reference, "0.01")])
        .run(PLAIN)
        .examples(["0.05", "0"]),
        Key::new("train.schedule.kind", choice(kinds::<Schedule>), "Course of the learning rate.")
            .recipes(&[(Modern, "cosine"), (Reference, "constant")])
            .run(PLAIN)
            .examples(["constant", "{ kind = 'cosine', warmup_percent = 4 }"]),
        Key::new(
            "train.schedule.warmup_percent",
            Type::Int { min: 0, max: 100 },
            "Percent of the steps in which the learning rate rises.",
        )
        .of(&SCHEDULES)
        .required()
        .recipes(&[(Modern, "4")])
        .run(PLAIN)
        .examples(["4", "5"]),
        Key::new(
            "train.transform.kind",
            choice(kinds::<transform::Config>),
            "How an image is brought to the input's size: all of it squashed, or a random crop.",
        )
        .recipes(&[(Modern, "squash"), (Reference, "squash")])
        .run(PLAIN.since("squash"))
        .examples(["squash", "crop"]),
        Key::new(
            "train.transform.short_side",
            Type::Int { min: 14, max: 8192 },
            "Short side that an image is resized to, in pixels.",
        )
        .of(&TRANSFORMS)
        .unset("the input's shorter side")
        .run(resolved(short_side))
        .examples(["448", "512"])
        .with(WITH_CROP),
        Key::new(
            "train.transform.scale",
            Type::Interval { min: 0.1, max: 10.0 },
            "Range of the random factor on the short side.",
        )
        .of(&TRANSFORMS)
        .default("[0.5, 2.0]")
        .run(PLAIN)
        .examples(["[0.5, 2]", "[1, 1.5]"])
        .with(WITH_CROP),
        Key::new(
            "train.transform.max_class",
            Type::Positive { max: 1.0 },
            "Part of a crop that one class must stay below, else up to 10 redraws; 1: no rule.",
        )
        .of(&TRANSFORMS)
        .default("0.75")
        .run(PLAIN)
        .examples(["0.75", "0.5"])
        .with(WITH_CROP),
        Key::new(
            "train.flip",
            Type::Float { min: 0.0, max: 1.0 },
            "Probability of a horizontal flip.",
        )
        .alias(&["flip"])
        .recipes(&[(Modern, "0.5"), (Reference, "0")])
        .run(PLAIN)
        .examples(["0.5", "0"]),
        Key::new(
            "train.photometric",
            Type::Bool,
            "Random brightness, contrast, saturation and hue, in mmsegmentation's ranges.",
        )
        .alias(&["photometric"])
        .recipes(&[(Modern, "false"), (Reference, "false")])
        .run(PLAIN.since("false"))
        .examples(["false", "true"]),
        Key::new(
            "train.input.tokens",
            Type::Int { min: 1, max: 512 },
            "Side of the input in patches.",
        )
        .alias(&["tokens"])
        .excludes("train.input.px")
        .recipes(&[(Modern, "32")])
        .run(INPUT_PX.at("train.input_px"))
        .score(INPUT_PX.at("input_px"))
        .examples(["32", "16"]),
        Key::new(
            "train.input.px",
            Type::Px { min: 14, max: 8192 },
            "Side of the input, or height and width, in pixels, instead of `tokens`; lowered to \
             whole patches.",
        )
        .alias(&["px"])
        .recipes(&[(Reference, "490")])
        .run(INPUT_PX.at("train.input_px"))
        .score(INPUT_PX.at("input_px"))
        .examples(["462", "[308, 616]"]),
        Key::new(
            "train.normalise",
            choice(names::<Normalise>),
            "Mean and standard deviation that normalise images: the encoder's own, or none.",
        )
        .recipes(&[(Modern, "backbone"), (Reference, "none")])
        .run(PLAIN)
        .examples(["backbone", "none"]),
        Key::new(
            "train.void_label",
            choice(names::<VoidLabel>),
            "How void pixels count in the loss: left out, or as class 0.",
        )
        .recipes(&[(Modern, "ignore"), (Reference, "background")])
        .run(PLAIN)
        .examples(["ignore", "background"]),
        Key::new(
            "train.dev.fraction",
            Type::Float { min: 0.0, max: 0.9 },
            "Part of the train split held out to choose the best checkpoint; 0: none.",
        )
        .recipes(&[(Modern, "0"), (Reference, "0")])
        .run(resolved(|run| has_dev(run).then(|| json!(run.spec.train.dev.fraction))))
        .examples(["0", "0.25"]),
        Key::new(
            "train.dev.seed",
            SEED,
            "Seed that draws the part held out by `train.dev.fraction`.",
        )
        .recipes(&[(Modern, "0"), (Reference, "0")])
        .run(resolved(|run| has_dev(run).then(|| json!(run.spec.train.dev.seed))))
        .examples(["0", "1"])
        .with(WITH_DEV),
        Key::new(
            "train.precision",
            choice(names::<Precision>),
            "Number format of the encoder's blocks. `bf16` needs an NVIDIA GPU; what is trained, \
             the decoder and the loss are f32 in any case. `auto` is f32.",
        )
        .alias(&["precision"])
        .recipes(&[(Modern, "auto"), (Reference, "auto")])
        .run(resolved(|run| Some(json!(run.spec.train.precision.resolved()))))
        .examples(["auto", "bf16"]),
        Key::new(
            "train.validate_every",
            Type::Int { min: 0, max: 100_000 },
            "Epochs between validations; 0: only after the last epoch.",
        )
        .recipes(&[(Modern, "1"), (Reference, "5")])
        // The best checkpoint on `dev` is looked for where it is validated.
        .run(
            resolved(|run| has_dev(run).then(|| json!(run.spec.train.validate_every)))
                .at("train.dev.validate_every"),
        )
        .examples(["1", "2"])
        .with(WITH_DEV),
    ],
};

/// Whether the encoder is frozen, so that its learning rate means nothing.
fn is_frozen(run: &Resolved<'_>) -> bool {
    matches!(run.spec.tune, TuneConfig::Frozen {})
}

fn short_side(run: &Resolved<'_>) -> Option<Value> {
    match run.spec.train.transform {
        transform::Config::Squash {} => None,
        transform::Config::Crop(crop) => Some(json!(crop.short_side_px(run.input_px))),
    }
}

/// Whether a part of the train split is held out.
fn has_dev(run: &Resolved<'_>) -> bool {
    run.spec.train.dev.fraction > 0.0
}
