//! Converts computed values to 8-bit levels, as the reference project's pipeline does.

/// Rounds a value to a level.
pub(super) fn rounded(value: f64) -> u8 {
    (value + 0.5) as u8
}
