//! The names that a choice can have and the fields that each `kind` has, for the entries: derived
//! from the config type, which is the only list of its variants and of their fields.

use std::fmt;

use serde::de::value::{MapDeserializer, StrDeserializer};
use serde::de::{self, Deserialize};

/// The names of the variants of an enum, as specs write them.
pub(super) fn names<T: for<'de> Deserialize<'de>>() -> Vec<&'static str> {
    expected(T::deserialize(StrDeserializer::new("")))
}

/// The values of `kind` of an enum that is tagged by it.
pub(super) fn kinds<T: for<'de> Deserialize<'de>>() -> Vec<&'static str> {
    expected(T::deserialize(MapDeserializer::new([("kind", "")].into_iter())))
}

/// The fields beside `kind` that a tagged enum has under one of its values.
pub(super) fn fields<T: for<'de> Deserialize<'de>>(kind: &str) -> Vec<&'static str> {
    expected(T::deserialize(MapDeserializer::new([("kind", kind), ("", "")].into_iter())))
}

/// The names that serde lists in its error about a variant or field that does not exist.
fn expected<T>(result: Result<T, Expected>) -> Vec<&'static str> {
    result.err().map_or_else(Vec::new, |Expected(names)| names.to_vec())
}

/// An error that keeps the names that were allowed.
#[derive(Debug)]
struct Expected(&'static [&'static str]);

impl de::Error for Expected {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(expected)
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self(expected)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "allowed: {}", self.0.join(", "))
    }
}

impl std::error::Error for Expected {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset;
    use crate::eval::Mode;
    use crate::model::{Size, TuneConfig};

    #[test]
    fn names_are_those_of_the_variants_in_their_order() {
        assert_eq!(names::<Size>()[..3], ["tiny", "small", "small_plus"]);
        assert_eq!(names::<Size>().last(), Some(&"custom"));
        assert_eq!(kinds::<TuneConfig>(), ["frozen", "lora", "full"]);
    }

    #[test]
    fn fields_are_those_of_the_kind() {
        assert_eq!(fields::<Mode>("whole"), [""; 0]);
        assert_eq!(fields::<Mode>("slide"), ["crop", "stride", "short_side"]);
        assert_eq!(fields::<dataset::Config>("ade20k"), ["root"]);
        assert_eq!(fields::<dataset::Config>("folder")[..3], ["root", "images", "masks"]);
    }
}
