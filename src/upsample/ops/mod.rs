//! Operations on rows of maps that the methods share, as PyTorch defines them.

mod product;
mod pool;
mod norm;
mod pad;
mod conv;
mod activation;

pub(super) use activation::{gelu, silu, softmax, softmax_rows};
pub(super) use conv::Conv;
pub(super) use norm::{GroupNorm, Moments};
pub(super) use pad::{Pad, reflect};
pub(super) use pool::{pooled, pooled_row, windows};
pub(super) use product::{STRIP, Strip, product};
