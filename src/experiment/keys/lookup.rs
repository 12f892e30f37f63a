//! The list of all entries, and their lookup by name; for the reader of files, the ids and the
//! reference.

use serde::de::DeserializeOwned;
use serde_json::Map;

use super::key::{Compound, Group, Key};
use super::{data, decoder, eval, init, machine, model, schedule, seed, train, tune, weights};
use crate::experiment::text::table;

/// The groups, in the order of messages and of the documentation.
pub fn groups() -> [&'static Group; 11] {
    [
        &seed::GROUP,
        &model::GROUP,
        &weights::GROUP,
        &init::GROUP,
        &tune::GROUP,
        &decoder::GROUP,
        &data::GROUP,
        &train::GROUP,
        &eval::GROUP,
        &schedule::GROUP,
        &machine::GROUP,
    ]
}

/// Every key, group by group.
pub fn all() -> impl Iterator<Item = &'static Key> {
    groups().into_iter().flat_map(|group| group.keys)
}

/// The key of exactly this dotted name.
pub fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}

/// Short names and what they stand for: a key, or a table of keys.
pub fn aliases() -> impl Iterator<Item = (&'static str, &'static str)> {
    let keys = |group: &'static Group| {
        group.keys.iter().flat_map(|key| key.aliases.iter().map(|alias| (*alias, key.name)))
    };
    groups().into_iter().flat_map(move |group| group.tables.iter().copied().chain(keys(group)))
}

/// Short names that set several keys at once.
pub fn compounds() -> impl Iterator<Item = &'static Compound> {
    groups().into_iter().flat_map(|group| group.compounds)
}

/// The full name behind a short one, which may have more names behind it (`transform.scale`).
pub(in crate::experiment) fn full_name(name: &str) -> String {
    let (first, rest) = name.split_once('.').map_or((name, None), |(a, b)| (a, Some(b)));
    let Some((_, full)) = aliases().find(|(alias, _)| *alias == first) else {
        return name.to_owned();
    };
    rest.map_or_else(|| full.to_owned(), |rest| format!("{full}.{rest}"))
}

/// Whether some key lies below this dotted name.
pub(in crate::experiment) fn is_table(name: &str) -> bool {
    below(name).next().is_some()
}

/// Keys below a dotted name.
pub(in crate::experiment) fn below(table: &str) -> impl Iterator<Item = &'static Key> {
    all().filter(move |key| key.name.strip_prefix(table).is_some_and(|rest| rest.starts_with('.')))
}

/// The key that excludes `name`, whichever of the two says so.
pub(in crate::experiment) fn excluded_by(name: &str) -> Option<&'static str> {
    all().find_map(|key| match key.excludes {
        Some(other) if key.name == name => Some(other),
        Some(other) if other == name => Some(key.name),
        _ => None,
    })
}

/// The table of a group whose keys nobody sets.
///
/// # Panics
/// Where the defaults of the entries do not make one.
pub(in crate::experiment) fn defaults<T: DeserializeOwned>(group: &str) -> T {
    let mut root = Map::new();
    for key in below(group) {
        if let Some(value) = key.default_value() {
            table::insert(&mut root, key.field(), value);
        }
    }
    let table = root.remove(group).unwrap_or_default();
    serde_json::from_value(table).expect("the defaults of a group's entries are its table")
}
