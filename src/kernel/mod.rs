//! Operations of our own where Burn's compositions cost too much time or memory.

pub mod attention;
pub mod bilinear;
pub mod dropout;
pub mod gelu;
pub mod nearest;
pub mod norm;
pub mod residual;
pub mod swiglu;
pub mod upsampled;
pub mod windows;

mod lanes;
mod operation;
mod panels;

#[cfg(test)]
mod check;
