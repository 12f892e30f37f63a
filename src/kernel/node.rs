//! Nodes of Burn's autodiff graph for operations of our own, on any backend.
//!
//! An operation [`take`]s its inputs apart, computes its result, and hands it to [`finish`] with
//! the function that turns the result's gradient into those of the inputs. Where no input is
//! tracked no node is made, and nothing is kept.

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, DispatchKindConversion, DispatchTensor};
use burn::tensor::Tensor;

/// The values of a tensor on backend B, and its place in the autodiff graph where it is tracked.
pub(super) type Input<B> = (FloatTensor<B>, Option<NodeGuard>);

/// Takes a tensor of backend B apart.
///
/// # Panics
/// If it is of another backend.
pub(super) fn take<B: Backend, const D: usize>(tensor: Tensor<D>) -> Input<B>
where
    DispatchTensor: DispatchKindConversion<B> + DispatchKindConversion<Autodiff<B>>,
{
    if !tensor.is_tracked() {
        let inner = tensor.inner().try_into_primitive::<B>();
        return (inner.expect("on the backend that the path says"), None);
    }
    let node = tensor
        .try_into_primitive::<Autodiff<B>>()
        .expect("on the backend that the path says, by plain autodiff: no other is ever chosen");
    // Without the primitive in the guard, the values may be changed in place.
    let (values, node) = node.into_parts();
    (values, Some(node))
}

/// The backward pass of an operation: gradients of those of the N inputs that are wanted, from the
/// values kept and the result's gradient.
pub(super) type Differentiate<B, K, const N: usize> =
    fn(kept: K, gradient: FloatTensor<B>, wanted: [bool; N]) -> [Option<FloatTensor<B>>; N];

/// Turns the output of an operation on `inputs` into a tensor.
pub(super) fn finish<B: Backend, const D: usize, const N: usize, K>(
    inputs: [Input<B>; N],
    output: FloatTensor<B>,
    kept: K,
    differentiate: Differentiate<B, K, N>,
) -> Tensor<D>
where
    DispatchTensor: DispatchKindConversion<B> + DispatchKindConversion<Autodiff<B>>,
    K: Clone + Send + Debug + 'static,
{
    if inputs.iter().all(|(_, node)| node.is_none()) {
        return Tensor::from_primitive::<B>(output);
    }
    let guards = inputs.map(|(values, node)| {
        node.unwrap_or_else(|| FloatTensor::<Autodiff<B>>::new(values).node())
    });
    let step = Step::<B, K, N>(differentiate);
    let output = match step.prepare::<NoCheckpointing>(guards).compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish(kept, output),
        OpsKind::UnTracked(step) => step.finish(output),
    };
    Tensor::from_primitive::<Autodiff<B>>(output)
}

struct Step<B: Backend, K, const N: usize>(Differentiate<B, K, N>);

impl<B: Backend, K, const N: usize> Debug for Step<B, K, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Step")
    }
}

impl<B: Backend, K, const N: usize> Backward<B, N> for Step<B, K, N>
where
    K: Clone + Send + Debug + 'static,
{
    type State = K;

    fn backward(self, ops: Ops<K, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = self.0(ops.state, gradient, wanted);
        for (parent, found) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(found)) = (parent, found) {
                gradients.register::<B>(parent.id, found);
            }
        }
    }
}
