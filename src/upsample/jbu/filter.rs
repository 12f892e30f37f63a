//! Filters all channels of a row by a kernel of 7x7 for each pixel.

use pulp::{Arch, Simd, WithSimd};

use super::{SIDE, TAPS};
use crate::upsample::ops::{STRIP, Strip};

/// Number of vectors of one channel that are worked on together, and number of channels.
const VECTORS: usize = 2;
const CHANNELS: usize = 4;

/// Computes `out[c][x] = Σ kernel[7 i + j][x] · rows[i][c][x + j]`: `kernel` `[49, width]`, `out`
/// `[channels, width]`, rows of padded lines `[channels, stride]`, whose stride lets whole strips be
/// read at every offset.
pub(super) fn filter(kernel: &[f32], rows: [&[f32]; SIDE], stride: usize, out: &mut [f32]) {
    let width = kernel.len() / TAPS;
    Arch::new().dispatch(Filter { kernel, rows, stride, out, width });
}

struct Filter<'a> {
    kernel: &'a [f32],
    rows: [&'a [f32]; SIDE],
    stride: usize,
    out: &'a mut [f32],
    width: usize,
}

#[expect(clippy::inline_always, reason = "as `WithSimd` demands")]
impl WithSimd for Filter<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let channels = self.out.len() / self.width;
        let mut kernel = vec![Strip([0.0; STRIP]); TAPS];
        for first in (0..self.width).step_by(STRIP) {
            let n = STRIP.min(self.width - first);
            for (to, taps) in kernel.iter_mut().zip(self.kernel.chunks_exact(self.width)) {
                to.0[..n].copy_from_slice(&taps[first..first + n]);
            }
            let mut channel = 0;
            while channel + CHANNELS <= channels {
                self.strip::<S, CHANNELS>(simd, &kernel, [channel, first]);
                channel += CHANNELS;
            }
            while channel < channels {
                self.strip::<S, 1>(simd, &kernel, [channel, first]);
                channel += 1;
            }
        }
    }
}

#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
impl Filter<'_> {
    /// Filters a strip of `N` channels.
    #[inline(always)]
    fn strip<S: Simd, const N: usize>(
        &mut self,
        simd: S,
        kernel: &[Strip],
        [channel, first]: [usize; 2],
    ) {
        let n = STRIP.min(self.width - first);
        let mut out = [Strip([0.0; STRIP]); N];
        for part in 0..STRIP / (VECTORS * S::F32_LANES) {
            let mut sums = [[simd.splat_f32s(0.0); VECTORS]; N];
            for (tap, weights) in kernel.iter().enumerate() {
                let weights = &S::as_simd_f32s(&weights.0).0[part * VECTORS..][..VECTORS];
                let (row, at) = (self.rows[tap / SIDE], first + tap % SIDE);
                for (c, sums) in sums.iter_mut().enumerate() {
                    let values = &row[(channel + c) * self.stride + at..][..STRIP];
                    let values = &S::as_simd_f32s(values).0[part * VECTORS..][..VECTORS];
                    for ((sum, weight), value) in sums.iter_mut().zip(weights).zip(values) {
                        *sum = simd.mul_add_e_f32s(*weight, *value, *sum);
                    }
                }
            }
            for (out, sums) in out.iter_mut().zip(&sums) {
                S::as_mut_simd_f32s(&mut out.0).0[part * VECTORS..][..VECTORS]
                    .copy_from_slice(sums);
            }
        }
        for (c, values) in out.iter().enumerate() {
            self.out[(channel + c) * self.width + first..][..n].copy_from_slice(&values.0[..n]);
        }
    }
}
