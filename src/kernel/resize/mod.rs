//! Resizes feature maps as PyTorch's `F.interpolate` does.
//!
//! Bilinear and nearest interpolation are separable, so that a resize is two matrix products,
//! forward and backward, on any device.

pub mod bilinear;
pub mod nearest;

mod separable;
