//! SwiGLU's gate on GPUs, forward and backward in one pass each.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn::tensor::Tensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernel::cube::{Gpu, Grid, elem, empty_like, finish, launch, take};

pub(super) fn swiglu(gate: Tensor<3>, x: Tensor<3>) -> Tensor<3> {
    let (gate, x) = (take(gate), take(x));
    let output = Gpu::gated(gate.0.clone(), x.0.clone());
    let kept = [gate.0.clone(), x.0.clone()];
    finish([gate, x], output, kept, |[gate, x], gradient, _| {
        let (of_gate, of_x) = Gpu::gated_slopes(gate, x, gradient);
        [Some(of_gate), Some(of_x)]
    })
}

#[backend_extension(Cube, Fusion)]
trait SwiGlu: Backend {
    #[fusion(dtype = x, shape = x)]
    fn gated(gate: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The gradients of `gate` and `x`.
    #[fusion(meta = |gate, x, _| (gate.clone(), x.clone()))]
    fn gated_slopes(
        gate: FloatTensor<Self>,
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

impl SwiGlu for CubeBackend {
    fn gated(gate: CubeTensor, x: CubeTensor) -> CubeTensor {
        let (output, elem) = (empty_like(&x), elem(&x));
        launch!(values, Grid::each(&output), [gate, x, output.clone()], elem);
        output
    }

    fn gated_slopes(
        gate: CubeTensor,
        x: CubeTensor,
        gradient: CubeTensor,
    ) -> (CubeTensor, CubeTensor) {
        let (of_gate, of_x, elem) = (empty_like(&gate), empty_like(&x), elem(&x));
        let grid = Grid::each(&of_x);
        launch!(slopes, grid, [gate, x, gradient, of_gate.clone(), of_x.clone()], elem);
        (of_gate, of_x)
    }
}

#[cube]
fn sigmoid(x: f32) -> f32 {
    1.0f32 / (1.0f32 + (-x).exp())
}

#[cube(launch, address_type = "dynamic")]
fn values<F: Float>(gate: &[F], x: &[F], output: &mut [F], #[define(F)] _elem: ElemType) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        let gate = f32::cast_from(gate[i]);
        output[i] = F::cast_from(gate * sigmoid(gate) * f32::cast_from(x[i]));
    }
}

#[cube(launch, address_type = "dynamic")]
fn slopes<F: Float>(
    gate: &[F],
    x: &[F],
    gradient: &[F],
    of_gate: &mut [F],
    of_x: &mut [F],
    #[define(F)] _elem: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i < of_x.len() {
        let gate = f32::cast_from(gate[i]);
        let g = f32::cast_from(gradient[i]);
        let s = sigmoid(gate);
        let slope = s * (1.0f32 + gate * (1.0f32 - s));
        of_gate[i] = F::cast_from(g * f32::cast_from(x[i]) * slope);
        of_x[i] = F::cast_from(g * gate * s);
    }
}
