//! What our implementations for GPUs share: the backend, launches, and sums within a cube.
//!
//! Kernels are written in CubeCL's Rust, which is compiled for the device when it is first used.
//! They work on contiguous tensors of any type, in f32.

use std::fmt::Debug;
use std::ops::Range;

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Shape, TensorMetadata};
use burn::tensor::{DType, Device, FloatDType, Tensor};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::{empty_device_contiguous_dtype, zeros_client};
use burn_cubecl::ops::reshape;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::client::Client;
use cubecl::prelude::*;

use super::node;

/// The backend that reaches GPUs.
pub(super) use burn::backend::Cube as Gpu;

/// Takes a tensor on a GPU apart, as [`node::take`].
pub(super) fn take<const D: usize>(tensor: Tensor<D>) -> node::Input<Gpu> {
    node::take::<Gpu, D>(tensor)
}

/// Turns the output of an operation on `inputs` into a tensor, as [`node::finish`].
pub(super) fn finish<const D: usize, const N: usize, K: Clone + Send + Debug + 'static>(
    inputs: [node::Input<Gpu>; N],
    output: FloatTensor<Gpu>,
    kept: K,
    differentiate: node::Differentiate<Gpu, K, N>,
) -> Tensor<D> {
    node::finish::<Gpu, D, N, K>(inputs, output, kept, differentiate)
}

/// Units of a cube where each works on one row, or the like, together.
pub(super) const UNITS: u32 = 128;

/// Cubes along the first axis of a launch, at most; fewer than any device allows.
const CUBES_MAX: u32 = 1 << 15;

/// The element type of a tensor, as kernels take it.
pub(super) fn elem(tensor: &CubeTensor) -> ElemType {
    dtype_to_storage_type(tensor.dtype)
}

/// An uninitialised contiguous tensor on the device of `like`.
pub(super) fn empty(like: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape, dtype)
}

/// An uninitialised contiguous tensor of the shape and type of `like`.
pub(super) fn empty_like(like: &CubeTensor) -> CubeTensor {
    empty(like, TensorMetadata::shape(like), like.dtype)
}

/// A contiguous tensor of zeros on the device of `like`.
pub(super) fn zeros(like: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    // Burn pads the rows of longer shapes on CUDA, and a launch would write into a copy.
    let row = Shape::new([shape.num_elements()]);
    reshape(zeros_client(like.client.clone(), like.device.clone(), row, dtype), shape)
}

/// The tensor for a kernel that changes it in place: contiguous, and a copy where others hold it too.
pub(super) fn owned(tensor: CubeTensor) -> CubeTensor {
    into_contiguous(if tensor.can_mut() { tensor } else { tensor.copy() })
}

/// Sums on a GPU, f32, which kernels add to in place.
#[derive(Debug, Clone)]
pub(super) struct Sums(Option<Box<Tensor<4>>>);

impl Sums {
    pub(super) fn zeros(shape: [usize; 4], device: &Device) -> Self {
        // Contiguous, as in `zeros`.
        let n: usize = shape.iter().product();
        let row = Tensor::<1>::zeros([n], (device, DType::F32));
        Self(Some(Box::new(row.reshape(shape))))
    }

    /// Replaces the sums. `add` is handed the tensor alone, which [`owned`] so need not copy.
    pub(super) fn replace(&mut self, add: impl FnOnce(Tensor<4>) -> Tensor<4>) {
        self.0 = self.0.take().map(|sums| Box::new(add(*sums)));
    }

    pub(super) fn values(&self) -> Tensor<4> {
        self.0.as_deref().expect("there are sums but while they are replaced").clone()
    }
}

/// The tensors, copied where they are not contiguous.
pub(super) fn contiguous<const N: usize>(tensors: [CubeTensor; N]) -> [CubeTensor; N] {
    tensors.map(into_contiguous)
}

/// Rows `range` of a contiguous tensor's first dimension, without a copy.
pub(super) fn part(tensor: &CubeTensor, range: &Range<usize>) -> CubeTensor {
    let mut part = tensor.clone();
    let shape = TensorMetadata::shape(tensor);
    let row = shape.num_elements() / shape[0] * tensor.dtype.size();
    let (before, after) = (range.start * row, (shape[0] - range.end) * row);
    part.handle = part.handle.offset_start(before as u64).offset_end(after as u64);
    part.meta.shape_mut()[0] = range.len();
    part
}

