//! One stage of the stack: doubles the grid, guided by the image at the doubled size.

use std::ops::Range;

use pulp::Arch;

use super::cubic::{self, Lines, Taps};
use super::filter::filter;
use super::{RADIUS, SIDE, TAPS};
use crate::upsample::ops::{Pad, STRIP, gelu, pooled_row, product, reflect, softmax, windows};
use crate::upsample::{Map, Tensors};

/// Channels of the image.
const GUIDANCE: usize = 3;
/// Bounds of the softmax's factor.
const TEMPERATURE: [f32; 2] = [1e-4, 1e4];
const SUM_MIN: f32 = 1e-7;
/// Share of the correction that is added to a kernel.
const CORRECTION: f32 = 0.1;
/// Number of rows that [`Running::whole`] makes at a time.
const BAND: usize = 32;

/// The weights of a stage.
pub(super) struct Stage {
    range: TwoLayers,
    fix: TwoLayers,
    /// Factor of the products of keys.
    temperature: f32,
    /// `[7, 7]`.
    spatial: Vec<f32>,
    key_dim: usize,
}

/// Two 1x1 convolutions with GELU in between: weight, bias, weight, bias.
struct TwoLayers([Vec<f32>; 4]);

impl Stage {
    pub(super) fn take(tensors: &mut Tensors, name: &str) -> Self {
        let key_dim = tensors.channels(&format!("{name}.range_proj.0.weight"));
        let range = [key_dim, GUIDANCE];
        let range = TwoLayers::take(tensors, &format!("{name}.range_proj"), range);
        let fix = [TAPS, TAPS + GUIDANCE];
        let fix = TwoLayers::take(tensors, &format!("{name}.fixup_proj"), fix);
        let temperature = tensors.scalar(&format!("{name}.range_temp")).exp();
        let sigma = tensors.scalar(&format!("{name}.sigma_spatial"));
        let temperature = temperature.clamp(TEMPERATURE[0], TEMPERATURE[1]);
        Self { range, fix, temperature, spatial: spatial(sigma), key_dim }
    }

    /// The kernels' part that compares keys: `[49, width]` from the keys of the row's neighbours,
    /// each `[key_dim, stride]`.
    fn range_kernel(&self, keys: [&[f32]; SIDE], stride: usize, width: usize) -> Vec<f32> {
        let mut kernel = vec![0.0; TAPS * width];
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (tap, out) in kernel.chunks_exact_mut(width).enumerate() {
                    let lines = keys[RADIUS].chunks_exact(stride);
                    for (own, other) in lines.zip(keys[tap / SIDE].chunks_exact(stride)) {
                        let (own, other) = (&own[RADIUS..], &other[tap % SIDE..]);
                        for ((sum, a), b) in out.iter_mut().zip(own).zip(other) {
                            *sum += a * b;
                        }
                    }
                    for sum in out {
                        *sum *= self.temperature;
                    }
                }
            },
        );
        softmax(&mut kernel, TAPS);
        kernel
    }

    /// Multiplies the kernels of a row by the spatial one, and scales them to a sum of 1.
    fn combine(&self, kernel: &mut [f32]) {
        let width = kernel.len() / TAPS;
        let mut sums = vec![0.0f32; width];
        for (line, factor) in kernel.chunks_exact_mut(width).zip(&self.spatial) {
            for (value, sum) in line.iter_mut().zip(&mut sums) {
                *value *= factor;
                *sum += *value;
            }
        }
        for line in kernel.chunks_exact_mut(width) {
            line.iter_mut().zip(&sums).for_each(|(value, sum)| *value /= sum.max(SUM_MIN));
        }
    }

    /// The learned correction of a row's kernels, `[49, width]`, from them and the image
    /// `[3, width]`.
    fn correction(&self, kernel: &[f32], image: &[f32]) -> Vec<f32> {
        let width = kernel.len() / TAPS;
        let rows: Vec<_> = kernel.chunks_exact(width).chain(image.chunks_exact(width)).collect();
        self.fix.apply(&rows)
    }
}

impl TwoLayers {
    /// From `n_in` to `n` and to `n` channels.
    fn take(tensors: &mut Tensors, name: &str, [n, n_in]: [usize; 2]) -> Self {
        Self([
            tensors.take(&format!("{name}.0.weight"), &[n, n_in, 1, 1]),
            tensors.take(&format!("{name}.0.bias"), &[n]),
            tensors.take(&format!("{name}.3.weight"), &[n, n, 1, 1]),
            tensors.take(&format!("{name}.3.bias"), &[n]),
        ])
    }

    fn apply(&self, rows: &[&[f32]]) -> Vec<f32> {
        let [weight, bias, weight_2, bias_2] = &self.0;
        let width = rows[0].len();
        let mut hidden = vec![0.0; bias.len() * width];
        product(weight, Some(bias), rows, &mut hidden);
        gelu(&mut hidden);
        let mut out = vec![0.0; hidden.len()];
        let hidden: Vec<&[f32]> = hidden.chunks_exact(width).collect();
        product(weight_2, Some(bias_2), &hidden, &mut out);
        out
    }
}

