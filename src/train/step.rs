//! Trains a network by one optimiser step: forward, loss, backward, update.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::optimizer::{AdamW, Rates};
use crate::data::loader::Batch;
use crate::kernel::classes;
use crate::kernel::dropout::Draw;
use crate::model::{Mode, Network};

/// The settings of one step.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Height and width.
    pub input_px: [usize; 2],
    pub rates: Rates,
    pub dropout: Draw,
}

/// Trains `network` on one batch; returns the mean loss over its labelled pixels before the update.
pub fn train(
    network: &mut Network,
    optimizer: &mut AdamW,
    batch: &Batch,
    Step { input_px, rates, dropout }: Step,
) -> f64 {
    let device = network.device();
    let output = network.forward(images(batch, input_px, &device), Mode::Train(dropout));
    let loss = network.loss(output, labels(batch, input_px, &device));
    let mut gradients = loss.backward();
    optimizer.step(network, &mut gradients, rates);
    loss.into_scalar()
}

/// The images of a batch, `[batch, 3, height, width]` on `device`.
pub fn images(batch: &Batch, input_px: [usize; 2], device: &Device) -> Tensor<4> {
    let shape = [batch.n, 3, input_px[0], input_px[1]];
    Tensor::from_data(TensorData::new(batch.images.clone(), shape), device)
}

/// The labels of a batch, `[batch, height, width]` on `device`.
pub fn labels(batch: &Batch, input_px: [usize; 2], device: &Device) -> Tensor<3, Int> {
    classes::tensor(batch.targets.clone(), [batch.n, input_px[0], input_px[1]], device)
}
