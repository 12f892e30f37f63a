//! The class of each pixel at the size of the labels: the arg max of upsampled logits.

mod cpu;
#[cfg(feature = "cube")]
mod cube;

use burn::tensor::{Int, Tensor};

use super::dispatch::{Path, on_host, path};

/// Class of the largest logit of each pixel, `[batch, height, width]` for a `size` of height and
/// width.
///
/// `logits` is `[batch, n_classes, rows, columns]`, upsampled bilinearly (`align_corners = false`).
/// Of equal logits the lowest class wins. A NaN never wins.
///
/// # Panics
/// If there are more than 255 classes.
pub fn arg_max(logits: Tensor<4>, size: [usize; 2]) -> Tensor<3, Int> {
    assert!(logits.dims()[1] <= 255, "classes are bytes, and 255 is void");
    match path(&[&logits]) {
        Path::Cpu => cpu::arg_max(logits, size),
        #[cfg(feature = "cube")]
        Path::Cube => cube::arg_max(logits, size),
        Path::Any => {
            let device = logits.device().inner();
            cpu::arg_max(on_host(logits), size).to_device(&device)
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::super::{check, classes};
    use super::*;
    use crate::kernel::resize::bilinear;

    #[test]
    fn equals_the_composition() {
        let (shape, size) = ([2, 7, 5, 6], [33, 41]);
        let data = TensorData::new(check::normal(2 * 7 * 5 * 6, 7), shape);
        let logits = Tensor::<4>::from_data(data, &Device::flex());
        let composed = bilinear::resize(logits.clone(), size).argmax(1);
        let expect: Vec<i64> = composed.into_data().convert::<i64>().try_into_vec().unwrap();
        let ours = arg_max(logits.clone(), size);
        assert_eq!(ours.dims(), [2, 33, 41]);
        let ours = classes::to_vec(ours);
        let differ = ours.iter().zip(&expect).filter(|(a, b)| i64::from(**a) != **b).count();
        assert!(differ <= 2, "{differ} pixels differ by more than rounding can explain");
        // An image does not depend on its batch.
        let second = classes::to_vec(arg_max(logits.narrow(0, 1, 1), size));
        assert_eq!(second, ours[33 * 41..]);
    }

    #[test]
    fn the_lowest_of_equal_classes_wins_and_a_nan_never() {
        let logits = [[[[f32::NAN, f32::NAN]], [[1.0, 0.0]], [[1.0, 2.0]]]];
        let logits = Tensor::<4>::from_data(logits, &Device::flex());
        assert_eq!(classes::to_vec(arg_max(logits, [1, 2])), [1, 2]);
    }
}
