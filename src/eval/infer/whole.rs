//! Predicts images as a whole, squashed to the network's input.

use burn::tensor::Tensor;

use super::forward;
use super::request::Request;
use crate::data::Rgb;
use crate::data::transform::{self, Pixel};
use crate::kernel::pixels;
use crate::model::{Mode, Network};

/// Logits `[batch, n_classes, rows, columns]` of images that are squashed already.
pub(super) fn batch(network: &mut Network, images: &[&[Pixel]], request: &Request) -> Tensor<4> {
    let [height, width] = request.input_px.map(|px| px as usize);
    let shape = [images.len(), height, width];
    let images = pixels::images(&images.concat(), shape, request.normal, &network.device());
    network.logits(images, Mode::Eval)
}

/// Logits `[1, n_classes, rows, columns]` of one image, squashed to the input times `scale`,
/// rounded to patches.
pub(super) fn view(network: &mut Network, image: &Rgb, scale: f64, request: &Request) -> Tensor<4> {
    let px = request.input_px.map(|px| {
        let patches = (f64::from(px) * scale / f64::from(request.patch_px)).round() as u32;
        patches.max(1) * request.patch_px
    });
    let image = transform::squash(image, px[0], px[1]);
    forward::logits(network, request.normalised(&image), px.map(|px| px as usize))
}
