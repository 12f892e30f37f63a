//! Every key that a run, a schedule or a machine can have: its type, what is allowed, and what it
//! is for. The one table behind parsing, messages and `check`.

mod accept;
pub mod data;

use crate::data::dataset;
use crate::experiment::keys::data::Form;
use crate::model::DecoderConfig;

/// Corruption suites by name; `none` scores clean images only.
pub const SUITE_NAMES: &[&str] = &[
    "imagenet-c-15",
    "imagenet-c-12",
    "imagenet-c-19",
    "imagenet-c-first8",
    "reference_oneof",
    "none",
];

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Dotted, as in `"train.lr" = 1e-3`.
    pub name: &'static str,
    pub ty: Type,
    /// The `kind` key and its values under which this key means something; `None`: always.
    pub of: Option<(&'static str, &'static [&'static str])>,
    /// Must be given where it means something.
    pub required: bool,
    pub doc: &'static str,
}

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    Bool,
    Int {
        min: u64,
        max: u64,
    },
    Float {
        min: f64,
        max: f64,
    },
    /// A number above 0 and up to `max`.
    Positive {
        max: f64,
    },
    Choice(&'static [&'static str]),
    /// A size of an encoder, in any spelling.
    Size,
    /// The name of a file without its ending: no folder, no white space.
    Name,
    Path,
    /// `auto`, `cpu`, `cuda:N`, or several separated by commas.
    Devices,
    /// Not empty, nothing twice.
    List(&'static Type),
    /// First and last.
    Range {
        max: u64,
    },
    /// Two numbers, the lower first.
    Interval {
        min: f64,
        max: f64,
    },
    /// One side, or height and width.
    Px {
        min: u64,
        max: u64,
    },
    /// See there.
    Data(Form),
}

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Part of every cell; may change numbers.
    Run,
    /// How an experiment is carried out; changes no number.
    Schedule,
    /// Folders of this machine; changes no number.
    Machine,
}

/// Why a value is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What is wrong and what is allowed.
    pub(super) message: String,
    pub(super) nearest: Option<String>,
}

const RATE: Type = Type::Positive { max: 10.0 };
const SET: Type = Type::Data(Form::Set);
const PATH: Type = Type::Path;
/// From an eighth to eightfold: beyond, inputs are single patches or fill memories.
const SCALE: Type = Type::Float { min: 0.125, max: 8.0 };
const SEVERITY: Type = Type::Int { min: 1, max: 5 };
const LORA_TARGET: Type =
    Type::Choice(&["q", "k", "v", "proj", "fc1", "fc2", "w1", "w2", "w12", "w3", "all"]);
/// Up to a PiB.
const CACHE_MB: Type = Type::Int { min: 0, max: 1 << 30 };
/// Seeds are TOML integers, so 63 bits.
const SEED: Type = Type::Int { min: 0, max: i64::MAX as u64 };

const LORA: (&str, &[&str]) = ("tune.kind", &["lora"]);
pub(super) const SLIDE: (&str, &[&str]) = ("eval.mode.kind", &["slide"]);
const LINEAR_BN: (&str, &[&str]) = ("decoder.kind", &["linear_bn"]);
const CROP: (&str, &[&str]) = ("train.transform.kind", &["crop"]);
const SHAPES: (&str, &[&str]) = ("data.kind", &["shapes"]);
const FOLDER: (&str, &[&str]) = ("data.kind", &["folder"]);

