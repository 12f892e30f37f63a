//! NAF, neighbourhood attention filtering (Chambon et al. 2025, arXiv:2511.18452; code: valeoai/NAF
//! ad4e24d): attention of pixels to a window of patches, by the image alone.
//!
//! Queries and keys come from the image; each of four heads is applied to its own quarter of the
//! channels. Nothing depends on the features' values, so that a projection is applied to each
//! quarter first: one map a head, whose results are summed.

mod encode;
mod rope;
mod taps;

use std::ops::Range;

use super::attention::{self, Group, Heads, Source};
use super::ops::{pooled_row, windows};
use super::{Error, Linear, Map, Method, Options, Prepared, Task, Tensors, Upsampler, bilinear};
use encode::Encoder;
use rope::Rope;

pub(super) const METHOD: Method = Method {
    name: "naf",
    title: "NAF",
    mark: Some("image_encoder.rope.periods"),
    is_beside: |_| false,
    takes_kernel: true,
    build: |tensors, options| Box::new(Naf::take(tensors, options)),
};

const HEADS: usize = 4;
/// Side of the window of the published model.
const KERNEL: usize = 9;
/// An image larger than this many times the result is resized first.
const GROWTH_MAX: usize = 4;
/// Smallest side of the image, which is mirrored by one.
const SIDE_MIN: usize = 2;

struct Naf {
    kernel: usize,
    /// With convolutions of 1x1 and of 3x3; each makes half of the channels.
    encoders: [Encoder; 2],
    rope: Rope,
}

impl Naf {
    fn take(tensors: &mut Tensors, options: &Options) -> Self {
        let half = tensors.channels("image_encoder.encoder.0.weight");
        Self {
            kernel: options.kernel.unwrap_or(KERNEL),
            encoders: [
                Encoder::take(tensors, "image_encoder.encoder", 1, half),
                Encoder::take(tensors, "image_encoder.sem_encoder", 3, half),
            ],
            rope: Rope::take(tensors, "image_encoder.rope", 2 * half / HEADS),
        }
    }

    /// What the features and the size asked for must fulfil.
    fn check(&self, task: &Task<'_>) -> Result<(), Error> {
        let refuse = |words: String| Err(Error::Task(words));
        let channels = task.features.channels();
        if !channels.is_multiple_of(HEADS) {
            return refuse(format!(
                "the features have {channels} channels; NAF needs a multiple of {HEADS}"
            ));
        }
        let ([h, w], [height, width]) = (task.features.size(), task.size);
        if height < h || width < w {
            return refuse(format!(
                "NAF cannot make features smaller: {height}x{width} is asked for, they are {h}x{w}"
            ));
        }
        let k = self.kernel;
        if k * (height / h) > height || k * (width / w) > width {
            let side = (height / (height / h)).min(width / (width / w));
            let largest = if side % 2 == 0 { side - 1 } else { side };
            return refuse(format!(
                "a window of {k}x{k} is larger than the features' grid of {h}x{w}; the largest \
                 that fits is {largest} (--kernel {largest}), or give more patches"
            ));
        }
        if task.image.size().iter().any(|side| *side < SIDE_MIN) {
            return refuse(format!("NAF needs an image of at least {SIDE_MIN}x{SIDE_MIN} pixels"));
        }
        Ok(())
    }

    /// Values of the patches, their number of channels, how heads use them, and the bias.
    fn values(features: &Map, projection: Option<&Linear>) -> (Vec<f32>, usize, Heads, Vec<f32>) {
        let Some(projection) = projection else {
            return (features.to_pixels(), features.channels(), Heads::Split, vec![]);
        };
        let (n_in, n_out) = (projection.n_in(), projection.n_out());
        let part = n_in / HEADS;
        // [4 n_out, n_in]: row (head, k) is row k of W with only the head's own channels.
        let mut weight = vec![0.0; HEADS * n_out * n_in];
        for (i, row) in weight.chunks_exact_mut(n_in).enumerate() {
            let (own, k) = (i / n_out * part, i % n_out);
            row[own..own + part].copy_from_slice(&projection.weight()[k * n_in + own..][..part]);
        }
        let heads = Linear::new(weight, vec![0.0; HEADS * n_out]);
        let values = heads.apply_unbiased(features).to_pixels();
        (values, HEADS * n_out, Heads::Summed, projection.bias().to_vec())
    }
}

