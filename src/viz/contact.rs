//! Contact sheets: many small pictures, a column of them for each image, in one figure.

use super::figure::Figure;
use super::text::Font;
use crate::data::{Rgb, transform};

/// Longest side of one picture.
const TILE_PX: u32 = 256;
const GAP_PX: usize = 8;
const TEXT_PX: f32 = 15.0;
/// Images side by side, at most.
const COLUMNS_MAX: usize = 5;

/// Images, each with pictures of its shape below it.
#[derive(Default)]
pub struct Contact {
    cells: Vec<Cell>,
}

/// A name, and pictures of one size, small.
struct Cell {
    name: String,
    pictures: Vec<Rgb>,
}

impl Cell {
    fn width(&self) -> usize {
        self.pictures.first().map_or(0, |picture| picture.width as usize)
    }

    fn height(&self) -> usize {
        let one = |picture: &Rgb| picture.height as usize + GAP_PX / 2;
        self.pictures.iter().map(one).sum()
    }
}

impl Contact {
    /// Adds an image: pictures of one shape, of which the first says which.
    pub fn add(&mut self, name: &str, pictures: &[&Rgb]) {
        let Some(first) = pictures.first() else { return };
        let longest = first.width.max(first.height).max(1);
        let scale = (f64::from(TILE_PX) / f64::from(longest)).min(1.0);
        let small = |side: u32| (f64::from(side) * scale).round().max(1.0) as u32;
        let [height, width] = [first.height, first.width].map(small);
        let pictures = pictures.iter().map(|image| transform::squash(image, height, width));
        self.cells.push(Cell { name: name.to_owned(), pictures: pictures.collect() });
    }

    /// The sheet: rows of at most five images, each below its name. `legend` goes to the foot.
    pub fn figure(self, legend: impl Fn(u32) -> Option<Rgb>) -> Figure {
        let font = Font::new(TEXT_PX);
        let line = font.height_px() + GAP_PX / 2;
        // Rows equally full.
        let n_rows = self.cells.len().div_ceil(COLUMNS_MAX).max(1);
        let columns = self.cells.len().div_ceil(n_rows).max(1);
        let rows: Vec<_> = self.cells.chunks(columns).collect();
        let wide = |row: &&[Cell]| row.iter().map(|cell| cell.width() + GAP_PX).sum::<usize>();
        let step = |row: &[Cell]| line + row.iter().map(Cell::height).max().unwrap_or(0) + GAP_PX;
        let width = rows.iter().map(wide).max().unwrap_or(0) + GAP_PX;
        let foot = GAP_PX + rows.iter().map(|row| step(row)).sum::<usize>();
        let legend = legend(width as u32);
        let height = foot + legend.as_ref().map_or(0, |legend| legend.height as usize);
        let mut figure = Figure::new(width, height);
        let mut top = GAP_PX;
        for row in rows {
            let mut left = GAP_PX;
            for cell in row {
                figure.text((left, top), &font, &cell.name, cell.width());
                let mut below = top + line;
                for picture in &cell.pictures {
                    figure.picture((left, below), picture.clone());
                    below += picture.height as usize + GAP_PX / 2;
                }
                left += cell.width() + GAP_PX;
            }
            top += step(row);
        }
        if let Some(legend) = legend {
            figure.picture((0, foot), legend);
        }
        figure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_images_of_any_shape_has_room() {
        for n in [1, 2, 5, 6, 11, 60] {
            let mut sheet = Contact::default();
            for i in 0..n {
                let (width, height) = if i % 3 == 0 { (600, 20) } else { (300, 700) };
                let pixels = vec![90; (3 * width * height) as usize];
                let image = Rgb { width, height, pixels };
                sheet.add("a long name of an image", &[&image, &image]);
            }
            let legend =
                |width| Some(Rgb { width, height: 7, pixels: vec![9; 21 * width as usize] });
            let figure = sheet.figure(legend);
            let image = figure.to_rgb();
            assert!(figure.width <= COLUMNS_MAX * (TILE_PX as usize + GAP_PX) + GAP_PX);
            let count =
                |level: u8| image.pixels.chunks(3).filter(|pixel| **pixel == [level; 3]).count();
            let tiles = [256 * 9, 110 * 256];
            let expect: usize = (0..n).map(|i| 2 * tiles[usize::from(i % 3 != 0)]).sum();
            // Letters may have that grey too.
            assert!((expect..expect + 99).contains(&count(90)), "{n}");
            assert_eq!(count(9), 7 * figure.width, "{n}");
        }
    }
}
