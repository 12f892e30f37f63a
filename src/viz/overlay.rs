//! Class maps over their images, and legends of the classes.

use std::collections::BTreeMap;

use super::text::Font;
use crate::data::image_io::Palette;
use crate::data::{Mask, Rgb};

/// Part of a class's colour in an overlay.
const ALPHA: f32 = 0.55;
const PAPER: [u8; 3] = [255; 3];
const INK: [u8; 3] = [20; 3];
/// Height of a legend's lines, and of the chips of colour in them.
const LINE_PX: usize = 18;
const CHIP_PX: usize = 12;
const GAP_PX: usize = 6;
/// Longest name, pixels; longer ones are cut.
const NAME_PX_MAX: usize = 220;

/// The image with the colours of its classes over it, and a line around each region. `mask` is of
/// the image's size; classes without a name stay as they are.
pub fn overlay(image: &Rgb, mask: &Mask, palette: &Palette, n_classes: usize) -> Rgb {
    let (width, height) = (image.width as usize, image.height as usize);
    let mut out = image.clone();
    for (i, pixel) in out.pixels.chunks_exact_mut(3).enumerate() {
        let class = mask.classes[i];
        if usize::from(class) >= n_classes {
            continue;
        }
        let (x, y) = (i % width, i / width);
        let is_border = (x + 1 < width && mask.classes[i + 1] != class)
            || (y + 1 < height && mask.classes[i + width] != class);
        let alpha = if is_border { 1.0 } else { ALPHA };
        for (value, colour) in pixel.iter_mut().zip(palette[usize::from(class)]) {
            let mixed = f32::from(*value) * (1.0 - alpha) + f32::from(colour) * alpha;
            *value = mixed.round() as u8;
        }
    }
    out
}

/// The colours of a class map, without the image; void and other values that are no class have the
/// palette's.
pub fn coloured(mask: &Mask, palette: &Palette) -> Rgb {
    let pixels = mask.classes.iter().flat_map(|class| palette[usize::from(*class)]).collect();
    Rgb { width: mask.width, height: mask.height, pixels }
}

/// The classes in some maps, the most frequent first, each with its share of the pixels that have
/// a class.
pub fn present<'a>(masks: impl IntoIterator<Item = &'a Mask>, n_classes: usize) -> Vec<(u8, f64)> {
    let mut counts = BTreeMap::new();
    for class in masks.into_iter().flat_map(|mask| &mask.classes) {
        if usize::from(*class) < n_classes {
            *counts.entry(*class).or_insert(0_u64) += 1;
        }
    }
    let total: u64 = counts.values().sum();
    let mut found: Vec<_> =
        counts.into_iter().map(|(class, n)| (class, n as f64 / total as f64)).collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    found
}

/// A legend `width` pixels wide: for each of `classes` a chip of its colour and its name, as many in
/// a line as fit.
pub fn legend(classes: &[u8], names: &[String], palette: &Palette, width: u32) -> Rgb {
    let font = Font::new(LINE_PX as f32 - 4.0);
    let name = |class: u8| {
        let name = names.get(usize::from(class)).map_or("?", String::as_str);
        font.shortened(name, NAME_PX_MAX.min((width as usize).saturating_sub(CHIP_PX + 3 * GAP_PX)))
    };
    let names: Vec<String> = classes.iter().map(|class| name(*class)).collect();
    let item_px = |name: &str| CHIP_PX + GAP_PX + font.width_px(name) + 2 * GAP_PX;
    // Columns of one width, so that names stand below each other.
    let widest = names.iter().map(|name| item_px(name)).max().unwrap_or(0).max(1);
    let columns = (width as usize / widest).max(1);
    let lines = classes.len().div_ceil(columns);
    let height = (lines * LINE_PX + 2 * GAP_PX) as u32;
    let pixels = PAPER.repeat((width * height) as usize);
    let mut image = Rgb { width, height, pixels };
    for (i, (class, name)) in classes.iter().zip(&names).enumerate() {
        let left = GAP_PX + i % columns * widest;
        let top = GAP_PX + i / columns * LINE_PX;
        chip(&mut image, (left, top + (LINE_PX - CHIP_PX) / 2), palette[usize::from(*class)]);
        font.draw(&mut image, name, (left + CHIP_PX + GAP_PX, top + 2), INK);
    }
    image
}

/// A square of colour with a thin line around it.
fn chip(image: &mut Rgb, (left, top): (usize, usize), colour: [u8; 3]) {
    let (width, height) = (image.width as usize, image.height as usize);
    for y in top..(top + CHIP_PX).min(height) {
        for x in left..(left + CHIP_PX).min(width) {
            let is_edge =
                y == top || x == left || y + 1 == top + CHIP_PX || x + 1 == left + CHIP_PX;
            let start = (y * width + x) * 3;
            let colour = if is_edge { INK } else { colour };
            image.pixels[start..start + 3].copy_from_slice(&colour);
        }
    }
}

/// Pictures of one width below each other.
pub fn stacked(parts: &[&Rgb]) -> Rgb {
    let width = parts.first().map_or(0, |part| part.width);
    let height = parts.iter().map(|part| part.height).sum();
    let pixels = parts.iter().flat_map(|part| part.pixels.iter().copied()).collect();
    Rgb { width, height, pixels }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viz::palette;

    fn mask(width: u32, classes: &[u8]) -> Mask {
        Mask { width, height: classes.len() as u32 / width, classes: classes.to_vec() }
    }

    fn grey(width: u32, height: u32) -> Rgb {
        Rgb { width, height, pixels: vec![100; (width * height * 3) as usize] }
    }

    #[test]
    fn void_is_not_coloured_and_borders_are() {
        let palette = palette::of_classes(&["a".to_owned(), "b".to_owned()]);
        let out = overlay(&grey(4, 1), &mask(4, &[0, 0, 1, 255]), &palette, 2);
        let pixel = |i: usize| &out.pixels[3 * i..3 * i + 3];
        assert_eq!(pixel(3), [100; 3]);
        assert_eq!((pixel(1), pixel(2)), (&palette[0][..], &palette[1][..]));
        assert_ne!(pixel(0), pixel(1));
    }

    #[test]
    fn the_most_frequent_class_is_first_and_void_does_not_count() {
        let found = present([&mask(4, &[1, 0, 1, 255]), &mask(2, &[1, 1])], 2);
        assert_eq!(found, [(1, 0.8), (0, 0.2)]);
    }

    #[test]
    fn a_legend_is_as_wide_as_asked_and_as_high_as_needed() {
        let names: Vec<String> = (0..30).map(|i| format!("a class called {i}")).collect();
        let palette = palette::of_classes(&names);
        let all: Vec<u8> = (0..30).collect();
        let wide = legend(&all, &names, &palette, 900);
        let narrow = legend(&all, &names, &palette, 60);
        assert_eq!((wide.width, narrow.width), (900, 60));
        assert_eq!(narrow.height as usize, 30 * LINE_PX + 2 * GAP_PX);
        assert!(wide.height < narrow.height / 4);
        assert_eq!(legend(&[], &names, &palette, 10).height as usize, 2 * GAP_PX);
    }
}
