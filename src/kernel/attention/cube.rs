//! Attention on GPUs that keeps q, k, v, its output and one number a query between forward and
//! backward pass, never the scores: those are computed again (Dao et al. 2022, arXiv:2205.14135,
//! appendix B.2, without its tiles). By Burn's products, a part of the heads at a time, so that the
//! peak of memory is bounded.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Backend, Shape, TensorMetadata, backend_extension, fusion::custom::TensorSpec,
};
use burn::tensor::{DType, Slice, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernel::cube::{
    Gpu, UNITS, address, contiguous, cube_each, elem, empty, empty_like, finish, largest, one_each,
    take, total,
};

/// Scores that are computed at once, at most: 128 MiB in f32, of which a backward pass has three.
/// No buffer of a Vulkan driver need be larger.
const SCORES_MAX: usize = 1 << 25;

type Values = FloatTensor<Gpu>;

/// Attention with q and k rotated first by the cosines and sines of `turn`, each
/// `[1, 1, n_tokens, head_dim]`.
pub(super) fn attention(
    qkv: [Tensor<3>; 3],
    n_heads: usize,
    turn: Option<[Tensor<4>; 2]>,
) -> Tensor<3> {
    let inputs = qkv.map(take);
    let turn = turn.map(|tables| tables.map(|table| take(table).0));
    let split = |x: &Values| Gpu::split(x.clone(), n_heads);
    let [q, k, v] = inputs.each_ref().map(|(values, _)| values);
    let [q, k] = [q, k].map(|x| match &turn {
        Some([cos, sin]) => Gpu::split_turned(x.clone(), cos.clone(), sin.clone(), n_heads),
        None => split(x),
    });
    let v = split(v);
    let (out, log_sums) = forward([&q, &k, &v]);
    let joined = Gpu::join(out.clone(), n_heads);
    let kept = Kept { qkv: [q, k, v], out, log_sums, turn, n_heads };
    finish(inputs, joined, kept, Kept::backward)
}

/// The values that the backward pass needs: `[batch * heads, n_tokens, head_dim]`, q and k turned.
#[derive(Debug, Clone)]
struct Kept {
    qkv: [Values; 3],
    out: Values,
    /// Log of the sum of exponentials of each query, `[batch * heads, n_tokens]`.
    log_sums: Values,
    turn: Option<[Values; 2]>,
    n_heads: usize,
}

/// The output `[batch * heads, n_tokens, head_dim]`, and the log-sums.
fn forward([q, k, v]: [&Values; 3]) -> (Values, Values) {
    let (mut out, mut log_sums) = (vec![], vec![]);
    for part in parts(q) {
        let [q, k, v] = [q, k, v].map(|t| narrowed(t, &part));
        let dtype = v.dtype();
        let scores = Gpu::product(q.clone(), Gpu::float_transpose(k), DType::F32);
        let (weights, sums) = Gpu::softmax(scores, scale(&q), dtype);
        out.push(Gpu::product(weights, v, dtype));
        log_sums.push(sums);
    }
    (joined(out), joined(log_sums))
}

impl Kept {
    fn backward(self, gradient: Values, _: [bool; 3]) -> [Option<Values>; 3] {
        let Self { qkv, out, log_sums, turn, n_heads } = self;
        let gradient = Gpu::split(gradient, n_heads);
        let along = Gpu::along(gradient.clone(), out);
        let mut found = [const { Vec::new() }; 3];
        for part in parts(&qkv[0]) {
            let [q, k, v] = qkv.each_ref().map(|t| narrowed(t, &part));
            let [gradient, log_sums, along] =
                [&gradient, &log_sums, &along].map(|t| narrowed(t, &part));
            let (dtype, scale) = (v.dtype(), scale(&q));
            let scores = Gpu::product(q.clone(), Gpu::float_transpose(k.clone()), DType::F32);
            let of_weights = Gpu::product(gradient.clone(), Gpu::float_transpose(v), DType::F32);
            let (weights, of_scores) =
                Gpu::softmax_slopes(scores, of_weights, log_sums, along, scale, dtype);
            found[0].push(Gpu::product(of_scores.clone(), k, dtype));
            found[1].push(Gpu::product(Gpu::float_transpose(of_scores), q, dtype));
            found[2].push(Gpu::product(Gpu::float_transpose(weights), gradient, dtype));
        }
        let [of_q, of_k, of_v] = found.map(joined);
        let [of_q, of_k] = [of_q, of_k].map(|x| match &turn {
            Some([cos, sin]) => Gpu::join_turned_back(x, cos.clone(), sin.clone(), n_heads),
            None => Gpu::join(x, n_heads),
        });
        [Some(of_q), Some(of_k), Some(Gpu::join(of_v, n_heads))]
    }
}

fn scale(q: &Values) -> f32 {
    let [_, _, head_dim] = q.shape().dims::<3>();
    (head_dim as f32).sqrt().recip()
}

/// Ranges of heads whose scores are computed together.
fn parts(q: &Values) -> impl Iterator<Item = std::ops::Range<usize>> {
    let [heads, n_tokens, _] = q.shape().dims::<3>();
    let at_once = (SCORES_MAX / (n_tokens * n_tokens)).max(1);
    (0..heads).step_by(at_once).map(move |first| first..(first + at_once).min(heads))
}

/// Heads `part` of a tensor whose first dimension they are.
fn narrowed(t: &Values, part: &std::ops::Range<usize>) -> Values {
    let shape = t.shape();
    if part.len() == shape[0] {
        return t.clone();
    }
    let rest = shape.iter().skip(1).map(|n| Slice::from(0..*n));
    let slices: Vec<_> = std::iter::once(Slice::from(part.clone())).chain(rest).collect();
    Gpu::float_slice(t.clone(), &slices)
}

fn joined(mut parts: Vec<Values>) -> Values {
    if parts.len() == 1 { parts.remove(0) } else { Gpu::float_cat(parts, 0) }
}

#[backend_extension(Cube, Fusion)]
trait Attend: Backend {
    /// `[batch, n_tokens, heads * head_dim]` to `[batch * heads, n_tokens, head_dim]`.
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
    #[fusion(dtype = x, shape = joined_shape(x, *heads))]
    fn join(x: FloatTensor<Self>, heads: usize) -> FloatTensor<Self>;

    /// The transpose of [`Attend::split_turned`], for gradients.
    #[fusion(dtype = x, shape = joined_shape(x, *heads))]
    fn join_turned_back(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self>;

    /// The product of each pair of matrices, as `dtype`.
    #[fusion(meta = |a, b, dtype| product_spec(a, b, *dtype))]
    fn product(a: FloatTensor<Self>, b: FloatTensor<Self>, dtype: DType) -> FloatTensor<Self>;

    /// The softmax of `scale` times each row, as `dtype`, and the log of the row's sum of
    /// exponentials, `[heads, n_tokens]` of f32.
    #[fusion(meta = |x, _, dtype| (TensorSpec::new(x.shape.clone(), *dtype), sums_spec(x)))]
    fn softmax(
        scores: FloatTensor<Self>,
        scale: f32,
        dtype: DType,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The softmax again, and the gradient of the scores, from `along`, the product of output and
    /// its gradient for each query.
    #[fusion(meta = |x, _, _, _, _, dtype| {
        let spec = TensorSpec::new(x.shape.clone(), *dtype);
        (spec.clone(), spec)
    })]
    fn softmax_slopes(
        scores: FloatTensor<Self>,
        of_weights: FloatTensor<Self>,
        log_sums: FloatTensor<Self>,
        along: FloatTensor<Self>,
        scale: f32,
        dtype: DType,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The scalar product of each row of `a` and `b`: `[heads, n_tokens]` of f32.
    #[fusion(meta = |a, _| sums_spec(a))]
    fn along(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
}

fn split_shape(x: &Shape, heads: usize) -> Shape {
    let [batch, n_tokens, dim] = x.dims();
    Shape::new([batch * heads, n_tokens, dim / heads])
}

fn joined_shape(x: &Shape, heads: usize) -> Shape {
    let [all, n_tokens, head_dim] = x.dims();
    Shape::new([all / heads, n_tokens, head_dim * heads])
}

fn product_spec(a: &TensorSpec, b: &TensorSpec, dtype: DType) -> TensorSpec {
    let ([heads, rows, _], [_, _, columns]) = (a.shape.dims(), b.shape.dims());
    TensorSpec::new(Shape::new([heads, rows, columns]), dtype)
}

fn sums_spec(x: &TensorSpec) -> TensorSpec {
    TensorSpec::new(sums_shape(&x.shape), DType::F32)
}

fn sums_shape(x: &Shape) -> Shape {
    let [heads, n_tokens, _] = x.dims();
    Shape::new([heads, n_tokens])
}

/// Splits or joins heads without turning them.
fn moved(x: CubeTensor, shape: Shape, layout: [usize; 3], joins: bool) -> CubeTensor {
    let [x] = contiguous([x]);
    let output = empty(&x, shape, x.dtype);
    let (count, dim) = one_each(&x.client, x.meta.num_elements());
    let (client, address, elem) = (x.client.clone(), address(&[&x]), elem(&x));
    let [n_tokens, heads, head_dim] = layout;
    moves::launch(
        &client,
        count,
        dim,
        address,
        x.into_buffer_arg(),
        output.clone().into_buffer_arg(),
        n_tokens,
        heads,
        head_dim,
        joins,
        elem,
    );
    output
}

/// Splits heads and turns them, or turns them back and joins them.
fn turned(
    x: CubeTensor,
    tables: [CubeTensor; 2],
    shape: Shape,
    layout: [usize; 3],
    joins: bool,
) -> CubeTensor {
    let ([x], [cos, sin]) = (contiguous([x]), contiguous(tables));
    let output = empty(&x, shape, x.dtype);
    let (count, dim) = one_each(&x.client, x.meta.num_elements());
    let (client, address, elems) = (x.client.clone(), address(&[&x]), [elem(&x), elem(&cos)]);
    let [n_tokens, heads, head_dim] = layout;
    turns::launch(
        &client,
        count,
        dim,
        address,
        x.into_buffer_arg(),
        cos.into_buffer_arg(),
        sin.into_buffer_arg(),
        output.clone().into_buffer_arg(),
        n_tokens,
        heads,
        head_dim,
        joins,
        elems,
    );
    output
}

/// Tokens, heads and size of a head, of a tensor of joined heads.
fn layout_of_joined(x: &CubeTensor, heads: usize) -> [usize; 3] {
    let [_, n_tokens, dim] = TensorMetadata::shape(x).dims();
    [n_tokens, heads, dim / heads]
}

/// As [`layout_of_joined`], of a tensor of split heads.
fn layout_of_split(x: &CubeTensor, heads: usize) -> [usize; 3] {
    let [_, n_tokens, head_dim] = TensorMetadata::shape(x).dims();
    [n_tokens, heads, head_dim]
}

impl Attend for CubeBackend {
    fn split(x: CubeTensor, heads: usize) -> CubeTensor {
        let (shape, layout) =
            (split_shape(&TensorMetadata::shape(&x), heads), layout_of_joined(&x, heads));
        moved(x, shape, layout, false)
    }

    fn split_turned(x: CubeTensor, cos: CubeTensor, sin: CubeTensor, heads: usize) -> CubeTensor {
        let (shape, layout) =
            (split_shape(&TensorMetadata::shape(&x), heads), layout_of_joined(&x, heads));
        turned(x, [cos, sin], shape, layout, false)
    }

    fn join(x: CubeTensor, heads: usize) -> CubeTensor {
        let (shape, layout) =
            (joined_shape(&TensorMetadata::shape(&x), heads), layout_of_split(&x, heads));
        moved(x, shape, layout, true)
    }

    fn join_turned_back(
        x: CubeTensor,
        cos: CubeTensor,
        sin: CubeTensor,
        heads: usize,
    ) -> CubeTensor {
        let (shape, layout) =
            (joined_shape(&TensorMetadata::shape(&x), heads), layout_of_split(&x, heads));
        turned(x, [cos, sin], shape, layout, true)
    }

    fn product(a: CubeTensor, b: CubeTensor, dtype: DType) -> CubeTensor {
        matmul(a, b, None, MatmulStrategy::default(), dtype)
            .expect("a product of these sizes has a kernel on any device")
    }

    fn softmax(scores: CubeTensor, scale: f32, dtype: DType) -> (CubeTensor, CubeTensor) {
        let [scores] = contiguous([scores]);
        let shape = TensorMetadata::shape(&scores);
        let [heads, rows, columns] = shape.dims();
        let output = empty(&scores, shape.clone(), dtype);
        let log_sums = empty(&scores, sums_shape(&shape), DType::F32);
        let (count, dim) = cube_each(heads * rows);
        let (client, address) = (scores.client.clone(), address(&[&scores]));
        let elem = elem(&output);
        softmaxes::launch(
            &client,
            count,
            dim,
            address,
            scores.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            log_sums.clone().into_buffer_arg(),
            scale,
            columns,
            elem,
        );
        (output, log_sums)
    }

    fn softmax_slopes(
        scores: CubeTensor,
        of_weights: CubeTensor,
        log_sums: CubeTensor,
        along: CubeTensor,
        scale: f32,
        dtype: DType,
    ) -> (CubeTensor, CubeTensor) {
        let [scores, of_weights, log_sums, along] =
            contiguous([scores, of_weights, log_sums, along]);
        let shape = TensorMetadata::shape(&scores);
        let [_, _, columns] = shape.dims();
        let weights = empty(&scores, shape, dtype);
        let of_scores = empty_like(&weights);
        let (count, dim) = one_each(&scores.client, scores.meta.num_elements());
        let (client, address) = (scores.client.clone(), address(&[&scores]));
        let elem = elem(&weights);
        softmax_slopes::launch(
            &client,
            count,
            dim,
            address,
            scores.into_buffer_arg(),
            of_weights.into_buffer_arg(),
            log_sums.into_buffer_arg(),
            along.into_buffer_arg(),
            weights.clone().into_buffer_arg(),
            of_scores.clone().into_buffer_arg(),
            scale,
            columns,
            elem,
        );
        (weights, of_scores)
    }

    fn along(a: CubeTensor, b: CubeTensor) -> CubeTensor {
        let [a, b] = contiguous([a, b]);
        let shape = TensorMetadata::shape(&a);
        let [_, _, head_dim] = shape.dims();
        let output = empty(&a, sums_shape(&shape), DType::F32);
        let (count, dim) = one_each(&a.client, output.meta.num_elements());
        let (client, address, elems) = (a.client.clone(), address(&[&a]), [elem(&a), elem(&b)]);
        alongs::launch(
            &client,
            count,
            dim,
            address,
            a.into_buffer_arg(),
            b.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            head_dim,
            elems,
        );
        output
    }
}

/// The index in joined heads of element `at` of split heads.
#[cube]
fn in_joined(at: usize, n_tokens: usize, heads: usize, head_dim: usize) -> usize {
    let (along, token) = (at % head_dim, at / head_dim % n_tokens);
    let which = at / head_dim / n_tokens;
    let (image, head) = (which / heads, which % heads);
    ((image * n_tokens + token) * heads + head) * head_dim + along
}

#[cube(launch, address_type = "dynamic")]
fn moves<F: Float>(
    x: &[F],
    output: &mut [F],
    n_tokens: usize,
    heads: usize,
    head_dim: usize,
    #[comptime] joins: bool,
    #[define(F)] _elem: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at < output.len() {
        let joined = in_joined(at, n_tokens, heads, head_dim);
        if joins {
            output[joined] = x[at];
        } else {
            output[at] = x[joined];
        }
    }
}

/// Turns a head x: `x cos + (-x2, x1) sin` for its halves x1 and x2, or applies the transpose.
#[cube(launch, address_type = "dynamic")]
fn turns<F: Float, T: Float>(
    x: &[F],
    cos: &[T],
    sin: &[T],
    output: &mut [F],
    n_tokens: usize,
    heads: usize,
    head_dim: usize,
    #[comptime] joins: bool,
    #[define(F, T)] _elems: [ElemType; 2],
) {
    let at = ABSOLUTE_POS;
    if at < output.len() {
        let joined = in_joined(at, n_tokens, heads, head_dim);
        let half = head_dim / 2;
        let is_low = at % head_dim < half;
        let angle = at % (n_tokens * head_dim);
        if joins {
            let own = f32::cast_from(x[at]) * f32::cast_from(cos[angle]);
            if is_low {
                let other = f32::cast_from(x[at + half]) * f32::cast_from(sin[angle + half]);
                output[joined] = F::cast_from(own + other);
            } else {
                let other = f32::cast_from(x[at - half]) * f32::cast_from(sin[angle - half]);
                output[joined] = F::cast_from(own - other);
            }
        } else {
            let own = f32::cast_from(x[joined]) * f32::cast_from(cos[angle]);
            let sin = f32::cast_from(sin[angle]);
            if is_low {
                output[at] = F::cast_from(own - f32::cast_from(x[joined + half]) * sin);
            } else {
                output[at] = F::cast_from(own + f32::cast_from(x[joined - half]) * sin);
            }
        }
    }
}

#[cube(launch, address_type = "dynamic")]
fn softmaxes<F: Float>(
    scores: &[f32],
    output: &mut [F],
    log_sums: &mut [f32],
    scale: f32,
    columns: usize,
    #[define(F)] _elem: ElemType,
) {
    let row = CUBE_POS;
    if row < log_sums.len() {
        let mut scratch = Shared::<[f32]>::new_slice(comptime!(UNITS as usize));
        let first = row * columns;
        let mut top = scores[first];
        let mut i = UNIT_POS as usize;
        while i < columns {
            top = max(top, scores[first + i]);
            i += CUBE_DIM as usize;
        }
        let top = largest(top, &mut scratch);
        let mut sum = 0.0f32;
        let mut i = UNIT_POS as usize;
        while i < columns {
            sum += ((scores[first + i] - top) * scale).exp();
            i += CUBE_DIM as usize;
        }
        let sum = total(sum, &mut scratch);
        let mut i = UNIT_POS as usize;
        while i < columns {
            output[first + i] = F::cast_from(((scores[first + i] - top) * scale).exp() / sum);
            i += CUBE_DIM as usize;
        }
        if UNIT_POS == 0 {
            log_sums[row] = top * scale + sum.ln();
        }
    }
}

#[cube(launch, address_type = "dynamic")]
fn softmax_slopes<F: Float>(
    scores: &[f32],
    of_weights: &[f32],
    log_sums: &[f32],
    along: &[f32],
    weights: &mut [F],
    of_scores: &mut [F],
    scale: f32,
    columns: usize,
    #[define(F)] _elem: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i < of_scores.len() {
        let row = i / columns;
        let weight = (scores[i] * scale - log_sums[row]).exp();
        weights[i] = F::cast_from(weight);
        of_scores[i] = F::cast_from(weight * (of_weights[i] - along[row]) * scale);
    }
}

#[cube(launch, address_type = "dynamic")]
fn alongs<F: Float, G: Float>(
    a: &[F],
    b: &[G],
    output: &mut [f32],
    head_dim: usize,
    #[define(F, G)] _elems: [ElemType; 2],
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
