//! Averages the logits of windows that overlap on one image.
//!
//! Called by `eval::infer` for sliding windows.

mod cpu;

use burn::tensor::{Device, Tensor, TensorData};

use super::dispatch::on_host;
use super::operation::Values;
use super::upsampled::Logits;

/// The sum of the logits of windows over one image. The host adds up for every device.
#[derive(Debug, Clone)]
pub struct Canvas {
    sums: cpu::Sums,
    /// Device of the mean.
    device: Device,
    /// Shape of the mean, `[1, n_classes, height, width]`.
    shape: [usize; 4],
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
    /// An empty canvas; `size` is height and width of the image.
    pub fn new(n_classes: usize, size: [usize; 2], device: &Device) -> Self {
        let shape = [1, n_classes, size[0], size[1]];
        Self { sums: cpu::Sums::new(n_classes, size), device: device.clone().inner(), shape }
    }

    /// Adds the logits `[n_windows, n_classes, rows, columns]`, upsampled bilinearly
    /// (`align_corners = false`) to the windows.
    ///
    /// # Panics
    /// If a window leaves the canvas, or classes or the number of windows differ.
    pub fn add(&mut self, logits: Tensor<4>, windows: &[Window]) {
        let shape = logits.dims();
        assert_eq!(shape[0], windows.len(), "a window for each image of the batch");
        let values = Values::of_tensor(on_host(logits));
        let images = Logits::new(values.slice(), shape).images();
        for (logits, window) in images.zip(windows) {
            self.sums.add(logits, [window.top, window.left], window.size);
        }
    }

    /// The mean over the windows of each pixel: `[1, n_classes, height, width]`.
    ///
    /// # Panics
    /// If a pixel has no window.
    pub fn mean(self) -> Tensor<4> {
        Tensor::from_data(TensorData::new(self.sums.mean(), self.shape), &self.device)
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
