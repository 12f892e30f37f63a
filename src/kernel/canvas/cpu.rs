//! Averages the logits of overlapping windows in the host's memory.

use rayon::prelude::*;

use crate::kernel::resize::bilinear::taps;
use crate::kernel::upsampled::Logits;

/// Sums of logits, and the number of windows added at each pixel.
#[derive(Debug, Clone)]
pub(super) struct Sums {
    /// Sums, `[n_classes, height, width]`.
    values: Vec<f32>,
    /// Windows over each pixel, `[height, width]`.
    counts: Vec<f32>,
    n_classes: usize,
    size: [usize; 2],
}

impl Sums {
    pub(super) fn new(n_classes: usize, size: [usize; 2]) -> Self {
        let n = size[0] * size[1];
        Self { values: vec![0.0; n_classes * n], counts: vec![0.0; n], n_classes, size }
    }

    /// Adds one image's logits, upsampled bilinearly to `[rows, columns]`, from `[top, left]` on.
    pub(super) fn add(
        &mut self,
        logits: Logits<'_>,
        [top, left]: [usize; 2],
        [rows, columns]: [usize; 2],
    ) {
        let [height, width] = self.size;
        assert_eq!(logits.n_classes, self.n_classes, "one decoder for all windows");
        assert!(top + rows <= height && left + columns <= width, "windows lie on the image");
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
        for row in self.counts.chunks_exact_mut(width).skip(top).take(rows) {
            row[left..left + columns].iter_mut().for_each(|count| *count += 1.0);
        }
    }

    /// Divides the sums by the number of windows over each pixel: `[n_classes, height, width]`.
    pub(super) fn mean(mut self) -> Vec<f32> {
        assert!(self.counts.iter().all(|count| *count > 0.0), "windows cover the image");
        for plane in self.values.chunks_exact_mut(self.counts.len()) {
            plane.iter_mut().zip(&self.counts).for_each(|(sum, count)| *sum /= count);
        }
        self.values
    }
}
