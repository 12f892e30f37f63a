//! The keys of experiment files, machine files and the environment.
//!
//! Each key is one entry ([`Key`]) in the file of its group: names, allowed values, purpose,
//! default, values in recipes, and effect on the ids of runs and scores. Reading, messages, ids,
//! `sweep keys`, the documentation and the tests all follow from the entries, so that a new key is
//! a new entry, a field of the config that holds it, and the code that uses its value.

mod value;
mod choices;
mod key;

mod seed;
mod model;
mod weights;
mod init;
mod tune;
mod decoder;
mod forms;
mod data;
mod train;
mod sets;
mod eval;
mod schedule;
mod machine;

mod lookup;
mod reference;

pub(super) use eval::NO_SUITE;
pub(super) use key::Resolved;
pub use key::{Compound, Effect, Examples, Group, Key, Kinds, Owner, Part, Unset, ValueOf, Values};
pub use lookup::{aliases, all, compounds, find, groups};
pub(super) use lookup::{below, defaults, excluded_by, full_name, is_table};
pub(super) use reference::one_of;
pub use reference::{
    Given, RecipeRow, Recipes, Row, named, nearest_name, recipes, reference, rows,
};
pub use value::{Accepted, Choice, EachPath, Form, Refusal, Type};

#[cfg(test)]
mod tests;
