//! GELU on GPUs, forward and backward in one pass each; only the input is kept.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn::tensor::Tensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernel::cube::{
    Gpu, address, contiguous, elem, empty_like, finish, one_each, sum_rows, take,
};

pub(super) fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let x = take(x);
    let (output, kept) = (Gpu::gelu_values(x.0.clone()), x.0.clone());
    finish([x], output, kept, |x, gradient, _| [Some(Gpu::gelu_slopes(x, gradient))])
}

/// Computes `gelu(x + bias)`, the bias for each row.
pub(super) fn biased<const D: usize>(x: Tensor<D>, bias: Tensor<1>) -> Tensor<D> {
    let (x, bias) = (take(x), take(bias));
    let output = Gpu::biased_gelu_values(x.0.clone(), bias.0.clone());
    let kept = [x.0.clone(), bias.0.clone()];
    finish([x, bias], output, kept, |[x, bias], gradient, wanted| {
        let of_x = Gpu::biased_gelu_slopes(x, bias.clone(), gradient);
        let of_bias = wanted[1].then(|| sum_rows::<Gpu>(of_x.clone(), &bias));
        [Some(of_x), of_bias]
    })
}

#[backend_extension(Cube, Fusion)]
trait Gelu: Backend {
    #[fusion(dtype = x, shape = x)]
    fn gelu_values(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The gradient of `x` from that of the result.
    #[fusion(dtype = x, shape = x)]
    fn gelu_slopes(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self>;

    #[fusion(dtype = x, shape = x)]
    fn biased_gelu_values(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;

    #[fusion(dtype = x, shape = x)]
    fn biased_gelu_slopes(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl Gelu for CubeBackend {
    fn gelu_values(x: CubeTensor) -> CubeTensor {
        let [x] = contiguous([x]);
        let output = empty_like(&x);
        let (count, dim) = one_each(&x.client, x.meta.num_elements());
        let (client, address, elem) = (x.client.clone(), address(&[&x]), elem(&x));
        values::launch(
            &client,
            count,
            dim,
            address,
            x.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            elem,
        );
        output
    }

    fn gelu_slopes(x: CubeTensor, gradient: CubeTensor) -> CubeTensor {
        let [x, gradient] = contiguous([x, gradient]);
        let output = empty_like(&x);
        let (count, dim) = one_each(&x.client, x.meta.num_elements());
        let (client, address, elem) = (x.client.clone(), address(&[&x]), elem(&x));
        slopes::launch(
            &client,
            count,
            dim,
            address,
            x.into_buffer_arg(),
            gradient.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            elem,
        );
        output
    }

    fn biased_gelu_values(x: CubeTensor, bias: CubeTensor) -> CubeTensor {
        let [x, bias] = contiguous([x, bias]);
        let output = empty_like(&x);
        let (count, dim) = one_each(&x.client, x.meta.num_elements());
        let (client, address, elems) = (x.client.clone(), address(&[&x]), [elem(&x), elem(&bias)]);
        biased_values::launch(
            &client,
            count,
            dim,
            address,
            x.into_buffer_arg(),
            bias.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            elems,
        );
        output
    }

    fn biased_gelu_slopes(x: CubeTensor, bias: CubeTensor, gradient: CubeTensor) -> CubeTensor {
        let [x, bias, gradient] = contiguous([x, bias, gradient]);
        let output = empty_like(&x);
        let (count, dim) = one_each(&x.client, x.meta.num_elements());
        let (client, address, elems) = (x.client.clone(), address(&[&x]), [elem(&x), elem(&bias)]);
        biased_slopes::launch(
            &client,
            count,
            dim,
            address,
            x.into_buffer_arg(),
            bias.into_buffer_arg(),
            gradient.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            elems,
        );
        output
    }
}

/// The distribution of the standard normal at `x`.
#[cube]
fn probability(x: f32) -> f32 {
    0.5f32 * (1.0f32 + Erf::erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[cube]
fn value(x: f32) -> f32 {
    x * probability(x)
}

#[cube]
fn slope(x: f32) -> f32 {
    let density = (x * x * -0.5f32).exp() * 0.398_942_3_f32;
    probability(x) + x * density
}

#[cube(launch, address_type = "dynamic")]
fn values<F: Float>(x: &[F], output: &mut [F], #[define(F)] _elem: ElemType) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        output[i] = F::cast_from(value(f32::cast_from(x[i])));
    }
}

#[cube(launch, address_type = "dynamic")]
fn slopes<F: Float>(x: &[F], gradient: &[F], output: &mut [F], #[define(F)] _elem: ElemType) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        output[i] = F::cast_from(f32::cast_from(gradient[i]) * slope(f32::cast_from(x[i])));
    }
}

#[cube(launch, address_type = "dynamic")]
fn biased_values<F: Float, G: Float>(
    x: &[F],
    bias: &[G],
    output: &mut [F],
    #[define(F, G)] _elems: [ElemType; 2],
) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        let x = f32::cast_from(x[i]) + f32::cast_from(bias[i % bias.len()]);
        output[i] = F::cast_from(value(x));
    }
}

#[cube(launch, address_type = "dynamic")]
fn biased_slopes<F: Float, G: Float>(
    x: &[F],
    bias: &[G],
    gradient: &[F],
    output: &mut [F],
    #[define(F, G)] _elems: [ElemType; 2],
) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        let x = f32::cast_from(x[i]) + f32::cast_from(bias[i % bias.len()]);
        output[i] = F::cast_from(f32::cast_from(gradient[i]) * slope(x));
    }
}