/// The table, in the order of `sweep recipes` and of the documentation.
pub const KEYS: &[Key] = &[
    key("seed", SEED, "Seed of all of a run's randomness; several seeds are replicates."),
    key("model.dino_type", Type::Choice(&["dinov2", "dinov3"]), "Family of the encoder."),
    key(
        "model.size",
        Type::Size,
        "Size of the encoder; `custom`: what the Hugging Face folder of `weights.path` says.",
    ),
    key("model.registers", Type::Bool, "DINOv2 with register tokens; DINOv3 always has them."),
    key(
        "model.pretraining",
        Type::Choice(&["lvd1689m", "sat493m"]),
        "Images that DINOv3 was trained on: from the web or from satellites.",
    ),
    key(
        "weights.kind",
        Type::Choice(&["pretrained", "random", "file"]),
        "Where the encoder's weights come from.",
    ),
    key("weights.path", Type::Path, "Weight file or folder; relative to the current folder.")
        .of(("weights.kind", &["file"]))
        .required(),
    key("tune.kind", Type::Choice(&["frozen", "lora", "full"]), "What of the encoder is trained."),
    key("tune.rank", Type::Int { min: 1, max: 1024 }, "Rank of the LoRA update.")
        .of(LORA)
        .required(),
    key(
        "tune.alpha",
        Type::Positive { max: 1e6 },
        "The update is scaled by alpha / rank or alpha / √rank; default: the rank.",
    )
    .of(LORA),
    key("tune.targets", Type::List(&LORA_TARGET), "Linear layers that get an update.").of(LORA),
    key("tune.scaling", Type::Choice(&["standard", "rslora"]), "alpha / rank, or alpha / √rank.")
        .of(LORA),
    key("tune.dropout", Type::Float { min: 0.0, max: 0.9 }, "Dropout of LoRA's input.").of(LORA),
    key(
        "tune.blocks",
        Type::Range { max: 1023 },
        "First and last block that get an update, from 0; default: all.",
    )
    .of(LORA),
    key(
        "decoder.kind",
        Type::Choice(DecoderConfig::KINDS),
        "Head on the patch tokens.",
    ),
    key("decoder.layers", Type::Int { min: 1, max: 4 }, "Last layers that the head reads.")
        .of(LINEAR_BN),
    key(
        "decoder.dropout",
        Type::Float { min: 0.0, max: 0.9 },
        "Probability that a channel is dropped in training.",
    )
    .of(LINEAR_BN),
    key("decoder.channels", Type::Int { min: 8, max: 4096 }, "Channels of the first FPN stage.")
        .of(("decoder.kind", &["fpn", "fpn_reference"])),
    key("data.kind", Type::Choice(dataset::KINDS), "Dataset."),
    key("data.root", Type::Path, "Folder of the dataset; relative to the current folder.")
        .of(("data.kind", &["voc", "ade20k", "cityscapes", "acdc", "folder"])),
    key("data.train", Type::Name, "Split to train on.")
        .of(("data.kind", &["voc", "cityscapes", "acdc", "folder"])),
    key("data.images", Type::Data(Form::Template), "Where images lie, below the root.")
        .of(FOLDER)
        .required(),
    key("data.masks", Type::Data(Form::Template), "Where masks lie, below the root.")
        .of(FOLDER)
        .required(),
    key("data.classes", Type::Data(Form::Classes), "Class names, or a file of them.")
        .of(FOLDER)
        .required(),
    key("data.splits", Type::Data(Form::Files), "A file of stems for each split.").of(FOLDER),
    key("data.fractions", Type::Data(Form::Fractions), "A part of all images for each split.")
        .of(FOLDER),
    key("data.split_seed", SEED, "Seed of `fractions`.").of(FOLDER),
    key("data.void", Type::Data(Form::Raw), "Value of void pixels in masks.").of(FOLDER),
    key("data.label_map", Type::Data(Form::LabelMap), "Class of each value in masks.").of(FOLDER),
    key("data.reduce_zero_label", Type::Bool, "0 in masks is void, and classes count from 1.")
        .of(FOLDER),
    key("data.n_train", Type::Int { min: 1, max: 1_000_000 }, "Training images.").of(SHAPES),
    key("data.n_val", Type::Int { min: 1, max: 1_000_000 }, "Validation images.").of(SHAPES),
    key("data.side_px", Type::Int { min: 32, max: 1024 }, "Side of the square images.").of(SHAPES),
    key("data.seed", SEED, "Seed of the image generator.").of(SHAPES),
    key(
        "train.recipe",
        Type::Choice(&["modern", "reference"]),
        "Where the values of `train` come from that are not given.",
    ),
    key("train.epochs", Type::Int { min: 1, max: 100_000 }, "Passes over the train split."),
    key(
        "train.steps",
        Type::Int { min: 1, max: 100_000_000 },
        "Optimiser steps, instead of `epochs`.",
    ),
    key("train.batch_size", Type::Int { min: 1, max: 4096 }, "Images a step."),
    key("train.lr", RATE, "Learning rate of the decoder."),
    key("train.lr_encoder", RATE, "Learning rate of LoRA or of the whole encoder."),
    key("train.weight_decay", Type::Float { min: 0.0, max: 10.0 }, "Decoupled, as AdamW."),
    key(
        "train.schedule.kind",
        Type::Choice(&["constant", "cosine"]),
        "Learning rate over the run.",
    ),
    key(
        "train.schedule.warmup_percent",
        Type::Int { min: 0, max: 100 },
        "Part of the steps with a rising rate.",
    )
    .of(("train.schedule.kind", &["cosine"]))
    .required(),
    key(
        "train.transform.kind",
        Type::Choice(&["squash", "crop"]),
        "How an image comes to the input's size: all of it squashed, or a random crop.",
    ),
    key(
        "train.transform.short_side",
        Type::Int { min: 14, max: 8192 },
        "Short side that an image is resized to, pixels; default: the input's shorter side.",
    )
    .of(CROP),
    key(
        "train.transform.scale",
        Type::Interval { min: 0.1, max: 10.0 },
        "Bounds of a random factor on the short side; default: [0.5, 2.0].",
    )
    .of(CROP),
    key(
        "train.transform.max_class",
        Type::Positive { max: 1.0 },
        "Part of a crop that one class must stay below, in 10 more tries; 1: no rule; default: 0.75.",
    )
    .of(CROP),
    key("train.flip", Type::Float { min: 0.0, max: 1.0 }, "Probability of a horizontal flip."),
    key(
        "train.photometric",
        Type::Bool,
        "Random brightness, contrast, saturation and hue, in mmsegmentation's ranges.",
    ),
    key("train.input.tokens", Type::Int { min: 1, max: 512 }, "Side of the input in patches."),
    key(
        "train.input.px",
        Type::Px { min: 14, max: 8192 },
        "Side of the input, or height and width, in pixels, instead of `tokens`.",
    ),
    key(
        "train.normalise",
        Type::Choice(&["backbone", "none"]),
        "Mean and standard deviation taken off the image.",
    ),
    key(
        "train.void_label",
        Type::Choice(&["ignore", "background"]),
        "What void pixels are in the loss.",
    ),
    key(
        "train.dev.fraction",
        Type::Float { min: 0.0, max: 0.9 },
        "Part of the train split held out for choosing; 0: none.",
    ),
    key("train.dev.seed", SEED, "Seed of that part."),
    key("train.precision", Type::Choice(&["auto", "f32"]), "Number format; `auto` is f32."),
    key(
        "train.validate_every",
        Type::Int { min: 0, max: 100_000 },
        "Epochs between validations; 0: only after the last.",
    ),
    key("eval.sets", Type::List(&SET), "Splits to score, of the run's dataset or of others."),
    key("eval.mode.kind", Type::Choice(&["whole", "slide"]), "How an image becomes a prediction."),
    key("eval.mode.crop", Type::Int { min: 14, max: 8192 }, "Side of the windows, pixels.")
        .of(SLIDE)
        .required(),
    key("eval.mode.stride", Type::Int { min: 1, max: 8192 }, "Pixels between windows.")
        .of(SLIDE)
        .required(),
    key(
        "eval.mode.short_side",
        Type::Int { min: 14, max: 8192 },
        "Short side that an image is resized to before; default: `crop`.",
    )
    .of(SLIDE),
    key("eval.tta.flip", Type::Bool, "Average with mirrored images."),
    key("eval.tta.scales", Type::List(&SCALE), "Average over these factors on the size."),
    key("eval.corruption.suite", Type::Choice(SUITE_NAMES), "Corruptions to score."),
    key("eval.corruption.severities", Type::List(&SEVERITY), "Levels of each corruption."),
    key("eval.select", Type::Choice(&["last", "best"]), "Which checkpoint is scored."),
    key("schedule.devices", Type::Devices, "Devices to run on."),
    key("schedule.jobs", Type::Int { min: 1, max: 1024 }, "Workers at once on the CPU."),
    key(
        "schedule.threads",
        Type::Int { min: 0, max: 4096 },
        "Threads of a CPU worker; 0: all cores divided by `jobs`.",
    ),
    key("schedule.retries", Type::Int { min: 0, max: 100 }, "Tries again after a failure."),
    key(
        "schedule.checkpoint_every_s",
        Type::Int { min: 0, max: 86_400 },
        "Seconds between checkpoints within an epoch.",
    ),
    key(
        "schedule.cache_mb",
        CACHE_MB,
        "MiB of memory in which a worker keeps decoded training samples; 0: none.",
    ),
    key(
        "schedule.cache_disk_mb",
        CACHE_MB,
        "MiB of disk, while it runs, for the samples that `cache_mb` has no room for; 0: none.",
    ),
    key("machine.data_dirs", Type::List(&PATH), "Folders that datasets are looked for in."),
    key("machine.weight_dirs", Type::List(&PATH), "Folders that weights are looked for in."),
    key("machine.results", Type::Path, "The results folder."),
];

