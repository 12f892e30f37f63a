//! Activations in place, on vectors of the CPU's width.

use pulp::Arch;

use crate::kernel::gelu;
use crate::kernel::lanes::exp;

/// GELU by erf, within 5e-7.
pub(in crate::upsample) fn gelu(values: &mut [f32]) {
    gelu::in_place(values);
}

/// SiLU of each channel of a row `[channels, width]`, after an affine map, a factor and a summand a
/// channel.
pub(in crate::upsample) fn silu(row: &mut [f32], affine: &[[f32; 2]]) {
    let width = row.len() / affine.len();
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (line, [scale, shift]) in row.chunks_exact_mut(width).zip(affine) {
                for value in line {
                    let x = *value * scale + shift;
                    let e = exp(-x.abs());
                    let sigmoid = if x >= 0.0 { 1.0 } else { e } / (1.0 + e);
                    *value = x * sigmoid;
                }
            }
        },
    );
}

/// Softmax over `n` values of stride `values.len() / n`, for each place within the stride at once.
pub(in crate::upsample) fn softmax(values: &mut [f32], n: usize) {
    let width = values.len() / n;
    let (mut max, mut sum) = (vec![f32::NEG_INFINITY; width], vec![0.0f32; width]);
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for line in values.chunks_exact(width) {
                max.iter_mut().zip(line).for_each(|(max, value)| *max = max.max(*value));
            }
            for line in values.chunks_exact_mut(width) {
                for ((value, max), sum) in line.iter_mut().zip(&max).zip(&mut sum) {
                    *value = exp(*value - max);
                    *sum += *value;
                }
            }
            for line in values.chunks_exact_mut(width) {
                line.iter_mut().zip(&sum).for_each(|(value, sum)| *value /= sum);
            }
        },
    );
}

/// Softmax of each row of `width` values.
pub(in crate::upsample) fn softmax_rows(values: &mut [f32], width: usize) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for row in values.chunks_exact_mut(width) {
                let max = row.iter().fold(f32::NEG_INFINITY, |max, value| max.max(*value));
                for value in row.iter_mut() {
                    *value = exp(*value - max);
                }
                let sum: f32 = row.iter().sum();
                for value in row.iter_mut() {
                    *value /= sum;
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silu_and_softmax_are_their_formulas() {
        let mut row = [-2.0, 0.5, 1.0, -30.0];
        silu(&mut row, &[[2.0, 1.0], [1.0, 0.0]]);
        let expect = [-3.0, 2.0, 1.0, -30.0f32].map(|x| x / (1.0 + (-x).exp()));
        row.iter().zip(expect).for_each(|(a, b)| assert!((a - b).abs() < 1e-6, "{a} {b}"));
        let mut values = [1.0, 0.0, 3.0, 0.0];
        softmax(&mut values, 2);
        assert!((values[0] - 1.0 / (1.0 + 2f32.exp())).abs() < 1e-6);
        assert!(values[1].to_bits() == 0.5f32.to_bits() && values[3].to_bits() == 0.5f32.to_bits());
    }
}
