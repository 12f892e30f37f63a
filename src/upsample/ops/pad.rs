//! Rows with the columns beyond their ends.

/// What lies beyond the edge of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upsample) enum Pad {
    Zero,
    /// The map mirrored, the edge itself not repeated.
    Reflect,
}

/// The place within `0..n` that position `at` mirrors; at most `n - 1` beyond either end.
pub(in crate::upsample) fn reflect(at: isize, n: usize) -> usize {
    let at = at.unsigned_abs();
    if at < n { at } else { 2 * (n - 1) - at }
}

impl Pad {
    /// The row or column at position `at` of `n`; `None` for zeros.
    pub(super) fn source(self, at: isize, n: usize) -> Option<usize> {
        match self {
            Self::Zero => usize::try_from(at).ok().filter(|at| *at < n),
            Self::Reflect => Some(reflect(at, n)),
        }
    }

    /// Copies a line to the middle of `out`, which is `2 * radius` longer, and pads it.
    pub(in crate::upsample) fn line(self, line: &[f32], radius: usize, out: &mut [f32]) {
        let n = line.len();
        out[radius..radius + n].copy_from_slice(line);
        for i in 0..radius {
            let value = |at: isize| self.source(at, n).map_or(0.0, |x| line[x]);
            out[i] = value(i as isize - radius as isize);
            out[radius + n + i] = value((n + i) as isize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_mirrored_without_themselves_or_zero() {
        let padded = |pad: Pad| {
            let mut out = [9.0; 7];
            pad.line(&[1.0, 2.0, 3.0], 2, &mut out);
            out
        };
        assert_eq!(padded(Pad::Reflect), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0]);
        assert_eq!(padded(Pad::Zero), [0.0, 0.0, 1.0, 2.0, 3.0, 0.0, 0.0]);
    }
}
