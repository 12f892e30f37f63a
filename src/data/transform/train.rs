//! What training makes of a sample: its part and size, a flip, colours.

use serde::{Deserialize, Serialize};

use super::photometric::Distortion;
use super::{crop, flip_mask, flip_rgb, resize_nearest, squash};
use crate::data::{Mask, Rgb};
use crate::rng::{self, ChaCha8Rng};

/// Key `train.transform`: how a sample comes to the size of the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Config {
    /// All of it, whatever its shape.
    Squash {},
    Crop(crop::Config),
}

impl Default for Config {
    fn default() -> Self {
        Self::Squash {}
    }
}

/// All that is done to a training sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Training {
    pub transform: Config,
    /// Height and width; what comes out is less only where a crop's resized image is.
    pub input_px: [u32; 2],
    /// Probability of a horizontal flip.
    pub flip: f64,
    pub photometric: bool,
}

/// What all draws for a sample are keyed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrawKey {
    pub seed: u64,
    pub epoch: u32,
    /// Place in the split.
    pub index: usize,
}

impl DrawKey {
    fn rng(self, purpose: &str) -> ChaCha8Rng {
        rng::keyed(self.seed, purpose, &[u64::from(self.epoch), self.index as u64])
    }
}

impl Training {
    /// What needs no draw: of a squash all of the resizing. [`Self::apply`] on its result gives
    /// what it gives on the sample, so it may be kept.
    pub fn prefix(&self, (image, mask): (Rgb, Mask)) -> (Rgb, Mask) {
        let [height, width] = self.input_px;
        match self.transform {
            Config::Squash {} if (image.height, image.width) == (height, width) => (image, mask),
            Config::Squash {} => {
                (squash(&image, height, width), resize_nearest(&mask, height, width))
            }
            Config::Crop(_) => (image, mask),
        }
    }

    /// The sample that is trained on; padding is left to whoever normalises.
    pub fn apply(&self, sample: (Rgb, Mask), key: DrawKey) -> (Rgb, Mask) {
        let (image, mask) = self.prefix(sample);
        let (mut image, mut mask) = match &self.transform {
            Config::Squash {} => (image, mask),
            Config::Crop(crop) => {
                let rngs = [key.rng("crop scale"), key.rng("crop place")];
                crop.apply((&image, &mask), self.input_px, rngs)
            }
        };
        if rng::uniform(&mut key.rng("flip")) < self.flip {
            flip_rgb(&mut image);
            flip_mask(&mut mask);
        }
        if self.photometric {
            Distortion::draw(&mut key.rng("photometric")).apply(&mut image);
        }
        (image, mask)
    }
}
