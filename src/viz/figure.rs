//! A figure as pictures and texts at places, written as PNG or as SVG.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::text::Font;
use crate::data::{Rgb, image_io};

const PAPER: [u8; 3] = [255; 3];
const INK: [u8; 3] = [20; 3];
/// Share of a line's height that lies above the baseline.
const ASCENT: f32 = 0.8;

/// A figure of a size in pixels.
#[derive(Debug, Clone, Default)]
pub struct Figure {
    pub width: usize,
    pub height: usize,
    pictures: Vec<(usize, usize, Rgb)>,
    texts: Vec<Text>,
}

#[derive(Debug, Clone)]
struct Text {
    left: usize,
    top: usize,
    height_px: f32,
    words: String,
}

impl Figure {
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, ..Self::default() }
    }

    /// Puts a picture with its top left corner at a place.
    pub fn picture(&mut self, (left, top): (usize, usize), picture: Rgb) {
        self.pictures.push((left, top, picture));
    }

    /// Writes `words` at a place, cut to `width_px`.
    pub fn text(&mut self, (left, top): (usize, usize), font: &Font, words: &str, width_px: usize) {
        let words = font.shortened(words, width_px);
        self.texts.push(Text { left, top, height_px: font.height_px() as f32, words });
    }

    /// The figure as one picture; what lies outside is cut off.
    pub fn to_rgb(&self) -> Rgb {
        let (width, height) = (self.width as u32, self.height as u32);
        let pixels = PAPER.repeat(self.width * self.height);
        let mut image = Rgb { width, height, pixels };
        for (left, top, picture) in &self.pictures {
            let row = picture.width as usize * 3;
            let n = row.min(self.width.saturating_sub(*left) * 3);
            let rows = picture.pixels.chunks_exact(row.max(1)).enumerate();
            for (y, pixels) in rows.take(self.height.saturating_sub(*top)) {
                let start = ((top + y) * self.width + left) * 3;
                image.pixels[start..start + n].copy_from_slice(&pixels[..n]);
            }
        }
        for Text { left, top, height_px, words } in &self.texts {
            Font::new(*height_px).draw(&mut image, words, (*left, *top), INK);
        }
        image
    }

    /// The figure as SVG: pictures are PNG inside, texts are texts.
    pub fn to_svg(&self) -> String {
        let (width, height) = (self.width, self.height);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"'DejaVu Sans', Verdana, sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        for (left, top, picture) in &self.pictures {
            let data = STANDARD.encode(image_io::write_png_rgb(picture));
            let (width, height) = (picture.width, picture.height);
            line(
                &mut svg,
                format_args!(
                    "<image x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" \
                 href=\"data:image/png;base64,{data}\"/>"
                ),
            );
        }
        let [red, green, blue] = INK;
        for Text { left, top, height_px, words } in &self.texts {
            let (base, size) = (*top as f32 + ASCENT * height_px, ASCENT * height_px);
            line(
                &mut svg,
                format_args!(
                    "<text x=\"{left}\" y=\"{base}\" font-size=\"{size}\" \
                 fill=\"rgb({red},{green},{blue})\">{}</text>",
                    escape(words)
                ),
            );
        }
        svg + "</svg>\n"
    }
}

fn line(svg: &mut String, element: std::fmt::Arguments<'_>) {
    writeln!(svg, "{element}").expect("a string takes every text");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure() -> Figure {
        let mut figure = Figure::new(60, 40);
        let red = Rgb { width: 10, height: 8, pixels: [200, 0, 0].repeat(80) };
        figure.picture((5, 6), red.clone());
        figure.picture((55, 36), red);
        figure.text((20, 10), &Font::new(14.0), "a < b", 40);
        figure
    }

    #[test]
    fn pictures_and_texts_are_where_they_belong_and_what_sticks_out_is_cut() {
        let image = figure().to_rgb();
        let pixel = |x: usize, y: usize| &image.pixels[(y * 60 + x) * 3..][..3];
        assert_eq!((pixel(5, 6), pixel(14, 13)), (&[200, 0, 0][..], &[200, 0, 0][..]));
        assert_eq!((pixel(4, 6), pixel(59, 39)), (&PAPER[..], &[200, 0, 0][..]));
        let dark = image.pixels.chunks_exact(3).filter(|pixel| pixel[1] < 100 && pixel[0] < 100);
        assert!(dark.count() > 10);
    }

    #[test]
    fn svg_has_the_same_parts() {
        let svg = figure().to_svg();
        assert_eq!(svg.matches("<image").count(), 2);
        assert!(svg.contains(">a &lt; b</text>") && svg.ends_with("</svg>\n"), "{svg}");
    }
}
