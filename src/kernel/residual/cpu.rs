//! Computes `x + y * scale` on the CPU in one pass.

use burn::tensor::Tensor;
use pulp::Arch;
use rayon::prelude::*;

use crate::kernel::operation::{self, Operand, Values};

/// Number of rows of one task.
const ROWS: usize = 32;

pub(super) fn add_scaled(x: Tensor<3>, y: Tensor<3>, scale: Tensor<1>) -> Tensor<3> {
    let shape = x.dims();
    let [x, mut y, scale] = [Operand::new(x), Operand::new(y), Operand::new(scale)];
    let kept = Kept {
        // Only the scale's gradient needs y, whose memory the result takes otherwise.
        y: scale.is_tracked().then(|| y.values.clone()),
        scale: scale.values.clone(),
        shape,
    };
    let mut output = y.values.clone();
    if kept.y.is_none() {
        y.values = x.values.clone();
    }
    let dim = kept.scale.slice().len();
    output
        .slice_mut()
        .par_chunks_mut(ROWS * dim)
        .zip(x.values.slice().par_chunks(ROWS * dim))
        .for_each(|(output, x)| {
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    for (output, x) in output.chunks_exact_mut(dim).zip(x.chunks_exact(dim)) {
                        for ((y, x), scale) in output.iter_mut().zip(x).zip(kept.scale.slice()) {
                            *y = x + *y * scale;
                        }
                    }
                },
            );
        });
    operation::finish([x, y, scale], output, kept, |kept, gradient, wanted| {
        kept.backward(&gradient, wanted)
    })
}

#[derive(Debug, Clone)]
struct Kept {
    y: Option<Values>,
    scale: Values,
    shape: [usize; 3],
}

impl Kept {
    fn backward(self, gradient: &Values, wanted: [bool; 3]) -> [Option<Values>; 3] {
        let dim = self.scale.slice().len();
        let of_x = wanted[0].then(|| gradient.clone());
        let of_scale =
            self.y.map(|y| Values::new(sum_rows(gradient.slice(), y.slice(), dim), [dim]));
        if !wanted[1] {
            return [of_x, None, of_scale];
        }
        // x shares the gradient, so y's is written anew.
        let mut of_y = vec![0.0f32; gradient.slice().len()];
        of_y.par_chunks_mut(ROWS * dim).zip(gradient.slice().par_chunks(ROWS * dim)).for_each(
            |(of_y, gradient)| {
                Arch::new().dispatch(
                    #[inline(always)]
                    || {
                        let rows = of_y.chunks_exact_mut(dim).zip(gradient.chunks_exact(dim));
                        for (of_y, gradient) in rows {
                            for ((y, g), scale) in
                                of_y.iter_mut().zip(gradient).zip(self.scale.slice())
                            {
                                *y = g * scale;
                            }
                        }
                    },
                );
            },
        );
        let of_y = Values::new(of_y, self.shape);
        [of_x, Some(of_y), of_scale]
    }
}

/// The sum over rows of `a * b`, `[dim]`: within each task, then over tasks, in order.
fn sum_rows(a: &[f32], b: &[f32], dim: usize) -> Vec<f32> {
    let tasks: Vec<Vec<f32>> = a
        .par_chunks(ROWS * dim)
        .zip(b.par_chunks(ROWS * dim))
        .map(|(a, b)| {
            let mut sums = vec![0.0; dim];
            for (a, b) in a.chunks_exact(dim).zip(b.chunks_exact(dim)) {
                sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
            }
            sums
        })
        .collect();
    let mut total = vec![0.0; dim];
    for task in &tasks {
        total.iter_mut().zip(task).for_each(|(total, sum)| *total += sum);
    }
    total
}
