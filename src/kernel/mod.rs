//! Operations of our own where Burn's compositions cost too much time or memory.
//!
//! `model`, `train` and `eval` call them with Burn's tensors and get tensors back, whatever the
//! device. An operation is a folder: `mod.rs` has its signature, its tests, and the match on
//! `dispatch::Path`; `cpu.rs` is our implementation for the CPU, `cube.rs` the one for GPUs.

#![cfg_attr(
    feature = "cube",
    expect(clippy::used_underscore_binding, reason = "kernels name types that only CubeCL reads")
)]

pub mod pixels;
pub mod attention;
pub mod gelu;
pub mod swiglu;
pub mod norm;
pub mod product;
pub mod residual;
pub mod dropout;
pub mod resize;
pub mod loss;
pub mod adamw;
pub mod arg_max;
pub mod confusion;
pub mod finite;
pub mod canvas;
pub mod probabilities;

pub mod classes;

mod dispatch;
mod node;
mod operation;
#[cfg(feature = "cube")]
mod cube;
mod upsampled;
mod panels;
pub(crate) mod lanes;

#[cfg(test)]
mod check;