/// Short names and what they stand for: a key, or a group of keys.
///
/// `backbone` and `lora_rank` set several keys and are read in `assign`.
pub const ALIASES: &[(&str, &str)] = &[
    ("size", "model.size"),
    ("dino_type", "model.dino_type"),
    ("registers", "model.registers"),
    ("pretraining", "model.pretraining"),
    ("lora_alpha", "tune.alpha"),
    ("lora_targets", "tune.targets"),
    ("lora_scaling", "tune.scaling"),
    ("lora_dropout", "tune.dropout"),
    ("lora_blocks", "tune.blocks"),
    ("dataset", "data"),
    ("recipe", "train.recipe"),
    ("epochs", "train.epochs"),
    ("steps", "train.steps"),
    ("batch_size", "train.batch_size"),
    ("lr", "train.lr"),
    ("lr_encoder", "train.lr_encoder"),
    ("weight_decay", "train.weight_decay"),
    ("transform", "train.transform"),
    ("flip", "train.flip"),
    ("photometric", "train.photometric"),
    ("input", "train.input"),
    ("tokens", "train.input.tokens"),
    ("px", "train.input.px"),
    ("precision", "train.precision"),
    ("sets", "eval.sets"),
    ("select", "eval.select"),
    ("suite", "eval.corruption.suite"),
    ("severities", "eval.corruption.severities"),
    ("devices", "schedule.devices"),
    ("jobs", "schedule.jobs"),
    ("data_dirs", "machine.data_dirs"),
    ("weight_dirs", "machine.weight_dirs"),
    ("results", "machine.results"),
];

