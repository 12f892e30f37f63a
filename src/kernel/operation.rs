//! Our operations on the CPU, as nodes of Burn's autodiff graph.
//!
//! An operation's `cpu.rs` takes [`Operand`]s, works on their slices, and hands its result to
//! [`finish`] with the function that turns the result's gradient into those of the operands.

use std::fmt::Debug;

use burn::backend::Flex;
use burn::backend::autodiff::ops::NodeGuard;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, TensorData};

use super::node;

/// The values of a tensor, f32 and row-major; memory is shared with the tensor until one of them is
/// changed.
#[derive(Debug, Clone)]
pub(super) struct Values(FlexTensor);

impl Values {
    pub(super) fn new<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Self {
        Self(FlexTensor::from_data(TensorData::new(values, shape)))
    }

    /// The values of a tensor on the CPU, without its place in an autodiff graph.
    ///
    /// # Panics
    /// As [`Operand::new`].
    pub(super) fn of_tensor<const D: usize>(tensor: Tensor<D>) -> Self {
        Operand::new(tensor.inner()).values
    }

    /// One value of double precision, such as a loss.
    pub(super) fn scalar(value: f64) -> Self {
        Self(FlexTensor::from_data(TensorData::new(vec![value], [1])))
    }

    /// The single value of a scalar, of either precision.
    ///
    /// # Panics
    /// If there are others.
    pub(super) fn to_scalar(&self) -> f64 {
        let values = self.0.clone().into_data().convert::<f64>().try_into_vec::<f64>();
        let values = values.expect("converted to f64");
        assert_eq!(values.len(), 1, "a scalar");
        values[0]
    }

    /// The values of `tensor`, copied if they are not contiguous.
    fn of(tensor: FlexTensor) -> Self {
        Self(if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() })
    }

    pub(super) fn slice(&self) -> &[f32] {
        self.0.as_slice().expect("contiguous f32 by construction")
    }

    /// The values for writing, copied first where others share them.
    pub(super) fn slice_mut(&mut self) -> &mut [f32] {
        let (n, whole) = (self.slice().len(), self.0.storage::<f32>().len());
        if n != whole {
            // A view into a larger tensor, whose storage `storage_mut` would give.
            *self = Self::new(self.slice().to_vec(), [n]).shaped_as(self);
        }
        self.0.storage_mut()
    }

    fn shaped_as(self, other: &Self) -> Self {
        Self(self.0.reshape(other.0.layout().shape().clone()))
    }
}

/// One input of an operation.
pub(super) struct Operand {
    pub values: Values,
    /// Place in the autodiff graph, where the input is tracked.
    node: Option<NodeGuard>,
}

impl Operand {
    /// An operand of a tensor on the CPU.
    ///
    /// # Panics
    /// If [`super::dispatch::path`] is not the CPU's.
    pub(super) fn new<const D: usize>(tensor: Tensor<D>) -> Self {
        let (values, node) = node::take::<Flex, D>(tensor);
        Self { values: Values::of(values), node }
    }

    pub(super) fn is_tracked(&self) -> bool {
        self.node.is_some()
    }
}

/// The backward pass of an operation: gradients of those of the N operands that are wanted, from
/// the values kept and the result's gradient.
pub(super) type Differentiate<K, const N: usize> =
    fn(kept: K, gradient: Values, wanted: [bool; N]) -> [Option<Values>; N];

/// Turns the output of an operation on `operands` into a tensor.
pub(super) fn finish<const D: usize, const N: usize, K: Clone + Send + Debug + 'static>(
    operands: [Operand; N],
    output: Values,
    kept: K,
    differentiate: Differentiate<K, N>,
) -> Tensor<D> {
    let inputs = operands.map(|Operand { values, node }| (values.0, node));
    node::finish::<Flex, D, N, _>(
        inputs,
        output.0,
        (differentiate, kept),
        |(differentiate, kept), gradient, wanted| {
            let found = differentiate(kept, Values::of(gradient), wanted);
            found.map(|values| values.map(|values| values.0))
        },
    )
}
