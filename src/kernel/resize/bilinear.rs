//! Bilinear interpolation with `align_corners = false`, as PyTorch's `F.interpolate`.

use burn::tensor::Tensor;

#[cfg(feature = "cube")]
use super::cube;
use super::separable;
#[cfg(feature = "cube")]
use crate::kernel::dispatch::{Path, path};

/// The sources of one output position: the two input positions it lies between, and the weight of
/// the second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tap {
    pub low: usize,
    pub high: usize,
    pub weight_high: f32,
}

/// The taps of one axis.
pub(crate) fn taps(n_in: usize, n_out: usize) -> Vec<Tap> {
    let scale = n_in as f32 / n_out as f32;
    (0..n_out)
        .map(|i| {
            let at = (scale * (i as f32 + 0.5) - 0.5).max(0.0);
            let low = (at as usize).min(n_in - 1);
            let high = (low + 1).min(n_in - 1);
            Tap { low, high, weight_high: (at - low as f32).clamp(0.0, 1.0) }
        })
        .collect()
}

/// Resizes `[batch, channels, h, w]` to `size` (height, width).
pub fn resize(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    #[cfg(feature = "cube")]
    if path(&[&x]) == Path::Cube {
        return cube::resize(x, size, cube::Kind::Bilinear);
    }
    separable::apply(x, weights(height, size[0]), weights(width, size[1]))
}

/// Weights of one axis, `[n_out, n_in]`.
fn weights(n_in: usize, n_out: usize) -> Vec<f32> {
    let mut weights = vec![0.0f32; n_out * n_in];
    for (row, tap) in weights.chunks_exact_mut(n_in).zip(taps(n_in, n_out)) {
        row[tap.low] += 1.0 - tap.weight_high;
        row[tap.high] += tap.weight_high;
    }
    weights
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn doubles_a_ramp_as_pytorch_does() {
        let device = Device::flex();
        let x = Tensor::<4>::from_data([[[[0.0f32, 4.0]]]], &device);
        let y: Vec<f32> = resize(x, [1, 4]).into_data().try_into_vec().unwrap();
        assert_eq!(y, [0.0, 1.0, 3.0, 4.0]);
    }

    #[test]
    fn shrinking_takes_the_middle_without_antialiasing() {
        let device = Device::flex();
        let x = Tensor::<4>::from_data([[[[0.0f32, 1.0, 2.0, 3.0]]]], &device);
        let y: Vec<f32> = resize(x, [1, 2]).into_data().try_into_vec().unwrap();
        assert_eq!(y, [0.5, 2.5]);
    }
}
