//! Attention of pixels to windows of patches: the pixels that share a window are computed together.
//!
//! AnyUp and NAF give, for each row and each column of the result, the rows and columns of the patch
//! grid in its window; the window of a pixel is their product.

use rayon::prelude::*;

use super::ops::product;
use super::{Linear, Map};

/// How the heads' results become channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heads {
    /// The heads' weights are averaged, and applied to all channels.
    Averaged,
    /// Each head's weights are applied to its own part of the channels.
    Split,
    /// Each head's weights are applied to its own part of the values, and the parts are summed.
    Summed,
}

/// What is attended to.
pub(super) struct Source {
    pub n_heads: usize,
    pub heads: Heads,
    /// Keys of the patches, `[rows * columns, dim]`.
    pub keys: Vec<f32>,
    /// Values of the patches, `[rows * columns, n_values]`.
    pub values: Vec<f32>,
    /// Number of keys' channels.
    pub dim: usize,
    pub n_values: usize,
    /// Width of the patch grid.
    pub columns: usize,
    /// Added to every result; none if empty.
    pub bias: Vec<f32>,
}

/// Places of one axis that have the same window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub window: Vec<usize>,
    /// The places, ascending.
    pub places: Vec<usize>,
}

/// Groups places, given each one's window, by their windows.
pub(super) fn groups<'a>(windows: impl Iterator<Item = &'a Vec<usize>>) -> Vec<Group> {
    let mut groups = std::collections::BTreeMap::<&Vec<usize>, Vec<usize>>::new();
    for (place, window) in windows.enumerate() {
        groups.entry(window).or_default().push(place);
    }
    let group = |(window, places): (&Vec<usize>, _)| Group { window: window.clone(), places };
    groups.into_iter().map(group).collect()
}

impl Source {
    pub(super) fn channels(&self) -> usize {
        match self.heads {
            Heads::Summed => self.n_values / self.n_heads,
            Heads::Averaged | Heads::Split => self.n_values,
        }
    }

    /// The values of patches `[rows * columns, n_values]`, projected where a projection is given, and
    /// their number of channels.
    pub(super) fn projected(features: &Map, projection: Option<&Linear>) -> (Vec<f32>, usize) {
        match projection {
            Some(projection) => (projection.apply(features).to_pixels(), projection.n_out()),
            None => (features.to_pixels(), features.channels()),
        }
    }

    /// The result for queries `[dim]`, which are scaled already, on some rows.
    pub(super) fn attend(&self, queries: &Map, rows: &[Group], columns: &[Group]) -> Map {
        let mut out = Map::zeros(self.channels(), queries.size());
        let pairs: Vec<_> = rows
            .iter()
            .flat_map(|rows| columns.iter().map(move |columns| (rows, columns)))
            .collect();
        let results: Vec<Vec<f32>> =
            pairs.par_iter().map(|(rows, columns)| self.window(queries, rows, columns)).collect();
        // Each row, with the results of its group.
        let mut of_row = vec![(0, 0); queries.height()];
        for (i, group) in rows.iter().enumerate() {
            for (n, y) in group.places.iter().enumerate() {
                of_row[*y] = (i, n);
            }
        }
        let (n, width) = (self.channels(), queries.width());
        out.each_row(|y, out| {
            let (i, at) = of_row[y];
            for (group, result) in columns.iter().zip(&results[i * columns.len()..]) {
                let result = result[at * group.places.len() * n..].chunks_exact(n);
                for (x, pixel) in group.places.iter().zip(result) {
                    for (line, value) in out.chunks_exact_mut(width).zip(pixel) {
                        line[*x] = *value;
                    }
                }
            }
        });
        out
    }

    /// The results of the pixels of one window, `[rows, columns, channels]`.
    fn window(&self, queries: &Map, rows: &Group, columns: &Group) -> Vec<f32> {
        let cells: Vec<usize> = rows
            .window
            .iter()
            .flat_map(|y| columns.window.iter().map(move |x| y * self.columns + x))
            .collect();
        let n = rows.places.len() * columns.places.len();
        let (channels, per_head) = (self.channels(), self.dim / self.n_heads);
        let n_cells = cells.len();
        let mut out = vec![0.0; n * channels];
        let mut mean = vec![0.0; n * n_cells];
        for head in 0..self.n_heads {
            let own = head * per_head..(head + 1) * per_head;
            let q = gathered(queries, rows, columns, own.clone());
            let keys = transposed(&self.keys, self.dim, &cells, own);
            let weights = weights(&q, &keys, n_cells);
            if self.heads == Heads::Averaged {
                let share = 1.0 / self.n_heads as f32;
                mean.iter_mut().zip(&weights).for_each(|(mean, weight)| *mean += weight * share);
                continue;
            }
            let width = self.n_values / self.n_heads;
            let part = self.mix(&weights, &cells, head * width, width);
            for (to, part) in out.chunks_exact_mut(channels).zip(part.chunks_exact(width)) {
                let first = if self.heads == Heads::Split { head * width } else { 0 };
                to[first..first + width].iter_mut().zip(part).for_each(|(to, value)| *to += value);
            }
        }
        if self.heads == Heads::Averaged {
            out = self.mix(&mean, &cells, 0, channels);
        }
        if !self.bias.is_empty() {
            for pixel in out.chunks_exact_mut(channels) {
                pixel.iter_mut().zip(&self.bias).for_each(|(value, bias)| *value += bias);
            }
        }
        out
    }

    /// The cells' values, `width` of them from `first`, summed by weights `[n, cells]`.
    fn mix(&self, weights: &[f32], cells: &[usize], first: usize, width: usize) -> Vec<f32> {
        let at = |cell: &usize| &self.values[cell * self.n_values + first..][..width];
        let rows: Vec<&[f32]> = cells.iter().map(at).collect();
        let mut out = vec![0.0; weights.len() / cells.len() * width];
        product(weights, None, &rows, &mut out);
        out
    }
}

/// Channels of the queries of a group of pixels, `[rows * columns, channels]`.
fn gathered(
    queries: &Map,
    rows: &Group,
    columns: &Group,
    channels: std::ops::Range<usize>,
) -> Vec<f32> {
    let dim = channels.len();
    let mut q = vec![0.0; rows.places.len() * columns.places.len() * dim];
    for (y, pixels) in rows.places.iter().zip(q.chunks_exact_mut(columns.places.len() * dim)) {
        for (i, channel) in channels.clone().enumerate() {
            let line = queries.line(*y, channel);
            for (x, pixel) in columns.places.iter().zip(pixels.chunks_exact_mut(dim)) {
                pixel[i] = line[*x];
            }
        }
    }
    q
}

/// Channels of the keys of some cells, `[channels, cells]`.
fn transposed(
    keys: &[f32],
    dim: usize,
    cells: &[usize],
    channels: std::ops::Range<usize>,
) -> Vec<f32> {
    let mut out = vec![0.0; channels.len() * cells.len()];
    for (i, cell) in cells.iter().enumerate() {
        let key = &keys[cell * dim..][channels.clone()];
        key.iter().enumerate().for_each(|(channel, value)| out[channel * cells.len() + i] = *value);
    }
    out
}

/// Softmax of the products of queries `[n, dim]` and keys `[dim, n_cells]`: `[n, n_cells]`.
fn weights(q: &[f32], keys: &[f32], n_cells: usize) -> Vec<f32> {
    let rows: Vec<&[f32]> = keys.chunks_exact(n_cells).collect();
    let mut weights = vec![0.0; q.len() / rows.len() * n_cells];
    product(q, None, &rows, &mut weights);
    super::ops::softmax_rows(&mut weights, n_cells);
    weights
}
