//! Computes `x + y * scale` on GPUs in one pass.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata, backend_extension};
use burn::tensor::{DType, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernel::cube::{Gpu, Grid, elem, empty, empty_like, finish, launch, sum_rows, take};

pub(super) fn add_scaled(x: Tensor<3>, y: Tensor<3>, scale: Tensor<1>) -> Tensor<3> {
    let (x, y, scale) = (take(x), take(y), take(scale));
    let output = Gpu::scaled_sum(x.0.clone(), y.0.clone(), scale.0.clone());
    // Only the scale's gradient needs y.
    let kept = (scale.1.is_some().then(|| y.0.clone()), scale.0.clone());
    finish([x, y, scale], output, kept, |(y, scale), gradient, wanted| {
        let of_scale = y.map(|y| sum_rows::<Gpu>(Gpu::product_f32(gradient.clone(), y), &scale));
        let of_y = wanted[1].then(|| Gpu::scaled(gradient.clone(), scale));
        [wanted[0].then_some(gradient), of_y, of_scale]
    })
}

#[backend_extension(Cube, Fusion)]
trait Residual: Backend {
    #[fusion(dtype = x, shape = x)]
    fn scaled_sum(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        scale: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// `x * scale`, for each row of x.
    #[fusion(dtype = x, shape = x)]
    fn scaled(x: FloatTensor<Self>, scale: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `x * y`, element by element, in f32.
    #[fusion(dtype = DType::F32, shape = x)]
    fn product_f32(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl Residual for CubeBackend {
    fn scaled_sum(x: CubeTensor, y: CubeTensor, scale: CubeTensor) -> CubeTensor {
        let (output, elems) = (empty_like(&x), [elem(&x), elem(&y), elem(&scale)]);
        launch!(sums, Grid::each(&output), [x, y, scale, output.clone()], elems);
        output
    }

    fn scaled(x: CubeTensor, scale: CubeTensor) -> CubeTensor {
        let (output, elems) = (empty_like(&x), [elem(&x), elem(&scale)]);
        launch!(scalings, Grid::each(&output), [x, scale, output.clone()], elems);
        output
    }

    fn product_f32(x: CubeTensor, y: CubeTensor) -> CubeTensor {
        let output = empty(&x, TensorMetadata::shape(&x), DType::F32);
        let elems = [elem(&x), elem(&y)];
        launch!(products, Grid::each(&output), [x, y, output.clone()], elems);
        output
    }
}

#[cube(launch, address_type = "dynamic")]
fn sums<F: Float, G: Float, W: Float>(
    x: &[F],
    y: &[G],
    scale: &[W],
    output: &mut [F],
    #[define(F, G, W)] _elems: [ElemType; 3],
) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        let scale = f32::cast_from(scale[i % scale.len()]);
        let sum = f32::cast_from(x[i]) + f32::cast_from(y[i]) * scale;
        output[i] = F::cast_from(sum);
    }
}

#[cube(launch, address_type = "dynamic")]
fn scalings<F: Float, W: Float>(
    x: &[F],
    scale: &[W],
    output: &mut [F],
    #[define(F, W)] _elems: [ElemType; 2],
) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        let scale = f32::cast_from(scale[i % scale.len()]);
        output[i] = F::cast_from(f32::cast_from(x[i]) * scale);
    }
}

#[cube(launch, address_type = "dynamic")]
fn products<F: Float, G: Float>(
    x: &[F],
    y: &[G],
    output: &mut [f32],
    #[define(F, G)] _elems: [ElemType; 2],
) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        output[i] = f32::cast_from(x[i]) * f32::cast_from(y[i]);
    }
}