impl Upsampler for Naf {
    fn prepare<'a>(&'a self, task: &Task<'a>) -> Result<Box<dyn Prepared + 'a>, Error> {
        Ok(Box::new(self.attending(task)?))
    }
}

impl Naf {
    fn attending(&self, task: &Task<'_>) -> Result<Attending<'_>, Error> {
        self.check(task)?;
        let image = early_resize(task.image, task.size);
        // The one with temporary memory first.
        let second = self.encoders[1].apply(&image);
        let first = self.encoders[0].apply(&image);
        let (size, grid) = (task.size, task.features.size());
        let queries = Queries {
            pooling: windows(image.height(), size[0]),
            columns: self.rope.columns(size[1]),
            rope: &self.rope,
            halves: [first, second],
            size,
        };
        let (values, n_values, heads, bias) = Self::values(task.features, task.projection);
        let source = Source {
            n_heads: HEADS,
            heads,
            keys: queries.pooled(grid).to_pixels(),
            values,
            dim: queries.dim(),
            n_values,
            columns: grid[1],
            bias,
        };
        let columns = taps::windows(size[1], grid[1], self.kernel);
        Ok(Attending {
            queries,
            source,
            rows: taps::windows(size[0], grid[0], self.kernel),
            columns: attention::groups(columns.iter()),
        })
    }
}

/// The image, bilinearly made smaller where it is much larger than the result of `[height, width]`.
/// A result that is not square does not keep the image's aspect: so does the original.
fn early_resize(image: &Map, [height, width]: [usize; 2]) -> Map {
    let [rows, columns] = image.size();
    let most = [GROWTH_MAX * height, GROWTH_MAX * width];
    if rows <= most[0] && columns <= most[1] {
        return image.clone();
    }
    let side = most[0].min(most[1]);
    bilinear::resized(image.clone(), [rows.min(side), columns.min(side)])
}

/// The encoded image, from which queries are made row by row.
struct Queries<'a> {
    rope: &'a Rope,
    halves: [Map; 2],
    /// The image rows of each output row.
    pooling: Vec<Range<usize>>,
    /// Cosines and sines of the columns.
    columns: Vec<[f32; 2]>,
    size: [usize; 2],
}

impl Queries<'_> {
    fn dim(&self) -> usize {
        2 * self.halves[0].channels()
    }

    /// Row `y`, `[dim, width]`, turned by its positions.
    fn row(&self, y: usize, out: &mut [f32]) {
        self.unturned(y, out);
        self.rope.turn(out, y, self.size[0], &self.columns);
    }

    /// Row `y` before it is turned.
    fn unturned(&self, y: usize, out: &mut [f32]) {
        let n = out.len() / 2;
        for (out, half) in out.chunks_exact_mut(n).zip(&self.halves) {
            let rows = self.pooling[y].clone().map(|y| half.row(y));
            out.copy_from_slice(&pooled_row(rows, half.width(), self.size[1]));
        }
    }

    /// The queries pooled to the patch grid, which are the keys.
    fn pooled(&self, grid: [usize; 2]) -> Map {
        let windows = windows(self.size[0], grid[0]);
        let mut out = Map::zeros(self.dim(), grid);
        out.each_row(|y, out| {
            let rows = windows[y].clone().map(|y| {
                let mut row = vec![0.0; self.dim() * self.size[1]];
                self.row(y, &mut row);
                row
            });
            out.copy_from_slice(&pooled_row(rows, self.size[1], grid[1]));
        });
        out
    }
}

/// An image and features between the encoders and the attention.
struct Attending<'a> {
    queries: Queries<'a>,
    source: Source,
    /// The patch rows of each output row.
    rows: Vec<Vec<usize>>,
    columns: Vec<Group>,
}

impl Attending<'_> {
    /// Scaled queries of some rows.
    fn queries(&self, range: &Range<usize>) -> Map {
        let dim = self.queries.dim();
        let scale = 1.0 / ((dim / HEADS) as f32).sqrt();
        let mut queries = Map::zeros(dim, [range.len(), self.queries.size[1]]);
        queries.each_row(|i, row| {
            self.queries.row(range.start + i, row);
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
        self.queries.size
    }

    fn rows(&self, range: Range<usize>) -> Map {
        let queries = self.queries(&range);
        let rows = attention::groups(self.rows[range].iter());
        self.source.attend(&queries, &rows, &self.columns)
    }
}

#[cfg(test)]
mod tests;
