//! Resizes feature maps as PyTorch's `F.interpolate` does.
//!
//! Bilinear and nearest interpolation are separable, so that a resize is two matrix products,
//! forward and backward; GPUs have kernels of their own.

pub mod bilinear;
pub mod nearest;

#[cfg(feature = "cube")]
pub(super) mod cube;
mod separable;
