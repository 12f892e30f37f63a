//! The key of `init`: what training starts from besides the encoder's weights.

use super::key::{Group, Key};
use super::value::Type;

pub(super) static GROUP: Group = Group {
    name: "init",
    doc: "What training starts from besides the encoder's weights.",
    tables: &[],
    compounds: &[],
    keys: &[Key::new(
        "init.adapter",
        Type::Path,
        "Adapter file whose LoRA and decoder training starts from: of a run, or of the reference \
         project (`.pt`); relative to the current folder.",
    )
    .content("part of the run's id by the sha256 of the file")
    .examples(["a.pt", "b.pt"])],
};
