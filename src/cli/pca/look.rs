//! The second pass of `sweep pca`: from tokens to a picture.

use super::encode::Encoded;
use crate::cli::fault::{Exit, OrExit as _};
use crate::cli::upsampler;
use crate::data::transform::Normal;
use crate::data::{Rgb, transform};
use crate::model::backbone::IMAGENET;
use crate::upsample::{Map, Model, Task};
use crate::viz::kmeans::Clusters;
use crate::viz::palette;
use crate::viz::pca::{Fitted, Settings};

/// What gives tokens their colours.
pub(super) enum Look {
    Components(Fitted),
    Segments(Clusters),
}

/// How tokens become pictures.
pub(super) struct Painter {
    pub(super) settings: Settings,
    /// Enlarges patches; without it they are squares.
    pub(super) upsampler: Option<Model>,
}

impl Painter {
    /// The colours of picture `i`, at its own size. `image`, that picture, guides an upsampler.
    pub(super) fn paint(
        &self,
        look: &Look,
        encoded: &Encoded,
        i: usize,
        image: Option<&Rgb>,
    ) -> anyhow::Result<Rgb> {
        let [height, width] = encoded.sizes[i];
        let (grid, tokens) = (encoded.store.grid(i), encoded.store.read(i));
        let tokens = tokens.or_exit(Exit::Environment)?;
        let small = |pixels: Vec<u8>| Rgb { width: grid[1] as u32, height: grid[0] as u32, pixels };
        match (look, &self.upsampler, image) {
            (Look::Segments(clusters), ..) => {
                let palette: Vec<_> = (0..=u8::MAX).map(|i| palette::distinct(i.into())).collect();
                let clusters = clusters.assign(&tokens);
                let pixels = clusters.into_iter().flat_map(|i| palette[usize::from(i)]).collect();
                Ok(enlarged(&small(pixels), [height, width]))
            }
            (Look::Components(fitted), Some(upsampler), Some(image)) => {
                let features = Map::from_pixels(&tokens, encoded.store.dim(), grid);
                let dense = self.dense((fitted, upsampler), &features, image, encoded.px[i])?;
                Ok(transform::squash(&dense, height, width))
            }
            (Look::Components(fitted), ..) => {
                let values = fitted.values(&tokens, &self.settings.shown);
                let colours = small(fitted.colours(&values, &self.settings));
                Ok(enlarged(&colours, [height, width]))
            }
        }
    }

    /// The colours of upsampled features, at the size `px` of the network's input. Only the values
    /// that colours are made of are upsampled.
    fn dense(
        &self,
        (fitted, upsampler): (&Fitted, &Model),
        features: &Map,
        image: &Rgb,
        px: [u32; 2],
    ) -> anyhow::Result<Rgb> {
        let size = px.map(|side| side as usize);
        let image = transform::squash(image, px[0], px[1]);
        let mut guidance = vec![0.0; 3 * size[0] * size[1]];
        let (mean, std) = IMAGENET;
        transform::to_chw(&image, Normal { mean, std }, &mut guidance);
        let guidance = Map::from_planes(&guidance, 3, size);
        let projection = fitted.map(&self.settings.shown);
        let task = Task { image: &guidance, features, projection: Some(&projection), size };
        let dense = upsampler.upsample(&task).map_err(upsampler::with_exit)?;
        let pixels = fitted.colours(&dense.to_pixels(), &self.settings);
        Ok(Rgb { width: px[1], height: px[0], pixels })
    }
}

/// A picture enlarged so that each of its pixels is a rectangle.
fn enlarged(image: &Rgb, [height, width]: [u32; 2]) -> Rgb {
    let along = |n: u32, to: u32| -> Vec<usize> {
        (0..to).map(|i| (u64::from(i) * u64::from(n) / u64::from(to)) as usize).collect()
    };
    let (rows, columns) = (along(image.height, height), along(image.width, width));
    let mut pixels = Vec::with_capacity(3 * rows.len() * columns.len());
    for y in rows {
        for x in &columns {
            let start = 3 * (y * image.width as usize + x);
            pixels.extend_from_slice(&image.pixels[start..start + 3]);
        }
    }
    Rgb { width, height, pixels }
}
