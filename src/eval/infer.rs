//! Predictions from several views of an image: sliding windows, scales, mirrored copies.
//!
//! Windows are those of mmsegmentation's `slide_inference`, padding is Meta's `CenterPadding`
//! (facebookresearch/dinov2, `dinov2/eval/segmentation`): zeros on both sides of the normalised
//! window up to a multiple of the patch, and, as there, logits stretched back over the window.
//! Views are averaged as class probabilities at the labels' size, as mmsegmentation's `aug_test`.

use burn::tensor::{Tensor, TensorData};

use super::{Mode, Tta};
use crate::data::{Rgb, transform};
use crate::eval::score::pass::{Protocol, check_finite, to_vec};
use crate::kernel::upsampled::{self, Logits};
use crate::kernel::windows::{Canvas, Probabilities, Window, mirror};
use crate::model::{self, Network};
use crate::weights::NotFinite;

/// Windows of one forward pass. Fixed, because a batch's size may touch the last bits.
const BATCH: usize = 4;

/// One view's logits, `[n_classes, height, width]`.
struct View {
    values: Vec<f32>,
    n_classes: usize,
    grid: [usize; 2],
}

impl View {
    fn logits(&self) -> Logits<'_> {
        Logits { values: &self.values, n_classes: self.n_classes, grid: self.grid }
    }
}

/// Whether one squashed view is all that is asked for.
pub(super) fn is_plain(protocol: &Protocol) -> bool {
    protocol.mode == Mode::Whole {} && protocol.tta == Tta::default()
}

/// The class of each pixel of `image` at `size` (height, width), row-major; the error is of logits
/// that are not finite.
pub(super) fn predict(
    network: &mut Network,
    image: &Rgb,
    size: [usize; 2],
    protocol: &Protocol,
) -> Result<Vec<u8>, NotFinite> {
    let Tta { flip, scales } = &protocol.tta;
    let mut sums: Option<Probabilities> = None;
    let mirrored = || [false, true].into_iter().take(if *flip { 2 } else { 1 });
    for (scale, is_mirrored) in scales.iter().flat_map(|s| mirrored().map(move |m| (*s, m))) {
        let mut image = image.clone();
        if is_mirrored {
            transform::flip_rgb(&mut image);
        }
        let mut view = match protocol.mode {
            Mode::Whole {} => whole(network, &image, scale, protocol)?,
            Mode::Slide { crop, stride, short_side } => {
                let short_px = scaled(short_side.unwrap_or(crop), scale);
                slide(network, &resize_short(&image, short_px), (crop, stride), protocol)?
            }
        };
        if protocol.tta.n_views() == 1 {
            return Ok(upsampled::arg_max(view.logits(), size));
        }
        if is_mirrored {
            mirror(&mut view.values, view.grid[1]);
        }
        sums.get_or_insert_with(|| Probabilities::new(view.n_classes, size)).add(view.logits());
    }
    Ok(sums.expect("there is at least one scale: checked with the spec").arg_max())
}

/// The image squashed to the scaled input.
fn whole(
    network: &mut Network,
    image: &Rgb,
    scale: f64,
    protocol: &Protocol,
) -> Result<View, NotFinite> {
    let px = protocol.input_px.map(|px| {
        let patches = (f64::from(px) * scale / f64::from(protocol.patch_px)).round() as u32;
        patches.max(1) * protocol.patch_px
    });
    let image = transform::squash(image, px[0], px[1]);
    let size = px.map(|px| px as usize);
    let (values, n_classes, grid) = forward(network, &normalised(&image, protocol), size)?;
    Ok(View { values, n_classes, grid })
}

/// The mean over windows of `crop` px every `stride` px.
fn slide(
    network: &mut Network,
    image: &Rgb,
    (crop, stride): (u32, u32),
    protocol: &Protocol,
) -> Result<View, NotFinite> {
    let size = [image.height as usize, image.width as usize];
    let windows = windows(size, crop as usize, stride as usize);
    let values = normalised(image, protocol);
    let patch = protocol.patch_px as usize;
    let mut canvas: Option<(Canvas, usize)> = None;
    for windows in windows.chunks(BATCH) {
        // All windows of an image have one size.
        let padded = windows[0].size.map(|px| px.next_multiple_of(patch));
        let batch: Vec<f32> =
            windows.iter().flat_map(|window| cut(&values, size, *window, padded)).collect();
        let (logits, n_classes, grid) = forward(network, &batch, padded)?;
        let (canvas, _) = canvas.get_or_insert_with(|| (Canvas::new(n_classes, size), n_classes));
        for (values, window) in logits.chunks_exact(logits.len() / windows.len()).zip(windows) {
            canvas.add(Logits { values, n_classes, grid }, *window);
        }
    }
    let (canvas, n_classes) = canvas.expect("an image has at least one window");
    Ok(View { values: canvas.mean(), n_classes, grid: size })
}

/// Windows that cover `size`, those at the far sides shifted inwards; all of one size.
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

/// One window of `[3, height, width]`, zeros on its sides up to `padded`.
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