/// A Gaussian of the distance from the middle, whose corners are at (±1, ±1).
fn spatial(sigma: f32) -> Vec<f32> {
    let at = |i: usize| (i as f32 - RADIUS as f32) / RADIUS as f32;
    let value = |i: usize| {
        let (u, v) = (at(i / SIDE), at(i % SIDE));
        (-(u * u + v * v) / (2.0 * sigma * sigma)).exp()
    };
    (0..TAPS).map(value).collect()
}

/// A stage at work on one image.
pub(super) struct Running<'a> {
    stage: &'a Stage,
    image: &'a Map,
    source: Map,
    vertical: Vec<Taps>,
    horizontal: Vec<Taps>,
}

/// What some rows are made of: the rows themselves and three above and below, as far as there are.
struct Inputs {
    /// Number of the first row.
    first: usize,
    /// The image at the stage's size.
    guidance: Map,
    /// Keys and source, padded by three columns at either side, and then to whole strips.
    keys: Map,
    source: Map,
}

impl<'a> Running<'a> {
    pub(super) fn new(stage: &'a Stage, image: &'a Map, source: Map) -> Self {
        let [height, width] = source.size();
        let (vertical, horizontal) = (cubic::taps(height), cubic::taps(width));
        Self { stage, image, source, vertical, horizontal }
    }

    pub(super) fn channels(&self) -> usize {
        self.source.channels()
    }

    pub(super) fn size(&self) -> [usize; 2] {
        self.source.size().map(|side| 2 * side)
    }

    /// Length of a padded line.
    fn stride(&self) -> usize {
        self.horizontal.len().next_multiple_of(STRIP) + 2 * RADIUS
    }

    /// All rows.
    pub(super) fn whole(&self) -> Map {
        let mut out = Map::zeros(self.channels(), self.size());
        let height = self.size()[0];
        for first in (0..height).step_by(BAND) {
            let rows = self.rows(first..height.min(first + BAND));
            for y in 0..rows.height() {
                out.row_mut(first + y).copy_from_slice(rows.row(y));
            }
        }
        out
    }

    pub(super) fn rows(&self, range: Range<usize>) -> Map {
        let inputs = self.inputs(&range);
        let stride = self.stride();
        let mut out = Map::zeros(self.channels(), [range.len(), self.horizontal.len()]);
        out.each_row(|i, out| {
            let y = range.start + i;
            let kernel = self.kernel(&inputs, y);
            filter(&kernel, inputs.around(&inputs.source, y, self.size()[0]), stride, out);
        });
        out
    }

    /// The kernels of row `y`, `[49, width]`.
    fn kernel(&self, inputs: &Inputs, y: usize) -> Vec<f32> {
        let [height, width] = self.size();
        let keys = inputs.around(&inputs.keys, y, height);
        let mut kernel = self.stage.range_kernel(keys, self.stride(), width);
        self.stage.combine(&mut kernel);
        let correction = self.stage.correction(&kernel, inputs.guidance.row(y - inputs.first));
        kernel.iter_mut().zip(&correction).for_each(|(value, fix)| *value += CORRECTION * fix);
        kernel
    }

    fn inputs(&self, range: &Range<usize>) -> Inputs {
        let [height, width] = self.size();
        let first = range.start.saturating_sub(RADIUS);
        let end = height.min(range.end + RADIUS);
        let stride = self.stride();
        let windows = windows(self.image.height(), height);
        let mut guidance = Map::zeros(GUIDANCE, [end - first, width]);
        guidance.each_row(|i, row| {
            let rows = windows[first + i].clone().map(|y| self.image.row(y));
            row.copy_from_slice(&pooled_row(rows, self.image.width(), width));
        });
        let mut keys = Map::zeros(self.stage.key_dim, [end - first, stride]);
        keys.each_row(|i, row| {
            let image: Vec<&[f32]> = guidance.row(i).chunks_exact(width).collect();
            let values = self.stage.range.apply(&image);
            for (to, line) in row.chunks_exact_mut(stride).zip(values.chunks_exact(width)) {
                Pad::Reflect.line(line, RADIUS, &mut to[..width + 2 * RADIUS]);
            }
        });
        let mut source = Map::zeros(self.channels(), [end - first, stride]);
        source.each_row(|i, row| {
            let taps = &self.vertical[first + i];
            let rows = taps.at.map(|y| self.source.row(y));
            cubic::row(rows, taps, &self.horizontal, row, &Lines { stride, offset: RADIUS });
            for line in row.chunks_exact_mut(stride) {
                for n in 1..=RADIUS {
                    line[RADIUS - n] = line[RADIUS + n];
                    line[RADIUS + width - 1 + n] = line[RADIUS + width - 1 - n];
                }
            }
        });
        Inputs { first, guidance, keys, source }
    }
}

impl Inputs {
    /// The seven rows of `map` around row `y` of `height`, mirrored at the edges.
    fn around<'a>(&self, map: &'a Map, y: usize, height: usize) -> [&'a [f32]; SIDE] {
        std::array::from_fn(|i| map.row(reflect(y + i, RADIUS, height) - self.first))
    }
}

#[cfg(test)]
mod tests;
