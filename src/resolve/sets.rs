//! The sets that a run is scored on: whether they fit it, and each other.

use crate::data::dataset::Dataset;
use crate::experiment::SetFacts;

/// Differences that a message lists.
const LISTED_MAX: usize = 5;

/// Classes are told by name and place: a prediction of class 3 must mean the same in both.
pub(super) fn refuse_other_classes(own: &Dataset, other: &Dataset) -> Result<(), String> {
    if own.classes == other.classes {
        return Ok(());
    }
    let lacks = |a: &Dataset, b: &Dataset| {
        let names: Vec<_> = a.classes.iter().filter(|name| !b.classes.contains(name)).collect();
        let shown: Vec<_> = names.iter().take(LISTED_MAX).map(|name| format!("`{name}`")).collect();
        let more = names.len().saturating_sub(LISTED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!names.is_empty()).then(|| format!("{} has no {}{more}", b.name, shown.join(", ")))
    };
    let mut differences: Vec<String> =
        [lacks(own, other), lacks(other, own)].into_iter().flatten().collect();
    let pairs = own.classes.iter().zip(&other.classes).enumerate();
    if differences.is_empty() {
        let moved = pairs.filter(|(_, (a, b))| a != b).take(LISTED_MAX);
        differences
            .extend(moved.map(|(i, (a, b))| format!("class {i} is `{a}` here, `{b}` there")));
    }
    Err(format!(
        "`{}` ({} classes) cannot be scored by a run on `{}` ({} classes): {}; the class lists must \
         agree by name and order (a `folder` dataset can map its labels)",
        other.name,
        other.classes.len(),
        own.name,
        own.classes.len(),
        differences.join("; ")
    ))
}

/// Leaves out a set that is listed twice; two that differ may not have one name, by which tables
/// know them.
pub(super) fn distinct(sets: Vec<SetFacts>) -> Result<Vec<SetFacts>, String> {
    let mut kept: Vec<SetFacts> = Vec::new();
    for set in sets {
        match kept.iter().find(|known| known.name == set.name) {
            None => kept.push(set),
            Some(known) if known.fingerprint == set.fingerprint => {}
            Some(known) => {
                return Err(format!(
                    "two sets to score would both be called `{}`: those in `{}` and `{}`; rename \
                     one folder",
                    set.name,
                    known.root.display(),
                    set.root.display()
                ));
            }
        }
    }
    Ok(kept)
}
