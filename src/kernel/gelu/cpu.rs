//! GELU on the CPU, 10 and more times faster than a scalar erf.
//!
//! erf is Abramowitz & Stegun's 7.1.26 on a polynomial exponential: within 5e-7 of the exact value.
//! Its slope comes from the same exponential, so the forward pass yields both.

use burn::tensor::Tensor;
use pulp::Arch;
use rayon::prelude::*;

use crate::kernel::lanes::exp;
use crate::kernel::operation::{self, Operand, Values};

/// Number of elements of one task; a multiple of every vector width.
const CHUNK: usize = 1 << 14;

pub(super) fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let dims = x.dims();
    let mut x = Operand::new(x);
    if !x.is_tracked() {
        x.values.slice_mut().par_chunks_mut(CHUNK).for_each(in_place);
        let output = x.values.clone();
        return operation::finish([x], output, None, backward);
    }
    // The slopes take the memory of x, which nothing else needs.
    let mut slope = std::mem::replace(&mut x.values, Values::new(Vec::new(), [0]));
    let mut output = vec![0.0f32; slope.slice().len()];
    output.par_chunks_mut(CHUNK).zip(slope.slice_mut().par_chunks_mut(CHUNK)).for_each(
        |(output, slope)| {
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    for (output, x) in output.iter_mut().zip(slope) {
                        let (probability, density) = normal(*x);
                        *output = *x * probability;
                        *x = probability + *x * density;
                    }
                },
            );
        },
    );
    operation::finish([x], Values::new(output, dims), Some(slope), backward)
}

/// GELU of values in place, on this thread.
pub(super) fn in_place(values: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || values.iter_mut().for_each(|x| *x *= normal(*x).0),
    );
}

fn backward(slope: Option<Values>, mut gradient: Values, _: [bool; 1]) -> [Option<Values>; 1] {
    let slope = slope.expect("kept where there is a backward pass");
    gradient.slice_mut().par_chunks_mut(CHUNK).zip(slope.slice().par_chunks(CHUNK)).for_each(
        |(gradient, slope)| {
            Arch::new().dispatch(
                #[inline(always)]
                || gradient.iter_mut().zip(slope).for_each(|(g, slope)| *g *= slope),
            );
        },
    );
    [Some(gradient)]
}

/// Distribution and density of the standard normal at `x`.
#[expect(clippy::inline_always, reason = "vectorised within the dispatched loop only if inlined")]
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let e = exp(-z * z);
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let poly = ((((1.061_405_4 * t - 1.453_152_1) * t + 1.421_413_8) * t - 0.284_496_74) * t
        + 0.254_829_6)
        * t;
    let tail = 0.5 * poly * e;
    let probability = if x >= 0.0 { 1.0 - tail } else { tail };
    (probability, e * 0.398_942_3)
}
