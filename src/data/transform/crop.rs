//! Scale jitter and random crops that no single class may fill.
//!
//! As mmsegmentation's `RandomCrop` (mmseg/datasets/transforms/transforms.py, 1.2.2) after the
//! resize of DINOv3's linear protocol (dinov3/eval/segmentation/transforms.py, 6876159). Masks take
//! the class under a pixel's centre (theirs the one under its corner), so that they stay on their
//! images. As DINOv3 and unlike mmsegmentation, images are antialiased when they shrink, and the
//! long side is not bounded (there by 2048 times the factor).

use serde::{Deserialize, Serialize};

use super::window::Window;
use crate::data::{Mask, Rgb, VOID};
use crate::rng::{self, ChaCha8Rng};

/// Number of boxes drawn after the first one; the last is taken unchecked.
const TRIES_MORE: usize = 10;

/// Key `train.transform` of kind `crop`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Short side in pixels before the jitter; default: the input's shorter side.
    pub short_side: Option<u32>,
    /// Bounds of the factor on the short side.
    pub scale: [f64; 2],
    /// Part of a crop's labelled pixels that one class must stay below; 1: no rule.
    pub max_class: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { short_side: None, scale: [0.5, 2.0], max_class: 0.75 }
    }
}

impl Config {
    pub fn short_side_px(&self, [height, width]: [u32; 2]) -> u32 {
        self.short_side.unwrap_or(height.min(width))
    }

    /// Draws the factor on the short side, uniform.
    pub fn draw_scale(&self, rng: &mut ChaCha8Rng) -> f64 {
        let [low, high] = self.scale;
        rng::uniform(rng) * (high - low) + low
    }

    /// Crops a part of the resized sample, at most `crop_px` (height and width); less where the
    /// resized sample is smaller.
    pub(super) fn apply(
        &self,
        (image, mask): (&Rgb, &Mask),
        crop_px: [u32; 2],
        mut rngs: [ChaCha8Rng; 2],
    ) -> (Rgb, Mask) {
        let [scale, place] = &mut rngs;
        let factor = self.draw_scale(scale);
        let whole = resized_px(self.short_side_px(crop_px), factor, [image.height, image.width]);
        let window = choose(mask, (whole, crop_px), self.max_class, |n| rng::below(place, n));
        (window.of_rgb(image), window.of_mask(mask))
    }
}

/// Height and width of an image whose short side is brought to `short_side_px * factor`, cut to
/// whole pixels, and its long side to the nearest.
pub fn resized_px(short_side_px: u32, factor: f64, [height, width]: [u32; 2]) -> [u64; 2] {
    let short = ((f64::from(short_side_px) * factor) as u64).max(1);
    let long = |long: u32, of: u32| (short as f64 * f64::from(long) / f64::from(of) + 0.5) as u64;
    if height > width { [long(height, width), short] } else { [short, long(width, height)] }
}

/// Draws a window of `crop_px` or less on a mask of the size `whole`. `draw(n)` is uniform below
/// `n`.
pub(super) fn choose(
    mask: &Mask,
    (whole, crop_px): ([u64; 2], [u32; 2]),
    max_class: f64,
    mut draw: impl FnMut(u64) -> u64,
) -> Window {
    let side = |axis: usize| u64::from(crop_px[axis]).min(whole[axis]);
    let [height, width] = [side(0), side(1)];
    let mut place = || Window {
        resized: whole,
        top: draw(whole[0] - height + 1),
        left: draw(whole[1] - width + 1),
        height: height as u32,
        width: width as u32,
    };
    let mut window = place();
    if max_class < 1.0 {
        for _ in 0..TRIES_MORE {
            if is_mixed(&window.class_counts(mask), max_class) {
                break;
            }
            window = place();
        }
    }
    window
}

/// Whether there are two classes at least, and none has `max_class` of the labelled pixels.
fn is_mixed(counts: &[u64; 256], max_class: f64) -> bool {
    let labelled = &counts[..usize::from(VOID)];
    let n_classes = labelled.iter().filter(|&&n| n > 0).count();
    let (sum, max) = labelled.iter().fold((0, 0), |(sum, max), &n| (sum + n, n.max(max)));
    n_classes > 1 && (max as f64 / sum as f64) < max_class
}

#[cfg(test)]
mod tests;
