//! One head of attention on plain slices: forward, and backward by recomputed scores.
//!
//! Called by [`super`] for every head of every image. Blocks of 96 queries meet all keys at a time,
//! so that only a block's scores ever exist, in the cache; the backward pass works them out again
//! from the queries, the keys and each query's log-sum-exp (Dao et al. 2022, arXiv:2205.14135).

use pulp::{Arch, Simd, WithSimd};

use crate::kernel::lanes::exp;
use crate::kernel::panels::{HEIGHT, Panels, Row, Rows, WIDTH, add_transposed, product};

/// Number of queries that are worked on together.
const BLOCK: usize = HEIGHT;

/// The inputs of one head; each `[n_tokens, head_dim]`, row-major.
pub(super) struct Inputs<'a> {
    /// Queries, already scaled.
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
    pub head_dim: usize,
}

impl Inputs<'_> {
    fn n_tokens(&self) -> usize {
        self.q.len() / self.head_dim
    }
}

/// The result of one head, and the values of it that the backward pass needs.
pub(super) struct Output {
    /// Result, `[n_tokens, head_dim]`.
    pub values: Vec<f32>,
    /// Log of the sum of the exponentials of each query's scores, `[n_tokens]`.
    pub log_sums: Vec<f32>,
}

/// Computes `softmax(q kᵀ) v`.
pub(super) fn forward(inputs: &Inputs<'_>) -> Output {
    Arch::new().dispatch(Forward(inputs))
}

/// Computes the gradients of the (scaled) queries, the keys and the values from that of the output,
/// `[n_tokens, head_dim]`.
pub(super) fn backward(inputs: &Inputs<'_>, log_sums: &[f32], gradient: &[f32]) -> [Vec<f32>; 3] {
    Arch::new().dispatch(Backward { inputs, log_sums, gradient })
}

struct Forward<'a>(&'a Inputs<'a>);

#[expect(clippy::inline_always, reason = "as `WithSimd` demands")]
impl WithSimd for Forward<'_> {
    type Output = Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Output {
        let (inputs, d) = (self.0, self.0.head_dim);
        let n_tokens = inputs.n_tokens();
        let q = Panels::pack(inputs.q, d);
        let k = Panels::pack_transposed(inputs.k, d);
        let v = Panels::pack(inputs.v, d);
        let mut scores = Panels::zeros(BLOCK, n_tokens);
        let mut block = Panels::zeros(BLOCK, d);
        let mut out = Output { values: vec![0.0; inputs.q.len()], log_sums: vec![0.0; n_tokens] };
        let blocks = out.values.chunks_mut(BLOCK * d).zip(out.log_sums.chunks_mut(BLOCK));
        for (i, (values, log_sums)) in blocks.enumerate() {
            let n = log_sums.len();
            product(simd, Rows { of: &q, first: i * BLOCK, n }, &k, &mut scores);
            mask(&mut scores, n_tokens);
            let (mut maxima, mut sums) = ([0.0; BLOCK], [0.0; BLOCK]);
            exponentials(simd, &mut scores, &mut maxima, &mut sums);
            product(simd, Rows { of: &scores, first: 0, n }, &v, &mut block);
            for (row, values) in values.chunks_exact_mut(d).enumerate() {
                block.unpack_row(row, values);
                let inverse = 1.0 / sums[row];
                for value in values {
                    *value *= inverse;
                }
                log_sums[row] = maxima[row] + sums[row].ln();
            }
        }
        out
    }
}

/// Sets the scores of the padding beyond the last key so that their weights are 0.
fn mask(scores: &mut Panels, n_tokens: usize) {
    let n_last = n_tokens % WIDTH;
    if let (Some(last), true) = (scores.panels_mut().last(), n_last > 0) {
        for row in last {
            row.0[n_last..].fill(f32::NEG_INFINITY);
        }
    }
}

/// Replaces scores by exponentials of their distance to the row's largest, and writes the sums of
/// those.
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
fn exponentials<S: Simd>(
    simd: S,
    scores: &mut Panels,
    maxima: &mut [f32; BLOCK],
    sums: &mut [f32; BLOCK],
) {
    let mut lanes = [Row([f32::NEG_INFINITY; WIDTH]); BLOCK];
    for panel in scores.panels() {
        for (lanes, row) in lanes.iter_mut().zip(panel) {
            // Left to the compiler, this becomes a loop over rows that gathers and scatters.
            let lanes = S::as_mut_simd_f32s(&mut lanes.0).0;
            for (max, score) in lanes.iter_mut().zip(S::as_simd_f32s(&row.0).0) {
                *max = simd.max_f32s(*max, *score);
            }
        }
    }
    for (max, lanes) in maxima.iter_mut().zip(&lanes) {
        *max = lanes.max(simd);
    }
    let mut lanes = [Row([0.0; WIDTH]); BLOCK];
    for panel in scores.panels_mut() {
        for ((lanes, row), max) in lanes.iter_mut().zip(panel).zip(&*maxima) {
            for (sum, score) in lanes.0.iter_mut().zip(&mut row.0) {
                *score = exp(*score - max);
                *sum += *score;
            }
        }
    }
    for (sum, lanes) in sums.iter_mut().zip(&lanes) {
        *sum = lanes.sum(simd);
    }
}