/// `image` at another size of the same shape, rounded as mmsegmentation does.
fn resize_short(image: &Rgb, short_px: u32) -> Rgb {
    let factor = f64::from(short_px) / f64::from(image.height.min(image.width).max(1));
    transform::squash(image, scaled(image.height, factor), scaled(image.width, factor))
}

fn scaled(px: u32, factor: f64) -> u32 {
    ((f64::from(px) * factor + 0.5) as u32).max(1)
}

fn normalised(image: &Rgb, protocol: &Protocol) -> Vec<f32> {
    let mut values = vec![0.0; 3 * (image.height * image.width) as usize];
    transform::to_chw(image, protocol.mean, protocol.std, &mut values);
    values
}

/// Logits `[batch, n_classes, rows, columns]`, their classes and grid.
fn forward(
    network: &mut Network,
    images: &[f32],
    size: [usize; 2],
) -> Result<(Vec<f32>, usize, [usize; 2]), NotFinite> {
    if network.prepared_px() != Some(size) {
        network.prepare(size);
    }
    let batch = images.len() / (3 * size[0] * size[1]);
    let data = TensorData::new(images.to_vec(), [batch, 3, size[0], size[1]]);
    let images = Tensor::from_data(data, &network.device());
    let logits = network.forward(images, model::Mode::Eval);
    let [_, n_classes, rows, columns] = logits.dims();
    let values = to_vec(logits);
    check_finite(&values)?;
    Ok((values, n_classes, [rows, columns]))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::eval::score::reference_metric::VoidIs;
    use crate::model::network::Parts;
    use crate::model::vit::Encoder;
    use crate::model::{DecoderConfig, TuneConfig, backbone, init};
    use crate::rng;

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

    const SIDE: u32 = 56;

    fn network() -> Network {
        let row = backbone::variants().find(|row| row.name == "dinov2_tiny14_reg");
        let mut encoder = Encoder::zeros(row.unwrap().arch, &Device::flex());
        init::encoder(&mut encoder, 3);
        let parts = Parts {
            tune: &TuneConfig::Frozen {},
            decoder: &DecoderConfig::Linear {},
            n_classes: 5,
            input_px: [SIDE as usize; 2],
            seed: 3,
        };
        Network::new(encoder, &parts).without_gradients()
    }

    fn noise(width: u32, height: u32) -> Rgb {
        let mut rng = rng::keyed(4, "image", &[]);
        // Blocks of colour, so that neighbouring pixels agree.
        let colours: Vec<u8> = (0..300).map(|_| rng::below(&mut rng, 256) as u8).collect();
        let pixels = (0..height)
            .flat_map(|y| (0..width).map(move |x| ((y / 14 * 8 + x / 14) % 100 * 3) as usize))
            .flat_map(|at| colours[at..at + 3].to_vec())
            .collect();
        Rgb { width, height, pixels }
    }

    fn protocol(mode: Mode, tta: Tta) -> Protocol {
        Protocol {
            mode,
            tta,
            input_px: [SIDE; 2],
            patch_px: 14,
            mean: [0.5; 3],
            std: [0.25; 3],
            reference_batch: 1,
            reference_void: VoidIs::LeftOut,
            threads: 1,
        }
    }

    fn classes(image: &Rgb, mode: Mode, tta: Tta) -> Vec<u8> {
        let size = [image.height as usize, image.width as usize];
        let classes = predict(&mut network(), image, size, &protocol(mode, tta)).unwrap();
        assert!(classes.iter().any(|class| *class != classes[0]), "a picture of one class");
        classes
    }

    fn slide(crop: u32, stride: u32) -> Mode {
        Mode::Slide { crop, stride, short_side: Some(SIDE) }
    }

    #[test]
    fn one_window_over_a_square_is_the_whole_image() {
        let image = noise(SIDE, SIDE);
        let whole = classes(&image, Mode::Whole {}, Tta::default());
        assert_eq!(classes(&image, slide(SIDE, 20), Tta::default()), whole);
        // A second window's worth of context changes something.
        assert_ne!(classes(&image, slide(28, 14), Tta::default()), whole);
    }

    #[test]
    fn a_mirrored_image_has_the_mirrored_prediction_under_flip_alone() {
        let image = noise(70, 56);
        let mut mirrored = image.clone();
        transform::flip_rgb(&mut mirrored);
        let flip = || Tta { flip: true, ..Tta::default() };
        let straight = classes(&image, slide(42, 14), flip());
        let mut back = classes(&mirrored, slide(42, 14), flip());
        back.chunks_exact_mut(70).for_each(<[u8]>::reverse);
        let differ = straight.iter().zip(&back).filter(|(a, b)| a != b).count();
        // The two views are summed in the other order: ties may fall the other way.
        assert!(differ * 200 <= straight.len(), "{differ} of {}", straight.len());
        assert_ne!(straight, classes(&image, slide(42, 14), Tta::default()));
    }

    #[test]
    fn scales_and_paddings_that_no_patch_divides_are_taken() {
        let image = noise(61, 47);
        let tta = Tta { flip: false, scales: vec![0.75, 1.3] };
        assert_eq!(classes(&image, Mode::Whole {}, tta.clone()).len(), 61 * 47);
        assert_eq!(classes(&image, slide(33, 21), tta).len(), 61 * 47);
    }
}
