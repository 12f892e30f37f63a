//! Products on GPUs, by cubek's kernels.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Backend, Shape, TensorMetadata, backend_extension, fusion::custom::TensorSpec,
};
use burn::tensor::{DType, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level::Strategy;
use cubek::matmul::routine::BlueprintStrategy;
use cubek::std::InputBinding;

use crate::kernel::cube::{Gpu, Grid, elem, empty, empty_like, finish, launch, sum_rows, take};

pub(super) fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let (output, dims) = rows(x, weight);
    let output = match bias {
        Some(bias) => biased(output, bias),
        None => output,
    };
    output.reshape(dims)
}

pub(super) fn linear_plus<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    update: Tensor<D>,
) -> Tensor<D> {
    let (output, dims) = rows(x, weight);
    let update = update.reshape(output.dims());
    let (x, bias, update) = (take(output), take(bias), take(update));
    let output = Gpu::rows_plus(x.0.clone(), bias.0.clone(), update.0.clone());
    let like = bias.0.clone();
    let output = finish::<2, 3, _>([x, bias, update], output, like, |like, gradient, wanted| {
        let of_bias = wanted[1].then(|| sum_rows::<Gpu>(gradient.clone(), &like));
        let of_update = wanted[2].then(|| gradient.clone());
        [wanted[0].then_some(gradient), of_bias, of_update]
    });
    output.reshape(dims)
}

/// The product `x W` as rows `[.., out]`, and the dimensions of the layer's result.
fn rows<const D: usize>(x: Tensor<D>, weight: Tensor<2>) -> (Tensor<2>, [usize; D]) {
    let [d_in, d_out] = weight.dims();
    let mut dims = x.dims();
    let rows = dims.iter().product::<usize>() / d_in;
    dims[D - 1] = d_out;
    // One product over all rows, forward and backward.
    let x = take(x.reshape([rows, d_in]));
    let weight = take(weight);
    let dtype = x.0.dtype();
    let output = Gpu::product(x.0.clone(), weight.0.clone(), dtype);
    // Only the weight's gradient needs x.
    let kept = (weight.1.is_some().then(|| x.0.clone()), weight.0.clone());
    let output = finish::<2, 2, _>([x, weight], output, kept, |(x, weight), gradient, wanted| {
        let dtype = gradient.dtype();
        let of_weight = x.map(|x| Gpu::product(Gpu::float_transpose(x), gradient.clone(), dtype));
        let of_x = wanted[0].then(|| Gpu::product(gradient, Gpu::float_transpose(weight), dtype));
        [of_x, of_weight]
    });
    (output, dims)
}

/// Adds a bias to each row.
fn biased(x: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    let [_, dim] = x.dims();
    if !bias.is_tracked() {
        return x + bias.reshape([1, dim]);
    }
    let (x, bias) = (take(x), take(bias));
    let row = Gpu::float_reshape(bias.0.clone(), Shape::new([1, dim]));
    let output = Gpu::float_add(x.0.clone(), row);
    let like = bias.0.clone();
    finish([x, bias], output, like, |like, gradient, wanted| {
        let of_bias = wanted[1].then(|| sum_rows::<Gpu>(gradient.clone(), &like));
        [wanted[0].then_some(gradient), of_bias]
    })
}

pub(super) fn from_left<const D: usize>(matrix: Tensor<2>, x: Tensor<D>) -> Tensor<D> {
    let matrix = take(matrix.unsqueeze::<D>().inner()).0;
    let x = take(x);
    let dtype = x.0.dtype();
    let output = Gpu::product(matrix.clone(), x.0.clone(), dtype);
    finish([x], output, matrix, |matrix, gradient, _| {
        let dtype = gradient.dtype();
        [Some(Gpu::product(Gpu::float_transpose(matrix), gradient, dtype))]
    })
}

pub(super) fn from_right<const D: usize>(x: Tensor<D>, matrix: Tensor<2>) -> Tensor<D> {
    let matrix = take(matrix.unsqueeze::<D>().inner()).0;
    let x = take(x);
    let dtype = x.0.dtype();
    let output = Gpu::product(x.0.clone(), matrix.clone(), dtype);
    finish([x], output, matrix, |matrix, gradient, _| {
        let dtype = gradient.dtype();
        [Some(Gpu::product(gradient, Gpu::float_transpose(matrix), dtype))]
    })
}

#[backend_extension(Cube, Fusion)]
pub(in crate::kernel) trait Product: Backend {
    /// The product of each pair of matrices, as `dtype`; batches are broadcast.
    #[fusion(meta = |a, b, dtype| product_spec(a, b, *dtype))]
    fn product(a: FloatTensor<Self>, b: FloatTensor<Self>, dtype: DType) -> FloatTensor<Self>;

    /// `x + bias + update`, the bias for each row.
    #[fusion(dtype = x, shape = x)]
    fn rows_plus(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        update: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

fn product_spec(a: &TensorSpec, b: &TensorSpec, dtype: DType) -> TensorSpec {
    TensorSpec::new(product_shape(&a.shape, &b.shape), dtype)
}

fn product_shape(a: &Shape, b: &Shape) -> Shape {
    let n = a.num_dims();
    let mut dims: Vec<usize> = a.iter().zip(b.iter()).map(|(a, b)| *a.max(b)).collect();
    (dims[n - 2], dims[n - 1]) = (a[n - 2], b[n - 1]);
    Shape::from(dims)
}

impl Product for CubeBackend {
    fn product(a: CubeTensor, b: CubeTensor, dtype: DType) -> CubeTensor {
        let shape = product_shape(&TensorMetadata::shape(&a), &TensorMetadata::shape(&b));
        let output = empty(&a, shape, dtype);
        product_into(a, b, output.clone());
        output
    }

    fn rows_plus(x: CubeTensor, bias: CubeTensor, update: CubeTensor) -> CubeTensor {
        let (output, elems) = (empty_like(&x), [elem(&x), elem(&bias), elem(&update)]);
        launch!(pluses, Grid::each(&output), [x, bias, update, output.clone()], elems);
        output
    }
}

#[cube(launch, address_type = "dynamic")]
fn pluses<F: Float, G: Float, H: Float>(
    x: &[F],
    bias: &[G],
    update: &[H],
    output: &mut [F],
    #[define(F, G, H)] _elems: [ElemType; 3],
) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        let bias = f32::cast_from(bias[i % bias.len()]);
        let sum = f32::cast_from(x[i]) + bias + f32::cast_from(update[i]);
        output[i] = F::cast_from(sum);
    }
}

/// Computes the products into `output`.
pub(in crate::kernel) fn product_into(a: CubeTensor, b: CubeTensor, output: CubeTensor) {
    const EXPECT: &str = "a product of any sizes has a kernel on any device";
    if a.dtype != DType::F32 {
        let dtype = output.dtype;
        matmul(a, b, Some(output), MatmulStrategy::default(), dtype).expect(EXPECT);
        return;
    }
    let [elem_a, elem_b, elem_out] = [&a, &b, &output].map(elem);
    let mut elems =
        MatmulElems::from_globals(&MatmulGlobalElems { lhs: elem_a, rhs: elem_b, out: elem_out });
    let client = output.client.clone();
    launch_ref(
        &Strategy::SimpleUnit(BlueprintStrategy::default()).into(),
        &client,
        InputBinding::new(a.binding(), elem_a),
        InputBinding::new(b.binding(), elem_b),
        output.binding(),
        &mut elems,
    )
    .expect(EXPECT);
}
