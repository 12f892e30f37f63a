//! SwiGLU's gate, `silu(gate) * x` (Shazeer 2020, arXiv:2002.05202).

mod cpu;
#[cfg(feature = "cube")]
mod cube;

use burn::tensor::{Tensor, activation};

use super::dispatch::{Path, path};

/// Computes `silu(gate) * x`, element by element; shape unchanged.
pub fn swiglu(gate: Tensor<3>, x: Tensor<3>) -> Tensor<3> {
    match path(&[&gate, &x]) {
        Path::Cpu => cpu::swiglu(gate, x),
        #[cfg(feature = "cube")]
        Path::Cube => cube::swiglu(gate, x),
        Path::Any => activation::silu(gate) * x,
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    fn ours([gate, x]: [Tensor<3>; 2]) -> Tensor<3> {
        swiglu(gate * 4.0, x)
    }

    #[test]
    fn equals_the_composition_with_its_gradients() {
        let composed = |[gate, x]: [Tensor<3>; 2]| activation::silu(gate * 4.0) * x;
        check::equals(ours, composed, [[2, 45, 24]; 2], 1e-6);
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        check::threads(ours, [[2, 200, 96]; 2]);
    }
}
