//! Layer normalisation on GPUs: a cube for each row, statistics in f32. Keeps its input and two
//! numbers a row.

use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Backend, Shape, TensorMetadata, backend_extension, fusion::custom::TensorSpec,
};
use burn::tensor::{DType, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernel::cube::{
    Gpu, Grid, UNITS, elem, empty, empty_like, finish, launch, sum_rows, take, total,
};

pub(super) fn layer_norm(x: Tensor<3>, [weight, bias]: [Tensor<1>; 2], eps: f32) -> Tensor<3> {
    let (x, weight, bias) = (take(x), take(weight), take(bias));
    let (output, rows) = Gpu::norm_values(x.0.clone(), weight.0.clone(), bias.0.clone(), eps);
    let kept = [x.0.clone(), weight.0.clone(), rows];
    finish([x, weight, bias], output, kept, |[x, weight, rows], gradient, wanted| {
        let of_parameters = (wanted[1] || wanted[2]).then(|| {
            let product = Gpu::norm_products(x.clone(), gradient.clone(), rows.clone());
            [product, gradient.clone()].map(|rows| sum_rows::<Gpu>(rows, &weight))
        });
        let [of_weight, of_bias] = of_parameters.map_or([None, None], |both| both.map(Some));
        let of_x = wanted[0].then(|| Gpu::norm_slopes(x, weight, rows, gradient));
        [of_x, of_weight, of_bias]
    })
}

#[backend_extension(Cube, Fusion)]
trait Norm: Backend {
    /// The result, and `[rows, 2]` of f32: mean, and 1 over the standard deviation.
    #[fusion(meta = |x, _, _, _| (x.clone(), rows_of(x)))]
    fn norm_values(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradient of `x`.
    #[fusion(dtype = x, shape = x)]
    fn norm_slopes(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        rows: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// The gradient times the normalised input, whose sum over rows is the weight's gradient.
    #[fusion(dtype = DType::F32, shape = x)]
    fn norm_products(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        rows: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

fn rows_of(x: &TensorSpec) -> TensorSpec {
    TensorSpec::new(rows_shape(&x.shape), DType::F32)
}

fn rows_shape(shape: &Shape) -> Shape {
    let [batch, n_tokens, _] = shape.dims();
    Shape::new([batch * n_tokens, 2])
}

fn last(x: &CubeTensor) -> usize {
    let [_, _, dim] = TensorMetadata::shape(x).dims();
    dim
}

impl Norm for CubeBackend {
    fn norm_values(
        x: CubeTensor,
        weight: CubeTensor,
        bias: CubeTensor,
        eps: f32,
    ) -> (CubeTensor, CubeTensor) {
        let (output, dim) = (empty_like(&x), last(&x));
        let rows = empty(&x, rows_shape(&TensorMetadata::shape(&x)), DType::F32);
        let (grid, elems) = (Grid::rows(&x, rows.meta.shape()[0]), [elem(&x), elem(&weight)]);
        launch!(values, grid, [x, weight, bias, output.clone(), rows.clone()], eps, dim, elems,);
        (output, rows)
    }

    fn norm_slopes(
        x: CubeTensor,
        weight: CubeTensor,
        rows: CubeTensor,
        gradient: CubeTensor,
    ) -> CubeTensor {
        let (output, dim, elems) = (empty_like(&x), last(&x), [elem(&x), elem(&weight)]);
        let grid = Grid::rows(&x, rows.meta.shape()[0]);
        launch!(slopes, grid, [x, weight, rows, gradient, output.clone()], dim, elems);
        output
    }

    fn norm_products(x: CubeTensor, gradient: CubeTensor, rows: CubeTensor) -> CubeTensor {
        let output = empty(&x, TensorMetadata::shape(&x), DType::F32);
        let (grid, dim, elem) = (Grid::rows(&x, rows.meta.shape()[0]), last(&x), elem(&x));
        launch!(products, grid, [x, gradient, rows, output.clone()], dim, elem);
        output
    }
}

#[cube(launch, address_type = "dynamic")]
fn values<F: Float, W: Float>(
    x: &[F],
    weight: &[W],
    bias: &[W],
    output: &mut [F],
    rows: &mut [f32],
    eps: f32,
    #[comptime] dim: usize,
    #[define(F, W)] _elems: [ElemType; 2],
) {
    let row = CUBE_POS;
    if row * dim < output.len() {
        let mut scratch = Shared::<[f32]>::new_slice(comptime!(UNITS as usize));
        let first = row * dim;
        let mut sum = 0.0f32;
        let mut i = UNIT_POS as usize;
        while i < dim {
            sum += f32::cast_from(x[first + i]);
            i += CUBE_DIM as usize;
        }
        let mean = total(sum, &mut scratch) / comptime!(dim as f32);
        let mut squares = 0.0f32;
        let mut i = UNIT_POS as usize;
        while i < dim {
            let centred = f32::cast_from(x[first + i]) - mean;
            squares += centred * centred;
            i += CUBE_DIM as usize;
        }
        let variance = total(squares, &mut scratch) / comptime!(dim as f32);
        let inverse = 1.0f32 / (variance + eps).sqrt();
        let mut i = UNIT_POS as usize;
        while i < dim {
            let normal = (f32::cast_from(x[first + i]) - mean) * inverse;
            let value = normal * f32::cast_from(weight[i]) + f32::cast_from(bias[i]);
            output[first + i] = F::cast_from(value);
            i += CUBE_DIM as usize;
        }
        if UNIT_POS == 0 {
            rows[2 * row] = mean;
            rows[2 * row + 1] = inverse;
        }
    }
}

#[cube(launch, address_type = "dynamic")]
fn slopes<F: Float, W: Float>(
    x: &[F],
    weight: &[W],
    rows: &[f32],
    gradient: &[F],
    output: &mut [F],
    #[comptime] dim: usize,
    #[define(F, W)] _elems: [ElemType; 2],
) {
    let row = CUBE_POS;
    if row * dim < output.len() {
        let mut scratch = Shared::<[f32]>::new_slice(comptime!(UNITS as usize));
        let first = row * dim;
        let mean = rows[2 * row];
        let inverse = rows[2 * row + 1];
        let mut sum = 0.0f32;
        let mut along = 0.0f32;
        let mut i = UNIT_POS as usize;
        while i < dim {
            let g = f32::cast_from(gradient[first + i]) * f32::cast_from(weight[i]);
            sum += g;
            along += g * (f32::cast_from(x[first + i]) - mean);
            i += CUBE_DIM as usize;
        }
        let sum = total(sum, &mut scratch) / comptime!(dim as f32);
        let along = total(along, &mut scratch) * inverse / comptime!(dim as f32);
        let mut i = UNIT_POS as usize;
        while i < dim {
            let g = f32::cast_from(gradient[first + i]) * f32::cast_from(weight[i]);
            let normal = (f32::cast_from(x[first + i]) - mean) * inverse;
            output[first + i] = F::cast_from((g - sum - normal * along) * inverse);
            i += CUBE_DIM as usize;
        }
    }
}

#[cube(launch, address_type = "dynamic")]
fn products<F: Float>(
    x: &[F],
    gradient: &[F],
    rows: &[f32],
    output: &mut [f32],
    #[comptime] dim: usize,
    #[define(F)] _elem: ElemType,
) {
    let row = CUBE_POS;
    if row * dim < output.len() {
        let first = row * dim;
        let mut i = UNIT_POS as usize;
        while i < dim {
            let normal = (f32::cast_from(x[first + i]) - rows[2 * row]) * rows[2 * row + 1];
            output[first + i] = f32::cast_from(gradient[first + i]) * normal;
            i += CUBE_DIM as usize;
        }
    }
}
