//! Averages the class probabilities of several views of one image.
//!
//! Called by `eval::infer` for test-time augmentation.

mod cpu;
#[cfg(feature = "cube")]
mod cube;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

#[cfg(feature = "cube")]
use super::arg_max;
use super::classes;
use super::dispatch::{Path, on_host, path};
use super::operation::Values;
use super::upsampled::Logits;

/// The sum of class probabilities over several views of one image, on the device of the logits.
#[derive(Debug, Clone)]
pub struct Probabilities {
    sums: Sums,
    n_views: usize,
    device: Device,
    /// `[1, n_classes, height, width]`
    shape: [usize; 4],
}

#[derive(Debug, Clone)]
enum Sums {
    Cpu(cpu::Sums),
    /// `[1, n_classes, height, width]`
    #[cfg(feature = "cube")]
    Cube(super::cube::Sums),
}

impl Probabilities {
    /// Empty sums of logits on `device`; `size` is the height and width that views are resized to.
    pub fn new(n_classes: usize, size: [usize; 2], device: &Device) -> Self {
        let (device, shape) = (device.clone().inner(), [1, n_classes, size[0], size[1]]);
        let sums = match path(&[&device]) {
            Path::Cpu | Path::Any => Sums::Cpu(cpu::Sums::new(n_classes, size)),
            #[cfg(feature = "cube")]
            Path::Cube => Sums::Cube(super::cube::Sums::zeros(shape, &device)),
        };
        Self { sums, n_views: 0, device, shape }
    }

    /// Adds the softmax of one view's logits `[1, n_classes, rows, columns]`, upsampled bilinearly
    /// (`align_corners = false`).
    ///
    /// # Panics
    /// If `logits` holds more than one image, or other classes.
    pub fn add(&mut self, logits: Tensor<4>) {
        let shape = logits.dims();
        assert_eq!(shape[0], 1, "one image");
        assert_eq!(shape[1], self.shape[1], "one decoder for all views");
        match &mut self.sums {
            Sums::Cpu(sums) => {
                let values = Values::of_tensor(on_host(logits));
                sums.add(Logits::new(values.slice(), shape));
            }
            #[cfg(feature = "cube")]
            Sums::Cube(sums) => sums.replace(|sums| cube::add(sums, logits)),
        }
        self.n_views += 1;
    }

    /// The likeliest class of each pixel, `[1, height, width]`; of equal ones the lowest.
    pub fn arg_max(&self) -> Tensor<3, Int> {
        let [_, _, height, width] = self.shape;
        match &self.sums {
            Sums::Cpu(sums) => classes::tensor(sums.arg_max(), [1, height, width], &self.device),
            #[cfg(feature = "cube")]
            Sums::Cube(sums) => arg_max::arg_max(sums.values(), [height, width]),
        }
    }

    /// The mean over the views, `[1, n_classes, height, width]`.
    ///
    /// # Panics
    /// If none was added.
    pub fn mean(&self) -> Tensor<4> {
        assert!(self.n_views > 0, "at least one view");
        let factor = 1.0 / self.n_views as f32;
        match &self.sums {
            Sums::Cpu(sums) => {
                let values = TensorData::new(sums.scaled(factor), self.shape);
                Tensor::from_data(values, (&self.device, DType::F32))
            }
            #[cfg(feature = "cube")]
            Sums::Cube(sums) => sums.values() * factor,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation;

    use super::*;
    use crate::kernel::arg_max::arg_max;
    use crate::kernel::check;
    use crate::kernel::resize::bilinear;

    #[test]
    fn one_views_are_the_softmax_of_its_upsampled_logits() {
        let data = TensorData::new(check::normal(5 * 3 * 3, 7), [1, 5, 3, 3]);
        let logits = Tensor::<4>::from_data(data, &Device::flex());
        let mut sums = Probabilities::new(5, [7, 8], &Device::flex());
        sums.add(logits.clone());
        let classes = classes::to_vec;
        assert_eq!(classes(sums.arg_max()), classes(arg_max(logits.clone(), [7, 8])));
        let values = |tensor: Tensor<4>| -> Vec<f32> { tensor.into_data().try_into_vec().unwrap() };
        let expect = values(activation::softmax(bilinear::resize(logits.clone(), [7, 8]), 1));
        let close = |mean: Tensor<4>| {
            assert_eq!(mean.dims(), [1, 5, 7, 8]);
            for (a, b) in values(mean).iter().zip(&expect) {
                assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
        };
        close(sums.mean());
        sums.add(logits);
        close(sums.mean());
    }

    #[test]
    fn a_sure_view_outvotes_an_unsure_one() {
        let logits = |values: [f32; 2]| {
            Tensor::<4>::from_data(TensorData::new(values.to_vec(), [1, 2, 1, 1]), &Device::flex())
        };
        let mut sums = Probabilities::new(2, [1, 1], &Device::flex());
        sums.add(logits([0.6, 0.0]));
        assert_eq!(classes::to_vec(sums.arg_max()), [0]);
        sums.add(logits([0.0, 9.0]));
        assert_eq!(classes::to_vec(sums.arg_max()), [1]);
    }
}
