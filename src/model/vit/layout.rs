//! Where the patches of a grid are, as an encoder knows it: made by [`super::Encoder::layout`], kept
//! by whoever runs it on one grid again and again.

use burn::tensor::Tensor;

use crate::kernel::attention::Rotation;

/// What an encoder works out from a patch grid alone.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Rows and columns.
    pub(super) grid: [usize; 2],
    /// Of encoders that learn positions.
    pub(super) positions: Option<Positions>,
    /// Of encoders that turn queries and keys.
    pub(super) rotation: Option<Rotation>,
}

/// Learned positions of the class token and the patches of a grid.
#[derive(Debug, Clone)]
pub(super) enum Positions {
    /// `[1, 1 + n_patches, dim]`
    Fixed(Tensor<3>),
    /// `[n_patches, side * side]`: the embedding is trained, so each forward pass resizes it, by a
    /// product with this.
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
