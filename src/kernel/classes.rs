//! Class maps: the class of each pixel, as tensors `[batch, height, width]` of bytes.
//!
//! Ground truth is copied to a device in this form, and predictions come back in it.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// The class map of `values`, row-major, on `device`.
///
/// # Panics
/// If there are not as many values as `shape` says.
pub fn tensor(values: Vec<u8>, shape: [usize; 3], device: &Device) -> Tensor<3, Int> {
    let device = device.clone().inner();
    Tensor::from_data(TensorData::new(values, shape), (&device, dtype(&device)))
}

/// The type of class maps on `device`: bytes where it has them.
pub(super) fn dtype(device: &Device) -> DType {
    if device.supports_dtype(DType::U8) { DType::U8 } else { DType::I32 }
}

/// Copies the classes to the host, row-major; waits for the device.
///
/// # Panics
/// If a value is no byte.
pub fn to_vec(classes: Tensor<3, Int>) -> Vec<u8> {
    classes.into_data().convert::<u8>().try_into_vec().expect("converted to bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_they_went() {
        let values: Vec<u8> = (0..=255).collect();
        let map = tensor(values.clone(), [2, 4, 32], &Device::flex().autodiff());
        assert_eq!((map.dims(), map.dtype()), ([2, 4, 32], DType::U8));
        assert_eq!(to_vec(map.clone().narrow(0, 1, 1)), values[128..]);
        assert_eq!(to_vec(map), values);
    }
}
