//! GELU, the exact one by erf (Hendrycks & Gimpel 2016, arXiv:1606.08415).

mod cpu;
#[cfg(feature = "cube")]
mod cube;

use burn::tensor::{Tensor, activation};

use super::dispatch::{Path, path};
use super::product::linear;

/// Computes `x * Phi(x)`, element by element. Shape unchanged.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match path(&[&x]) {
        Path::Cpu => cpu::gelu(x),
        #[cfg(feature = "cube")]
        Path::Cube => cube::gelu(x),
        Path::Any => composed(x),
    }
}

/// Computes GELU of values on the host, in place, on this thread; within 5e-7.
pub(crate) fn in_place(values: &mut [f32]) {
    cpu::in_place(values);
}

/// Computes `gelu(x W + b)`, in the shapes of [`linear`].
pub fn of_linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    #[cfg(feature = "cube")]
    if let (Path::Cube, Some(bias)) = (path(&[&x, &weight]), &bias) {
        return cube::biased(linear(x, weight, None), bias.clone());
    }
    gelu(linear(x, weight, bias))
}

/// Computes it by Burn's operations. The gradient of `activation::gelu` is that of the approximation
/// by tanh, off by 2.5e-3, so that it serves only where no gradient is wanted.
fn composed<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !x.is_tracked() {
        return activation::gelu(x);
    }
    let below = (x.clone() * std::f64::consts::FRAC_1_SQRT_2).erf();
    x * (below * 0.5 + 0.5)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::super::check;
    use super::*;

    /// Test points on both sides of 0, in the far tails, and exact zero.
    fn points() -> Vec<f32> {
        (-4000..=4000).map(|i| i as f32 * 0.003).chain([-60.0, 60.0, -1e4, 1e4]).collect()
    }

    fn tensor(device: &Device) -> Tensor<1> {
        let points = points();
        let n = points.len();
        Tensor::from_data(TensorData::new(points, [n]), device)
    }

    fn close(ours: Tensor<1>, expect: &[f64], limit: f64) {
        let ours: Vec<f32> = ours.into_data().try_into_vec().unwrap();
        for ((x, a), b) in points().iter().zip(&ours).zip(expect) {
            let scale = 1.0f64.max(f64::from(x.abs()));
            assert!((f64::from(*a) - b).abs() <= limit * scale, "at {x}: {a} {b}");
        }
    }

    /// Distribution of the standard normal by Simpson's rule on its density, in f64.
    fn exact(x: f64) -> (f64, f64) {
        let density = |x: f64| (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
        let (n, x) = (4000, x.clamp(-12.0, 12.0));
        let h = x / f64::from(n);
        let inner: f64 =
            (1..n).map(|i| if i % 2 == 1 { 4.0 } else { 2.0 } * density(f64::from(i) * h)).sum();
        let integral = (density(0.0) + inner + density(x)) * h / 3.0;
        (0.5 + integral, density(x))
    }

    #[test]
    fn value_and_slope_are_the_exact_ones() {
        let exact: Vec<_> =
            points().iter().map(|x| (f64::from(*x), exact(f64::from(*x)))).collect();
        let values: Vec<f64> = exact.iter().map(|(x, (p, _))| x * p).collect();
        let slopes: Vec<f64> =
            exact.iter().map(|(x, (p, d))| if x.abs() > 12.0 { *p } else { p + x * d }).collect();
        close(gelu(tensor(&Device::flex())), &values, 5e-7);
        let x = tensor(&Device::flex()).autodiff().require_grad();
        let y = gelu(x.clone());
        close(y.clone().inner(), &values, 1e-6);
        let gradients = y.sum().backward();
        close(x.grad(&gradients).unwrap(), &slopes, 1e-6);
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        check::threads(|[x]| gelu(x), [[2, 200, 96]]);
    }

    #[test]
    fn other_users_of_the_input_see_it_unchanged() {
        let x = tensor(&Device::flex());
        gelu(x.clone());
        let values: Vec<f32> = x.clone().into_data().try_into_vec().unwrap();
        assert_eq!(values, points());
        let tracked = x.autodiff().require_grad();
        let doubled = tracked.clone() * 2.0;
        gelu(doubled.clone());
        let values: Vec<f32> = doubled.inner().into_data().try_into_vec().unwrap();
        assert!(values.iter().zip(points()).all(|(a, b)| a.to_bits() == (b * 2.0).to_bits()));
    }
}
