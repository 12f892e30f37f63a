//! Attention on GPUs that keeps q, k, v, its output and one number a query between forward and
//! backward pass, never the scores: those are computed again (Dao et al. 2022, arXiv:2205.14135,
//! appendix B.2, without its tiles). By cubek's products, a part of the heads at a time, so that
//! the peak of memory is bounded.
//!
//! Heads lie one after another, their tokens padded by zeros to a multiple of [`PADDED`], so that
//! rows of scores are aligned: products read them in whole vectors.

#![expect(clippy::too_many_arguments, reason = "operations take and give one tensor each")]

use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Backend, Shape, TensorMetadata, backend_extension, fusion::custom::TensorSpec,
};
use burn::tensor::{DType, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernel::attention::SCORES_MAX;
use crate::kernel::cube::{
    Gpu, Grid, UNITS, contiguous, elem, empty, empty_like, finish, largest, launch, part, take,
    total, transposed,
};
use crate::kernel::product::cube::product_into;

/// Tokens are padded to a multiple of this.
const PADDED: usize = 16;

/// Attention with q and k rotated first by the cosines and sines of `turn`, each
/// `[1, 1, n_tokens, head_dim]`.
pub(super) fn attention(
    qkv: [Tensor<3>; 3],
    n_heads: usize,
    turn: Option<[Tensor<4>; 2]>,
) -> Tensor<3> {
    let [_, n_tokens, _] = qkv[0].dims();
    let inputs = qkv.map(take::<3>);
    let turn = turn.map(|tables| tables.map(|table| take::<4>(table).0));
    let [q, k, v] = inputs.each_ref().map(|(values, _)| values.clone());
    let [q, k] = [q, k].map(|x| match turn.clone() {
        Some([cos, sin]) => Gpu::split_turned(x, cos, sin, n_heads),
        None => Gpu::split(x, n_heads),
    });
    let v = Gpu::split(v, n_heads);
    let (out, log_sums) = Gpu::attend(q.clone(), k.clone(), v.clone(), n_tokens);
    let joined = Gpu::join(out.clone(), n_heads, n_tokens);
    let kept = Kept { qkv: [q, k, v], out, log_sums, turn, n_heads, n_tokens };
    finish(inputs, joined, kept, Kept::backward)
}

/// The values that the backward pass needs: `[batch * heads, padded tokens, head_dim]`, q and k
/// turned.
#[derive(Debug, Clone)]
struct Kept {
    qkv: [FloatTensor<Gpu>; 3],
    out: FloatTensor<Gpu>,
    /// Log of the sum of exponentials of each query, `[batch * heads, padded tokens]`.
    log_sums: FloatTensor<Gpu>,
    turn: Option<[FloatTensor<Gpu>; 2]>,
    n_heads: usize,
    n_tokens: usize,
}

impl Kept {
    fn backward(self, gradient: FloatTensor<Gpu>, _: [bool; 3]) -> [Option<FloatTensor<Gpu>>; 3] {
        let Self { qkv: [q, k, v], out, log_sums, turn, n_heads, n_tokens } = self;
        let gradient = Gpu::split(gradient, n_heads);
        let (of_q, of_k, of_v) = Gpu::attend_slopes(q, k, v, out, log_sums, gradient);
        let [of_q, of_k] = [of_q, of_k].map(|x| match turn.clone() {
            Some([cos, sin]) => Gpu::join_turned_back(x, cos, sin, n_heads, n_tokens),
            None => Gpu::join(x, n_heads, n_tokens),
        });
        [Some(of_q), Some(of_k), Some(Gpu::join(of_v, n_heads, n_tokens))]
    }
}

#[backend_extension(Cube, Fusion)]
trait Attend: Backend {
    /// `[batch, n_tokens, heads * head_dim]` to `[batch * heads, padded tokens, head_dim]`.
    #[fusion(dtype = x, shape = split_shape(x, *heads))]
    fn split(x: FloatTensor<Self>, heads: usize) -> FloatTensor<Self>;

    /// [`Attend::split`], each head turned.
    #[fusion(dtype = x, shape = split_shape(x, *heads))]
    fn split_turned(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self>;

    /// The inverse of [`Attend::split`].
    #[fusion(dtype = x, shape = joined_shape(x, *heads, *n_tokens))]
    fn join(x: FloatTensor<Self>, heads: usize, n_tokens: usize) -> FloatTensor<Self>;

    /// The transpose of [`Attend::split_turned`], for gradients.
    #[fusion(dtype = x, shape = joined_shape(x, *heads, *n_tokens))]
    fn join_turned_back(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        heads: usize,
        n_tokens: usize,
    ) -> FloatTensor<Self>;

    /// `softmax(q kᵀ / √head_dim) v` over the first `n_tokens` keys, and the log-sums.
    #[fusion(meta = |q, _, _, _| (q.clone(), sums_spec(q)))]
    fn attend(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        n_tokens: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of q, k and v.
    #[fusion(meta = |q, _, _, _, _, _| (q.clone(), q.clone(), q.clone()))]
    fn attend_slopes(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        out: FloatTensor<Self>,
        log_sums: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

fn split_shape(x: &Shape, heads: usize) -> Shape {
    let [batch, n_tokens, dim] = x.dims();
    Shape::new([batch * heads, n_tokens.next_multiple_of(PADDED), dim / heads])
}

fn joined_shape(x: &Shape, heads: usize, n_tokens: usize) -> Shape {
    let [all, _, head_dim] = x.dims();
    Shape::new([all / heads, n_tokens, head_dim * heads])
}

fn sums_spec(x: &TensorSpec) -> TensorSpec {
    TensorSpec::new(sums_shape(&x.shape), DType::F32)
}

fn sums_shape(x: &Shape) -> Shape {
    let [heads, padded, _] = x.dims();
    Shape::new([heads, padded])
}

/// Ranges of heads whose scores are computed together.
fn parts(q: &CubeTensor) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
    let [heads, padded, _] = TensorMetadata::shape(q).dims();
    let page = q.client.properties().memory.max_page_size as usize / size_of::<f32>();
    let at_once = (SCORES_MAX.min(page) / (padded * padded)).max(1);
    (0..heads).step_by(at_once).map(move |first| first..(first + at_once).min(heads))
}

fn scale(q: &CubeTensor) -> f32 {
    let [_, _, head_dim] = TensorMetadata::shape(q).dims();
    (head_dim as f32).sqrt().recip()
}

/// The scores of a part, f32.
fn scores(q: &CubeTensor, k: CubeTensor) -> CubeTensor {
    let [heads, padded, _] = TensorMetadata::shape(q).dims();
    let output = empty(q, Shape::new([heads, padded, padded]), DType::F32);
    product_into(q.clone(), transposed(k), output.clone());
    output
}

/// Splits heads of `x`, turned by the tables where there are some.
fn split(x: CubeTensor, tables: Option<[CubeTensor; 2]>, heads: usize) -> CubeTensor {
    let shape = TensorMetadata::shape(&x);
    let [_, n_tokens, dim] = shape.dims();
    let output = empty(&x, split_shape(&shape, heads), x.dtype);
    let padded = n_tokens.next_multiple_of(PADDED);
    let layout = LayoutLaunch::new(n_tokens, padded, heads, dim / heads);
    let grid = Grid::each(&output);
    match tables {
        None => launch!(splits, grid, [x, output.clone()], layout, elem(&output)),
        Some([cos, sin]) => {
            let elems = [elem(&x), elem(&cos)];
            launch!(turned_splits, grid, [x, cos, sin, output.clone()], layout, elems);
        }
    }
    output
}

/// Joins heads of `x`, turned back by the tables where there are some.
fn join(
    x: CubeTensor,
    tables: Option<[CubeTensor; 2]>,
    heads: usize,
    n_tokens: usize,
) -> CubeTensor {
    let shape = TensorMetadata::shape(&x);
    let [_, padded, head_dim] = shape.dims();
    let output = empty(&x, joined_shape(&shape, heads, n_tokens), x.dtype);
    let layout = LayoutLaunch::new(n_tokens, padded, heads, head_dim);
    let grid = Grid::each(&output);
    match tables {
        None => launch!(joins, grid, [x, output.clone()], layout, elem(&output)),
        Some([cos, sin]) => {
            let elems = [elem(&x), elem(&cos)];
            launch!(turned_joins, grid, [x, cos, sin, output.clone()], layout, elems);
        }
    }
    output
}

impl Attend for CubeBackend {
    fn split(x: CubeTensor, heads: usize) -> CubeTensor {
        split(x, None, heads)
    }

    fn split_turned(x: CubeTensor, cos: CubeTensor, sin: CubeTensor, heads: usize) -> CubeTensor {
        split(x, Some([cos, sin]), heads)
    }

    fn join(x: CubeTensor, heads: usize, n_tokens: usize) -> CubeTensor {
        join(x, None, heads, n_tokens)
    }

    fn join_turned_back(
        x: CubeTensor,
        cos: CubeTensor,
        sin: CubeTensor,
        heads: usize,
        n_tokens: usize,
    ) -> CubeTensor {
        join(x, Some([cos, sin]), heads, n_tokens)
    }

    fn attend(
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        n_tokens: usize,
    ) -> (CubeTensor, CubeTensor) {
        let [q, k, v] = contiguous([q, k, v]);
        let shape = TensorMetadata::shape(&q);
        let [_, padded, _] = shape.dims();
        let (out, log_sums) = (empty_like(&v), empty(&q, sums_shape(&shape), DType::F32));
        for heads in parts(&q) {
            let scores = scores(&part(&q, &heads), part(&k, &heads));
            let weights = empty(&q, TensorMetadata::shape(&scores), q.dtype);
            let rows = heads.len() * padded;
            launch!(
                softmaxes,
                Grid::rows(&q, rows),
                [scores, weights.clone(), log_sums.clone()],
                heads.start * padded,
                rows,
                padded,
                n_tokens,
                scale(&q),
                elem(&q),
            );
            product_into(weights, part(&v, &heads), part(&out, &heads));
        }
        (out, log_sums)
    }

    fn attend_slopes(
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        out: CubeTensor,
        log_sums: CubeTensor,
        gradient: CubeTensor,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let [q, k, v, out, log_sums, gradient] = contiguous([q, k, v, out, log_sums, gradient]);
        let [_, padded, head_dim] = TensorMetadata::shape(&q).dims();
        let along = empty_like(&log_sums);
        let grid = Grid::each(&along);
        launch!(alongs, grid, [out, gradient.clone(), along.clone()], head_dim, elem(&q));
        let found: [CubeTensor; 3] = std::array::from_fn(|_| empty_like(&q));
        for heads in parts(&q) {
            let [q, k, v, gradient, of_q, of_k, of_v] =
                [&q, &k, &v, &gradient, &found[0], &found[1], &found[2]].map(|t| part(t, &heads));
            // As on the way forward: gradient vᵀ is the weights' gradient.
            let (scores, of_weights) = (scores(&q, k.clone()), scores(&gradient, v));
            let [weights, of_scores] =
                [(); 2].map(|()| empty(&q, TensorMetadata::shape(&scores), q.dtype));
            launch!(
                softmax_slopes,
                Grid::each(&weights),
                [
                    scores,
                    of_weights,
                    log_sums.clone(),
                    along.clone(),
                    weights.clone(),
                    of_scores.clone(),
                ],
                heads.start * padded,
                padded,
                scale(&q),
                elem(&q),
            );
            product_into(transposed(weights), gradient, of_v);
            product_into(transposed(of_scores.clone()), q, of_k);
            product_into(of_scores, k, of_q);
        }
        let [of_q, of_k, of_v] = found;
        (of_q, of_k, of_v)
    }
}

/// Sizes of tokens in heads.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Layout {
    n_tokens: usize,
    padded: usize,
    heads: usize,
    head_dim: usize,
}

/// The token of element `at` of split heads; beyond the last one it is padding.
#[cube]
fn token_of_split(at: usize, layout: &Layout) -> usize {
    at / layout.head_dim % layout.padded
}

/// The index in joined heads of element `at` of split heads.
#[cube]
fn in_joined(at: usize, layout: &Layout) -> usize {
    let which = at / layout.head_dim / layout.padded;
    let (image, head) = (which / layout.heads, which % layout.heads);
    let token = token_of_split(at, layout);
    ((image * layout.n_tokens + token) * layout.heads + head) * layout.head_dim
        + at % layout.head_dim
}

/// The token of element `at` of joined heads.
#[cube]
fn token_of_joined(at: usize, layout: &Layout) -> usize {
    at / layout.head_dim / layout.heads % layout.n_tokens
}

/// The index in split heads of element `at` of joined heads.
#[cube]
fn in_split(at: usize, layout: &Layout) -> usize {
    let head = at / layout.head_dim % layout.heads;
    let image = at / layout.head_dim / layout.heads / layout.n_tokens;
    let token = token_of_joined(at, layout);
    ((image * layout.heads + head) * layout.padded + token) * layout.head_dim + at % layout.head_dim
}

#[cube(launch, address_type = "dynamic")]
fn splits<F: Float>(x: &[F], output: &mut [F], layout: Layout, #[define(F)] _elem: ElemType) {
    let at = ABSOLUTE_POS;
    if at < output.len() {
        if token_of_split(at, &layout) < layout.n_tokens {
            output[at] = x[in_joined(at, &layout)];
        } else {
            output[at] = F::new(0.0f32);
        }
    }
}

#[cube(launch, address_type = "dynamic")]
fn joins<F: Float>(x: &[F], output: &mut [F], layout: Layout, #[define(F)] _elem: ElemType) {
    let at = ABSOLUTE_POS;
    if at < output.len() {
        output[at] = x[in_split(at, &layout)];
    }
}

/// Splits, and turns each head x: `x cos + (-x2, x1) sin` for its halves x1 and x2.
#[cube(launch, address_type = "dynamic")]
fn turned_splits<F: Float, T: Float>(
    x: &[F],
    cos: &[T],
    sin: &[T],
    output: &mut [F],
    layout: Layout,
    #[define(F, T)] _elems: [ElemType; 2],
) {
    let at = ABSOLUTE_POS;
    if at < output.len() {
        let token = token_of_split(at, &layout);
        if token < layout.n_tokens {
            let (along, half) = (at % layout.head_dim, layout.head_dim / 2);
            let angle = token * layout.head_dim + along;
            let from = in_joined(at, &layout);
            let own = f32::cast_from(x[from]) * f32::cast_from(cos[angle]);
            let sin = f32::cast_from(sin[angle]);
            if along < half {
                output[at] = F::cast_from(own - f32::cast_from(x[from + half]) * sin);
            } else {
                output[at] = F::cast_from(own + f32::cast_from(x[from - half]) * sin);
            }
        } else {
            output[at] = F::new(0.0f32);
        }
    }
}

/// Applies the transpose of [`turned_splits`].
#[cube(launch, address_type = "dynamic")]
fn turned_joins<F: Float, T: Float>(
    x: &[F],
    cos: &[T],
    sin: &[T],
    output: &mut [F],
    layout: Layout,
    #[define(F, T)] _elems: [ElemType; 2],
) {
    let at = ABSOLUTE_POS;
    if at < output.len() {
        let (along, half) = (at % layout.head_dim, layout.head_dim / 2);
        let angle = token_of_joined(at, &layout) * layout.head_dim + along;
        let from = in_split(at, &layout);
        let own = f32::cast_from(x[from]) * f32::cast_from(cos[angle]);
        if along < half {
            let other = f32::cast_from(x[from + half]) * f32::cast_from(sin[angle + half]);
            output[at] = F::cast_from(own + other);
        } else {
            let other = f32::cast_from(x[from - half]) * f32::cast_from(sin[angle - half]);
            output[at] = F::cast_from(own - other);
        }
    }
}

/// The softmax of the first `n_tokens` of each row of `padded` scores; the rest is 0. A cube for
/// each of `rows` rows.
#[cube(launch, address_type = "dynamic")]
fn softmaxes<F: Float>(
    scores: &[f32],
    output: &mut [F],
    log_sums: &mut [f32],
    first_row: usize,
    rows: usize,
    padded: usize,
    n_tokens: usize,
    scale: f32,
    #[define(F)] _elem: ElemType,
) {
    let row = CUBE_POS;
    if row < rows {
        let mut scratch = Shared::<[f32]>::new_slice(comptime!(UNITS as usize));
        let first = row * padded;
        let mut top = scores[first];
        let mut i = UNIT_POS as usize;
        while i < n_tokens {
            top = max(top, scores[first + i]);
            i += CUBE_DIM as usize;
        }
        let top = largest(top, &mut scratch);
        let mut sum = 0.0f32;
        let mut i = UNIT_POS as usize;
        while i < n_tokens {
            sum += ((scores[first + i] - top) * scale).exp();
            i += CUBE_DIM as usize;
        }
        let sum = total(sum, &mut scratch);
        let mut i = UNIT_POS as usize;
        while i < padded {
            if i < n_tokens {
                output[first + i] = F::cast_from(((scores[first + i] - top) * scale).exp() / sum);
            } else {
                output[first + i] = F::new(0.0f32);
            }
            i += CUBE_DIM as usize;
        }
        if UNIT_POS == 0 {
            log_sums[first_row + row] = top * scale + sum.ln();
        }
    }
}

/// The softmax again, and the gradient of the scores, from `along`, the product of output and its
/// gradient for each query. What comes out for padding is multiplied by zeros, or dropped.
#[cube(launch, address_type = "dynamic")]
fn softmax_slopes<F: Float>(
    scores: &[f32],
    of_weights: &[f32],
    log_sums: &[f32],
    along: &[f32],
    weights: &mut [F],
    of_scores: &mut [F],
    first_row: usize,
    padded: usize,
    scale: f32,
    #[define(F)] _elem: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i < of_scores.len() {
        let row = first_row + i / padded;
        let weight = (scores[i] * scale - log_sums[row]).exp();
        weights[i] = F::cast_from(weight);
        of_scores[i] = F::cast_from(weight * (of_weights[i] - along[row]) * scale);
    }
}

/// The scalar product of each row of `a` and `b`.
#[cube(launch, address_type = "dynamic")]
fn alongs<F: Float>(
    a: &[F],
    b: &[F],
    output: &mut [f32],
    head_dim: usize,
    #[define(F)] _elem: ElemType,
) {
    let row = ABSOLUTE_POS;
    if row < output.len() {
        let mut sum = 0.0f32;
        for i in 0..head_dim {
            let at = row * head_dim + i;
            sum += f32::cast_from(a[at]) * f32::cast_from(b[at]);
        }
        output[row] = sum;
    }
}
