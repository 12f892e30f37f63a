//! Trains a network by one optimiser step: forward, loss, backward, update.

use burn::tensor::{Device, Int, Tensor};

use super::optimizer::{AdamW, Rates};
use crate::data::loader::Batch;
use crate::data::transform::Normal;
use crate::kernel::dropout::Draw;
use crate::kernel::{classes, pixels};
use crate::model::{Activations, Mode, Network};

/// The settings of one step.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Height and width.
    pub input_px: [usize; 2],
    pub normal: Normal,
    pub rates: Rates,
    pub dropout: Draw,
    pub activations: Activations,
}

/// Trains `network` on one batch; returns the mean loss over its labelled pixels before the update.
/// Waits for the device.
pub fn train(network: &mut Network, optimizer: &mut AdamW, batch: &Batch, step: Step) -> f64 {
    start(network, optimizer, batch, step).into_scalar()
}

/// Hands a step to the device, which may still be working on it after the return; gives the loss
/// that [`train`] returns, `[1]`.
pub fn start(
    network: &mut Network,
    optimizer: &mut AdamW,
    batch: &Batch,
    Step { input_px, normal, rates, dropout, activations }: Step,
) -> Tensor<1> {
    let device = network.device();
    let sample = (images(batch, input_px, normal, &device), labels(batch, input_px, &device));
    let (loss, mut gradients) = network.backward(sample, Mode::Train(dropout), activations);
    optimizer.step(network, &mut gradients, rates);
    loss
}

/// The images of a batch, `[batch, 3, height, width]` on `device`.
pub fn images(batch: &Batch, input_px: [usize; 2], normal: Normal, device: &Device) -> Tensor<4> {
    pixels::images(&batch.images, [batch.n, input_px[0], input_px[1]], normal, device)
}

/// The labels of a batch, `[batch, height, width]` on `device`.
pub fn labels(batch: &Batch, input_px: [usize; 2], device: &Device) -> Tensor<3, Int> {
    classes::tensor(batch.targets.clone(), [batch.n, input_px[0], input_px[1]], device)
}
