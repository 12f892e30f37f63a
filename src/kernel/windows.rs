//! Logits of overlapping windows and of several views, brought together at a common size.

use rayon::prelude::*;

use super::bilinear::taps;
use super::upsampled::{Axes, Logits, blend};

/// Sums of the logits of windows over one image.
#[derive(Debug, Clone)]
pub struct Canvas {
    /// `[n_classes, height, width]`
    sums: Vec<f32>,
    /// Windows over each pixel, `[height, width]`.
    counts: Vec<f32>,
    n_classes: usize,
    size: [usize; 2],
}

/// Where a window lies on its image, pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub top: usize,
    pub left: usize,
    pub size: [usize; 2],
}

impl Canvas {
    /// `size` is height and width.
    pub fn new(n_classes: usize, size: [usize; 2]) -> Self {
        let n = size[0] * size[1];
        Self { sums: vec![0.0; n_classes * n], counts: vec![0.0; n], n_classes, size }
    }

    /// Adds one image's logits, upsampled bilinearly (`align_corners = false`) to the window.
    ///
    /// # Panics
    /// If the window leaves the canvas, or the classes differ.
    pub fn add(&mut self, logits: Logits<'_>, window: Window) {
        let [height, width] = self.size;
        let Window { top, left, size: [rows, columns] } = window;
        assert_eq!(logits.n_classes, self.n_classes, "one decoder for all windows");
        assert!(top + rows <= height && left + columns <= width, "windows lie on the image");
        let [grid_rows, grid_columns] = logits.grid;
        let (vertical, horizontal) = (taps(grid_rows, rows), taps(grid_columns, columns));
        let planes = self.sums.par_chunks_exact_mut(height * width);
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

    /// The mean over the windows of each pixel: `[n_classes, height, width]`.
    ///
    /// # Panics
    /// If a pixel has no window.
    pub fn mean(mut self) -> Vec<f32> {
        assert!(self.counts.iter().all(|count| *count > 0.0), "windows cover the image");
        for plane in self.sums.chunks_exact_mut(self.counts.len()) {
            plane.iter_mut().zip(&self.counts).for_each(|(sum, count)| *sum /= count);
        }
        self.sums
    }
}

/// Mirrors each row of `[.., width]`.
pub fn mirror(values: &mut [f32], width: usize) {
    values.chunks_exact_mut(width).for_each(<[f32]>::reverse);
}

/// Sums of class probabilities over several views of one image, at its labels' size.
#[derive(Debug, Clone)]
pub struct Probabilities {
    /// `[height, n_classes, width]`, so that a row is one piece.
    sums: Vec<f32>,
    n_classes: usize,
    size: [usize; 2],
}

impl Probabilities {
    pub fn new(n_classes: usize, size: [usize; 2]) -> Self {
        Self { sums: vec![0.0; n_classes * size[0] * size[1]], n_classes, size }
    }

    /// Adds the softmax of one view's logits, upsampled bilinearly.
    ///
    /// # Panics
    /// If `logits` holds more than one image, or other classes.
    pub fn add(&mut self, logits: Logits<'_>) {
        let [rows, columns] = logits.grid;
        assert_eq!(logits.n_classes, self.n_classes, "one decoder for all views");
        assert_eq!(logits.values.len(), logits.n_classes * rows * columns, "one image");
        let width = self.size[1];
        let axes = Axes::new(logits.grid, self.size);
        let tasks = self.sums.par_chunks_exact_mut(self.n_classes * width).zip(&axes.vertical);
        tasks.for_each(|(sums, tap)| {
            let line = blend(logits.values, logits, *tap);
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
    pub fn arg_max(&self) -> Vec<u8> {
        let width = self.size[1];
        let mut out = vec![0u8; self.size[0] * width];
        let rows = self.sums.par_chunks_exact(self.n_classes * width);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::upsampled;
    use crate::rng;

    fn random(n: usize) -> Vec<f32> {
        let mut rng = rng::keyed(7, "windows", &[]);
        (0..n).map(|_| rng::normal(&mut rng) as f32).collect()
    }

    #[test]
    fn one_window_over_all_is_a_plain_resize() {
        let values = random(3 * 4 * 5);
        let logits = Logits { values: &values, n_classes: 3, grid: [4, 5] };
        let mut canvas = Canvas::new(3, [11, 9]);
        canvas.add(logits, Window { top: 0, left: 0, size: [11, 9] });
        let mean = canvas.mean();
        let at_size = Logits { values: &mean, n_classes: 3, grid: [11, 9] };
        let direct = upsampled::arg_max(logits, [11, 9]);
        assert_eq!(upsampled::arg_max(at_size, [11, 9]), direct);
    }

    #[test]
    fn overlaps_are_averaged() {
        let (one, three) = ([1.0f32; 4], [3.0f32; 4]);
        let logits = |values| Logits { values, n_classes: 1, grid: [2, 2] };
        let mut canvas = Canvas::new(1, [2, 3]);
        canvas.add(logits(&one), Window { top: 0, left: 0, size: [2, 2] });
        canvas.add(logits(&three), Window { top: 0, left: 1, size: [2, 2] });
        assert_eq!(canvas.mean(), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    #[should_panic(expected = "windows cover the image")]
    fn a_pixel_without_window_is_a_bug() {
        Canvas::new(1, [1, 1]).mean();
    }

    #[test]
    fn probabilities_of_one_view_have_the_logits_arg_max_and_sum_to_one() {
        let values = random(5 * 3 * 3);
        let logits = Logits { values: &values, n_classes: 5, grid: [3, 3] };
        let mut sums = Probabilities::new(5, [7, 8]);
        sums.add(logits);
        assert_eq!(sums.arg_max(), upsampled::arg_max(logits, [7, 8]));
        let total: f32 = sums.sums.iter().sum();
        assert!((total - 56.0).abs() < 1e-3, "{total}");
    }

    #[test]
    fn a_sure_view_outvotes_an_unsure_one() {
        let (sure, unsure) = ([0.0f32, 9.0], [0.6f32, 0.0]);
        let logits = |values| Logits { values, n_classes: 2, grid: [1, 1] };
        let mut sums = Probabilities::new(2, [1, 1]);
        sums.add(logits(&unsure));
        assert_eq!(sums.arg_max(), [0]);
        sums.add(logits(&sure));
        assert_eq!(sums.arg_max(), [1]);
    }

    #[test]
    fn mirroring_reverses_rows() {
        let mut values = [1.0f32, 2.0, 3.0, 4.0];
        mirror(&mut values, 2);
        assert_eq!(values.map(f32::to_bits), [2.0f32, 1.0, 4.0, 3.0].map(f32::to_bits));
    }
}
