//! The names that a choice can have, taken from the type that holds it: an enum of another room is
//! the only list of its variants.

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

/// What a failed attempt to read a variant that does not exist says of those that do.
fn expected<T>(result: Result<T, Variants>) -> Vec<&'static str> {
    result.err().map_or_else(Vec::new, |Variants(names)| names.to_vec())
}

/// An error that keeps the names that were allowed.
#[derive(Debug)]
struct Variants(&'static [&'static str]);

impl de::Error for Variants {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(expected)
    }
}

impl fmt::Display for Variants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "allowed: {}", self.0.join(", "))
    }
}

impl std::error::Error for Variants {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Size, TuneConfig};

    #[test]
    fn names_are_those_of_the_variants_in_their_order() {
        assert_eq!(names::<Size>()[..3], ["tiny", "small", "small_plus"]);
        assert_eq!(names::<Size>().last(), Some(&"custom"));
        assert_eq!(kinds::<TuneConfig>(), ["frozen", "lora", "full"]);
    }
}