/// Keys of which a run has exactly one.
pub const EXCLUSIVE: &[(&str, &str)] = &[
    ("train.epochs", "train.steps"),
    ("train.input.tokens", "train.input.px"),
    ("data.splits", "data.fractions"),
];

const fn key(name: &'static str, ty: Type, doc: &'static str) -> Key {
    Key { name, ty, of: None, required: false, doc }
}

impl Key {
    const fn of(mut self, of: (&'static str, &'static [&'static str])) -> Self {
        self.of = Some(of);
        self
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub fn owner(&self) -> Owner {
        match self.name.split_once('.') {
            Some(("schedule", _)) => Owner::Schedule,
            Some(("machine", _)) => Owner::Machine,
            _ => Owner::Run,
        }
    }

    /// Whether other keys depend on this one's value.
    pub(super) fn is_kind(&self) -> bool {
        self.name.rsplit('.').next() == Some("kind")
    }

    /// Whether the key means something where its `kind` key has this value.
    pub(super) fn applies(&self, kind: Option<&str>) -> bool {
        self.of.is_none_or(|(_, kinds)| kind.is_some_and(|kind| kinds.contains(&kind)))
    }
}

/// The row of exactly this dotted name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether some key lies below this dotted name.
pub(super) fn is_group(name: &str) -> bool {
    below(name).next().is_some()
}

/// Keys below a dotted name.
pub(super) fn below(group: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter()
        .filter(move |key| key.name.strip_prefix(group).is_some_and(|rest| rest.starts_with('.')))
}

/// The key that excludes `name`.
pub(super) fn excluded_by(name: &str) -> Option<&'static str> {
    EXCLUSIVE.iter().find_map(|&(a, b)| match name {
        _ if name == a => Some(b),
        _ if name == b => Some(a),
        _ => None,
    })
}
