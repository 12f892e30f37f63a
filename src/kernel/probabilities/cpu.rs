//! Sums of class probabilities in the host's memory.

use rayon::prelude::*;

use crate::kernel::upsampled::{Axes, Logits, blend};

/// Sums of softmaxes over views.
#[derive(Debug, Clone)]
pub(super) struct Sums {
    /// Sums, `[height, n_classes, width]`, so that a row is one piece of memory.
    values: Vec<f32>,
    n_classes: usize,
    size: [usize; 2],
}

impl Sums {
    pub(super) fn new(n_classes: usize, size: [usize; 2]) -> Self {
        Self { values: vec![0.0; n_classes * size[0] * size[1]], n_classes, size }
    }

    /// Adds the softmax of one image's logits, upsampled bilinearly.
    pub(super) fn add(&mut self, logits: Logits<'_>) {
        let columns = logits.grid[1];
        let width = self.size[1];
        let axes = Axes::new(logits.grid, self.size);
        let tasks = self.values.par_chunks_exact_mut(self.n_classes * width).zip(&axes.vertical);
        tasks.for_each(|(sums, tap)| {
            let line = blend(logits, *tap);
            let mut at = vec![0.0f32; logits.n_classes];
            for (x, tap) in axes.horizontal.iter().enumerate() {
                let mut max = f32::NEG_INFINITY;
                for (value, row) in at.iter_mut().zip(line.chunks_exact(columns)) {
                    *value =
                        row[tap.low] * (1.0 - tap.weight_high) + row[tap.high] * tap.weight_high;
                    max = max.max(*value);
                }
                let mut sum = 0.0;
                for value in &mut at {
                    *value = (*value - max).exp();
                    sum += *value;
                }
                for (class, value) in at.iter().enumerate() {
                    sums[class * width + x] += value / sum;
                }
            }
        });
    }

    /// The likeliest class of each pixel, row-major; of equal ones the lowest.
    pub(super) fn arg_max(&self) -> Vec<u8> {
        let width = self.size[1];
        let mut out = vec![0u8; self.size[0] * width];
        let rows = self.values.par_chunks_exact(self.n_classes * width);
        out.par_chunks_exact_mut(width).zip(rows).for_each(|(out, sums)| {
            let mut best = vec![f32::NEG_INFINITY; width];
            for (class, row) in sums.chunks_exact(width).enumerate() {
                for ((out, best), value) in out.iter_mut().zip(&mut best).zip(row) {
                    if value > best {
                        *best = *value;
                        *out = class as u8;
                    }
                }
            }
        });
        out
    }

    /// The sums times `factor`, `[n_classes, height, width]`.
    pub(super) fn scaled(&self, factor: f32) -> Vec<f32> {
        let [height, width] = self.size;
        let mut out = vec![0.0f32; self.values.len()];
        for (class, plane) in out.chunks_exact_mut(height * width).enumerate() {
            let rows = self.values.chunks_exact(self.n_classes * width);
            for (out, row) in plane.chunks_exact_mut(width).zip(rows) {
                let row = &row[class * width..][..width];
                out.iter_mut().zip(row).for_each(|(out, sum)| *out = sum * factor);
            }
        }
        out
    }
}
