//! Keys of `data`: the dataset that is trained on, and scored unless `eval.sets` names others.

use super::choices::kinds;
use super::forms;
use super::key::{Group, Key, Kinds, PLAIN};
use super::seed::SEED;
use super::value::{Type, choice};
use crate::data::dataset;

static KINDS: Kinds = Kinds::of::<dataset::Config>("data.kind");

/// The words for keys whose images are in a run's id, or in a score's, by their fingerprints.
const BY_FINGERPRINT: &str = "part of the ids by the fingerprints of the images and masks";
const N_IMAGES: Type = Type::Int { min: 1, max: 1_000_000 };

/// A dataset of any layout whose paths say what is in which split.
const WITH_FOLDER: &str = "data.kind = 'folder'\ndata.root = 'd'\n\
    data.images = 'i/{split}/{stem}.png'\ndata.masks = 'm/{split}/{stem}.png'\n\
    data.classes = ['a', 'b']";
/// A dataset of any layout whose splits are drawn.
const WITH_FRACTIONS: &str = "data.kind = 'folder'\ndata.root = 'd'\n\
    data.images = 'i/{stem}.png'\ndata.masks = 'm/{stem}.png'\ndata.classes = ['a', 'b']\n\
    data.fractions = { train = 0.5 }";
const WITH_SHAPES: &str = "data.kind = 'shapes'";

pub(super) const KIND: Key = Key::new(
    "data.kind",
    choice(kinds::<dataset::Config>),
    "Dataset that is trained on, and scored unless `eval.sets` names others.",
)
.default("voc")
.run(PLAIN)
.examples(["voc", "ade20k"]);

pub(super) static GROUP: Group = Group {
    name: "data",
    doc: "The dataset that is trained on; tables of `eval.sets` take the same keys.",
    tables: &[("dataset", "data")],
    compounds: &[],
    keys: &[
        KIND,
        Key::new("data.root", Type::Path, "Folder of the dataset; relative to the current folder.")
            .of(&KINDS)
            .unset("its usual name in `machine.data_dirs`; must be given for `folder`")
            .content(BY_FINGERPRINT)
            .examples(["/a", "/b"]),
        Key::new("data.train", Type::Name, "Split to train on.")
            .of(&KINDS)
            .default("train")
            .content(BY_FINGERPRINT)
            .examples(["train", "trainval"]),
        Key::new("data.images", Type::Form(&forms::TEMPLATE), "Paths of images, below the root.")
            .of(&KINDS)
            .required()
            .content(BY_FINGERPRINT)
            .examples(["a/{split}/{stem}.png", "b/{split}/{stem}.*"])
            .with(WITH_FOLDER),
        Key::new("data.masks", Type::Form(&forms::TEMPLATE), "Paths of masks, below the root.")
            .of(&KINDS)
            .required()
            .content(BY_FINGERPRINT)
            .examples(["a/{split}/{stem}.png", "b/{split}/{stem}.png"])
            .with(WITH_FOLDER),
        Key::new("data.classes", Type::Form(&forms::CLASSES), "Class names, or a file of them.")
            .of(&KINDS)
            .required()
            .content(BY_FINGERPRINT)
            .examples(["['a', 'b']", "classes.txt"])
            .with(WITH_FOLDER),
        Key::new("data.splits", Type::Form(&forms::FILES), "For each split, a file of stems.")
            .of(&KINDS)
            .excludes("data.fractions")
            .unset("by `{split}` in the paths")
            .content(BY_FINGERPRINT)
            .examples(["{ train = 't.txt' }", "{ train = 't.txt', val = 'v.txt' }"])
            .with(WITH_FRACTIONS),
        Key::new(
            "data.fractions",
            Type::Form(&forms::FRACTIONS),
            "For each split, a fraction of all images.",
        )
        .of(&KINDS)
        .unset("by `{split}` in the paths")
        .content(BY_FINGERPRINT)
        .examples(["{ train = 0.5 }", "{ train = 0.8, val = 0.2 }"])
        .with(WITH_FRACTIONS),
        Key::new("data.split_seed", SEED, "Seed that draws the splits of `fractions`.")
            .of(&KINDS)
            .default("0")
            .content(BY_FINGERPRINT)
            .examples(["0", "1"])
            .with(WITH_FRACTIONS),
        Key::new("data.void", Type::Form(&forms::RAW), "Value of void pixels in masks.")
            .of(&KINDS)
            .unset("255 in masks of ids, unless 255 is a class")
            .content(BY_FINGERPRINT)
            .examples(["0", "254"])
            .with(WITH_FOLDER),
        Key::new("data.label_map", Type::Form(&forms::LABEL_MAP), "Class of each value in masks.")
            .of(&KINDS)
            .unset("values are class indices")
            .content(BY_FINGERPRINT)
            .examples(["{ 7 = 0 }", "{ '128,64,0' = 1 }"])
            .with(WITH_FOLDER),
        Key::new(
            "data.reduce_zero_label",
            Type::Bool,
            "Whether 0 in masks is void, and classes count from 1.",
        )
        .of(&KINDS)
        .default("false")
        .content(BY_FINGERPRINT)
        .examples(["false", "true"])
        .with(WITH_FOLDER),
        Key::new("data.n_train", N_IMAGES, "Training images.")
            .of(&KINDS)
            .default("256")
            .content(BY_FINGERPRINT)
            .examples(["3", "4"])
            .with(WITH_SHAPES),
        Key::new("data.n_val", N_IMAGES, "Validation images.")
            .of(&KINDS)
            .default("64")
            .content(BY_FINGERPRINT)
            .examples(["3", "4"])
            .with(WITH_SHAPES),
        Key::new("data.side_px", Type::Int { min: 32, max: 1024 }, "Side of the square images.")
            .of(&KINDS)
            .default("128")
            .content(BY_FINGERPRINT)
            .examples(["64", "96"])
            .with(WITH_SHAPES),
        Key::new("data.seed", SEED, "Seed of the image generator.")
            .of(&KINDS)
            .default("0")
            .content(BY_FINGERPRINT)
            .examples(["0", "1"])
            .with(WITH_SHAPES),
        Key::new(
            "data.colour_hint_pct",
            Type::Int { min: 0, max: 100 },
            "Share of its class's colour in an object's colours, in percent; at 0 colours do not \
             depend on the class.",
        )
        .of(&KINDS)
        .default("0")
        .content(BY_FINGERPRINT)
        .examples(["0", "50"])
        .with(WITH_SHAPES),
    ],
};
