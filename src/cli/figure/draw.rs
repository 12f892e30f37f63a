//! The layout of a figure of images under corruption.

use crate::data::{Mask, Rgb, transform};
use crate::viz::figure::Figure;
use crate::viz::text::Font;
use crate::viz::{overlay, palette};

/// Longest side of one picture.
const TILE_PX: usize = 240;
const GAP_PX: usize = 6;
/// Width of the names of the rows.
const LABEL_PX: usize = 190;
const TEXT_PX: f32 = 15.0;

/// One image under one condition.
pub(super) struct Column {
    pub(super) title: String,
    pub(super) condition: String,
    pub(super) image: Rgb,
    /// The image as it is corrupted.
    pub(super) seen: Rgb,
    pub(super) truth: Mask,
}

/// What one run sees in each column, with the mIoU of that image from 0 to 1.
pub(super) struct Row {
    pub(super) title: String,
    pub(super) seen: Vec<(Mask, Option<f64>)>,
}

/// Draws the columns: the image, as it was corrupted, its labels, and a row for each run; below, a
/// legend of the classes in them.
pub(super) fn figure(columns: &[Column], rows: &[Row], classes: &[String]) -> Figure {
    let font = Font::new(TEXT_PX);
    let line = font.height_px() + GAP_PX / 2;
    let palette = palette::of_classes(classes);
    let tiles: Vec<_> = columns.iter().map(|column| tile(&column.image)).collect();
    let tall = tiles.iter().map(|tile| tile[0]).max().unwrap_or(0) as usize;
    let lefts: Vec<usize> = tiles
        .iter()
        .scan(LABEL_PX + 2 * GAP_PX, |left, [_, width]| {
            let own = *left;
            *left += *width as usize + GAP_PX;
            Some(own)
        })
        .collect();
    let width = lefts.last().zip(tiles.last());
    let width = width.map_or(LABEL_PX, |(left, [_, wide])| left + *wide as usize + GAP_PX);

    let masks = columns.iter().map(|column| &column.truth);
    let masks = masks.chain(rows.iter().flat_map(|row| row.seen.iter().map(|(mask, _)| mask)));
    let present = overlay::present(masks, classes.len());
    let present: Vec<u8> = present.into_iter().map(|(class, _)| class).collect();
    let legend = overlay::legend(&present, classes, &palette, width as u32);

    let head = GAP_PX + 2 * line;
    let step = tall + GAP_PX;
    let height = head + 3 * step + rows.len() * (step + line) + legend.height as usize;
    let mut figure = Figure::new(width, height);
    let top = |row: usize| head + row * step + row.saturating_sub(3) * line;
    let names = ["image", "corrupted", "labels"].map(str::to_owned);
    let names = names.into_iter().chain(rows.iter().map(|row| row.title.clone()));
    for (row, name) in names.enumerate() {
        wrapped(&mut figure, &font, &name, top(row));
    }
    for (i, (column, tile)) in columns.iter().zip(&tiles).enumerate() {
        let (left, wide) = (lefts[i], tile[1] as usize);
        figure.text((left, GAP_PX), &font, &column.title, wide);
        figure.text((left, GAP_PX + line), &font, &column.condition, wide);
        let small = |image: &Rgb| transform::squash(image, tile[0], tile[1]);
        let coloured = |mask: &Mask| {
            let mask = transform::resize_nearest(mask, tile[0], tile[1]);
            overlay::coloured(&mask, &palette)
        };
        figure.picture((left, top(0)), small(&column.image));
        figure.picture((left, top(1)), small(&column.seen));
        figure.picture((left, top(2)), coloured(&column.truth));
        for (j, row) in rows.iter().enumerate() {
            let (mask, miou) = &row.seen[i];
            figure.picture((left, top(3 + j)), coloured(mask));
            let words =
                miou.map_or_else(|| "–".to_owned(), |miou| format!("mIoU {:.1}", 100.0 * miou));
            figure.text((left, top(3 + j) + tile[0] as usize + 2), &font, &words, wide);
        }
    }
    figure.picture((0, height - legend.height as usize), legend);
    figure
}

/// Writes the name of a row word by word into lines.
fn wrapped(figure: &mut Figure, font: &Font, name: &str, top: usize) {
    let mut lines: Vec<String> = vec![];
    for word in name.split_whitespace() {
        match lines.last_mut() {
            Some(line) if font.width_px(&format!("{line} {word}")) <= LABEL_PX => {
                *line = format!("{line} {word}");
            }
            _ => lines.push(word.to_owned()),
        }
    }
    for (i, line) in lines.iter().enumerate() {
        let at = (GAP_PX, top + i * (font.height_px() + GAP_PX / 2));
        figure.text(at, font, line, LABEL_PX);
    }
}

/// Height and width of an image in the figure.
fn tile(image: &Rgb) -> [u32; 2] {
    let longest = image.width.max(image.height).max(1);
    let small = |side: u32| (side as usize * TILE_PX / longest as usize).max(1) as u32;
    [small(image.height), small(image.width)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(width: u32, height: u32) -> Column {
        let n = (width * height) as usize;
        let image = Rgb { width, height, pixels: vec![90; 3 * n] };
        Column {
            title: "a very long name of an image that is cut".into(),
            condition: "fog 5".into(),
            seen: image.clone(),
            image,
            truth: Mask { width, height, classes: vec![0; n] },
        }
    }

    #[test]
    fn one_to_eight_columns_of_any_shape_have_room() {
        let classes: Vec<String> = (0..30).map(|i| format!("a long class name {i}")).collect();
        for n in 1..=8 {
            let columns: Vec<_> = (0..n).map(|i| column(100 + 400 * (i % 2), 300)).collect();
            let seen = columns.iter().map(|column| (column.truth.clone(), Some(0.5))).collect();
            let rows = [Row { title: "LoRA r=3 + 1x1 decoder, DINOv2 ViT-S/14".into(), seen }];
            let figure = figure(&columns, &rows, &classes);
            let image = figure.to_rgb();
            assert_eq!(
                (image.width as usize, image.height as usize),
                (figure.width, figure.height)
            );
            assert!(figure.width <= LABEL_PX + 3 * GAP_PX + n as usize * (TILE_PX + GAP_PX));
        }
    }
}
