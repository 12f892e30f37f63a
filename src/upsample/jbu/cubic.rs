//! Bicubic doubling with half-pixel centres (Keys 1981, a = -0.75, edges repeated), as PyTorch's
//! `F.interpolate(…, scale_factor=2, mode="bicubic")`.

/// The four inputs of one output, and their weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Taps {
    pub at: [usize; 4],
    pub weights: [f32; 4],
}

const A: f32 = -0.75;

/// The taps of an axis of `n` inputs and twice as many outputs.
pub(super) fn taps(n: usize) -> Vec<Taps> {
    (0..2 * n)
        .map(|i| {
            // The centre lies a quarter before or behind that of input i / 2.
            let (before, t) = if i % 2 == 0 { (2, 0.75) } else { (1, 0.25) };
            let at = |k: usize| (i / 2 + k).saturating_sub(before).min(n - 1);
            let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
            Taps { at: [at(0), at(1), at(2), at(3)], weights }
        })
        .collect()
}

/// Weight at a distance of at most 1.
fn near(x: f32) -> f32 {
    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
}

/// Weight at a distance of 1 to 2.
fn far(x: f32) -> f32 {
    ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
}

/// The lines of a padded row.
pub(super) struct Lines {
    /// Length of a line.
    pub stride: usize,
    /// Place of its first value.
    pub offset: usize,
}

/// One row of the doubled map, from the four rows `[channels, width]` of its vertical taps, to the
/// lines of `out`.
pub(super) fn row(
    rows: [&[f32]; 4],
    vertical: &Taps,
    horizontal: &[Taps],
    out: &mut [f32],
    lines: &Lines,
) {
    let width = horizontal.len() / 2;
    let mut line = vec![0.0; width];
    for (channel, out) in out.chunks_exact_mut(lines.stride).enumerate() {
        line.fill(0.0);
        for (row, weight) in rows.iter().zip(vertical.weights) {
            let values = &row[channel * width..][..width];
            line.iter_mut().zip(values).for_each(|(to, value)| *to += weight * value);
        }
        for (to, taps) in out[lines.offset..].iter_mut().zip(horizontal) {
            *to = taps.at.iter().zip(taps.weights).map(|(x, weight)| weight * line[*x]).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_mirror_each_other() {
        let taps = taps(6);
        for tap in &taps {
            assert!((tap.weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        assert_eq!(taps[0].at, [0, 0, 0, 1]);
        let at = |i: usize| -> f32 {
            taps[i].at.iter().zip(taps[i].weights).map(|(x, weight)| *x as f32 * weight).sum()
        };
        assert!((at(5) + at(6) - 5.0).abs() < 1e-6);
    }
}
