//! Images as they travel to a device: a word a pixel, made of bytes; normalised where they arrive.

#[cfg(feature = "cube")]
mod cube;

use burn::tensor::{DType, Device, Tensor, TensorData};
use rayon::prelude::*;

use crate::data::transform::{Normal, Pixel, normalise};

/// The images `(value / 255 - mean) / std`, `[batch, 3, height, width]` on `device`, of pixels
/// `[batch, height, width]`. Pixels beside an image are 0: of the mean colour.
///
/// # Panics
/// If there are not as many pixels as `shape` says.
pub fn images(pixels: &[Pixel], shape: [usize; 3], normal: Normal, device: &Device) -> Tensor<4> {
    let [batch, height, width] = shape;
    assert_eq!(pixels.len(), batch * height * width, "as many pixels as the shape says");
    let device = device.clone().inner();
    #[cfg(feature = "cube")]
    if device != Device::flex() {
        let data = TensorData::new(pixels.to_vec(), shape);
        return cube::images(Tensor::from_data(data, (&device, DType::U32)), normal);
    }
    let mut values = vec![0.0f32; 3 * pixels.len()];
    let n = (height * width).max(1);
    values
        .par_chunks_exact_mut(3 * n)
        .zip(pixels.par_chunks_exact(n))
        .for_each(|(values, pixels)| normalise(pixels, normal, values));
    let data = TensorData::new(values, [batch, 3, height, width]);
    Tensor::from_data(data, (&device, DType::F32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Rgb;
    use crate::data::transform::{pack, to_chw};

    #[test]
    fn a_batch_is_its_images_one_after_another() {
        let normal = Normal { mean: [0.1, 0.5, 0.9], std: [0.2, 0.3, 1.0] };
        let image = |first: u8| Rgb { width: 3, height: 2, pixels: (first..first + 18).collect() };
        let (mut packed, mut expect) = (vec![], vec![]);
        for image in [image(0), image(200)] {
            let mut values = vec![0.0; 18];
            to_chw(&image, normal, &mut values);
            packed.extend(pack(&image, [2, 3]));
            expect.extend(values);
        }
        let images = images(&packed, [2, 2, 3], normal, &Device::flex().autodiff());
        assert_eq!((images.dims(), images.is_tracked()), ([2, 3, 2, 3], false));
        assert_eq!(images.into_data().try_into_vec::<f32>().unwrap(), expect);
    }
}
