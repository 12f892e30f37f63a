//! Text on pictures, in DejaVu Sans: Latin letters, digits and common signs.

use ab_glyph::{Font as _, FontRef, PxScale, ScaleFont as _, point};

use crate::data::Rgb;

/// A subset of DejaVu Sans 2.37; its licence is beside it.
const FILE: &[u8] = include_bytes!("fonts/DejaVuSans-latin.ttf");

/// What stands for the rest of a text that is cut.
const ELLIPSIS: char = '…';

/// Text of one size.
#[derive(Debug, Clone)]
pub struct Font {
    face: FontRef<'static>,
    scale: PxScale,
}

impl Font {
    /// A font whose lines are `height_px` high, from the top of the highest letter to the bottom of
    /// the lowest.
    pub fn new(height_px: f32) -> Self {
        let face = FontRef::try_from_slice(FILE).expect("the file is part of the program");
        Self { face, scale: PxScale::from(height_px) }
    }

    /// Height of a line, pixels.
    pub fn height_px(&self) -> usize {
        self.scale.y.ceil() as usize
    }

    /// Width of `text`, pixels.
    pub fn width_px(&self, text: &str) -> usize {
        let font = self.face.as_scaled(self.scale);
        let mut width = 0.0;
        let mut last = None;
        for letter in text.chars() {
            let glyph = font.glyph_id(letter);
            width += last.map_or(0.0, |last| font.kern(last, glyph)) + font.h_advance(glyph);
            last = Some(glyph);
        }
        width.ceil() as usize
    }

    /// `text`, or as much of its start as fits into `width_px` with an ellipsis behind.
    pub fn shortened(&self, text: &str, width_px: usize) -> String {
        if self.width_px(text) <= width_px {
            return text.to_owned();
        }
        let mut short = text.to_owned();
        while short.pop().is_some() {
            let cut = format!("{}{ELLIPSIS}", short.trim_end());
            if self.width_px(&cut) <= width_px {
                return cut;
            }
        }
        String::new()
    }

    /// Draws `text` on `image` with its top left corner at (`left`, `top`); what does not fit is
    /// cut off.
    pub fn draw(&self, image: &mut Rgb, text: &str, (left, top): (usize, usize), ink: [u8; 3]) {
        let font = self.face.as_scaled(self.scale);
        let mut x = left as f32;
        let baseline = top as f32 + font.ascent();
        let mut last = None;
        for letter in text.chars() {
            let glyph = font.glyph_id(letter);
            x += last.map_or(0.0, |last| font.kern(last, glyph));
            let placed = glyph.with_scale_and_position(self.scale, point(x, baseline));
            if let Some(outline) = font.outline_glyph(placed) {
                let bounds = outline.px_bounds();
                outline.draw(|dx, dy, cover| {
                    let (x, y) = (bounds.min.x + dx as f32, bounds.min.y + dy as f32);
                    blend(image, (x, y), ink, cover);
                });
            }
            x += font.h_advance(glyph);
            last = Some(glyph);
        }
    }
}

/// Mixes a pixel with `ink`; one outside of the image is left out.
fn blend(image: &mut Rgb, (x, y): (f32, f32), ink: [u8; 3], cover: f32) {
    if x < 0.0 || y < 0.0 || x >= image.width as f32 || y >= image.height as f32 {
        return;
    }
    let start = (y as usize * image.width as usize + x as usize) * 3;
    let cover = cover.clamp(0.0, 1.0);
    for (value, ink) in image.pixels[start..start + 3].iter_mut().zip(ink) {
        *value = (f32::from(*value) * (1.0 - cover) + f32::from(ink) * cover).round() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corrupt::TABLE;

    fn paper(width: u32, height: u32) -> Rgb {
        Rgb { width, height, pixels: vec![255; (width * height * 3) as usize] }
    }

    #[test]
    fn every_name_can_be_written() {
        let font = Font::new(14.0);
        let words = TABLE.iter().map(|row| row.name).chain(["original", "é ± × – … 12.3%*"]);
        for letter in words.flat_map(str::chars).filter(|letter| *letter != ' ') {
            assert_ne!(font.face.glyph_id(letter).0, 0, "{letter}");
        }
    }

    #[test]
    fn letters_stay_in_their_box() {
        let font = Font::new(20.0);
        let text = "gjpqÄ_|10";
        let mut image = paper(font.width_px(text) as u32 + 20, font.height_px() as u32 + 20);
        font.draw(&mut image, text, (10, 10), [0; 3]);
        let (width, height) = (image.width as usize, image.height as usize);
        let mut inside = 0;
        for (i, pixel) in image.pixels.chunks_exact(3).enumerate() {
            let (x, y) = (i % width, i / width);
            let is_margin = x < 9 || y < 9 || x + 9 > width || y + 9 > height;
            assert!(!is_margin || pixel == [255; 3], "ink at {x}, {y}");
            inside += usize::from(pixel != [255; 3]);
        }
        assert!(inside > 100, "{inside}");
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        let font = Font::new(12.0);
        let name = "a very long name of a class";
        let short = font.shortened(name, 80);
        assert!(short.ends_with(ELLIPSIS) && name.starts_with(short.trim_end_matches(ELLIPSIS)));
        assert!(font.width_px(&short) <= 80);
        assert_eq!(font.shortened("cat", 80), "cat");
        assert_eq!(font.shortened("cat", 1), "");
        // Off the picture nothing is drawn, and nothing fails.
        let mut image = paper(8, 8);
        font.draw(&mut image, name, (4, 4), [0; 3]);
        font.draw(&mut image, name, (400, 400), [0; 3]);
    }
}
