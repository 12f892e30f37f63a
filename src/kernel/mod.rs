//! Operations of our own where Burn's compositions cost too much time or memory.

pub mod bilinear;
pub mod dropout;
pub mod gelu;
pub mod nearest;
pub mod upsampled;
