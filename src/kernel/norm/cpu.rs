//! Layer normalisation on the CPU: keeps its input, which the residual stream keeps anyway, and two
//! numbers a row; Burn's composition keeps five tensors.

use burn::tensor::Tensor;
use pulp::Arch;
use rayon::prelude::*;

use crate::kernel::lanes::sum;
use crate::kernel::operation::{self, Operand, Values};

/// Number of rows of one task.
const ROWS: usize = 32;

pub(super) fn layer_norm(x: Tensor<3>, [weight, bias]: [Tensor<1>; 2], eps: f32) -> Tensor<3> {
    let dims = x.dims();
    let dim = dims[2];
    let operands = [Operand::new(x), Operand::new(weight), Operand::new(bias)];
    let [x, weight, bias] = operands.each_ref().map(|operand| operand.values.clone());
    let mut output = vec![0.0f32; x.slice().len()];
    let mut rows = vec![Row { mean: 0.0, inverse: 0.0 }; x.slice().len() / dim];
    output
        .par_chunks_mut(ROWS * dim)
        .zip(rows.par_chunks_mut(ROWS))
        .zip(x.slice().par_chunks(ROWS * dim))
        .for_each(|((output, rows), x)| {
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    let of_row = output.chunks_exact_mut(dim).zip(x.chunks_exact(dim)).zip(rows);
                    for ((output, x), row) in of_row {
                        *row = Row::of(x, eps);
                        row.normalise(x, (weight.slice(), bias.slice()), output);
                    }
                },
            );
        });
    let kept = Kept { x, weight, rows };
    operation::finish(operands, Values::new(output, dims), kept, Kept::backward)
}

/// The mean and the scale that normalise one row.
#[derive(Debug, Clone, Copy)]
struct Row {
    mean: f32,
    /// 1 over the standard deviation.
    inverse: f32,
}

#[expect(clippy::inline_always, reason = "vectorised within the dispatched loop only if inlined")]
impl Row {
    #[inline(always)]
    fn of(x: &[f32], eps: f32) -> Self {
        let n = x.len() as f32;
        let mean = sum(x, x, |x, _| x) / n;
        let variance = sum(x, x, |x, _| (x - mean) * (x - mean)) / n;
        Self { mean, inverse: 1.0 / (variance + eps).sqrt() }
    }

    #[inline(always)]
    fn normalise(self, x: &[f32], (weight, bias): (&[f32], &[f32]), output: &mut [f32]) {
        for (((output, x), weight), bias) in output.iter_mut().zip(x).zip(weight).zip(bias) {
            *output = (x - self.mean) * self.inverse * weight + bias;
        }
    }

    /// Turns the gradient of a normalised row into that of `x`.
    #[inline(always)]
    fn differentiate(self, x: &[f32], weight: &[f32], gradient: &mut [f32]) {
        let n = x.len() as f32;
        gradient.iter_mut().zip(weight).for_each(|(gradient, weight)| *gradient *= weight);
        let mean = sum(gradient, x, |g, _| g) / n;
        let slope = sum(gradient, x, |g, x| g * (x - self.mean)) * self.inverse / n;
        for (gradient, x) in gradient.iter_mut().zip(x) {
            let normal = (x - self.mean) * self.inverse;
            *gradient = (*gradient - mean - normal * slope) * self.inverse;
        }
    }
}

#[derive(Debug, Clone)]
struct Kept {
    x: Values,
    weight: Values,
    rows: Vec<Row>,
}

impl Kept {
    fn backward(self, mut gradient: Values, wanted: [bool; 3]) -> [Option<Values>; 3] {
        let dim = self.weight.slice().len();
        let x = self.x.slice();
        let [of_weight, of_bias] = if wanted[1] || wanted[2] {
            self.of_parameters(gradient.slice()).map(|values| Some(Values::new(values, [dim])))
        } else {
            [None, None]
        };
        if !wanted[0] {
            return [None, of_weight, of_bias];
        }
        gradient
            .slice_mut()
            .par_chunks_mut(ROWS * dim)
            .zip(self.rows.par_chunks(ROWS))
            .zip(x.par_chunks(ROWS * dim))
            .for_each(|((gradient, rows), x)| {
                Arch::new().dispatch(
                    #[inline(always)]
                    || {
                        let each = gradient.chunks_exact_mut(dim).zip(x.chunks_exact(dim));
                        for ((gradient, x), row) in each.zip(rows) {
                            row.differentiate(x, self.weight.slice(), gradient);
                        }
                    },
                );
            });
        [Some(gradient), of_weight, of_bias]
    }

    /// Gradients of weight and bias: sums over the rows of each task, then over tasks, in order.
    fn of_parameters(&self, gradient: &[f32]) -> [Vec<f32>; 2] {
        let dim = self.weight.slice().len();
        let tasks: Vec<[Vec<f32>; 2]> = gradient
            .par_chunks(ROWS * dim)
            .zip(self.x.slice().par_chunks(ROWS * dim))
            .zip(self.rows.par_chunks(ROWS))
            .map(|((gradient, x), rows)| {
                let [mut weight, mut bias] = [vec![0.0; dim], vec![0.0; dim]];
                let each = gradient.chunks_exact(dim).zip(x.chunks_exact(dim)).zip(rows);
                for ((gradient, x), row) in each {
                    let sums = weight.iter_mut().zip(&mut bias).zip(gradient.iter().zip(x));
                    for ((weight, bias), (g, x)) in sums {
                        *weight += g * (x - row.mean) * row.inverse;
                        *bias += g;
                    }
                }
                [weight, bias]
            })
            .collect();
        let mut total = [vec![0.0; dim], vec![0.0; dim]];
        for task in &tasks {
            for (total, task) in total.iter_mut().zip(task) {
                total.iter_mut().zip(task).for_each(|(sum, value)| *sum += value);
            }
        }
        total
    }
}
