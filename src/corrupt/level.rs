//! Levels of 8 bits from computed values, as the reference project's pipeline makes them.

/// A level, rounded.
pub(super) fn rounded(value: f64) -> u8 {
    (value + 0.5) as u8
}
