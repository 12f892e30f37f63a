//! Attention on GPUs that keeps q, k, v and its output between forward and backward pass, never the
//! scores: those are computed again. By Burn's products, a part of the heads at a time, so that the
//! peak of memory is bounded.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Slice, Tensor};
use burn_cubecl::CubeBackend;

/// Scores that are computed at once, at most: 128 MiB in f32, of which a backward pass has four. No
/// buffer of a Vulkan driver need be larger.
const SCORES_MAX: usize = 1 << 25;

/// Computes `softmax(q kᵀ / √head_dim) v`; all are `[batch * heads, n_tokens, head_dim]`.
pub(super) fn attention([q, k, v]: [Tensor<3>; 3]) -> Tensor<3> {
    let [q, k, v] = [q, k, v].map(Tensor::into_dispatch);
    Tensor::from_dispatch(<Dispatch as Attend>::attend(q, k, v))
}

/// The operation, for each backend that GPUs are reached by.
#[backend_extension(Cube, Fusion, Autodiff)]
trait Attend: Backend {
    #[fusion(default)]
    fn attend(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [heads, n_tokens] = sizes::<Self>(&q);
        let parts = parts(heads, n_tokens).map(|part| {
            let [q, k, v] = [&q, &k, &v].map(|t| narrowed::<Self>(t, &part));
            Self::float_matmul(weights::<Self>(q, k), v)
        });
        Self::float_cat(parts.collect(), 0)
    }
}

impl Attend for CubeBackend {}

impl<B: Backend + Attend, C: CheckpointStrategy> Attend for Autodiff<B, C> {
    fn attend(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        match Step.prepare::<C>([q.node(), k.node(), v.node()]).compute_bound().stateful() {
            OpsKind::Tracked(step) => {
                let [q, k, v] = [q, k, v].map(FloatTensor::<Self>::into_primitive);
                let out = B::attend(q.clone(), k.clone(), v.clone());
                step.finish([q, k, v, out.clone()], out)
            }
            OpsKind::UnTracked(step) => {
                let [q, k, v] = [q, k, v].map(FloatTensor::<Self>::into_primitive);
                step.finish(B::attend(q, k, v))
            }
        }
    }
}

/// The backward pass (Dao et al. 2022, arXiv:2205.14135, appendix B.2, without its tiles).
#[derive(Debug)]
struct Step;

impl<B: Backend> Backward<B, 3> for Step {
    /// q, k, v and the output.
    type State = [FloatTensor<B>; 4];

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [q, k, v, out] = ops.state;
        let [heads, n_tokens] = sizes::<B>(&q);
        let mut found = [const { Vec::new() }; 3];
        for part in parts(heads, n_tokens) {
            let slices = [&q, &k, &v, &out, &gradient].map(|t| narrowed::<B>(t, &part));
            for (all, one) in found.iter_mut().zip(slopes::<B>(slices)) {
                all.push(one);
            }
        }
        for (parent, parts) in ops.parents.into_iter().zip(found) {
            if let Some(parent) = parent {
                gradients.register::<B>(parent.id, B::float_cat(parts, 0));
            }
        }
    }
}

/// Gradients of q, k and v.
fn slopes<B: Backend>([q, k, v, out, gradient]: [FloatTensor<B>; 5]) -> [FloatTensor<B>; 3] {
    let weights = weights::<B>(q.clone(), k.clone());
    let of_v = B::float_matmul(B::float_transpose(weights.clone()), gradient.clone());
    let of_weights = B::float_matmul(gradient.clone(), B::float_transpose(v));
    let along = B::float_sum_dim(B::float_mul(gradient, out), 2);
    let of_scores = B::float_mul(weights, B::float_sub(of_weights, along));
    let of_scores = B::float_mul_scalar(of_scores, scale::<B>(&q).into());
    let of_q = B::float_matmul(of_scores.clone(), k);
    let of_k = B::float_matmul(B::float_transpose(of_scores), q);
    [of_q, of_k, of_v]
}

/// `softmax(q kᵀ / √head_dim)`.
fn weights<B: Backend>(q: FloatTensor<B>, k: FloatTensor<B>) -> FloatTensor<B> {
    let scale = scale::<B>(&q).into();
    let q = B::float_mul_scalar(q, scale);
    let scores = B::float_matmul(q, B::float_transpose(k));
    let largest = B::float_max_dim(scores.clone(), 2);
    let powers = B::float_exp(B::float_sub(scores, largest));
    let sum = B::float_sum_dim(powers.clone(), 2);
    B::float_div(powers, sum)
}

fn scale<B: Backend>(q: &FloatTensor<B>) -> f64 {
    let [_, _, head_dim] = q.shape().dims::<3>();
    (head_dim as f64).sqrt().recip()
}

fn sizes<B: Backend>(q: &FloatTensor<B>) -> [usize; 2] {
    let [heads, n_tokens, _] = q.shape().dims::<3>();
    [heads, n_tokens]
}

/// Ranges of heads whose scores are computed together.
fn parts(heads: usize, n_tokens: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let at_once = (SCORES_MAX / (n_tokens * n_tokens)).max(1);
    (0..heads).step_by(at_once).map(move |first| first..(first + at_once).min(heads))
}

fn narrowed<B: Backend>(t: &FloatTensor<B>, heads: &std::ops::Range<usize>) -> FloatTensor<B> {
    let [all, n_tokens, head_dim] = t.shape().dims::<3>();
    if heads.len() == all {
        return t.clone();
    }
    let whole = |n: usize| Slice::from(0..n);
    B::float_slice(t.clone(), &[Slice::from(heads.clone()), whole(n_tokens), whole(head_dim)])
}
