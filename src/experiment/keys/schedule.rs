//! Keys of `schedule`: how an experiment is carried out. None affects results.

use serde_json::Value;

use super::choices::names;
use super::key::{Group, Key};
use super::value::{Accepted, Form, Refusal, Type, choice, no_paths};
use crate::device;
use crate::experiment::text::tree::label_of;
use crate::model::Activations;

/// Sizes in MiB, up to a PiB.
const CACHE_MB: Type = Type::Int { min: 0, max: 1 << 30 };
const DEVICES: Type = Type::Form(&DEVICES_FORM);

static DEVICES_FORM: Form = Form {
    allowed: || device::ALLOWED.to_owned(),
    accept: accept_devices,
    label: label_of,
    paths: no_paths,
    is_text: true,
};

pub(super) static GROUP: Group = Group {
    name: "schedule",
    doc: "How an experiment is carried out; does not affect results.",
    tables: &[],
    compounds: &[],
    keys: &[
        Key::new("schedule.devices", DEVICES, "Devices to run on.")
            .alias(&["devices"])
            .default("auto")
            .examples(["cpu", "cuda:0,cuda:1"]),
        Key::new("schedule.jobs", Type::Int { min: 1, max: 1024 }, "Workers at once on the CPU.")
            .alias(&["jobs"])
            .default("1")
            .examples(["2", "3"]),
        Key::new(
            "schedule.threads",
            Type::Int { min: 0, max: 4096 },
            "Threads of a CPU worker; 0: all cores divided by `jobs`.",
        )
        .default("0")
        .examples(["2", "3"]),
        Key::new(
            "schedule.retries",
            Type::Int { min: 0, max: 100 },
            "Retries after a failure that may be temporary.",
        )
        .default("1")
        .examples(["0", "2"]),
        Key::new(
            "schedule.checkpoint_every_s",
            Type::Int { min: 0, max: 86_400 },
            "Seconds between checkpoints within an epoch; one is written after each epoch anyway.",
        )
        .default("60")
        .field_at("schedule.terms.checkpoint_every_s")
        .examples(["0", "600"]),
        Key::new(
            "schedule.cache_mb",
            CACHE_MB,
            "MiB of memory in which a worker keeps decoded training samples; 0: none.",
        )
        .default("0")
        .field_at("schedule.terms.cache_mb")
        .examples(["100", "4000"]),
        Key::new(
            "schedule.cache_disk_mb",
            CACHE_MB,
            "MiB of disk, while it runs, for samples that do not fit in `cache_mb`; 0: none.",
        )
        .default("0")
        .field_at("schedule.terms.cache_disk_mb")
        .examples(["100", "4000"]),
        Key::new(
            "schedule.activations",
            choice(names::<Activations>),
            "What a training step keeps of the encoder's blocks: all that the backward pass needs, \
             or only what goes into each block, which is then computed again (gradient \
             checkpointing): less memory, more time, the same numbers.",
        )
        .default("keep")
        .field_at("schedule.terms.activations")
        .examples(["keep", "recompute"]),
        Key::new(
            "schedule.pictures",
            Type::Int { min: 0, max: 60 },
            "Images of the validated split that are drawn at each validation, each above its labels \
             and its predictions, into `pictures` in the run's folder.",
        )
        .default("0")
        .field_at("schedule.terms.pictures")
        .examples(["4", "12"]),
    ],
};

/// Checks the devices; refuses them with the same message as the command line.
fn accept_devices(value: &Value) -> Accepted {
    let Value::String(text) = value else { return Err(vec![DEVICES.wrong_type(value)]) };
    match text.parse::<device::Request>() {
        Ok(_) => Ok(value.clone()),
        Err(error) => Err(vec![Refusal::new(error.to_string())]),
    }
}
