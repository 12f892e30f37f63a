//! The key `seed`.

use super::key::{Group, Key, PLAIN};
use super::value::Type;

/// Seeds are TOML integers, so 63 bits.
pub(super) const SEED: Type = Type::Int { min: 0, max: i64::MAX as u64 };

pub(super) static GROUP: Group = Group {
    name: "seed",
    doc: "Replicates of a run.",
    tables: &[],
    compounds: &[],
    keys: &[Key::new(
        "seed",
        SEED,
        "Seed of all of a run's randomness; several seeds are replicates.",
    )
    .default("0")
    .run(PLAIN)
    .examples(["1", "2"])],
};
