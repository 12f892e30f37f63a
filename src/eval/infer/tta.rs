//! One view of an image or several: scales and mirrored copies (test-time augmentation), averaged
//! as class probabilities at the size asked for, as mmsegmentation's `aug_test`.

use burn::tensor::{Device, Tensor};

use super::super::{Mode, Tta};
use super::prediction::Prediction;
use super::request::{Form, Input, Request};
use super::slide::{self, Windows, scaled};
use super::whole;
use crate::data::Rgb;
use crate::data::transform::{self, Pixel};
use crate::kernel::probabilities::Probabilities;
use crate::model::Network;

/// Number of images in one forward pass of plain views on the CPU. Fixed, because a batch's size may
/// touch the last bits.
const BATCH: usize = 8;

/// As [`BATCH`], on GPUs: enough to keep them busy.
const BATCH_GPU: usize = 32;

/// Number of images that [`predict`] should be given at once, on `device`.
pub fn batch_size(device: &Device) -> usize {
    if *device == Device::flex() { BATCH } else { BATCH_GPU }
}

/// An image and the size at which its prediction is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// The image as [`Request::input`] of the same request prepared it.
    pub input: &'a Input,
    /// Height and width.
    pub size: [usize; 2],
}

/// The predictions of a batch, in its order.
///
/// Plain views share a forward pass, so that a batch's images should be of a fixed number:
/// [`batch_size`]. Others are predicted one by one, each when it is asked for: what is summed over
/// their windows or views may fill a GPU.
pub fn predict<'a>(
    network: &'a mut Network,
    batch: &'a [Item<'_>],
    request: &'a Request,
) -> Box<dyn Iterator<Item = Prediction> + 'a> {
    let ready: Vec<&[Pixel]> = batch.iter().filter_map(|item| ready(item.input)).collect();
    if ready.len() == batch.len() && !batch.is_empty() {
        let logits = whole::batch(network, &ready, request);
        let of_image = move |(i, item): (usize, &Item<'_>)| {
            Prediction::squashed(logits.clone().narrow(0, i, 1), item.size)
        };
        return Box::new(batch.iter().enumerate().map(of_image));
    }
    let native = batch.iter().filter_map(|item| Some((native(item.input)?, item.size)));
    Box::new(native.map(|(image, size)| one(network, image, size, request)))
}

fn ready(input: &Input) -> Option<&[Pixel]> {
    match &input.0 {
        Form::Ready(pixels) => Some(pixels),
        Form::Native(_) => None,
    }
}

fn native(input: &Input) -> Option<&Rgb> {
    match &input.0 {
        Form::Native(image) => Some(image),
        Form::Ready(_) => None,
    }
}

/// The prediction of one image from all its views.
fn one(network: &mut Network, image: &Rgb, size: [usize; 2], request: &Request) -> Prediction {
    let Tta { flip, scales } = &request.tta;
    let mirrored = || [false, true].into_iter().take(if *flip { 2 } else { 1 });
    let mut sums: Option<Probabilities> = None;
    for (scale, is_mirrored) in scales.iter().flat_map(|s| mirrored().map(move |m| (*s, m))) {
        let mut image = image.clone();
        if is_mirrored {
            transform::flip_rgb(&mut image);
        }
        let logits = view(network, &image, scale, request);
        if request.tta.n_views() == 1 {
            return Prediction::view(logits, size);
        }
        let logits = if is_mirrored { logits.flip([3]) } else { logits };
        let [_, n_classes, _, _] = logits.dims();
        let device = logits.device();
        sums.get_or_insert_with(|| Probabilities::new(n_classes, size, &device)).add(logits);
    }
    Prediction::views(sums.expect("there is at least one scale: checked with the spec"), size)
}

/// The logits of one view, `[1, n_classes, rows, columns]`.
fn view(network: &mut Network, image: &Rgb, scale: f64, request: &Request) -> Tensor<4> {
    match request.mode {
        Mode::Whole {} => whole::view(network, image, scale, request),
        Mode::Slide { crop, stride, short_side } => {
            let short_px = scaled(short_side.unwrap_or(crop), scale);
            slide::view(network, image, Windows { crop, stride, short_px }, request)
        }
    }
}
