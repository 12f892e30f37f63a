//! Decodes the numbers in tensors of weight, adapter and checkpoint files to f32, and counts those
//! that are not finite.
//!
//! Everything that reads such a file calls it with bytes and a type's name, or with values.

use std::fmt;

use half::{bf16, f16};

/// A function that decodes little-endian bytes to numbers.
type Decode = fn(&[u8]) -> Vec<f32>;

/// The element types that can be read, by their names in lower case.
const TYPES: &[(&str, Decode)] = &[
    ("f32", |bytes| bytemuck::pod_collect_to_vec(bytes)),
    ("f16", |bytes| pairs(bytes).map(|pair| f16::from_le_bytes(pair).to_f32()).collect()),
    ("bf16", |bytes| pairs(bytes).map(|pair| bf16::from_le_bytes(pair).to_f32()).collect()),
];

/// A tensor with values that are not finite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFinite {
    pub tensor: String,
    pub n_nan: usize,
    pub n_infinite: usize,
    /// Number of all its values.
    pub n: usize,
}

/// Tells whether [`decode`] can read elements of this type.
pub fn is_readable(dtype: &str) -> bool {
    TYPES.iter().any(|(name, _)| *name == dtype)
}

/// Decodes values of the type `dtype` to f32; f16 and bf16 are widened. The error is what is wrong
/// with the type, to follow the tensor's name.
pub fn decode(dtype: &str, bytes: &[u8]) -> Result<Vec<f32>, String> {
    if let Some((_, decode)) = TYPES.iter().find(|(name, _)| *name == dtype) {
        return Ok(decode(bytes));
    }
    let names: Vec<_> = TYPES.iter().map(|(name, _)| *name).collect();
    Err(format!("is {dtype}; types that can be read: {}", names.join(", ")))
}

fn pairs(bytes: &[u8]) -> impl Iterator<Item = [u8; 2]> {
    bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]])
}

impl NotFinite {
    /// Counts the values of `tensor` that are not finite; `None` where all are.
    pub fn count(tensor: &str, values: &[f32]) -> Option<Self> {
        let n_wrong = values.iter().filter(|value| !value.is_finite()).count();
        if n_wrong == 0 {
            return None;
        }
        let n_nan = values.iter().filter(|value| value.is_nan()).count();
        Self::of_counts(tensor, [n_nan, n_wrong - n_nan], values.len())
    }

    /// From the number of NaN and of infinite values among `n`; `None` where there are none.
    pub fn of_counts(tensor: &str, [n_nan, n_infinite]: [usize; 2], n: usize) -> Option<Self> {
        (n_nan + n_infinite > 0).then(|| Self { tensor: tensor.to_owned(), n_nan, n_infinite, n })
    }

    /// Several tensors in words, of which at most `SHOWN` are named.
    pub fn listed(found: &[Self]) -> String {
        const SHOWN: usize = 8;
        let names: Vec<_> = found.iter().take(SHOWN).map(Self::to_string).collect();
        let more = if found.len() > SHOWN { ", …" } else { "" };
        let tensors = if found.len() == 1 { "tensor" } else { "tensors" };
        format!(
            "{} {tensors} with values that are not finite: {}{more}",
            found.len(),
            names.join(", ")
        )
    }
}

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tensor, n_nan, n_infinite, n } = self;
        write!(f, "{tensor} ({n_nan} NaN and {n_infinite} infinite of {n} values)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_widened_exactly() {
        assert_eq!(decode("f32", &[0, 0, 128, 63, 0, 0, 0, 192]), Ok(vec![1.0, -2.0]));
        assert_eq!(decode("f16", &[0, 60, 0, 192]), Ok(vec![1.0, -2.0]));
        assert_eq!(decode("bf16", &[128, 63, 0, 192]), Ok(vec![1.0, -2.0]));
        assert!(decode("i64", &[0; 8]).unwrap_err().contains("is i64; types"));
        assert!(is_readable("bf16") && !is_readable("f8_e4m3"));
    }

    #[test]
    fn what_is_not_finite_is_counted_apart() {
        assert_eq!(NotFinite::count("w", &[0.0, -1.0, f32::MAX]), None);
        let nan = f32::NAN;
        let found = NotFinite::count("w", &[nan, 1.0, f32::INFINITY, f32::NEG_INFINITY]).unwrap();
        assert_eq!(found.to_string(), "w (1 NaN and 2 infinite of 4 values)");
        let line = NotFinite::listed(std::slice::from_ref(&found));
        assert!(line.starts_with("1 tensor with values that are not finite: w ("), "{line}");
        assert!(NotFinite::listed(&vec![found; 9]).ends_with("values), …"));
    }
}
