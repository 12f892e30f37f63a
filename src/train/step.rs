//! One optimiser step: forward, loss, backward, update.

use burn::tensor::{Device, Gradients, Tensor, TensorData};

use super::optimizer::{AdamW, Rates};
use crate::data::loader::Batch;
use crate::kernel::dropout::Draw;
use crate::kernel::upsampled::{self, Logits};
use crate::model::{Mode, Network};

/// What a step needs beside the batch.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Height and width.
    pub input_px: [usize; 2],
    pub rates: Rates,
    pub dropout: Draw,
}

/// Trains `network` on one batch; the mean loss over its labelled pixels before the update.
pub fn train(
    network: &mut Network,
    optimizer: &mut AdamW,
    batch: &Batch,
    Step { input_px, rates, dropout }: Step,
) -> f64 {
    let images = images(batch, input_px, &network.device());
    let logits = network.forward(images, Mode::Train(dropout));
    let [_, n_classes, rows, columns] = logits.dims();
    let values = to_vec(logits.clone().inner());
    let at_patches = Logits { values: &values, n_classes, grid: [rows, columns] };
    let loss = upsampled::cross_entropy(at_patches, &batch.targets, input_px);
    let mut gradients = backward(logits, loss.gradient);
    optimizer.step(network, &mut gradients, rates);
    loss.loss
}

/// `[batch, 3, height, width]` on `device`.
pub fn images(batch: &Batch, input_px: [usize; 2], device: &Device) -> Tensor<4> {
    let shape = [batch.n, 3, input_px[0], input_px[1]];
    Tensor::from_data(TensorData::new(batch.images.clone(), shape), device)
}

/// Backward from d loss / d logits: the sum of `logits * gradient` has that gradient.
///
/// # Panics
/// If nothing of the network is trained, or the sizes differ.
pub fn backward(logits: Tensor<4>, gradient: Vec<f32>) -> Gradients {
    let device = logits.device().inner();
    let gradient = Tensor::<4>::from_data(TensorData::new(gradient, logits.dims()), &device);
    (logits * gradient).sum().backward()
}

/// The values of a tensor, row-major.
pub fn to_vec<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().expect("converted to f32")
}
