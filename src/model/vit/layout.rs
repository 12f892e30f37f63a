//! The positions of a grid's patches, as an encoder uses them: made by [`super::Encoder::layout`],
//! and kept by callers that run it on one grid again and again.

use burn::tensor::Tensor;

use crate::kernel::attention::Rotation;

/// The values that an encoder computes from a patch grid alone.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Rows and columns.
    pub(super) grid: [usize; 2],
    /// Positions, for encoders that learn them.
    pub(super) positions: Option<Positions>,
    /// Rotation of queries and keys, for encoders with RoPE.
    pub(super) rotation: Option<Rotation>,
}

/// Learned positions of the class token and the patches of a grid.
#[derive(Debug, Clone)]
pub(super) enum Positions {
    /// Positions resized once, `[1, 1 + n_patches, dim]`.
    Fixed(Tensor<3>),
    /// Matrix of the resize, `[n_patches, side * side]`: the embedding is trained, so each forward
    /// pass multiplies it by this.
    Resized(Tensor<2>),
}

impl Layout {
    /// Rows and columns of patches.
    pub fn grid(&self) -> [usize; 2] {
        self.grid
    }

    pub(super) fn n_patches(&self) -> usize {
        self.grid[0] * self.grid[1]
    }
}
