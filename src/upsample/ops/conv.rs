//! Convolutions of rows: cross-correlations, as PyTorch's.

use std::borrow::Cow;

use rayon::prelude::*;

use super::pad::Pad;
use super::product::product;
use crate::upsample::{Map, Tensors};

/// Number of rows that a convolution in place computes before it writes them; at 2048 columns of
/// 128 channels, 32 MB.
const BLOCK: usize = 32;

/// A convolution with its weights.
pub(in crate::upsample) struct Conv {
    /// `[n_out, n_in, side, side]`.
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    n_out: usize,
    side: usize,
    pad: Pad,
}

impl Conv {
    /// A convolution of `side` x `side`, called `name` in a weight file, from `n_in` to `n_out`
    /// channels and without a bias.
    pub(in crate::upsample) fn take(
        tensors: &mut Tensors,
        name: &str,
        [n_out, n_in]: [usize; 2],
        side: usize,
        pad: Pad,
    ) -> Self {
        let weight = tensors.take(&format!("{name}.weight"), &[n_out, n_in, side, side]);
        Self { weight, bias: None, n_out, side, pad }
    }

    /// The same with the bias that the file has.
    pub(in crate::upsample) fn biased(self, tensors: &mut Tensors, name: &str) -> Self {
        let bias = Some(tensors.take(&format!("{name}.bias"), &[self.n_out]));
        Self { bias, ..self }
    }

    pub(in crate::upsample) fn n_out(&self) -> usize {
        self.n_out
    }

    /// A 1x1 convolution of one row of `width` columns.
    pub(in crate::upsample) fn point(&self, row: &[f32], width: usize, out: &mut [f32]) {
        let rows: Vec<&[f32]> = row.chunks_exact(width).collect();
        product(&self.weight, self.bias.as_deref(), &rows, out);
    }

    /// Row `y` of the convolution of a map of `[height, width]` whose rows `source` gives.
    pub(in crate::upsample) fn row<'a>(
        &self,
        y: usize,
        [height, width]: [usize; 2],
        source: &dyn Fn(usize) -> Cow<'a, [f32]>,
        out: &mut [f32],
    ) {
        if self.side == 1 {
            return self.point(&source(y), width, out);
        }
        let radius = self.side / 2;
        let wide = width + 2 * radius;
        let n_in = self.weight.len() / self.n_out / (self.side * self.side);
        let mut padded = vec![0.0; self.side * n_in * wide];
        for (dy, lines) in padded.chunks_exact_mut(n_in * wide).enumerate() {
            let Some(from) = self.pad.source(y + dy, radius, height) else { continue };
            let from = source(from);
            for (to, line) in lines.chunks_exact_mut(wide).zip(from.chunks_exact(width)) {
                self.pad.line(line, radius, to);
            }
        }
        let mut rows = Vec::with_capacity(n_in * self.side * self.side);
        for channel in 0..n_in {
            for dy in 0..self.side {
                let line = &padded[(dy * n_in + channel) * wide..][..wide];
                rows.extend((0..self.side).map(|dx| &line[dx..dx + width]));
            }
        }
        product(&self.weight, self.bias.as_deref(), &rows, out);
    }

    /// The convolution of a map.
    pub(in crate::upsample) fn map(&self, map: &Map) -> Map {
        let mut out = Map::zeros(self.n_out, map.size());
        out.each_row(|y, row| self.row(y, map.size(), &|y| Cow::Borrowed(map.row(y)), row));
        out
    }

    /// Replaces a map by the convolution of its rows after `before` changed them. There must be as
    /// many channels as before; beside the map only [`BLOCK`] rows are in memory.
    pub(in crate::upsample) fn in_place(
        &self,
        map: &mut Map,
        before: &(dyn Fn(&mut [f32]) + Sync),
    ) {
        let (size, radius) = (map.size(), self.side / 2);
        // The rows above a block, as they were.
        let mut above: Vec<Vec<f32>> = vec![];
        for first in (0..size[0]).step_by(BLOCK) {
            let end = size[0].min(first + BLOCK);
            let old = |y: usize| match first.checked_sub(y) {
                Some(n) if n > 0 => above[above.len() - n].as_slice(),
                _ => map.row(y),
            };
            let source = |y: usize| {
                let mut row = old(y).to_vec();
                before(&mut row);
                Cow::Owned(row)
            };
            let rows = (first..end).into_par_iter().map(|y| {
                let mut row = vec![0.0; self.n_out * size[1]];
                self.row(y, size, &source, &mut row);
                row
            });
            let rows: Vec<_> = rows.collect();
            let kept: Vec<_> = (end.saturating_sub(radius)..end).map(|y| old(y).to_vec()).collect();
            above = kept;
            for (y, row) in (first..end).zip(&rows) {
                map.row_mut(y).copy_from_slice(row);
            }
        }
    }
}