struct Backward<'a> {
    inputs: &'a Inputs<'a>,
    log_sums: &'a [f32],
    gradient: &'a [f32],
}

#[expect(clippy::inline_always, reason = "as `WithSimd` demands")]
impl WithSimd for Backward<'_> {
    type Output = [Vec<f32>; 3];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [Vec<f32>; 3] {
        let Self { inputs, log_sums, gradient } = self;
        let (d, n_tokens) = (inputs.head_dim, inputs.n_tokens());
        let q = Panels::pack(inputs.q, d);
        let k = Panels::pack(inputs.k, d);
        let k_transposed = Panels::pack_transposed(inputs.k, d);
        let v_transposed = Panels::pack_transposed(inputs.v, d);
        let of_out = Panels::pack(gradient, d);
        let mut weights = Panels::zeros(BLOCK, n_tokens);
        let mut slopes = Panels::zeros(BLOCK, n_tokens);
        let mut of_q = Panels::zeros(BLOCK, d);
        let (mut of_k, mut of_v) = (Panels::zeros(n_tokens, d), Panels::zeros(n_tokens, d));
        let mut values_of_q = vec![0.0; inputs.q.len()];
        let blocks = values_of_q.chunks_mut(BLOCK * d).zip(log_sums.chunks(BLOCK));
        for (i, (out, log_sums)) in blocks.enumerate() {
            let (first, n) = (i * BLOCK, log_sums.len());
            let queries = Rows { of: &q, first, n };
            let of_out = Rows { of: &of_out, first, n };
            product(simd, queries, &k_transposed, &mut weights);
            mask(&mut weights, n_tokens);
            product(simd, of_out, &v_transposed, &mut slopes);
            differentiate(simd, &mut weights, &mut slopes, log_sums);
            add_transposed(simd, &weights, of_out, &mut of_v);
            add_transposed(simd, &slopes, queries, &mut of_k);
            product(simd, Rows { of: &slopes, first: 0, n }, &k, &mut of_q);
            for (row, out) in out.chunks_exact_mut(d).enumerate() {
                of_q.unpack_row(row, out);
            }
        }
        [values_of_q, unpack(&of_k, n_tokens, d), unpack(&of_v, n_tokens, d)]
    }
}

/// Replaces scores by attention weights, and gradients of the weights by gradients of the scores.
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
fn differentiate<S: Simd>(simd: S, weights: &mut Panels, slopes: &mut Panels, log_sums: &[f32]) {
    let mut lanes = [Row([0.0; WIDTH]); BLOCK];
    for (weights, slopes) in weights.panels_mut().zip(slopes.panels()) {
        let rows = weights.iter_mut().zip(slopes).zip(lanes.iter_mut().zip(log_sums));
        for ((weights, slopes), (lanes, log_sum)) in rows {
            for ((weight, slope), sum) in weights.0.iter_mut().zip(&slopes.0).zip(&mut lanes.0) {
                *weight = exp(*weight - log_sum);
                *sum += *weight * slope;
            }
        }
    }
    let means = lanes.each_ref().map(|lanes| lanes.sum(simd));
    for (weights, slopes) in weights.panels().zip(slopes.panels_mut()) {
        for ((weights, slopes), mean) in weights.iter().zip(slopes).zip(&means[..log_sums.len()]) {
            // As above: explicit vectors, or it becomes a loop over rows.
            let mean = simd.splat_f32s(*mean);
            let slopes = S::as_mut_simd_f32s(&mut slopes.0).0;
            for (weight, slope) in S::as_simd_f32s(&weights.0).0.iter().zip(slopes) {
                *slope = simd.mul_f32s(*weight, simd.sub_f32s(*slope, mean));
            }
        }
    }
}

fn unpack(panels: &Panels, rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows * columns];
    for (row, out) in out.chunks_exact_mut(columns).enumerate() {
        panels.unpack_row(row, out);
    }
    out
}
