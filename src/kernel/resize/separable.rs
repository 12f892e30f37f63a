//! Resizes a map by one matrix product from either side.

use burn::tensor::{Device, Tensor, TensorData};

use crate::kernel::product::{from_left, from_right};

/// Computes `rows x columns` for each map x of `[batch, channels, h, w]`, where `rows` is
/// `[h_out, h]` and `columns` `[w_out, w]`.
pub(super) fn apply(x: Tensor<4>, rows: Vec<f32>, columns: Vec<f32>) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let device = x.device();
    let vertical = matrix(rows, height, &device);
    let horizontal = matrix(columns, width, &device).transpose(); // [w, w_out]
    from_right(from_left(vertical, x), horizontal)
}

/// The constant matrix `[n_out, n_in]` of these weights.
fn matrix(weights: Vec<f32>, n_in: usize, device: &Device) -> Tensor<2> {
    let n_out = weights.len() / n_in;
    Tensor::from_data(TensorData::new(weights, [n_out, n_in]), &device.clone().inner())
}
