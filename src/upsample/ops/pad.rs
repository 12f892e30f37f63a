//! Rows with the columns beyond their ends.

/// What lies beyond the edge of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upsample) enum Pad {
    Zero,
    /// The map mirrored, the edge itself not repeated.
    Reflect,
}

/// The place within `0..n` of position `at` of a line that is padded by its mirror image, `radius`
/// values at either end; at most `n - 1`.
pub(in crate::upsample) fn reflect(at: usize, radius: usize, n: usize) -> usize {
    let at = at.abs_diff(radius);
    if at < n { at } else { 2 * (n - 1) - at }
}

impl Pad {
    /// The row or column, of `n`, at position `at` of the padded ones; `None` for zeros.
    pub(super) fn source(self, at: usize, radius: usize, n: usize) -> Option<usize> {
        match self {
            Self::Zero => at.checked_sub(radius).filter(|at| *at < n),
            Self::Reflect => Some(reflect(at, radius, n)),
        }
    }

    /// Copies a line to the middle of `out`, which is `2 * radius` longer, and pads it.
    pub(in crate::upsample) fn line(self, line: &[f32], radius: usize, out: &mut [f32]) {
        let n = line.len();
        out[radius..radius + n].copy_from_slice(line);
        for i in 0..radius {
            for at in [i, radius + n + i] {
                out[at] = self.source(at, radius, n).map_or(0.0, |x| line[x]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_mirrored_without_themselves_or_zero() {
        let padded = |pad: Pad| {
            let mut out = vec![9.0; 7];
            pad.line(&[1.0, 2.0, 3.0], 2, &mut out);
            out
        };
        assert_eq!(padded(Pad::Reflect), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0]);
        assert_eq!(padded(Pad::Zero), [0.0, 0.0, 1.0, 2.0, 3.0, 0.0, 0.0]);
    }
}
