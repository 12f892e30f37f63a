//! Matrix products over rows: `out[o][x] = bias[o] + Σ weights[o][k] · rows[k][x]`.
//!
//! The right matrix is given as slices, so that a convolution is the product with its input's rows,
//! shifted. Sums run over ascending k whatever is computed together, so that a value depends neither
//! on the number of rows and columns nor on threads.

use bytemuck::{Pod, Zeroable};
use pulp::{Arch, Simd, WithSimd};

/// Number of columns that are worked on together.
pub(in crate::upsample) const STRIP: usize = 32;
/// Number of vectors of a tile's row.
const VECTORS: usize = 2;

/// Values of [`STRIP`] columns: whole cache lines.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(128))]
pub(in crate::upsample) struct Strip(pub [f32; STRIP]);

/// Computes `out` `[n_out, width]` from `weights` `[n_out, rows.len()]` and rows of that width.
///
/// # Panics
/// If the sizes do not match.
pub(in crate::upsample) fn product(
    weights: &[f32],
    bias: Option<&[f32]>,
    rows: &[&[f32]],
    out: &mut [f32],
) {
    let Some(width) = rows.first().map(|row| row.len()) else { return };
    assert!(rows.iter().all(|row| row.len() == width), "rows of one width");
    assert_eq!(weights.len() / rows.len() * width, out.len(), "one row for each of the weights");
    Arch::new().dispatch(Product { weights, bias, rows, out, width });
}

struct Product<'a> {
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    rows: &'a [&'a [f32]],
    out: &'a mut [f32],
    width: usize,
}

#[expect(clippy::inline_always, reason = "as `WithSimd` demands")]
impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::F32_LANES == 16 { self.tiled::<S, 12>(simd) } else { self.tiled::<S, 6>(simd) }
    }
}

#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
impl Product<'_> {
    #[inline(always)]
    fn tiled<S: Simd, const TILE: usize>(mut self, simd: S) {
        let n_out = self.out.len() / self.width;
        let mut strip = vec![Strip([0.0; STRIP]); self.rows.len()];
        for first in (0..self.width).step_by(STRIP) {
            let n = STRIP.min(self.width - first);
            for (to, row) in strip.iter_mut().zip(self.rows) {
                to.0[..n].copy_from_slice(&row[first..first + n]);
            }
            let mut at = 0;
            while at + TILE <= n_out {
                self.tile::<S, TILE>(simd, &strip, [at, first]);
                at += TILE;
            }
            while at + 4 <= n_out {
                self.tile::<S, 4>(simd, &strip, [at, first]);
                at += 4;
            }
            while at < n_out {
                self.tile::<S, 1>(simd, &strip, [at, first]);
                at += 1;
            }
        }
    }

    /// Computes `TILE` rows from row `at`, of the columns of a strip that begins at `first`.
    #[inline(always)]
    fn tile<S: Simd, const TILE: usize>(
        &mut self,
        simd: S,
        strip: &[Strip],
        [at, first]: [usize; 2],
    ) {
        let n = STRIP.min(self.width - first);
        let depth = strip.len();
        let weights: [&[f32]; TILE] =
            std::array::from_fn(|i| &self.weights[(at + i) * depth..][..depth]);
        let mut out = [Strip([0.0; STRIP]); TILE];
        for part in 0..STRIP / (VECTORS * S::F32_LANES) {
            let mut sums = [[simd.splat_f32s(0.0); VECTORS]; TILE];
            for (k, values) in strip.iter().enumerate() {
                let values = &S::as_simd_f32s(&values.0).0[part * VECTORS..][..VECTORS];
                for (sums, weights) in sums.iter_mut().zip(&weights) {
                    let weight = simd.splat_f32s(weights[k]);
                    for (sum, value) in sums.iter_mut().zip(values) {
                        *sum = simd.mul_add_e_f32s(weight, *value, *sum);
                    }
                }
            }
            for (out, sums) in out.iter_mut().zip(&sums) {
                S::as_mut_simd_f32s(&mut out.0).0[part * VECTORS..][..VECTORS]
                    .copy_from_slice(sums);
            }
        }
        for (i, values) in out.iter().enumerate() {
            let bias = self.bias.map_or(0.0, |bias| bias[at + i]);
            let to = &mut self.out[(at + i) * self.width + first..][..n];
            to.iter_mut().zip(&values.0).for_each(|(to, value)| *to = value + bias);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_gives_the_sums() {
        for (n_out, depth, width) in [(1, 1, 1), (3, 5, 31), (12, 7, 32), (29, 3, 65), (4, 2, 96)] {
            let value = |i: usize| ((i * 37 + 11) % 17) as f32 - 8.0;
            let weights: Vec<f32> = (0..n_out * depth).map(value).collect();
            let values: Vec<f32> = (0..depth * width).map(|i| value(i + 5)).collect();
            let bias: Vec<f32> = (0..n_out).map(value).collect();
            let rows: Vec<&[f32]> = values.chunks_exact(width).collect();
            let mut out = vec![0.0; n_out * width];
            product(&weights, Some(&bias), &rows, &mut out);
            for (i, found) in out.iter().enumerate() {
                let (o, x) = (i / width, i % width);
                let sum: f32 = (0..depth).map(|k| weights[o * depth + k] * rows[k][x]).sum();
                assert!((found - sum - bias[o]).abs() < 1e-4, "{n_out} {depth} {width}: {i}");
            }
        }
    }
}
