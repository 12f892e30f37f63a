//! The forward pass of a batch of normalised images.

use burn::tensor::{Tensor, TensorData};

use crate::model::{Mode, Network};

/// Class logits `[batch, n_classes, rows, columns]` of `images` `[batch, 3, height, width]`.
pub(super) fn logits(network: &mut Network, images: Vec<f32>, size: [usize; 2]) -> Tensor<4> {
    let batch = images.len() / (3 * size[0] * size[1]);
    let data = TensorData::new(images, [batch, 3, size[0], size[1]]);
    let images = Tensor::from_data(data, &network.device());
    network.logits(images, Mode::Eval)
}
