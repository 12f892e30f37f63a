//! Nearest interpolation, as PyTorch's `F.interpolate(mode="nearest")` and `nn.Upsample`.

use burn::tensor::Tensor;

#[cfg(feature = "cube")]
use super::cube;
use super::separable;
#[cfg(feature = "cube")]
use crate::kernel::dispatch::{Path, path};

/// The input position that each output position copies: `floor(i * n_in / n_out)`, in f32 as
/// PyTorch has it (torch's `nearest-exact` and Pillow look from the middle of the pixel instead).
fn sources(n_in: usize, n_out: usize) -> Vec<usize> {
    let scale = n_in as f32 / n_out as f32;
    (0..n_out).map(|i| ((i as f32 * scale) as usize).min(n_in - 1)).collect()
}

/// Resizes `[batch, channels, h, w]` to `size` (height, width); the weights are a single 1 a row,
/// so that the products are exact.
pub fn resize(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    if [height, width] == size {
        return x;
    }
    #[cfg(feature = "cube")]
    if path(&[&x]) == Path::Cube {
        return cube::resize(x, size, cube::Kind::Nearest);
    }
    separable::apply(x, weights(height, size[0]), weights(width, size[1]))
}

/// Weights of one axis, `[n_out, n_in]`.
fn weights(n_in: usize, n_out: usize) -> Vec<f32> {
    let mut weights = vec![0.0f32; n_out * n_in];
    for (row, source) in weights.chunks_exact_mut(n_in).zip(sources(n_in, n_out)) {
        row[source] = 1.0;
    }
    weights
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// Compares with PyTorch 2.15's `F.interpolate(torch.arange(n_in), size=n_out)`.
    #[test]
    fn the_places_are_pytorchs() {
        assert_eq!(sources(3, 6), [0, 0, 1, 1, 2, 2]);
        assert_eq!(sources(7, 6), [0, 1, 2, 3, 4, 5]);
        assert_eq!(sources(9, 10), [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(sources(7, 8), [0, 0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(
            sources(9, 24),
            [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8]
        );
    }

    #[test]
    fn both_axes_are_resized() {
        let device = Device::flex();
        let x = Tensor::<4>::from_data([[[[1.0f32, 2.0], [3.0, 4.0]]]], &device);
        let y: Vec<f32> = resize(x, [3, 4]).into_data().try_into_vec().unwrap();
        assert_eq!(y, [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]);
    }
}
