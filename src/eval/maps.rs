//! What a prediction says of one image, as maps of the image's size in memory.

use burn::tensor::Tensor;

use super::infer::Prediction;
use crate::data::Mask;
use crate::kernel::classes;
use crate::weights::NotFinite;

/// The maps of one image.
pub struct Maps {
    /// The class of each pixel.
    pub mask: Mask,
    /// The probability of each pixel's class, 0 to 255 for 0 to 1; empty where it is not wanted.
    pub confidence: Vec<u8>,
    /// `[n_classes, height, width]`, row-major; empty where they are not wanted.
    pub probabilities: Vec<f32>,
}

/// The maps to make beside the classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    pub confidence: bool,
    pub probabilities: bool,
}

impl Maps {
    /// Reads the maps of a prediction made at the size `[height, width]`, or says that its logits
    /// are not finite, so that the classes would mean nothing.
    pub fn of(
        prediction: &Prediction,
        [height, width]: [usize; 2],
        wanted: Wanted,
    ) -> Result<Self, NotFinite> {
        prediction.check()?;
        let classes = classes::to_vec(prediction.classes());
        let mask = Mask { width: width as u32, height: height as u32, classes };
        let mut maps = Self { mask, confidence: vec![], probabilities: vec![] };
        if wanted == Wanted::default() {
            return Ok(maps);
        }
        let probabilities = prediction.probabilities();
        if wanted.confidence {
            let likeliest = values(probabilities.clone().max_dim(1));
            maps.confidence = likeliest.into_iter().map(|p| (255.0 * p).round() as u8).collect();
        }
        if wanted.probabilities {
            maps.probabilities = values(probabilities);
        }
        Ok(maps)
    }
}

fn values(tensor: Tensor<4>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().expect("converted to f32")
}
