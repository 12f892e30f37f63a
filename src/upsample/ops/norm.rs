//! Group normalisation (Wu & He 2018, arXiv:1803.08494) over a whole image, row by row.

use rayon::prelude::*;

use crate::upsample::{Map, Tensors};

/// Number of groups of all methods' norms.
const GROUPS: usize = 8;
const EPS: f64 = 1e-5;

/// The weights of a norm, one a channel.
pub(in crate::upsample) struct GroupNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// Sums, and sums of squares, of each group.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::upsample) struct Moments {
    sums: [[f64; 2]; GROUPS],
    /// Number of values of a group.
    n: usize,
}

impl Moments {
    /// Of a row `[channels, width]`.
    pub(in crate::upsample) fn of_row(row: &[f32]) -> Self {
        let n = row.len() / GROUPS;
        let mut sums = [[0.0; 2]; GROUPS];
        for (sums, group) in sums.iter_mut().zip(row.chunks_exact(n)) {
            for value in group {
                let value = f64::from(*value);
                sums[0] += value;
                sums[1] += value * value;
            }
        }
        Self { sums, n }
    }

    /// Of rows, given in order.
    pub(in crate::upsample) fn total(rows: &[Self]) -> Self {
        let mut total = Self::default();
        for row in rows {
            total.n += row.n;
            for (total, sums) in total.sums.iter_mut().zip(&row.sums) {
                total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
            }
        }
        total
    }

    /// Of a whole map.
    pub(in crate::upsample) fn of(map: &Map) -> Self {
        let rows: Vec<_> =
            (0..map.height()).into_par_iter().map(|y| Self::of_row(map.row(y))).collect();
        Self::total(&rows)
    }
}

impl GroupNorm {
    /// The norm called `name` in a weight file.
    pub(in crate::upsample) fn take(tensors: &mut Tensors, name: &str, channels: usize) -> Self {
        // A single channel stands for a number that is not known.
        if channels > 1 && !channels.is_multiple_of(GROUPS) {
            tensors.refuse(format!("{name} has {channels} channels, no multiple of {GROUPS}"));
        }
        Self {
            weight: tensors.take(&format!("{name}.weight"), &[channels]),
            bias: tensors.take(&format!("{name}.bias"), &[channels]),
        }
    }

    /// Each channel's factor and summand, for values of these moments.
    pub(in crate::upsample) fn affine(&self, moments: &Moments) -> Vec<[f32; 2]> {
        let per_group = self.weight.len() / GROUPS;
        let n = moments.n as f64;
        let channels = self.weight.iter().zip(&self.bias).enumerate();
        channels
            .map(|(channel, (weight, bias))| {
                let [sum, squares] = moments.sums[channel / per_group];
                let mean = sum / n;
                let variance = (squares / n - mean * mean).max(0.0);
                let scale = f64::from(*weight) / (variance + EPS).sqrt();
                [scale as f32, (f64::from(*bias) - mean * scale) as f32]
            })
            .collect()
    }
}
