//! AnyUp (Wimmer et al. 2025, arXiv:2510.12764; code: wimmerth/anyup 351807a, its dense path):
//! attention of pixels to the patches of a window around them, for features of any width.
//!
//! Queries come from the image, keys from the image and from the features, whose channels are
//! brought to a fixed number by filters that are the same for all channels. The weights of the
//! patches come from the *features*, so that a projection is applied to the values alone; they sum
//! to 1, so that its bias may be.

mod encode;
mod rotate;
mod unify;
mod window;

use std::borrow::Cow;
use std::ops::Range;

use super::attention::{self, Group, Heads, Source};
use super::ops::{Conv, Pad, pooled, pooled_row, product, windows};
use super::{Error, Map, Method, Options, Prepared, Task, Tensors, Upsampler};
use encode::Encoder;
use unify::Unify;

pub(super) const METHOD: Method = Method {
    name: "anyup",
    title: "AnyUp",
    mark: Some("rope.freqs"),
    is_beside: |_| false,
    takes_kernel: false,
    build: |tensors, _: &Options| Box::new(AnyUp::take(tensors)),
};

const HEADS: usize = 4;
/// Side of the convolutions that mix neighbours.
const SIDE: usize = 3;
/// Smallest side of the patch grid, which is mirrored by one.
const SIDE_MIN: usize = 2;
/// Epsilon of the norm of queries and keys: that of f32.
const RMS_EPS: f32 = f32::EPSILON;

struct AnyUp {
    /// Number of channels of queries and keys.
    dim: usize,
    image: Encoder,
    /// `[2, dim]`: angles by row and by column.
    angles: Vec<f32>,
    queries: Encoder,
    keys: Encoder,
    unify: Unify,
    aggregation: Encoder,
    query_conv: Conv,
    /// Norm, projection and its bias of the queries, and of the keys.
    query_head: Head,
    key_head: Head,
}

/// What makes queries, or keys, of features: RMS norm, and a linear layer.
struct Head {
    norm: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl AnyUp {
    fn take(tensors: &mut Tensors) -> Self {
        let n = tensors.channels("image_encoder.0.weight");
        let encoder = |tensors: &mut Tensors, name: &str, n_in: usize| {
            let first = Conv::take(tensors, &format!("{name}.0"), [n, n_in], 1, Pad::Zero);
            Encoder::take(tensors, name, Some(first), n)
        };
        let image = encoder(tensors, "image_encoder", 3);
        let queries = encoder(tensors, "query_encoder", n);
        let keys = encoder(tensors, "key_encoder", n);
        let both = Conv::take(tensors, "aggregation.0", [n, 2 * n], SIDE, Pad::Reflect);
        let attention = "cross_decode.cross_attn";
        let weight = tensors.take(&format!("{attention}.attention.in_proj_weight"), &[3 * n, n]);
        let bias = tensors.take(&format!("{attention}.attention.in_proj_bias"), &[3 * n]);
        // The values and the output are not projected; the file has the layers all the same.
        tensors.take(&format!("{attention}.attention.out_proj.weight"), &[n, n]);
        tensors.take(&format!("{attention}.attention.out_proj.bias"), &[n]);
        let mut head = |name: &str, third: usize| Head {
            norm: tensors.take(&format!("{attention}.{name}.weight"), &[n]),
            weight: weight[third * n * n..(third + 1) * n * n].to_vec(),
            bias: bias[third * n..(third + 1) * n].to_vec(),
        };
        let (query_head, key_head) = (head("norm_q", 0), head("norm_k", 1));
        Self {
            dim: n,
            image,
            angles: tensors.take("rope.freqs", &[2, n]),
            queries,
            keys,
            unify: Unify::take(tensors, "key_features_encoder", n),
            aggregation: Encoder::take(tensors, "aggregation", Some(both), n),
            query_conv: Conv::take(tensors, "cross_decode.conv2d", [n, n], SIDE, Pad::Zero),
            query_head,
            key_head,
        }
    }

    /// Keys of the patches before their norm, from the image's part `[dim, rows, columns]`.
    fn aggregated(&self, image_keys: &Map, features: &Map) -> Map {
        let unified = self.unify.apply(features);
        let mut both = Map::zeros(2 * self.dim, features.size());
        both.each_row(|y, row| {
            let (first, second) = row.split_at_mut(row.len() / 2);
            first.copy_from_slice(image_keys.row(y));
            second.copy_from_slice(unified.row(y));
        });
        self.aggregation.apply(both)
    }

    /// The encoded image with its positions.
    fn encoded(&self, image: &Map) -> Map {
        let mut encoded = self.image.apply(image.clone());
        rotate::rotate(&mut encoded, &self.angles);
        encoded
    }
}

impl Head {
    /// Of a row `[dim, width]`.
    fn apply(&self, row: &mut [f32]) {
        let n = self.norm.len();
        self.normed(row);
        let width = row.len() / n;
        let normed = row.to_vec();
        let rows: Vec<&[f32]> = normed.chunks_exact(width).collect();
        product(&self.weight, Some(&self.bias), &rows, row);
    }

