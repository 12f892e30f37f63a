//! Draws a picture of every corruption at every level, with labels.

use rayon::prelude::*;

use super::text::Font;
use crate::corrupt::frost::Source;
use crate::corrupt::{Corruptor, Effect, Severity, TABLE};
use crate::data::{Mask, Rgb, transform};

/// Longest side of one picture in the grid.
const TILE_PX: u32 = 256;
const GAP_PX: usize = 4;
/// Height of the letters.
const TEXT_PX: f32 = 18.0;
const PAPER: [u8; 3] = [255; 3];
const INK: [u8; 3] = [20; 3];

/// Draws one row for each corruption in the order of [`TABLE`]: its name, the clean image, and
/// levels 1 to 5.
///
/// Each picture is corrupted at its own size and then shrunk. `corruptor` makes what is to be
/// drawn for an effect. All levels of a row draw the same random numbers (those of level 5): the
/// same texture, the same angle, the same flakes.
pub fn grid<E: Send>(
    (image, image_id): (&Rgb, &str),
    (seed, source): (u64, Source),
    corruptor: impl Fn(Effect, Severity) -> Result<Corruptor, E> + Sync,
) -> Result<Rgb, E> {
    let tile = Tile::of(image);
    let effects: Vec<_> = TABLE.iter().map(|row| Effect::of(row.corruption, source)).collect();
    let jobs: Vec<_> = effects
        .iter()
        .flat_map(|&effect| Severity::ALL.map(|severity| (effect, severity)))
        .collect();
    let small = jobs
        .par_iter()
        .map(|&(effect, severity)| {
            let [.., drawn] = Severity::ALL;
            let pair = (image, &mut Mask::empty());
            let corruptor = corruptor(effect, severity)?;
            Ok(tile.shrink(&corruptor.corrupt_as(drawn, seed, image_id, pair)))
        })
        .collect::<Result<Vec<_>, E>>()?;
    let font = Font::new(TEXT_PX);
    let names: Vec<_> = effects.into_iter().map(Effect::name).collect();
    let label = names.iter().map(|name| font.width_px(name)).max().unwrap_or(0) + 2 * GAP_PX;
    let head = font.height_px() + 2 * GAP_PX;
    let (wide, tall) = (tile.width as usize + GAP_PX, tile.height as usize + GAP_PX);
    let (width, height) = (label + 6 * wide, head + names.len() * tall);
    let line = font.height_px();
    let mut sheet = Sheet::new(width, height, font);
    let column = |i: usize| label + i * wide;
    sheet.write("original", (column(0), GAP_PX));
    for severity in Severity::ALL {
        let level = severity.get();
        sheet.write(&format!("level {level}"), (column(usize::from(level)), GAP_PX));
    }
    let original = tile.shrink(image);
    for (row, (name, levels)) in names.iter().zip(small.chunks_exact(5)).enumerate() {
        let top = head + row * tall;
        let middle = top + (tile.height as usize).saturating_sub(line) / 2;
        sheet.write(name, (GAP_PX, middle));
        sheet.paste(&original, (column(0), top));
        for (i, picture) in levels.iter().enumerate() {
            sheet.paste(picture, (column(i + 1), top));
        }
    }
    Ok(sheet.image)
}

/// Size of one picture in the grid.
#[derive(Debug, Clone, Copy)]
struct Tile {
    width: u32,
    height: u32,
}

impl Tile {
    fn of(image: &Rgb) -> Self {
        let longest = image.width.max(image.height).max(1);
        let shrunk = |side: u32| {
            if longest <= TILE_PX {
                return side.max(1);
            }
            (f64::from(side) * f64::from(TILE_PX) / f64::from(longest)).round().max(1.0) as u32
        };
        Self { width: shrunk(image.width), height: shrunk(image.height) }
    }

    fn shrink(self, image: &Rgb) -> Rgb {
        transform::squash(image, self.height, self.width)
    }
}

/// The sheet that pictures and words are drawn on.
struct Sheet {
    image: Rgb,
    font: Font,
}

impl Sheet {
    fn new(width: usize, height: usize, font: Font) -> Self {
        let pixels = PAPER.repeat(width * height);
        Self { image: Rgb { width: width as u32, height: height as u32, pixels }, font }
    }

    fn paste(&mut self, picture: &Rgb, (left, top): (usize, usize)) {
        let (stride, row) = (self.image.width as usize * 3, picture.width as usize * 3);
        for (y, pixels) in picture.pixels.chunks_exact(row).enumerate() {
            let start = (top + y) * stride + left * 3;
            self.image.pixels[start..start + row].copy_from_slice(pixels);
        }
    }

    /// Writes `text` on the sheet; the part that does not fit is cut off.
    fn write(&mut self, text: &str, (left, top): (usize, usize)) {
        self.font.draw(&mut self.image, text, (left, top), INK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(width: u32, height: u32) -> Rgb {
        let pixels = (0..width * height * 3).map(|i| (i % 251) as u8).collect();
        let image = Rgb { width, height, pixels };
        let corruptor = |effect, severity| Corruptor::new(effect, severity, None);
        grid((&image, "a"), (0, Source::Procedural), corruptor).unwrap()
    }

    #[test]
    fn the_grid_has_a_row_a_corruption_and_six_columns() {
        let font = Font::new(TEXT_PX);
        let names = TABLE.iter().map(|row| Effect::of(row.corruption, Source::Procedural).name());
        let label = names.map(|name| font.width_px(&name)).max().unwrap() + 2 * GAP_PX;
        let head = font.height_px() + 2 * GAP_PX;
        for (width, height, tile) in [(30, 20, (30, 20)), (1, 1, (1, 1)), (600, 10, (256, 4))] {
            let sheet = draw(width, height);
            assert_eq!(sheet.width as usize, label + 6 * (tile.0 + GAP_PX));
            assert_eq!(sheet.height as usize, head + 19 * (tile.1 + GAP_PX));
        }
    }

    #[test]
    fn names_and_pictures_are_on_the_sheet() {
        let sheet = draw(60, 40);
        let ink = sheet.pixels.chunks(3).filter(|pixel| **pixel == INK).count();
        assert!(ink > 500, "{ink}");
        let paper = sheet.pixels.chunks(3).filter(|pixel| **pixel == PAPER).count();
        assert!(paper * 2 < sheet.pixels.len() / 3, "{paper}");
    }
}
