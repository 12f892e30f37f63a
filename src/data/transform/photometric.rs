//! Photometric distortion: brightness, contrast, saturation and hue, each with probability 1/2.
//!
//! As mmsegmentation's `PhotoMetricDistortion` (mmseg/datasets/transforms/transforms.py, 1.2.2)
//! with its default ranges, whole levels after each operation included. Hue moves by −18 to 17 of
//! the 180 steps that `cv2`'s bytes have: two degrees each. DINOv3 has the same operations by
//! torchvision, and turns hue all the way round.

use crate::data::Rgb;
use crate::rng::{self, ChaCha8Rng};

const BRIGHTNESS_MAX: f64 = 32.0;
const FACTORS: [f64; 2] = [0.5, 1.5];
const HUE_STEPS_MAX: u64 = 18;
/// Number of hue steps of a full turn in a byte.
const HUE_STEPS: i32 = 180;
/// Fractional bits of the fixed-point tables that `cv2` divides by.
const FIXED_BITS: i32 = 12;
/// [`WayBack::order`] of each sixth of the turn.
const ORDERS: [[usize; 3]; 6] = [[0, 3, 1], [2, 0, 1], [1, 0, 3], [1, 2, 0], [3, 1, 0], [0, 1, 2]];

/// The operations on one image; `None` where one is not drawn.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Distortion {
    /// The brightness that is added.
    pub brightness: Option<f32>,
    /// The contrast that is multiplied.
    pub contrast: Option<f32>,
    /// Whether contrast comes right after brightness, or at the end.
    pub contrast_first: bool,
    /// Factor on HSV's saturation.
    pub saturation: Option<f32>,
    /// The hue that is added, in steps of two degrees.
    pub hue: Option<i32>,
}

impl Distortion {
    pub fn draw(rng: &mut ChaCha8Rng) -> Self {
        fn coin(rng: &mut ChaCha8Rng) -> bool {
            rng::below(rng, 2) == 1
        }
        // All is drawn, used or not, so that no draw shifts another.
        let within = |rng: &mut ChaCha8Rng, [low, high]: [f64; 2]| {
            let is_used = coin(rng);
            let value = low + (high - low) * rng::uniform(rng);
            is_used.then_some(value as f32)
        };
        let brightness = within(rng, [-BRIGHTNESS_MAX, BRIGHTNESS_MAX]);
        let contrast_first = coin(rng);
        let contrast = within(rng, FACTORS);
        let saturation = within(rng, FACTORS);
        let is_turned = coin(rng);
        let hue = rng::below(rng, 2 * HUE_STEPS_MAX) as i32 - HUE_STEPS_MAX as i32;
        let hue = is_turned.then_some(hue);
        Self { brightness, contrast, contrast_first, saturation, hue }
    }

    pub fn apply(&self, image: &mut Rgb) {
        let [before, after] = self.tables();
        let (pixels, _) = image.pixels.as_chunks_mut::<3>();
        if self.saturation.is_none() && self.hue.is_none() {
            let table = before.map(|level| after[usize::from(level)]);
            for level in pixels.as_flattened_mut() {
                *level = table[usize::from(*level)];
            }
            return;
        }
        let hsv = HsvTables::new();
        let saturations: Option<[u8; 256]> = self
            .saturation
            .map(|factor| std::array::from_fn(|level| whole_level(level as f32 * factor)));
        for pixel in pixels {
            let mut rgb = pixel.map(|level| before[usize::from(level)]);
            if let Some(table) = &saturations {
                let [hue, saturation, value] = hsv.of(rgb);
                rgb = hsv.rgb([hue, table[usize::from(saturation)], value]);
            }
            if let Some(steps) = self.hue {
                let [hue, saturation, value] = hsv.of(rgb);
                let hue = (i32::from(hue) + steps).rem_euclid(HUE_STEPS) as u8;
                rgb = hsv.rgb([hue, saturation, value]);
            }
            *pixel = rgb.map(|level| after[usize::from(level)]);
        }
    }

    /// Lookup tables of levels, applied before the colours change, and after.
    fn tables(&self) -> [[u8; 256]; 2] {
        let mut before: [u8; 256] = std::array::from_fn(|level| level as u8);
        let mut after = before;
        if let Some(shift) = self.brightness {
            before = before.map(|level| whole_level(f32::from(level) + shift));
        }
        if let Some(factor) = self.contrast {
            let table = if self.contrast_first { &mut before } else { &mut after };
            *table = table.map(|level| whole_level(f32::from(level) * factor));
        }
        [before, after]
    }
}

/// Cuts to whole levels, as numpy's `astype(uint8)` after `clip`.
fn whole_level(value: f32) -> u8 {
    value.clamp(0.0, 255.0) as u8
}

/// `cv2`'s HSV of bytes: hue in 180 steps, saturation and value in 255.
struct HsvTables {
    /// 255 / value.
    of_value: [i32; 256],
    /// 30 / (max - min).
    of_range: [i32; 256],
    /// Of each hue.
    ways_back: [WayBack; HUE_STEPS as usize],
}

/// How a hue becomes a colour.
#[derive(Debug, Clone, Copy)]
struct WayBack {
    /// Of the sixth of the turn that the hue is in.
    part: f32,
    /// Which of highest, lowest, falling and rising level red, green and blue are.
    order: [usize; 3],
}

impl HsvTables {
    fn new() -> Self {
        let divided = |turn: i32| {
            std::array::from_fn(move |by: usize| match by {
                0 => 0,
                by => (f64::from(turn << FIXED_BITS) / by as f64).round_ties_even() as i32,
            })
        };
        let way_back = |hue: usize| {
            let turned = hue as f32 * (6.0 / HUE_STEPS as f32);
            let order = ORDERS[turned as usize];
            WayBack { part: turned - turned.trunc(), order }
        };
        Self {
            of_value: divided(255),
            of_range: divided(HUE_STEPS / 6),
            ways_back: std::array::from_fn(way_back),
        }
    }

    fn of(&self, rgb: [u8; 3]) -> [u8; 3] {
        let half = 1 << (FIXED_BITS - 1);
        let [red, green, blue] = rgb.map(i32::from);
        let value = red.max(green).max(blue);
        let range = value - red.min(green).min(blue);
        let saturation = (range * self.of_value[value as usize] + half) >> FIXED_BITS;
        // Each is reckoned, so that nothing has to be guessed from pixel to pixel.
        let of_green = blue - red + 2 * range;
        let of_blue = red - green + 4 * range;
        let not_red = if value == green { of_green } else { of_blue };
        let sixths = if value == red { green - blue } else { not_red };
        let hue = (sixths * self.of_range[range as usize] + half) >> FIXED_BITS;
        let hue = if hue < 0 { hue + HUE_STEPS } else { hue };
        [hue as u8, saturation as u8, value as u8]
    }

    /// In f32 and cut to whole levels, as `cv2` where it has vectors with fused multiplication (in
    /// f64 here: 48 bits hold the product): so a colour that goes there and back is a third of a
    /// level darker on average.
    fn rgb(&self, [hue, saturation, value]: [u8; 3]) -> [u8; 3] {
        let WayBack { part, order } = self.ways_back[usize::from(hue)];
        let saturation = f64::from(f32::from(saturation) * (1.0 / 255.0));
        let brightest = f32::from(value) * (1.0 / 255.0);
        let level = |share: f32| {
            let kept = (1.0 - saturation * f64::from(share)) as f32;
            (brightest * kept * 255.0) as u8
        };
        let levels = [value, level(1.0), level(part), level(1.0 - part)];
        order.map(|of| levels[of])
    }
}

#[cfg(test)]
mod tests;
