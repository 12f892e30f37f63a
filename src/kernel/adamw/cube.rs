//! AdamW's update on GPUs, in one pass.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn::tensor::Tensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{BETAS, EPS, Factors};
use crate::kernel::cube::{Gpu, Grid, empty_like, launch, take};

/// The values and moments after the update of values, gradient and moments, all f32.
pub(super) fn update(inputs: [Tensor<1>; 4], factors: Factors) -> (Tensor<1>, [Tensor<1>; 2]) {
    let [x, gradient, first, second] = inputs.map(|tensor| take(tensor).0);
    let (x, first, second) = Gpu::adamw(x, gradient, first, second, factors);
    let [x, first, second] = [x, first, second].map(Tensor::from_primitive::<Gpu>);
    (x, [first, second])
}

#[backend_extension(Cube, Fusion)]
trait AdamW: Backend {
    #[fusion(meta = |x, _, _, _, _| (x.clone(), x.clone(), x.clone()))]
    fn adamw(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        factors: Factors,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl AdamW for CubeBackend {
    fn adamw(
        x: CubeTensor,
        gradient: CubeTensor,
        first: CubeTensor,
        second: CubeTensor,
        factors: Factors,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let outputs: [CubeTensor; 3] = std::array::from_fn(|_| empty_like(&x));
        let grid = Grid::each(&x);
        let [new_x, new_first, new_second] = outputs.clone();
        let Factors { kept, rate, correction } = factors;
        launch!(
            updates,
            grid,
            [x, gradient, first, second, new_x, new_first, new_second],
            kept,
            rate,
            correction,
        );
        let [x, first, second] = outputs;
        (x, first, second)
    }
}

#[cube(launch, address_type = "dynamic")]
fn updates(
    x: &[f32],
    gradient: &[f32],
    first: &[f32],
    second: &[f32],
    new_x: &mut [f32],
    new_first: &mut [f32],
    new_second: &mut [f32],
    kept: f32,
    rate: f32,
    correction: f32,
) {
    let i = ABSOLUTE_POS;
    if i < new_x.len() {
        let g = gradient[i];
        let mean = first[i] * comptime!(BETAS[0] as f32) + g * comptime!((1.0 - BETAS[0]) as f32);
        let square =
            second[i] * comptime!(BETAS[1] as f32) + g * g * comptime!((1.0 - BETAS[1]) as f32);
        new_first[i] = mean;
        new_second[i] = square;
        new_x[i] = x[i] * kept - rate * mean / (square.sqrt() / correction + comptime!(EPS));
    }
}
