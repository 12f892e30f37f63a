//! Predicts an image in sliding windows.
//!
//! Windows are those of mmsegmentation's `slide_inference`, padding is Meta's `CenterPadding`
//! (facebookresearch/dinov2, `dinov2/eval/segmentation`): zeros on both sides of the normalised
//! window up to a multiple of the patch, and, as there, logits stretched back over the window.

use burn::tensor::{Device, Tensor};

use super::forward;
use super::request::Request;
use crate::data::{Rgb, transform};
use crate::kernel::canvas::{Canvas, Window};
use crate::model::Network;

/// Number of windows in one forward pass on the CPU. Fixed, because a batch's size may touch the last
/// bits.
const BATCH: usize = 4;

/// As [`BATCH`], on GPUs.
const BATCH_GPU: usize = 16;

/// The grid of windows on an image whose short side is resized to `short_px`; all in pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    pub crop: u32,
    pub stride: u32,
    pub short_px: u32,
}

/// The mean logits over the windows of one image, `[1, n_classes, height, width]` at the size that
/// it was resized to.
pub(super) fn view(
    network: &mut Network,
    image: &Rgb,
    Windows { crop, stride, short_px }: Windows,
    request: &Request,
) -> Tensor<4> {
    let image = resize_short(image, short_px);
    let size = [image.height as usize, image.width as usize];
    let windows = windows(size, crop as usize, stride as usize);
    let values = request.normalised(&image);
    let patch = request.patch_px as usize;
    let mut canvas: Option<Canvas> = None;
    let on_cpu = network.device() == Device::flex();
    for windows in windows.chunks(if on_cpu { BATCH } else { BATCH_GPU }) {
        // All windows of an image have one size.
        let padded = windows[0].size.map(|px| px.next_multiple_of(patch));
        let batch: Vec<f32> =
            windows.iter().flat_map(|window| cut(&values, size, *window, padded)).collect();
        let logits = forward::logits(network, batch, padded);
        let [_, n_classes, _, _] = logits.dims();
        let device = logits.device();
        canvas.get_or_insert_with(|| Canvas::new(n_classes, size, &device)).add(logits, windows);
    }
    canvas.expect("an image has at least one window").mean()
}

/// Windows that cover `size`; those at the far sides are shifted inwards, so that all have one
/// size.
fn windows(size: [usize; 2], crop: usize, stride: usize) -> Vec<Window> {
    let starts = |px: usize| {
        let n = px.saturating_sub(crop).div_ceil(stride) + 1;
        (0..n).map(move |i| (i * stride).min(px.saturating_sub(crop)))
    };
    let size_px = size.map(|px| px.min(crop));
    starts(size[0])
        .flat_map(|top| starts(size[1]).map(move |left| Window { top, left, size: size_px }))
        .collect()
}

/// Cuts one window out of `[3, height, width]` and pads it with zeros on its sides up to `padded`.
fn cut(values: &[f32], size: [usize; 2], window: Window, padded: [usize; 2]) -> Vec<f32> {
    let before = [0, 1].map(|axis| (padded[axis] - window.size[axis]) / 2);
    let mut out = vec![0.0; 3 * padded[0] * padded[1]];
    let planes = out.chunks_exact_mut(padded[0] * padded[1]);
    for (out, plane) in planes.zip(values.chunks_exact(size[0] * size[1])) {
        let rows = out.chunks_exact_mut(padded[1]).skip(before[0]).take(window.size[0]);
        for (y, out) in rows.enumerate() {
            let row = &plane[(window.top + y) * size[1] + window.left..][..window.size[1]];
            out[before[1]..before[1] + window.size[1]].copy_from_slice(row);
        }
    }
    out
}

/// Resizes `image` so that its short side is `short_px`, its shape kept, rounded as mmsegmentation
/// does.
fn resize_short(image: &Rgb, short_px: u32) -> Rgb {
    let factor = f64::from(short_px) / f64::from(image.height.min(image.width).max(1));
    transform::squash(image, scaled(image.height, factor), scaled(image.width, factor))
}

/// A side times `factor`, rounded as mmsegmentation does.
pub(super) fn scaled(px: u32, factor: f64) -> u32 {
    ((f64::from(px) * factor + 0.5) as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(size: [usize; 2], crop: usize, stride: usize, expect: &[(usize, usize)]) {
        let windows = windows(size, crop, stride);
        let at: Vec<_> = windows.iter().map(|window| (window.top, window.left)).collect();
        assert_eq!(at, expect, "{size:?} {crop} {stride}");
    }

    #[test]
    fn windows_are_those_of_slide_inference() {
        check([512, 512], 512, 341, &[(0, 0)]);
        check([512, 683], 512, 341, &[(0, 0), (0, 171)]);
        check([512, 1024], 512, 341, &[(0, 0), (0, 341), (0, 512)]);
        check([5, 4], 3, 2, &[(0, 0), (0, 1), (2, 0), (2, 1)]);
        // Smaller than the crop: one window of the image's own size.
        check([300, 200], 512, 341, &[(0, 0)]);
        assert_eq!(super::windows([300, 200], 512, 341)[0].size, [300, 200]);
    }

    #[test]
    fn windows_are_padded_centrally_with_zeros() {
        let values: Vec<f32> = (1..=27).map(|i| i as f32).collect();
        let window = Window { top: 1, left: 0, size: [2, 2] };
        let out = cut(&values, [3, 3], window, [4, 5]);
        let plane = [
            [0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 4.0, 5.0, 0.0, 0.0],
            [0.0, 7.0, 8.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0],
        ];
        assert_eq!(out[..20], plane.concat());
        assert_eq!(out[26..28], [13.0, 14.0]);
        assert_eq!(out.len(), 60);
    }

    #[test]
    fn the_short_side_is_the_one_asked_for() {
        let image =
            |width, height| Rgb { width, height, pixels: vec![0; (width * height * 3) as usize] };
        let size = |width, height| {
            let resized = resize_short(&image(width, height), 512);
            (resized.width, resized.height)
        };
        assert_eq!(size(500, 375), (683, 512));
        assert_eq!(size(375, 500), (512, 683));
        assert_eq!(size(512, 512), (512, 512));
    }
}
