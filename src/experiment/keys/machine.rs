//! Keys of `machine`: the folders of this machine. None affects results.

use super::key::{Group, Key};
use super::value::Type;

const PATH: Type = Type::Path;

pub(super) static GROUP: Group = Group {
    name: "machine",
    doc: "Folders of this machine, for the machine file and the environment; no effect on results.",
    tables: &[],
    compounds: &[],
    keys: &[
        Key::new(
            "machine.data_dirs",
            Type::List(&PATH),
            "Folders that are searched for datasets; `shapes` is written into the first.",
        )
        .alias(&["data_dirs"])
        .default("['data']")
        .examples(["['a']", "['a', 'b']"]),
        Key::new(
            "machine.weight_dirs",
            Type::List(&PATH),
            "Folders that are searched for weights.",
        )
        .alias(&["weight_dirs"])
        .default("['data/weights']")
        .examples(["['a']", "['a', 'b']"]),
        Key::new("machine.results", Type::Path, "The results folder.")
            .alias(&["results"])
            .default("results")
            .examples(["a", "b"]),
    ],
};
