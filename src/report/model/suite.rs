//! The parts of a suite over which means are shown.
//!
//! A suite that has more than the 15 corruptions of ImageNet-C, or more than the 12 of them that
//! leave pixels with their labels, gets a column for each. Frost from procedural ice (`frost*`) is
//! scored, but in no mean: there is no second table that it could be compared with.

use std::collections::BTreeSet;

use crate::corrupt::frost::Source;
use crate::corrupt::suite::{self, Suite};
use crate::corrupt::{Corruption, Effect};

/// Suites whose mean is shown beside that of a larger one, and the endings of their columns' keys.
const PARTS: [(&str, &str); 2] = [("imagenet-c-15", "_of15"), ("imagenet-c-12", "_of12")];

/// A part of a suite, the whole of it included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::report) struct Part {
    /// Ending of the keys of its columns; empty for the whole.
    pub(super) key: &'static str,
    /// Names over which the mean is.
    pub(super) names: BTreeSet<String>,
    /// Names that are scored but not in the mean.
    pub(super) n_left_out: usize,
}

/// The kinds of corruption that a column's mean is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Corruptions, by level.
    Corruptions,
    /// Draws of the reference project's pipeline: never in a column with the others.
    ReferenceDraws,
}

impl Family {
    pub(in crate::report) fn of(suite: &[String]) -> Self {
        let is_draw = |name: &String| matches!(Effect::parse(name), Some(Effect::ReferenceDraw(_)));
        if !suite.is_empty() && suite.iter().all(is_draw) {
            Self::ReferenceDraws
        } else {
            Self::Corruptions
        }
    }
}

/// The parts of a suite, the whole suite first.
pub(in crate::report) fn parts(suite: &[String]) -> Vec<Part> {
    let whole = Part::of("", suite.iter());
    let n_whole = suite.len();
    let known = PARTS.iter().filter_map(|(name, key)| Some((suite::suite(name)?, *key)));
    let smaller = known.filter_map(|(known, key)| {
        let inside: Vec<_> = suite.iter().filter(|name| is_member(known, name)).collect();
        let n_known = known.effects(Source::Originals).len();
        (inside.len() == n_known && n_known < n_whole).then(|| Part::of(key, inside.into_iter()))
    });
    std::iter::once(whole).chain(smaller).collect()
}

/// The corruptions of a suite that move pixels off their labels.
pub(in crate::report) fn moving(suite: &[String]) -> Vec<&str> {
    let moves = |name: &&String| corruption(name).is_some_and(Corruption::moves_pixels);
    suite.iter().filter(moves).map(String::as_str).collect()
}

impl Part {
    fn of<'a>(key: &'static str, names: impl Iterator<Item = &'a String>) -> Self {
        let (left_out, names): (BTreeSet<_>, BTreeSet<_>) =
            names.cloned().partition(|name| is_left_out(name));
        Self { key, names, n_left_out: left_out.len() }
    }

    /// Number of corruptions: `15`, or `14+1` where one is left out.
    pub(in crate::report) fn count(&self) -> String {
        match self.n_left_out {
            0 => self.names.len().to_string(),
            n => format!("{}+{n}", self.names.len()),
        }
    }
}

fn is_left_out(name: &str) -> bool {
    name == Source::Procedural.name()
}

fn is_member(suite: &Suite, name: &str) -> bool {
    corruption(name).is_some_and(|corruption| suite.contains(corruption))
}

fn corruption(name: &str) -> Option<Corruption> {
    match Effect::parse(name)? {
        Effect::Corruption(corruption) => Some(corruption),
        Effect::ProceduralFrost => Some(Corruption::Frost),
        Effect::ReferenceDraw(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(suite: &str, source: Source) -> Vec<String> {
        suite::suite(suite).unwrap().effects(source).into_iter().map(Effect::name).collect()
    }

    fn check(suite: &str, source: Source, expect: &[(&str, &str)]) {
        let parts = parts(&names(suite, source));
        let found: Vec<_> = parts.iter().map(|part| (part.key, part.count())).collect();
        let expect: Vec<_> = expect.iter().map(|(key, n)| (*key, (*n).to_owned())).collect();
        assert_eq!(found, expect, "{suite}");
    }

    #[test]
    fn larger_suites_show_the_smaller_ones_within_them() {
        check("imagenet-c-first8", Source::Originals, &[("", "8")]);
        check("imagenet-c-12", Source::Originals, &[("", "12")]);
        check("imagenet-c-15", Source::Originals, &[("", "15"), ("_of12", "12")]);
        let all = [("", "19"), ("_of15", "15"), ("_of12", "12")];
        check("imagenet-c-19", Source::Originals, &all);
        check("reference_oneof", Source::Originals, &[("", "10")]);
    }

    #[test]
    fn procedural_frost_is_in_no_mean() {
        check("imagenet-c-15", Source::Procedural, &[("", "14+1"), ("_of12", "11+1")]);
        let parts = parts(&names("imagenet-c-15", Source::Procedural));
        assert!(parts.iter().all(|part| !part.names.contains("frost*")));
    }

    #[test]
    fn draws_of_the_reference_are_a_family_of_their_own() {
        assert_eq!(Family::of(&[]), Family::Corruptions);
        let fifteen = names("imagenet-c-15", Source::Procedural);
        assert_eq!(Family::of(&fifteen), Family::Corruptions);
        assert_eq!(moving(&fifteen), ["glass_blur", "zoom_blur", "elastic_transform"]);
        let draws = names("reference_oneof", Source::Procedural);
        assert_eq!(Family::of(&draws), Family::ReferenceDraws);
    }
}
