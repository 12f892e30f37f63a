//! Made-up features and parameter counts for the tests of decoders.

use burn::tensor::{Device, Tensor, TensorData};

use super::{Head, Sizes};
use crate::model::params::is_buffer;
use crate::model::vit::Features;
use crate::rng;

/// Draws `n` standard normal values; `key` keys the draw.
pub(super) fn normal(n: usize, key: u64) -> Vec<f32> {
    let draw = |i| rng::normal(&mut rng::keyed(key, "decoders", &[i as u64])) as f32;
    (0..n).map(draw).collect()
}

/// Random features of two images.
pub(super) fn features(n_layers: usize, grid: [usize; 2], dim: usize) -> Features {
    let shape = [2, grid[0] * grid[1], dim];
    let layer = |key: usize| {
        let values = normal(shape.iter().product(), key as u64);
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    };
    Features { patches: (0..n_layers).map(layer).collect(), class: vec![], grid }
}

/// Number of parameters with 3 classes on 64 channels.
pub(super) fn n_parameters<H: Head>(config: &H::Config) -> usize {
    let mut head = H::new(config, Sizes { dim: 64, n_classes: 3 }, 0, &Device::flex());
    let mut n = 0;
    head.each("", &mut |name, slot| n += if is_buffer(name) { 0 } else { slot.n_elements() });
    n
}
