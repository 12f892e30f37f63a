//! Logits upsampled bilinearly a row at a time, on the host.
//!
//! At 150 classes, 512 px and a batch of 16, one tensor of full-size logits is 2.5 GB;
//! [`super::loss`], [`super::arg_max`] and [`super::probabilities`] use these functions and never
//! hold more than a row.

#[cfg(feature = "cube")]
pub(in crate::kernel) mod cube;

use super::resize::bilinear::{Tap, taps};

/// Logits of a batch on a grid of patches or finer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Logits<'a> {
    /// `[batch, n_classes, height, width]`, row-major.
    pub values: &'a [f32],
    pub n_classes: usize,
    /// Height and width of the grid.
    pub grid: [usize; 2],
}

impl<'a> Logits<'a> {
    /// The logits of a contiguous tensor of these dimensions.
    pub(super) fn new(values: &'a [f32], [_, n_classes, height, width]: [usize; 4]) -> Self {
        Self { values, n_classes, grid: [height, width] }
    }

    /// The logits of each image of the batch.
    pub(super) fn images(self) -> impl Iterator<Item = Self> {
        let n = self.n_classes * self.grid[0] * self.grid[1];
        self.values.chunks_exact(n).map(move |values| Self { values, ..self })
    }
}

/// The grid rows and columns that each output row and column lies between.
pub(super) struct Axes {
    pub(super) vertical: Vec<Tap>,
    pub(super) horizontal: Vec<Tap>,
}

impl Axes {
    pub(super) fn new(grid: [usize; 2], size: [usize; 2]) -> Self {
        Self { vertical: taps(grid[0], size[0]), horizontal: taps(grid[1], size[1]) }
    }
}

/// The grid rows of one image blended for one output row: `[n_classes, grid width]`.
pub(super) fn blend(logits: Logits<'_>, tap: Tap) -> Vec<f32> {
    let [height, width] = logits.grid;
    let mut line = Vec::with_capacity(logits.n_classes * width);
    for plane in logits.values.chunks_exact(height * width) {
        let low = &plane[tap.low * width..][..width];
        let high = &plane[tap.high * width..][..width];
        line.extend(
            low.iter().zip(high).map(|(a, b)| a * (1.0 - tap.weight_high) + b * tap.weight_high),
        );
    }
    line
}
