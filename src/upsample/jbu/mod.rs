//! FeatUp's stack of joint bilateral upsamplers (Fu et al. 2024, arXiv:2403.10516; code:
//! mhamilton723/FeatUp 6b5a6c0, `featup/upsamplers.py`).
//!
//! Four stages double the grid, whatever the size of a patch; another size than 16 times the grid
//! is reached bilinearly. A stage filters all channels by one kernel of 7x7 a pixel, so that a linear
//! map of the features may be applied before it. The original's dropout acts in training only.

mod cubic;
mod filter;
mod stage;

use std::ops::Range;

use super::bilinear::Resized;
use super::ops::product;
use super::{Error, Linear, Map, Method, Options, Prepared, Task, Tensors, Upsampler};
use stage::{Running, Stage};

pub(super) const METHOD: Method = Method {
    name: "jbu",
    title: "FeatUp JBU",
    mark: Some("upsampler.up1.range_temp"),
    is_beside: |name| {
        // The encoder that it was trained with, and parts of its training. `model.1.` is the norm
        // that the upsampler begins with, in files that have one.
        (name.starts_with("model.") && !name.starts_with(NORM))
            || name.starts_with("downsampler.")
            || name.starts_with("scale_net.")
    },
    takes_kernel: false,
    build: |tensors, options| Box::new(Jbu::take(tensors, options)),
};

/// Side of the kernels, and their number of taps.
const SIDE: usize = 2 * RADIUS + 1;
const TAPS: usize = SIDE * SIDE;
const RADIUS: usize = 3;
const NORM: &str = "model.1.";
const STAGES: usize = 4;
const GROWTH: usize = 1 << STAGES;
/// Smallest side of the patch grid: kernels reach three pixels beyond the edge of the doubled grid.
const SIDE_MIN: usize = 2;
const NORM_EPS: f64 = 1e-5;
/// Share of the last layer's output that is added to its input.
const FINAL_SHARE: f32 = 0.1;

struct Jbu {
    channels: usize,
    /// Weight and bias of the norm over channels; some published files have none.
    norm: Option<[Vec<f32>; 2]>,
    stages: Vec<Stage>,
    /// The last layer, `[channels, channels]`, and its bias.
    mix: [Vec<f32>; 2],
}

impl Jbu {
    fn take(tensors: &mut Tensors, _: &Options) -> Self {
        let mix = "upsampler.fixup_proj.1";
        let channels = tensors.channels(&format!("{mix}.weight"));
        let norm = [format!("{NORM}norm.weight"), format!("{NORM}norm.bias")];
        let has_norm = norm.iter().any(|name| tensors.has(name));
        let stages = (1..=STAGES).map(|i| Stage::take(tensors, &format!("upsampler.up{i}")));
        Self {
            channels,
            stages: stages.collect(),
            norm: has_norm.then(|| norm.map(|name| tensors.take(&name, &[channels]))),
            mix: [
                tensors.take(&format!("{mix}.weight"), &[channels, channels, 1, 1]),
                tensors.take(&format!("{mix}.bias"), &[channels]),
            ],
        }
    }

    /// `LayerNorm` over the channels of each patch.
    fn normed(&self, features: &Map) -> Map {
        let Some([weight, bias]) = &self.norm else { return features.clone() };
        let width = features.width();
        features.map_rows(self.channels, |row, out| {
            for x in 0..width {
                let values = || row[x..].iter().step_by(width).map(|value| f64::from(*value));
                let n = self.channels as f64;
                let mean = values().sum::<f64>() / n;
                let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
                let scale = 1.0 / (variance + NORM_EPS).sqrt();
                for (i, value) in values().enumerate() {
                    out[i * width + x] = ((value - mean) * scale) as f32 * weight[i] + bias[i];
                }
            }
        })
    }

    /// The projection of what the last layer makes of its input, as a map of that input:
    /// `W (I + 0.1 V)` and `b + 0.1 W v`.
    fn folded(&self, projection: &Linear) -> Linear {
        let [mix, mix_bias] = &self.mix;
        let n = self.channels;
        let share = f64::from(FINAL_SHARE);
        let rows = projection.weight().chunks_exact(n);
        let sum = |row: &[f32], values: &mut dyn Iterator<Item = &f32>| -> f64 {
            row.iter().zip(values).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let weight = rows.clone().flat_map(|row| {
            row.iter().enumerate().map(move |(i, own)| {
                (f64::from(*own) + share * sum(row, &mut mix[i..].iter().step_by(n))) as f32
            })
        });
        let bias = rows
            .zip(projection.bias())
            .map(|(row, bias)| (f64::from(*bias) + share * sum(row, &mut mix_bias.iter())) as f32);
        Linear::new(weight.collect(), bias.collect())
    }
}

impl Upsampler for Jbu {
    fn size(&self, _: [usize; 2], features: [usize; 2]) -> [usize; 2] {
        features.map(|side| side * GROWTH)
    }

    fn prepare<'a>(&'a self, task: &Task<'a>) -> Result<Box<dyn Prepared + 'a>, Error> {
        let features = task.features;
        if features.channels() != self.channels {
            let (found, own) = (features.channels(), self.channels);
            return Err(Error::Task(format!(
                "the features have {found} channels, the weights are for {own}"
            )));
        }
        if features.size().iter().any(|side| *side < SIDE_MIN) {
            let [height, width] = features.size();
            return Err(Error::Task(format!(
                "the features' grid of {height}x{width} is too small: FeatUp JBU needs \
                 {SIDE_MIN}x{SIDE_MIN}"
            )));
        }
        let normed = self.normed(features);
        let (mut x, end) = match task.projection {
            None => (normed, End::Mix(self)),
            Some(projection) => {
                let folded = self.folded(projection);
                // Kernels do not sum to 1, so that the bias is added after them.
                (folded.apply_unbiased(&normed), End::Bias(folded.bias().to_vec()))
            }
        };
        let (last, first) = self.stages.split_last().expect("there are four");
        for stage in first {
            x = Running::new(stage, task.image, x).whole();
        }
        let last = Last { stage: Running::new(last, task.image, x), end };
        if last.size() == task.size {
            return Ok(Box::new(last));
        }
        Ok(Box::new(Resized::new(last, task.size)))
    }
}

/// The last stage and what follows it.
struct Last<'a> {
    stage: Running<'a>,
    end: End<'a>,
}

/// What follows the last stage.
enum End<'a> {
    /// The layer that mixes channels.
    Mix(&'a Jbu),
    /// A bias: the layer is in the projection that was applied first.
    Bias(Vec<f32>),
}

impl Prepared for Last<'_> {
    fn channels(&self) -> usize {
        self.stage.channels()
    }

    fn size(&self) -> [usize; 2] {
        self.stage.size()
    }

    fn rows(&self, range: Range<usize>) -> Map {
        let mut map = self.stage.rows(range);
        let width = map.width();
        map.each_row(|_, row| match &self.end {
            End::Bias(bias) => {
                for (line, bias) in row.chunks_exact_mut(width).zip(bias) {
                    for value in line {
                        *value += bias;
                    }
                }
            }
            End::Mix(jbu) => {
                let mut mixed = vec![0.0; row.len()];
                let rows: Vec<&[f32]> = row.chunks_exact(width).collect();
                product(&jbu.mix[0], Some(&jbu.mix[1]), &rows, &mut mixed);
                row.iter_mut().zip(&mixed).for_each(|(to, mixed)| *to += mixed * FINAL_SHARE);
            }
        });
        map
    }
}

#[cfg(test)]
mod tests;
