//! Resizing of maps, as PyTorch's `F.interpolate` does it.
//!
//! Both ways are separable, so that a resize is two products, forward and backward, on any device.

pub mod bilinear;
pub mod nearest;

mod separable;
