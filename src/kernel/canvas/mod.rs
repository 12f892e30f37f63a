//! Averages the logits of windows that overlap on one image.
//!
//! Called by `eval::infer` for sliding windows.

mod cpu;
#[cfg(feature = "cube")]
mod cube;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::dispatch::{Path, on_host, path};
use super::operation::Values;
use super::upsampled::Logits;

/// The sum of the logits of windows over one image, on the device of the logits.
#[derive(Debug, Clone)]
pub struct Canvas {
    sums: Sums,
    /// Number of windows over each pixel, `[height, width]`. Known from the windows' places alone,
    /// so that no device is asked.
    counts: Vec<f32>,
    device: Device,
    /// Shape of the mean, `[1, n_classes, height, width]`.
    shape: [usize; 4],
}

#[derive(Debug, Clone)]
enum Sums {
    Cpu(cpu::Sums),
    /// `[1, n_classes, height, width]`
    #[cfg(feature = "cube")]
    Cube(super::cube::Sums),
}

/// The position of a window on its image, pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub top: usize,
    pub left: usize,
    /// Height and width.
    pub size: [usize; 2],
}

impl Canvas {
    /// An empty canvas for logits on `device`; `size` is height and width of the image.
    pub fn new(n_classes: usize, size: [usize; 2], device: &Device) -> Self {
        let (device, shape) = (device.clone().inner(), [1, n_classes, size[0], size[1]]);
        let sums = match path(&[&device]) {
            Path::Cpu | Path::Any => Sums::Cpu(cpu::Sums::new(n_classes, size)),
            #[cfg(feature = "cube")]
            Path::Cube => Sums::Cube(super::cube::Sums::zeros(shape, &device)),
        };
        Self { sums, counts: vec![0.0; size[0] * size[1]], device, shape }
    }

    /// Adds the logits `[n_windows, n_classes, rows, columns]`, upsampled bilinearly
    /// (`align_corners = false`) to the windows, which are of one size.
    ///
    /// # Panics
    /// If a window leaves the canvas, or classes, sizes or the number of windows differ.
    pub fn add(&mut self, logits: Tensor<4>, windows: &[Window]) {
        let shape = logits.dims();
        assert_eq!(shape[0], windows.len(), "a window for each image of the batch");
        assert_eq!(shape[1], self.shape[1], "one decoder for all windows");
        for window in windows {
            assert_eq!(window.size, windows[0].size, "windows of one size");
            self.count(*window);
        }
        match &mut self.sums {
            Sums::Cpu(sums) => {
                let values = Values::of_tensor(on_host(logits));
                let images = Logits::new(values.slice(), shape).images();
                images.zip(windows).for_each(|(logits, window)| sums.add(logits, *window));
            }
            #[cfg(feature = "cube")]
            Sums::Cube(sums) => sums.replace(|sums| cube::add(sums, logits, windows)),
        }
    }

    fn count(&mut self, Window { top, left, size: [rows, columns] }: Window) {
        let [_, _, height, width] = self.shape;
        assert!(top + rows <= height && left + columns <= width, "windows lie on the image");
        for row in self.counts.chunks_exact_mut(width).skip(top).take(rows) {
            row[left..left + columns].iter_mut().for_each(|count| *count += 1.0);
        }
    }

    /// The mean over the windows of each pixel: `[1, n_classes, height, width]`.
    ///
    /// # Panics
    /// If a pixel has no window.
    pub fn mean(self) -> Tensor<4> {
        assert!(self.counts.iter().all(|count| *count > 0.0), "windows cover the image");
        let tensor = |values: Vec<f32>, shape: [usize; 4]| {
            Tensor::<4>::from_data(TensorData::new(values, shape), (&self.device, DType::F32))
        };
        match self.sums {
            Sums::Cpu(sums) => tensor(sums.mean(&self.counts), self.shape),
            #[cfg(feature = "cube")]
            Sums::Cube(sums) => {
                let [_, _, height, width] = self.shape;
                sums.values() / tensor(self.counts, [1, 1, height, width])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::arg_max::arg_max;
    use crate::kernel::{check, classes};

    #[test]
    fn one_window_over_all_is_a_plain_resize() {
        let data = TensorData::new(check::normal(3 * 4 * 5, 7), [1, 3, 4, 5]);
        let logits = Tensor::<4>::from_data(data, &Device::flex());
        let mut canvas = Canvas::new(3, [11, 9], &Device::flex());
        canvas.add(logits.clone(), &[Window { top: 0, left: 0, size: [11, 9] }]);
        let classes = |logits| classes::to_vec(arg_max(logits, [11, 9]));
        assert_eq!(classes(canvas.mean()), classes(logits));
    }

    #[test]
    fn overlaps_are_averaged() {
        let logits = Tensor::<4>::ones([2, 1, 2, 2], &Device::flex())
            * Tensor::<4>::from_data([[[[1.0f32]]], [[[3.0]]]], &Device::flex());
        let mut canvas = Canvas::new(1, [2, 3], &Device::flex());
        let window = |left| Window { top: 0, left, size: [2, 2] };
        canvas.add(logits, &[window(0), window(1)]);
        let mean: Vec<f32> = canvas.mean().into_data().try_into_vec().unwrap();
        assert_eq!(mean, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    #[should_panic(expected = "windows cover the image")]
    fn a_pixel_without_window_is_a_bug() {
        Canvas::new(1, [1, 1], &Device::flex()).mean();
    }
}
