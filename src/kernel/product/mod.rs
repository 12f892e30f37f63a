//! Matrix products: linear layers, and products by constants.
//!
//! On GPUs those of f32 compute in f32: Burn's own would round the inputs to TF32, 10 bits, where
//! the GPU has tensor cores.

#[cfg(feature = "cube")]
pub(super) mod cube;

use burn::tensor::{Tensor, module};

#[cfg(feature = "cube")]
use super::dispatch::{Path, path};

/// Computes `x W + b`: `[.., in]` to `[.., out]`, with W `[in, out]` and b `[out]`.
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    #[cfg(feature = "cube")]
    if path(&[&x, &weight]) == Path::Cube {
        return cube::linear(x, weight, bias);
    }
    module::linear(x, weight, bias)
}

/// Computes `x W + b + update`, in the shapes of [`linear`].
pub fn linear_plus<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    update: Tensor<D>,
) -> Tensor<D> {
    #[cfg(feature = "cube")]
    if let (Path::Cube, Some(bias)) = (path(&[&x, &weight]), &bias) {
        return cube::linear_plus(x, weight, bias.clone(), update);
    }
    linear(x, weight, bias) + update
}

/// Computes `matrix x` for each matrix x, `[.., n, m]`, of a batch; `matrix`, `[k, n]`, is a
/// constant.
pub fn from_left<const D: usize>(matrix: Tensor<2>, x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "cube")]
    if path(&[&matrix, &x]) == Path::Cube {
        return cube::from_left(matrix, x);
    }
    matrix.unsqueeze().matmul(x)
}

/// Computes `x matrix` for each matrix x, `[.., m, n]`, of a batch; `matrix`, `[n, k]`, is a
/// constant.
pub fn from_right<const D: usize>(x: Tensor<D>, matrix: Tensor<2>) -> Tensor<D> {
    #[cfg(feature = "cube")]
    if path(&[&x, &matrix]) == Path::Cube {
        return cube::from_right(x, matrix);
    }
    x.matmul(matrix.unsqueeze())
}