/// The tensor with its last two dimensions swapped, without a copy.
pub(super) fn transposed(mut tensor: CubeTensor) -> CubeTensor {
    let n = tensor.meta.num_dims();
    tensor.meta.swap(n - 2, n - 1);
    tensor
}

/// The cubes of a launch.
pub(super) struct Grid {
    pub client: Client,
    pub count: CubeCount,
    pub dim: CubeDim,
}

impl Grid {
    /// One unit for each element of `tensor`.
    pub(super) fn each(tensor: &CubeTensor) -> Self {
        Self::units(tensor, tensor.meta.num_elements())
    }

    /// `n` units, on the device of `tensor`.
    pub(super) fn units(tensor: &CubeTensor, n: usize) -> Self {
        let client = tensor.client.clone();
        let dim = CubeDim::new(&client, n);
        Self { count: calculate_cube_count_elemwise(&client, n, dim), client, dim }
    }

    /// A cube of [`UNITS`] for each of `n` rows, on the device of `tensor`; there may be more cubes
    /// than rows.
    pub(super) fn rows(tensor: &CubeTensor, n: usize) -> Self {
        let n = n as u32;
        let x = n.clamp(1, CUBES_MAX);
        let count = CubeCount::Static(x, n.div_ceil(x).max(1), 1);
        Self { client: tensor.client.clone(), count, dim: CubeDim::new_1d(UNITS) }
    }
}

/// The type of addresses that reaches every element of the tensors.
pub(super) fn address(tensors: &[CubeTensor]) -> AddressType {
    tensors.iter().map(CubeTensor::required_address_type).max().unwrap_or_default()
}

/// Launches a kernel on a [`Grid`]: its buffers, then its other arguments. Inputs that are not
/// contiguous are copied.
macro_rules! launch {
    ($kernel:ident, $grid:expr, [$($buffer:expr),+ $(,)?] $(, $other:expr)* $(,)?) => {{
        let grid = $grid;
        let buffers = crate::kernel::cube::contiguous([$($buffer),+]);
        let address = crate::kernel::cube::address(&buffers);
        let mut buffers = buffers.into_iter().map(CubeTensor::into_buffer_arg);
        $kernel::launch(
            &grid.client,
            grid.count,
            grid.dim,
            address,
            $(crate::kernel::cube::next(stringify!($buffer), &mut buffers),)+
            $($other),*
        )
    }};
}
pub(super) use launch;

/// The buffer of a launch that `name` gave.
pub(super) fn next(name: &str, buffers: &mut impl Iterator<Item = BufferArg>) -> BufferArg {
    buffers.next().unwrap_or_else(|| unreachable!("there is a buffer for {name}"))
}

/// The sum over all rows, `[dim]` as `like`, of its type.
pub(super) fn sum_rows<B: Backend>(x: FloatTensor<B>, like: &FloatTensor<B>) -> FloatTensor<B> {
    let [dim] = like.shape().dims();
    let n = x.shape().num_elements() / dim;
    let x = B::float_cast(x, FloatDType::F32);
    let sum = B::float_sum_dim(B::float_reshape(x, Shape::new([n, dim])), 0);
    let sum = B::float_reshape(sum, Shape::new([dim]));
    B::float_cast(sum, like.dtype().into())
}

/// The sum of all units' values.
#[cube]
pub(super) fn total(value: f32, scratch: &mut Shared<[f32]>) -> f32 {
    joined(value, scratch, false)
}

/// The largest of all units' values.
#[cube]
pub(super) fn largest(value: f32, scratch: &mut Shared<[f32]>) -> f32 {
    joined(value, scratch, true)
}

/// All units' values made one, two by two.
#[cube]
fn joined(value: f32, scratch: &mut Shared<[f32]>, #[comptime] by_max: bool) -> f32 {
    // Others may still read the last result.
    sync_cube();
    scratch[UNIT_POS as usize] = value;
    sync_cube();
    let mut active = CUBE_DIM / 2;
    while active > 0 {
        if UNIT_POS < active {
            let other = scratch[(UNIT_POS + active) as usize];
            let own = scratch[UNIT_POS as usize];
            if by_max {
                scratch[UNIT_POS as usize] = max(own, other);
            } else {
                scratch[UNIT_POS as usize] = own + other;
            }
        }
        active /= 2;
        sync_cube();
    }
    scratch[0]
}
