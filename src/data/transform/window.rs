//! A part of an image as it would be at another size; the rest is never made.

use fast_image_resize::ResizeOptions;

use crate::data::{Mask, Rgb};

/// Rows `top..top + height` and columns `left..left + width` of an image resized to `resized`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Height and width of the whole. An image of one pixel's width is resized to more than fits
    /// 32 bits.
    pub(super) resized: [u64; 2],
    pub(super) top: u64,
    pub(super) left: u64,
    pub(super) height: u32,
    pub(super) width: u32,
}

impl Window {
    pub(super) fn whole([height, width]: [u32; 2]) -> Self {
        Self { resized: [height, width].map(u64::from), top: 0, left: 0, height, width }
    }

    /// The class under the centre of each pixel.
    pub(super) fn of_mask(&self, mask: &Mask) -> Mask {
        let [rows, columns] = self.sources([mask.height, mask.width]);
        let columns: Vec<usize> = columns.collect();
        let mut classes = Vec::with_capacity(self.height as usize * self.width as usize);
        for y in rows {
            let start = y * mask.width as usize;
            let row = &mask.classes[start..start + mask.width as usize];
            classes.extend(columns.iter().map(|&x| row[x]));
        }
        Mask { width: self.width, height: self.height, classes }
    }

    /// How many pixels of [`Self::of_mask`] each class has, without making it.
    pub(super) fn class_counts(&self, mask: &Mask) -> [u64; 256] {
        let [rows, columns] = self.sources([mask.height, mask.width]);
        let columns = runs(columns);
        let mut counts = [0; 256];
        for (y, n_rows) in runs(rows) {
            let start = y * mask.width as usize;
            let row = &mask.classes[start..start + mask.width as usize];
            for &(x, n_columns) in &columns {
                counts[usize::from(row[x])] += n_rows * n_columns;
            }
        }
        counts
    }

    /// Bilinear, widened when shrinking: what [`super::squash`] to the whole size has there.
    pub(super) fn of_rgb(&self, image: &Rgb) -> Rgb {
        let [scale_y, scale_x] = [
            f64::from(image.height) / self.resized[0] as f64,
            f64::from(image.width) / self.resized[1] as f64,
        ];
        let (left, top) = (self.left as f64 * scale_x, self.top as f64 * scale_y);
        // Rounding may not push the box over the edge.
        let width = (f64::from(self.width) * scale_x).min(f64::from(image.width) - left);
        let height = (f64::from(self.height) * scale_y).min(f64::from(image.height) - top);
        let options = ResizeOptions::new().crop(left, top, width, height);
        super::bilinear(image, [self.height, self.width], &options)
    }

    /// Source rows and columns of the window's rows and columns.
    pub(super) fn sources(
        &self,
        [height, width]: [u32; 2],
    ) -> [impl Iterator<Item = usize> + use<>; 2] {
        let axis = |first: u64, n: u32, n_target: u64, n_source: u32| {
            (first..first + u64::from(n)).map(move |i| nearest(i, n_target, n_source.into()))
        };
        [
            axis(self.top, self.height, self.resized[0], height),
            axis(self.left, self.width, self.resized[1], width),
        ]
    }
}

/// Each index once, with how often it comes in a row.
fn runs(indices: impl Iterator<Item = usize>) -> Vec<(usize, u64)> {
    let mut runs: Vec<(usize, u64)> = Vec::new();
    for index in indices {
        match runs.last_mut() {
            Some((last, n)) if *last == index => *n += 1,
            _ => runs.push((index, 1)),
        }
    }
    runs
}

/// The source index of target index `i`: `floor((i + 0.5) * source / target)` in exact arithmetic.
fn nearest(i: u64, n_target: u64, n_source: u64) -> usize {
    ((2 * i + 1) * n_source / (2 * n_target)) as usize
}
