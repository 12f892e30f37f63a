//! Upsamples patch tokens to the size of the encoder's input, and writes them band by band.

use super::output::{Layout, Part};
use super::{Error, Ready};
use crate::data::transform::Normal;
use crate::model::backbone::IMAGENET;
use crate::upsample::{Map, Model, Task};

/// The upsampling of patch tokens.
pub struct Dense {
    pub model: Model,
    /// How the inputs are normalised; upsamplers want ImageNet's way.
    pub normal: Normal,
}

/// A batch of inputs whose parts are made.
pub(super) struct Batch<'a> {
    /// Number of its first image among all.
    pub first: usize,
    pub images: &'a [Ready],
    /// The parts, of which the first are the patch tokens.
    pub parts: &'a [Part],
    /// Height and width of the inputs.
    pub px: [usize; 2],
    /// Rows and columns of patches.
    pub grid: [usize; 2],
}

impl Dense {
    /// Shape of the result for one image, `[dim, height, width]`, from the parts of a batch.
    pub(super) fn shape(parts: &[Part], [height, width]: [usize; 2]) -> [usize; 3] {
        [parts[0].shape()[1], height, width]
    }

    /// Upsamples and writes the patch tokens of each image of a batch.
    pub(super) fn put(
        &self,
        file: &mut fs_err::File,
        layout: &Layout,
        batch: &Batch<'_>,
    ) -> Result<(), Error> {
        let (parts, size) = (batch.parts, batch.px);
        let [dim, height, width] = Self::shape(parts, size);
        for (i, image) in batch.images.iter().enumerate() {
            let image = self.guidance(image, size);
            let features = Map::from_pixels(parts[0].image(i), dim, batch.grid);
            let task = Task { image: &image, features: &features, projection: None, size };
            self.model.each_band(&task, |first, band| {
                let n = band.size()[0] * width;
                for (channel, values) in band.to_planes().chunks_exact(n).enumerate() {
                    let plane = (batch.first + i) * dim + channel;
                    let start = (plane * height + first) * width;
                    layout.put_dense(file, parts.len(), start, values)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The input as upsamplers want it.
    fn guidance(&self, image: &Ready, px: [usize; 2]) -> Map {
        let (mean, std) = IMAGENET;
        if self.normal == (Normal { mean, std }) {
            return Map::from_planes(image, 3, px);
        }
        let mut values = image.clone();
        for (channel, plane) in values.chunks_exact_mut(px[0] * px[1]).enumerate() {
            for value in plane {
                let level = *value * self.normal.std[channel] + self.normal.mean[channel];
                *value = (level - mean[channel]) / std[channel];
            }
        }
        Map::from_planes(&values, 3, px)
    }
}
