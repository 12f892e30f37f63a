//! Decoders: features in, logits on the patch grid (or a finer one) out.

pub mod batch_norm;
pub mod fpn;
pub mod linear;

use burn::tensor::{Device, Tensor};

use super::config::DecoderConfig;
use super::mode::Mode;
use super::params::{Params, Slot};
use super::vit::{Arch, Features};
pub use fpn::Fpn;
pub use linear::Linear;

#[derive(Debug, Clone)]
pub enum Decoder {
    Linear(Linear),
    Fpn(Fpn),
}

impl Decoder {
    /// An initialised decoder; draws are keyed by `seed`.
    pub fn new(
        config: &DecoderConfig,
        arch: &Arch,
        n_classes: usize,
        (seed, device): (u64, &Device),
    ) -> Self {
        match config {
            DecoderConfig::Linear {} => {
                Self::Linear(Linear::new(arch.dim, n_classes, seed, device))
            }
            DecoderConfig::Fpn { channels } => {
                let sizes = fpn::Sizes { dim: arch.dim, channels: *channels as usize, n_classes };
                Self::Fpn(Fpn::new(sizes, seed, device))
            }
        }
    }

    /// Indices of the blocks whose features this decoder reads, ascending.
    pub fn layers(&self, arch: &Arch) -> Vec<usize> {
        match self {
            Self::Linear(_) => vec![arch.depth - 1],
            Self::Fpn(_) => (arch.depth - fpn::LAYERS..arch.depth).collect(),
        }
    }

    /// Logits `[batch, n_classes, rows, columns]`; rows and columns are the patch grid's or a
    /// multiple of it.
    pub fn forward(&mut self, features: &Features, mode: Mode) -> Tensor<4> {
        match self {
            Self::Linear(linear) => linear.forward(features),
            Self::Fpn(fpn) => fpn.forward(features, mode),
        }
    }
}

impl Params for Decoder {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        match self {
            Self::Linear(linear) => linear.each(path, f),
            Self::Fpn(fpn) => fpn.each(path, f),
        }
    }
}

/// `[batch, n_patches, channels]` -> `[batch, channels, rows, columns]`.
pub(super) fn to_map(tokens: Tensor<3>, grid: [usize; 2]) -> Tensor<4> {
    let [batch, _, channels] = tokens.dims();
    tokens.swap_dims(1, 2).reshape([batch, channels, grid[0], grid[1]])
}
