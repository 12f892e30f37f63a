//! Dropout on GPUs: factors are drawn where they are used, forward and backward, so that nothing is
//! kept or copied.
//!
//! Draws are Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"),
//! whose counter is the place in the tensor and the step.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn::tensor::Tensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::Factors;
use crate::kernel::cube::{Gpu, Grid, elem, empty_like, finish, launch, take};

pub(super) fn apply<const D: usize>(x: Tensor<D>, factors: Factors) -> Tensor<D> {
    let x = take(x);
    let output = Gpu::dropped(x.0.clone(), factors);
    finish([x], output, factors, |factors, gradient, _| [Some(Gpu::dropped(gradient, factors))])
}

#[backend_extension(Cube, Fusion)]
trait Dropout: Backend {
    #[fusion(dtype = x, shape = x)]
    fn dropped(x: FloatTensor<Self>, factors: Factors) -> FloatTensor<Self>;
}

impl Dropout for CubeBackend {
    fn dropped(x: CubeTensor, factors: Factors) -> CubeTensor {
        let (output, elem) = (empty_like(&x), elem(&x));
        let grid = Grid::units(&x, x.meta.num_elements().div_ceil(4));
        let words = |value: u64| WordsLaunch::new(value as u32, (value >> 32) as u32);
        let (key, step) = (words(factors.key), words(factors.step));
        let Factors { threshold, kept, .. } = factors;
        launch!(products, grid, [x, output.clone()], key, step, threshold, kept, elem);
        output
    }
}

/// 64 bits.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Words {
    low: u32,
    high: u32,
}

/// Multiplies by the factors of a tensor; each unit those of four values.
#[cube(launch, address_type = "dynamic")]
fn products<F: Float>(
    x: &[F],
    output: &mut [F],
    key: Words,
    step: Words,
    threshold: u32,
    kept: f32,
    #[define(F)] _elem: ElemType,
) {
    let first = 4 * ABSOLUTE_POS;
    if first < output.len() {
        let (a, b, c, d) =
            philox(ABSOLUTE_POS as u32, step.low, step.high, 0u32, key.low, key.high);
        factor::<F>(x, output, first, a, threshold, kept);
        factor::<F>(x, output, first + 1, b, threshold, kept);
        factor::<F>(x, output, first + 2, c, threshold, kept);
        factor::<F>(x, output, first + 3, d, threshold, kept);
    }
}

/// Multiplies value `i` by `kept`, or by 0 if the upper half of `drawn` is below the threshold.
#[cube]
fn factor<F: Float>(x: &[F], output: &mut [F], i: usize, drawn: u32, threshold: u32, kept: f32) {
    if i < output.len() {
        let mut value = 0.0f32;
        if (drawn >> 16) >= threshold {
            value = f32::cast_from(x[i]) * kept;
        }
        output[i] = F::cast_from(value);
    }
}

/// The four words of Philox4x32-10 for a counter of four words and a key of two.
#[cube]
fn philox(a: u32, b: u32, c: u32, d: u32, key_0: u32, key_1: u32) -> (u32, u32, u32, u32) {
    let (mut a, mut b, mut c, mut d) = (a, b, c, d);
    let (mut key_0, mut key_1) = (key_0, key_1);
    #[unroll]
    for _ in 0..10 {
        let (high_0, low_0) = (a.mul_hi(0xD251_1F53u32), a * 0xD251_1F53u32);
        let (high_1, low_1) = (c.mul_hi(0xCD9E_8D57u32), c * 0xCD9E_8D57u32);
        a = high_1 ^ b ^ key_0;
        c = high_0 ^ d ^ key_1;
        b = low_1;
        d = low_0;
        key_0 += 0x9E37_79B9u32;
        key_1 += 0xBB67_AE85u32;
    }
    (a, b, c, d)
}
