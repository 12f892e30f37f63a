//! The loss: cross-entropy of logits upsampled bilinearly to the size of the labels.

mod cpu;
#[cfg(feature = "cube")]
mod cube;

use burn::tensor::{Int, Tensor, TensorData};

use super::classes;
use super::dispatch::{Path, on_host, path};
use super::operation::Values;
use super::upsampled::Logits;

/// Mean cross-entropy over the labelled pixels of a batch; 0 where there are none.
///
/// `logits` is `[batch, n_classes, rows, columns]`, upsampled bilinearly (`align_corners = false`)
/// to the size of `targets`, `[batch, height, width]`. There [`crate::data::VOID`] is left out, as
/// `ignore_index` of PyTorch's `F.cross_entropy`, whose `reduction="mean"` this is.
///
/// The result is `[1]`: of double precision on the CPU, of the device's own elsewhere.
///
/// # Panics
/// If batches differ, or a target is neither a class nor void: labels are checked when loaded.
pub fn cross_entropy(logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<1> {
    assert_eq!(logits.dims()[0], targets.dims()[0], "labels for each image");
    match path(&[&logits]) {
        Path::Cpu => cpu::cross_entropy(logits, targets),
        #[cfg(feature = "cube")]
        Path::Cube => cube::cross_entropy(logits, targets),
        Path::Any => by_host(logits, targets),
    }
}

/// Computes the loss on the host's processor, for a device that has no implementation of its own:
/// logits are copied to the host, loss and gradient are copied back.
fn by_host(logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<1> {
    let (shape, [_, height, width]) = (logits.dims(), targets.dims());
    let device = logits.device().inner();
    let values = Values::of_tensor(on_host(logits.clone()));
    let at_grid = Logits::new(values.slice(), shape);
    let found = cpu::of_slices(at_grid, &classes::to_vec(targets), [height, width]);
    let gradient = Tensor::<4>::from_data(TensorData::new(found.gradient, shape), &device);
    // The gradient of this sum is the one that was worked out; its value is taken off again.
    let carrier = (logits * gradient).sum();
    let loss = Tensor::<1>::from_data([found.loss as f32], &device);
    carrier.clone() - carrier.inner() + loss
}

#[cfg(test)]
mod tests;
