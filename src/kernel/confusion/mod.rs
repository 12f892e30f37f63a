//! Confusion counts: the number of pixels of each class that were predicted as each class.

mod cpu;
#[cfg(feature = "cube")]
mod cube;

use burn::tensor::{Int, Tensor, TensorData};

use super::classes;
#[cfg(feature = "cube")]
use super::dispatch::{Path, path};

/// Counts pixels into `[n_classes, n_classes]`: rows are the truth, columns the prediction.
///
/// Both maps are `[batch, height, width]`; pixels whose truth is [`crate::data::VOID`] are left
/// out. Counts are exact, on any device.
///
/// # Panics
/// If sizes differ; on the CPU, if a class is `n_classes` or above: masks are checked when they are
/// read, predictions are an arg max over the classes.
pub fn counts(
    truth: Tensor<3, Int>,
    predicted: Tensor<3, Int>,
    n_classes: usize,
) -> Tensor<2, Int> {
    assert_eq!(truth.dims(), predicted.dims(), "one prediction for each pixel");
    #[cfg(feature = "cube")]
    if path(&[&truth, &predicted]) == Path::Cube {
        return cube::counts(truth, predicted, n_classes);
    }
    let device = predicted.device();
    let (truth, predicted) = (classes::to_vec(truth), classes::to_vec(predicted));
    let counts: Vec<i64> =
        cpu::counts(&truth, &predicted, n_classes).into_iter().map(u64::cast_signed).collect();
    Tensor::from_data(TensorData::new(counts, [n_classes, n_classes]), &device)
}

/// Copies the result of [`counts`] to the host, row-major; waits for the device.
///
/// # Panics
/// If a count is negative.
pub fn to_vec(counts: Tensor<2, Int>) -> Vec<u64> {
    counts.into_data().convert::<u64>().try_into_vec().expect("converted to u64")
}

/// Computes [`counts`] of class maps that lie in memory, row-major.
///
/// # Panics
/// As [`counts`].
pub fn counts_of(truth: &[u8], predicted: &[u8], n_classes: usize) -> Vec<u64> {
    assert_eq!(truth.len(), predicted.len(), "one prediction for each pixel");
    cpu::counts(truth, predicted, n_classes)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::data::VOID;

    #[test]
    fn rows_are_truth_and_void_is_left_out() {
        let map = |values: [u8; 5]| classes::tensor(values.to_vec(), [1, 1, 5], &Device::flex());
        let found = counts(map([0, 0, 1, 2, VOID]), map([0, 1, 1, 0, 2]), 3);
        assert_eq!(to_vec(found), [1, 1, 0, 0, 1, 0, 1, 0, 0]);
    }

    #[test]
    #[should_panic(expected = "class 1 predicted as 2, of 2")]
    fn a_prediction_outside_the_classes_is_a_bug() {
        counts_of(&[1], &[2], 2);
    }
}
