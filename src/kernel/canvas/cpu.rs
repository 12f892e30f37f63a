//! Averages the logits of overlapping windows in the host's memory.

use rayon::prelude::*;

use super::Window;
use crate::kernel::resize::bilinear::taps;
use crate::kernel::upsampled::Logits;

/// Sums of logits.
#[derive(Debug, Clone)]
pub(super) struct Sums {
    /// `[n_classes, height, width]`
    values: Vec<f32>,
    size: [usize; 2],
}

impl Sums {
    pub(super) fn new(n_classes: usize, size: [usize; 2]) -> Self {
        Self { values: vec![0.0; n_classes * size[0] * size[1]], size }
    }

    /// Adds one image's logits, upsampled bilinearly to its window.
    pub(super) fn add(&mut self, logits: Logits<'_>, window: Window) {
        let Window { top, left, size: [rows, columns] } = window;
        let [height, width] = self.size;
        let [grid_rows, grid_columns] = logits.grid;
        let (vertical, horizontal) = (taps(grid_rows, rows), taps(grid_columns, columns));
        let planes = self.values.par_chunks_exact_mut(height * width);
        planes.zip(logits.values.par_chunks_exact(grid_rows * grid_columns)).for_each(
            |(sums, plane)| {
                for (y, tap) in vertical.iter().enumerate() {
                    let low = &plane[tap.low * grid_columns..][..grid_columns];
                    let high = &plane[tap.high * grid_columns..][..grid_columns];
                    let at =
                        |x: usize| low[x] * (1.0 - tap.weight_high) + high[x] * tap.weight_high;
                    let out = &mut sums[(top + y) * width + left..][..columns];
                    for (out, tap) in out.iter_mut().zip(&horizontal) {
                        *out +=
                            at(tap.low) * (1.0 - tap.weight_high) + at(tap.high) * tap.weight_high;
                    }
                }
            },
        );
    }

    /// Divides the sums by the number of windows over each pixel: `[n_classes, height, width]`.
    pub(super) fn mean(mut self, counts: &[f32]) -> Vec<f32> {
        for plane in self.values.chunks_exact_mut(counts.len()) {
            plane.iter_mut().zip(counts).for_each(|(sum, count)| *sum /= count);
        }
        self.values
    }
}
