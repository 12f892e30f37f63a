//! Layer normalisation over the last dimension (Ba et al. 2016, arXiv:1607.06450).

mod cpu;
#[cfg(feature = "cube")]
mod cube;

use burn::tensor::{Tensor, module};

use super::dispatch::{Path, path};

/// Computes `(x - mean) / sqrt(variance + eps) * weight + bias` for each row of
/// `[.., n_rows, dim]`.
pub fn layer_norm(x: Tensor<3>, [weight, bias]: [Tensor<1>; 2], eps: f64) -> Tensor<3> {
    match path(&[&x, &weight, &bias]) {
        Path::Cpu => cpu::layer_norm(x, [weight, bias], eps as f32),
        #[cfg(feature = "cube")]
        Path::Cube => cube::layer_norm(x, [weight, bias], eps as f32),
        Path::Any => module::layer_norm(x, weight, Some(bias), eps),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    fn composed([x, weight, bias]: [Tensor<3>; 3]) -> Tensor<3> {
        let (mean, n) = (x.clone().mean_dim(2), x.dims()[2] as f64);
        let centred = x - mean;
        let variance = (centred.clone() * centred.clone()).sum_dim(2) / n;
        centred / (variance + 1e-5).sqrt() * weight + bias
    }

    fn ours([x, weight, bias]: [Tensor<3>; 3]) -> Tensor<3> {
        let dim = x.dims()[2];
        layer_norm(x, [weight.reshape([dim]), bias.reshape([dim])], 1e-5)
    }

    #[test]
    fn equals_the_composition_with_its_gradients() {
        for (batch, rows, dim) in [(2, 37, 48), (1, 1, 7), (1, 70, 33)] {
            let shapes = [[batch, rows, dim], [1, 1, dim], [1, 1, dim]];
            check::equals(ours, composed, shapes, 2e-6);
        }
    }

    #[test]
    fn gradients_are_the_slopes() {
        check::slopes(ours, [[1, 3, 12], [1, 1, 12], [1, 1, 12]]);
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        check::threads(ours, [[2, 90, 48], [1, 1, 48], [1, 1, 48]]);
    }
}
