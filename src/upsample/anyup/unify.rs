//! Brings features of any number of channels to a fixed one.

use crate::upsample::ops::{Pad, product, softmax};
use crate::upsample::{Map, Tensors};

use super::encode::Encoder;

/// Side of the filters.
const SIDE: usize = 5;
/// Smallest length by which a patch's features are divided.
const LENGTH_MIN: f32 = 1e-12;

pub(super) struct Unify {
    /// `[n_filters, 5, 5]`.
    filters: Vec<f32>,
    n_filters: usize,
    blocks: Encoder,
}

impl Unify {
    pub(super) fn take(tensors: &mut Tensors, name: &str, n: usize) -> Self {
        Self {
            filters: tensors.take(&format!("{name}.0.basis"), &[n, 1, SIDE, SIDE]),
            n_filters: n,
            blocks: Encoder::take(tensors, name, None, n),
        }
    }

    pub(super) fn apply(&self, features: &Map) -> Map {
        self.blocks.apply(self.weights(&unit(features)))
    }

    /// The filters' weights at each patch, `[n_filters, rows, columns]`, from features of length 1.
    ///
    /// Every channel c is correlated with every filter o, which makes a list of numbers c · O + o.
    /// The original *reads* the list as [O, C]: the softmax is over the first axis of that, the mean
    /// over the second. That mixes filters and channels, is not what the paper says, and is what the
    /// published weights were trained with.
    fn weights(&self, features: &Map) -> Map {
        let ([height, width], n) = (features.size(), features.channels());
        let radius = SIDE / 2;
        let mut out = Map::zeros(self.n_filters, [height, width]);
        out.each_row(|y, out| {
            let wide = width + 2 * radius;
            let mut responses = vec![0.0; n * self.n_filters * width];
            let counts: Vec<f32> =
                (0..width).map(|x| (taps(y, height) * taps(x, width)) as f32).collect();
            for (c, responses) in responses.chunks_exact_mut(self.n_filters * width).enumerate() {
                let mut padded = vec![0.0; SIDE * wide];
                for (dy, line) in padded.chunks_exact_mut(wide).enumerate() {
                    if let Some(y) = (y + dy).checked_sub(radius).filter(|y| *y < height) {
                        Pad::Zero.line(features.line(y, c), radius, line);
                    }
                }
                let tap = |i: usize| &padded[i / SIDE * wide + i % SIDE..][..width];
                let rows: Vec<&[f32]> = (0..SIDE * SIDE).map(tap).collect();
                product(&self.filters, None, &rows, responses);
                for line in responses.chunks_exact_mut(width) {
                    line.iter_mut().zip(&counts).for_each(|(value, count)| *value /= count);
                }
            }
            // [n_filters, n * width]: the softmax of each place of the second axis.
            softmax(&mut responses, self.n_filters);
            for (out, weights) in out.chunks_exact_mut(width).zip(responses.chunks_exact(n * width))
            {
                for line in weights.chunks_exact(width) {
                    out.iter_mut().zip(line).for_each(|(sum, weight)| *sum += weight);
                }
                for sum in out {
                    *sum /= n as f32;
                }
            }
        });
        out
    }
}

/// Number of a filter's taps that lie within an axis of `n`, around `at`.
fn taps(at: usize, n: usize) -> usize {
    let radius = SIDE / 2;
    n.min(at + radius + 1) - at.saturating_sub(radius)
}

/// Features of length 1 at each patch.
fn unit(features: &Map) -> Map {
    let width = features.width();
    features.map_rows(features.channels(), |row, out| {
        let mut squares = vec![0.0f32; width];
        for line in row.chunks_exact(width) {
            squares.iter_mut().zip(line).for_each(|(sum, value)| *sum += value * value);
        }
        for (out, line) in out.chunks_exact_mut(width).zip(row.chunks_exact(width)) {
            for ((to, value), square) in out.iter_mut().zip(line).zip(&squares) {
                *to = value / square.sqrt().max(LENGTH_MIN);
            }
        }
    })
}
