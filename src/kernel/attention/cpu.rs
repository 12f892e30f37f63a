//! Attention on the CPU with a backward pass of its own.
//!
//! Keeps q, k, v and one number a query for the backward pass, never the scores. Heads are worked
//! on side by side, each in a fixed order.

mod head;

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::kernel::operation::{self, Operand, Values};
use head::Inputs;

/// Attention with q and k rotated first by the cosines and sines of `turn`, each
/// `[1, 1, n_tokens, head_dim]`.
pub(super) fn attention(
    [q, k, v]: [Tensor<3>; 3],
    n_heads: usize,
    turn: Option<[Tensor<4>; 2]>,
) -> Tensor<3> {
    let dims = q.dims();
    let [batch, n_tokens, dim] = dims;
    let [q, k, v] = [q, k, v].map(Operand::new);
    let layout = Layout { batch, n_tokens, n_heads, head_dim: dim / n_heads };
    let kept = Kept {
        inputs: [&q, &k, &v].map(|operand| operand.values.clone()),
        layout,
        turn: turn.map(|tables| tables.map(|table| Operand::new(table).values)),
        log_sums: Vec::new(),
    };
    let (output, log_sums) = kept.forward();
    let output = Values::new(output, dims);
    operation::finish([q, k, v], output, Kept { log_sums, ..kept }, |kept, gradient, wanted| {
        kept.backward(&gradient, wanted)
    })
}

/// The sizes by which tokens and heads lie in a tensor.
#[derive(Debug, Clone, Copy)]
struct Layout {
    batch: usize,
    n_tokens: usize,
    n_heads: usize,
    head_dim: usize,
}

impl Layout {
    fn scale(self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// Copies one head of one image out of a tensor: `[n_tokens, head_dim]`.
    fn take(self, from: &[f32], of: usize) -> Vec<f32> {
        let dim = self.n_heads * self.head_dim;
        let (image, head) = (of / self.n_heads, of % self.n_heads);
        let image = &from[image * self.n_tokens * dim..][..self.n_tokens * dim];
        let mut out = Vec::with_capacity(self.n_tokens * self.head_dim);
        for token in image.chunks_exact(dim) {
            out.extend_from_slice(&token[head * self.head_dim..][..self.head_dim]);
        }
        out
    }

    /// Puts all heads, as [`Self::take`] gives them, back into one tensor.
    fn join<'a>(self, heads: impl Fn(usize) -> &'a [f32] + Sync) -> Vec<f32> {
        let dim = self.n_heads * self.head_dim;
        let mut out = vec![0.0f32; self.batch * self.n_tokens * dim];
        out.par_chunks_exact_mut(dim).with_min_len(64).enumerate().for_each(|(i, token)| {
            let (image, row) = (i / self.n_tokens, i % self.n_tokens);
            for (head, to) in token.chunks_exact_mut(self.head_dim).enumerate() {
                let from = heads(image * self.n_heads + head);
                to.copy_from_slice(&from[row * self.head_dim..][..self.head_dim]);
            }
        });
        out
    }
}

/// The values that the backward pass needs.
#[derive(Debug, Clone)]
struct Kept {
    /// q, k and v.
    inputs: [Values; 3],
    layout: Layout,
    /// Cosines and sines of the rotation of q and k.
    turn: Option<[Values; 2]>,
    /// Log of the sum of exponentials, for each query of each head of each image.
    log_sums: Vec<f32>,
}

impl Kept {
    /// q (scaled), k and v of one head, q and k rotated.
    fn head(&self, of: usize) -> [Vec<f32>; 3] {
        let [mut q, mut k, v] =
            self.inputs.each_ref().map(|values| self.layout.take(values.slice(), of));
        if let Some([cos, sin]) = &self.turn {
            for rows in [&mut q, &mut k] {
                turn(rows, self.layout.head_dim, cos.slice(), sin.slice());
            }
        }
        let scale = self.layout.scale();
        for value in &mut q {
            *value *= scale;
        }
        [q, k, v]
    }

    /// Computes the output, and the log-sums.
    fn forward(&self) -> (Vec<f32>, Vec<f32>) {
        let Layout { batch, n_heads, head_dim, .. } = self.layout;
        let outputs: Vec<_> = (0..batch * n_heads)
            .into_par_iter()
            .map(|of| {
                let [q, k, v] = &self.head(of);
                head::forward(&Inputs { q, k, v, head_dim })
            })
            .collect();
        let joined = self.layout.join(|of| &outputs[of].values);
        (joined, outputs.into_iter().flat_map(|output| output.log_sums).collect())
    }

    fn backward(&self, gradient: &Values, wanted: [bool; 3]) -> [Option<Values>; 3] {
        let Layout { batch, n_tokens, n_heads, head_dim } = self.layout;
        let gradients: Vec<_> = (0..batch * n_heads)
            .into_par_iter()
            .map(|of| {
                let [q, k, v] = &self.head(of);
                let inputs = Inputs { q, k, v, head_dim };
                let log_sums = &self.log_sums[of * n_tokens..][..n_tokens];
                let gradient = self.layout.take(gradient.slice(), of);
                let mut found = head::backward(&inputs, log_sums, &gradient);
                let scale = self.layout.scale();
                for value in &mut found[0] {
                    *value *= scale;
                }
                if let Some([cos, sin]) = &self.turn {
                    for rows in &mut found[..2] {
                        turn_back(rows, head_dim, cos.slice(), sin.slice());
                    }
                }
                found
            })
            .collect();
        [0, 1, 2].map(|which| {
            wanted[which].then(|| {
                let joined = self.layout.join(|of| &gradients[of][which]);
                Values::new(joined, [batch, n_tokens, n_heads * head_dim])
            })
        })
    }
}

/// Rotates each row x of `[n_tokens, head_dim]`: `x cos + (-x2, x1) sin` for its halves x1 and x2.
fn turn(rows: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32]) {
    for ((row, cos), sin) in chunks(rows, head_dim, cos, sin) {
        let (low, high) = row.split_at_mut(head_dim / 2);
        for (i, (x1, x2)) in low.iter_mut().zip(high).enumerate() {
            let j = i + head_dim / 2;
            (*x1, *x2) = (*x1 * cos[i] - *x2 * sin[i], *x2 * cos[j] + *x1 * sin[j]);
        }
    }
}

/// Applies the transpose of [`turn`], for gradients.
fn turn_back(rows: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32]) {
    for ((row, cos), sin) in chunks(rows, head_dim, cos, sin) {
        let (low, high) = row.split_at_mut(head_dim / 2);
        for (i, (g1, g2)) in low.iter_mut().zip(high).enumerate() {
            let j = i + head_dim / 2;
            (*g1, *g2) = (*g1 * cos[i] + *g2 * sin[j], *g2 * cos[j] - *g1 * sin[i]);
        }
    }
}

type RowOf<'a> = ((&'a mut [f32], &'a [f32]), &'a [f32]);

fn chunks<'a>(
    rows: &'a mut [f32],
    n: usize,
    cos: &'a [f32],
    sin: &'a [f32],
) -> impl Iterator<Item = RowOf<'a>> {
    rows.chunks_exact_mut(n).zip(cos.chunks_exact(n)).zip(sin.chunks_exact(n))
}
