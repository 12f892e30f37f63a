//! Values of one image on a grid, row by row.

use std::ops::Range;

use rayon::prelude::*;

/// Channels on a grid: `height` rows, each `[channels, width]`, so that rows can be made, kept and
/// dropped one by one.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    channels: usize,
    height: usize,
    width: usize,
    /// `[height, channels, width]`.
    values: Vec<f32>,
}

impl Map {
    pub fn zeros(channels: usize, [height, width]: [usize; 2]) -> Self {
        Self { channels, height, width, values: vec![0.0; channels * height * width] }
    }

    /// From values `[channels, height, width]`.
    ///
    /// # Panics
    /// If there are more or fewer values.
    pub fn from_planes(planes: &[f32], channels: usize, size: [usize; 2]) -> Self {
        let mut map = Self::zeros(channels, size);
        assert_eq!(planes.len(), map.values.len(), "{channels} channels of {size:?}");
        let (width, area) = (map.width, map.height * map.width);
        map.each_row(|y, row| {
            for (to, plane) in row.chunks_exact_mut(width).zip(planes.chunks_exact(area)) {
                to.copy_from_slice(&plane[y * width..][..width]);
            }
        });
        map
    }

    /// The values as `[channels, height, width]`.
    pub fn to_planes(&self) -> Vec<f32> {
        let mut planes = Vec::with_capacity(self.values.len());
        for channel in 0..self.channels {
            for y in 0..self.height {
                planes.extend_from_slice(self.line(y, channel));
            }
        }
        planes
    }

    /// From values `[height * width, channels]`, as tokens are.
    ///
    /// # Panics
    /// If there are more or fewer values.
    pub fn from_pixels(pixels: &[f32], channels: usize, size: [usize; 2]) -> Self {
        let mut map = Self::zeros(channels, size);
        assert_eq!(pixels.len(), map.values.len(), "{channels} channels of {size:?}");
        let width = map.width;
        map.each_row(|y, row| {
            let pixels = pixels[y * row.len()..][..row.len()].chunks_exact(channels);
            for (x, pixel) in pixels.enumerate() {
                for (line, value) in row.chunks_exact_mut(width).zip(pixel) {
                    line[x] = *value;
                }
            }
        });
        map
    }

    /// The values as `[height * width, channels]`.
    pub fn to_pixels(&self) -> Vec<f32> {
        let mut pixels = vec![0.0; self.values.len()];
        let rows = pixels.chunks_exact_mut(self.width * self.channels);
        for (pixels, row) in rows.zip(self.values.chunks_exact(self.row_len())) {
            for (x, pixel) in pixels.chunks_exact_mut(self.channels).enumerate() {
                for (to, line) in pixel.iter_mut().zip(row.chunks_exact(self.width)) {
                    *to = line[x];
                }
            }
        }
        pixels
    }

    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Height and width.
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// Number of values of a row.
    fn row_len(&self) -> usize {
        self.channels * self.width
    }

    /// Row `y`, `[channels, width]`.
    pub(super) fn row(&self, y: usize) -> &[f32] {
        &self.values[y * self.row_len()..][..self.row_len()]
    }

    pub(super) fn row_mut(&mut self, y: usize) -> &mut [f32] {
        let len = self.row_len();
        &mut self.values[y * len..][..len]
    }

    /// One channel of row `y`, `[width]`.
    pub fn line(&self, y: usize, channel: usize) -> &[f32] {
        &self.values[y * self.row_len() + channel * self.width..][..self.width]
    }

    /// Rows `range` as a map of their own.
    pub(super) fn slice(&self, range: Range<usize>) -> Self {
        let values = self.values[range.start * self.row_len()..range.end * self.row_len()].to_vec();
        Self { height: range.len(), values, ..*self }
    }

    /// Calls `f` with the number and the values of each row, on all threads.
    pub(super) fn each_row(&mut self, f: impl Fn(usize, &mut [f32]) + Sync + Send) {
        let len = self.row_len();
        self.values.par_chunks_exact_mut(len).enumerate().for_each(|(y, row)| f(y, row));
    }

    /// A map of `channels` on the same grid, whose rows `f` fills from the rows of this one.
    pub(super) fn map_rows(
        &self,
        channels: usize,
        f: impl Fn(&[f32], &mut [f32]) + Sync + Send,
    ) -> Self {
        let mut out = Self::zeros(channels, self.size());
        out.each_row(|y, row| f(self.row(y), row));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_and_pixels_are_the_same_values_in_other_orders() {
        let planes: Vec<f32> = (0u8..12).map(f32::from).collect();
        let map = Map::from_planes(&planes, 2, [3, 2]);
        assert_eq!(map.row(1), [2.0, 3.0, 8.0, 9.0]);
        assert_eq!(map.line(2, 1), [10.0, 11.0]);
        assert_eq!(map.to_planes(), planes);
        assert_eq!(map.to_pixels()[..4], [0.0, 6.0, 1.0, 7.0]);
        assert_eq!(Map::from_pixels(&map.to_pixels(), 2, [3, 2]), map);
        assert_eq!(map.slice(1..2).row(0), map.row(1));
    }
}