    /// RMS norm over the channels.
    fn normed(&self, row: &mut [f32]) {
        let n = self.norm.len();
        let width = row.len() / n;
        let mut squares = vec![0.0f32; width];
        for line in row.chunks_exact(width) {
            squares.iter_mut().zip(line).for_each(|(sum, value)| *sum += value * value);
        }
        let scales: Vec<f32> =
            squares.iter().map(|sum| 1.0 / (sum / n as f32 + RMS_EPS).sqrt()).collect();
        for (line, weight) in row.chunks_exact_mut(width).zip(&self.norm) {
            line.iter_mut().zip(&scales).for_each(|(value, scale)| *value *= scale * weight);
        }
    }
}

impl Upsampler for AnyUp {
    fn prepare<'a>(&'a self, task: &Task<'a>) -> Result<Box<dyn Prepared + 'a>, Error> {
        Ok(Box::new(self.attending(task)?))
    }
}

impl AnyUp {
    fn attending(&self, task: &Task<'_>) -> Result<Attending<'_>, Error> {
        let grid = task.features.size();
        if grid.iter().any(|side| *side < SIDE_MIN) {
            let [height, width] = grid;
            return Err(Error::Task(format!(
                "the features' grid of {height}x{width} is too small: AnyUp needs \
                 {SIDE_MIN}x{SIDE_MIN}"
            )));
        }
        let encoded = self.encoded(task.image);
        let image_keys = pooled(&self.keys.apply_to(&encoded), grid);
        let queries = self.queries.apply(encoded);
        let mut keys = self.aggregated(&image_keys, task.features);
        keys.each_row(|_, row| self.key_head.apply(row));
        let (values, n_values) = Source::projected(task.features, task.projection);
        let source = Source {
            n_heads: HEADS,
            heads: Heads::Averaged,
            keys: keys.to_pixels(),
            values,
            dim: self.dim,
            n_values,
            columns: grid[1],
            bias: vec![],
        };
        let [height, width] = task.size;
        let columns = window::windows(width, grid[1]);
        Ok(Attending {
            anyup: self,
            queries,
            source,
            pooling: windows(task.image.height(), height),
            rows: window::windows(height, grid[0]),
            columns: attention::groups(columns.iter()),
            size: task.size,
        })
    }
}

/// An image and features between the encoders and the attention.
struct Attending<'a> {
    anyup: &'a AnyUp,
    /// At the image's size.
    queries: Map,
    source: Source,
    /// The image rows of each output row.
    pooling: Vec<Range<usize>>,
    /// The patch rows of each output row.
    rows: Vec<Vec<usize>>,
    columns: Vec<Group>,
    size: [usize; 2],
}

impl Attending<'_> {
    /// Queries of row `y` at the output's size, before the convolution.
    fn pooled(&self, y: usize) -> Cow<'_, [f32]> {
        let (rows, width) = (self.pooling[y].clone(), self.queries.width());
        if rows.len() == 1 && width == self.size[1] {
            return Cow::Borrowed(self.queries.row(rows.start));
        }
        let rows = rows.map(|y| self.queries.row(y));
        Cow::Owned(pooled_row(rows, width, self.size[1]))
    }

    /// Scaled queries of some rows.
    fn queries(&self, range: &Range<usize>) -> Map {
        let dim = self.anyup.dim;
        let scale = 1.0 / ((dim / HEADS) as f32).sqrt();
        let mut queries = Map::zeros(dim, [range.len(), self.size[1]]);
        queries.each_row(|i, row| {
            let y = range.start + i;
            self.anyup.query_conv.row(y, self.size, &|y| self.pooled(y), row);
            self.anyup.query_head.apply(row);
            for value in row {
                *value *= scale;
            }
        });
        queries
    }
}

impl Prepared for Attending<'_> {
    fn channels(&self) -> usize {
        self.source.channels()
    }

    fn size(&self) -> [usize; 2] {
        self.size
    }

    fn rows(&self, range: Range<usize>) -> Map {
        let queries = self.queries(&range);
        let rows = attention::groups(self.rows[range].iter());
        self.source.attend(&queries, &rows, &self.columns)
    }
}

#[cfg(test)]
mod tests;
