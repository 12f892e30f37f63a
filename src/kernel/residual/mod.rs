//! The end of a residual branch, `x + y * scale`, with one factor a feature (LayerScale, Touvron et
//! al. 2021, arXiv:2103.17239).

mod cpu;
#[cfg(feature = "cube")]
mod cube;

use burn::tensor::Tensor;

use super::dispatch::{Path, path};

/// Computes `x + y * scale`; `scale` is `[dim]`, the others `[batch, n_tokens, dim]`.
pub fn add_scaled(x: Tensor<3>, y: Tensor<3>, scale: Tensor<1>) -> Tensor<3> {
    match path(&[&x, &y, &scale]) {
        Path::Cpu => cpu::add_scaled(x, y, scale),
        #[cfg(feature = "cube")]
        Path::Cube => cube::add_scaled(x, y, scale),
        Path::Any => x + y * scale.unsqueeze(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    fn ours([x, y, scale]: [Tensor<3>; 3]) -> Tensor<3> {
        let dim = x.dims()[2];
        add_scaled(x, y, scale.reshape([dim]))
    }

    #[test]
    fn equals_the_composition_with_its_gradients() {
        let shapes = [[2, 45, 24], [2, 45, 24], [1, 1, 24]];
        check::equals(ours, |[x, y, scale]| x + y * scale, shapes, 1e-6);
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        check::threads(ours, [[2, 45, 24], [2, 45, 24], [1, 1, 24]]);
    }
}
