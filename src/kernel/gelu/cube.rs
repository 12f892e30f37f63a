//! GELU on GPUs, forward and backward in one pass each; only the input is kept.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn::tensor::Tensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernel::cube::{Gpu, Grid, elem, empty_like, finish, launch, sum_rows, take};

pub(super) fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let no_bias = Tensor::zeros([1], &x.device().inner());
    biased(x, no_bias)
}

/// Computes `gelu(x + bias)`, the bias for each row.
pub(super) fn biased<const D: usize>(x: Tensor<D>, bias: Tensor<1>) -> Tensor<D> {
    let (x, bias) = (take(x), take(bias));
    let output = Gpu::gelu_values(x.0.clone(), bias.0.clone());
    let kept = [x.0.clone(), bias.0.clone()];
    finish([x, bias], output, kept, |[x, bias], gradient, wanted| {
        let of_x = Gpu::gelu_slopes(x, bias.clone(), gradient);
        let of_bias = wanted[1].then(|| sum_rows::<Gpu>(of_x.clone(), &bias));
        [Some(of_x), of_bias]
    })
}

#[backend_extension(Cube, Fusion)]
trait Gelu: Backend {
    #[fusion(dtype = x, shape = x)]
    fn gelu_values(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The gradient of `x` from that of the result.
    #[fusion(dtype = x, shape = x)]
    fn gelu_slopes(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl Gelu for CubeBackend {
    fn gelu_values(x: CubeTensor, bias: CubeTensor) -> CubeTensor {
        let (output, elems) = (empty_like(&x), [elem(&x), elem(&bias)]);
        launch!(values, Grid::each(&output), [x, bias, output.clone()], elems);
        output
    }

    fn gelu_slopes(x: CubeTensor, bias: CubeTensor, gradient: CubeTensor) -> CubeTensor {
        let (output, elems) = (empty_like(&x), [elem(&x), elem(&bias)]);
        launch!(slopes, Grid::each(&output), [x, bias, gradient, output.clone()], elems);
        output
    }
}

/// The distribution of the standard normal at `x`.
#[cube]
fn probability(x: f32) -> f32 {
    0.5f32 * (1.0f32 + Erf::erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[cube(launch, address_type = "dynamic")]
fn values<F: Float, G: Float>(
    x: &[F],
    bias: &[G],
    output: &mut [F],
    #[define(F, G)] _elems: [ElemType; 2],
) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        let x = f32::cast_from(x[i]) + f32::cast_from(bias[i % bias.len()]);
        output[i] = F::cast_from(x * probability(x));
    }
}

#[cube(launch, address_type = "dynamic")]
fn slopes<F: Float, G: Float>(
    x: &[F],
    bias: &[G],
    gradient: &[F],
    output: &mut [F],
    #[define(F, G)] _elems: [ElemType; 2],
) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        let x = f32::cast_from(x[i]) + f32::cast_from(bias[i % bias.len()]);
        let density = (x * x * -0.5f32).exp() * 0.398_942_3_f32;
        let slope = probability(x) + x * density;
        output[i] = F::cast_from(f32::cast_from(gradient[i]) * slope);
    }
}
