//! SwiGLU's gate on the CPU, with the sigmoid in vector instructions.

use burn::tensor::Tensor;
use pulp::Arch;
use rayon::prelude::*;

use crate::kernel::lanes::exp;
use crate::kernel::operation::{self, Operand, Values};

/// Number of elements of one task.
const CHUNK: usize = 1 << 14;

pub(super) fn swiglu(gate: Tensor<3>, x: Tensor<3>) -> Tensor<3> {
    let dims = x.dims();
    let operands = [Operand::new(gate), Operand::new(x)];
    let kept = Kept { gate: operands[0].values.clone(), x: operands[1].values.clone() };
    let mut output = vec![0.0f32; kept.x.slice().len()];
    let inputs = kept.gate.slice().par_chunks(CHUNK).zip(kept.x.slice().par_chunks(CHUNK));
    output.par_chunks_mut(CHUNK).zip(inputs).for_each(|(output, (gate, x))| {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for ((output, gate), x) in output.iter_mut().zip(gate).zip(x) {
                    *output = gate * sigmoid(*gate) * x;
                }
            },
        );
    });
    operation::finish(operands, Values::new(output, dims), kept, Kept::backward)
}

#[expect(clippy::inline_always, reason = "vectorised within the dispatched loop only if inlined")]
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    (if x >= 0.0 { 1.0 } else { e }) / (1.0 + e)
}

#[derive(Debug, Clone)]
struct Kept {
    gate: Values,
    x: Values,
}

impl Kept {
    fn backward(self, mut gradient: Values, _: [bool; 2]) -> [Option<Values>; 2] {
        // The gate's gradient takes the memory of the result's, x's that of x.
        let Self { gate, mut x } = self;
        let both =
            gradient.slice_mut().par_chunks_mut(CHUNK).zip(x.slice_mut().par_chunks_mut(CHUNK));
        both.zip(gate.slice().par_chunks(CHUNK)).for_each(|((gradient, x), gate)| {
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    for ((g, x), gate) in gradient.iter_mut().zip(x).zip(gate) {
                        let s = sigmoid(*gate);
                        let (of_gate, of_x) =
                            (*g * *x * s * (1.0 + gate * (1.0 - s)), *g * gate * s);
                        (*g, *x) = (of_gate, of_x);
                    }
                },
            );
        });
        [Some(gradient), Some(x)]
    }
}
