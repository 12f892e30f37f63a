//! A feature pyramid over the last four layers that keeps the image's geometry.
//!
//! The reference project's has the same idea (3x3 convolutions, 1x1 laterals, nearest x2), but its
//! convolutions are unpadded, so that the borders are stretched, and its logits pass a ReLU. Here
//! convolutions are padded, resizing is bilinear, and logits come straight from a convolution.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Int, Tensor, activation, module};
use serde::{Deserialize, Serialize};

use super::batch_norm::{self, BatchNorm};
use super::head::{Head, Sizes, to_map};
use crate::kernel::loss::cross_entropy;
use crate::kernel::resize::bilinear;
use crate::model::init;
use crate::model::mode::Mode;
use crate::model::params::{Params, Slot};
use crate::model::vit::{Features, linear};

/// Number of layers it reads.
const LAYERS: usize = 4;

/// The settings of the pyramid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels of the first stage; the second has half, the third a quarter.
    #[serde(default = "channels")]
    pub channels: u32,
}

fn channels() -> u32 {
    128
}

/// A decoder of three stages and a convolution to classes.
#[derive(Debug, Clone)]
pub struct Fpn {
    stages: Vec<Stage>,
    classifier: Conv,
}

/// 3x3 convolution, BatchNorm and ReLU, to which a lateral of an earlier layer is added.
#[derive(Debug, Clone)]
struct Stage {
    conv: Conv,
    norm: BatchNorm,
    lateral: linear::Linear,
}

/// A padded 3x3 convolution; without bias where BatchNorm follows.
#[derive(Debug, Clone)]
struct Conv {
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
}

impl Conv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        // Stride 1, padding 1, dilation 1, one group.
        let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        module::conv2d(x, self.weight.clone(), self.bias.clone(), options)
    }
}

impl Params for Conv {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        f(&format!("{path}weight"), Slot::Conv(&mut self.weight));
        if let Some(bias) = &mut self.bias {
            f(&format!("{path}bias"), Slot::Vector(bias));
        }
    }
}

impl Head for Fpn {
    type Config = Config;
    /// The logits, `[batch, n_classes, 4 * rows, 4 * columns]`.
    type Output = Tensor<4>;

    fn label(_: &Config) -> String {
        "FPN decoder".to_owned()
    }

    fn layers(_: &Config) -> usize {
        LAYERS
    }

    fn parameters_min(config: &Config, sizes: Sizes) -> u64 {
        sizes.pyramid_parameters_min(config.channels)
    }

    fn check_batch(_: &Config, n_images: usize, grid: [usize; 2]) -> Result<(), String> {
        batch_norm::check_batch(n_images, grid)
    }

    /// Builds the pyramid with convolutions initialised as PyTorch's `nn.Conv2d`, BatchNorm as the
    /// identity.
    fn new(config: &Config, Sizes { dim, n_classes }: Sizes, seed: u64, device: &Device) -> Self {
        let width = |stage: usize| (config.channels as usize >> stage).max(1);
        let stage = |i: usize| {
            let d_in = if i == 0 { dim } else { width(i - 1) };
            Stage {
                conv: Conv { weight: Tensor::zeros([width(i), d_in, 3, 3], device), bias: None },
                norm: BatchNorm::new(width(i), device),
                lateral: linear::Linear::zeros(dim, width(i), linear::Bias::Yes, device),
            }
        };
        let mut fpn = Self {
            stages: (0..LAYERS - 1).map(stage).collect(),
            classifier: Conv {
                weight: Tensor::zeros([n_classes, width(LAYERS - 2), 3, 3], device),
                bias: Some(Tensor::zeros([n_classes], device)),
            },
        };
        let mut fan_in = 1;
        fpn.each("", &mut |name, mut slot| {
            if name.contains("norm.") {
                return;
            }
            // A bias follows its weight and has the same fan-in.
            if name.ends_with("weight") {
                fan_in = slot.file_shape()[1..].iter().product();
            }
            let values = init::fan_in_uniform(fan_in, slot.n_elements(), seed, name);
            slot.set_from_file(values, device);
        });
        fpn
    }

    fn forward(&mut self, features: &Features, mode: Mode) -> Tensor<4> {
        let [rows, columns] = features.grid;
        let mut tokens = features.patches.iter().rev().cloned();
        let deepest = tokens.next().expect("four layers were asked for");
        let mut x = to_map(deepest, features.grid);
        for (i, (stage, tokens)) in self.stages.iter_mut().zip(tokens).enumerate() {
            let size = [rows << i, columns << i];
            if i > 0 {
                x = bilinear::resize(x, size);
            }
            x = activation::relu(stage.norm.forward(stage.conv.forward(x), mode));
            let lateral = to_map(stage.lateral.forward(tokens), features.grid);
            x = x + if i > 0 { bilinear::resize(lateral, size) } else { lateral };
        }
        self.classifier.forward(x)
    }

    fn loss(&self, logits: Tensor<4>, labels: Tensor<3, Int>) -> Tensor<1> {
        cross_entropy(logits, labels)
    }

    fn predict(&self, logits: Tensor<4>) -> Tensor<4> {
        logits
    }
}

impl Params for Fpn {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        for (i, stage) in self.stages.iter_mut().enumerate() {
            let path = format!("{path}stages.{i}.");
            stage.conv.each(&format!("{path}conv."), f);
            stage.norm.each(&format!("{path}norm."), f);
            stage.lateral.each(&format!("{path}lateral."), f);
        }
        self.classifier.each(&format!("{path}classifier."), f);
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::kernel::dropout::Draw;
    use crate::model::decoder::check;
    use crate::rng;

    const DRAW: Draw = Draw { seed: 0, step: 0 };
    const CONFIG: Config = Config { channels: 8 };
    const SIZES: Sizes = Sizes { dim: 6, n_classes: 3 };

    fn features(grid: [usize; 2], fill: impl Fn(usize) -> f32) -> Features {
        let n = 2 * grid[0] * grid[1] * SIZES.dim;
        let layer = |layer: usize| {
            let values: Vec<f32> = (0..n).map(|i| fill(layer * n + i)).collect();
            let shape = [2, grid[0] * grid[1], SIZES.dim];
            Tensor::from_data(TensorData::new(values, shape), &Device::flex())
        };
        Features { patches: (0..LAYERS).map(layer).collect(), class: vec![], grid }
    }

    fn noise(i: usize) -> f32 {
        rng::normal(&mut rng::keyed(3, "fpn", &[i as u64])) as f32
    }

    #[test]
    fn parameters_are_those_of_the_formula() {
        let convs = 9 * (64 * 8 + 8 * 4 + 4 * 2 + 2 * 3) + 3;
        let expect = convs + 2 * (8 + 4 + 2) + 65 * (8 + 4 + 2);
        assert_eq!(check::n_parameters::<Fpn>(&CONFIG), expect);
    }

    #[test]
    fn logits_are_four_times_finer_than_the_patches() {
        let mut fpn = Fpn::new(&CONFIG, SIZES, 0, &Device::flex());
        for mode in [Mode::Train(DRAW), Mode::Eval] {
            assert_eq!(fpn.forward(&features([5, 3], noise), mode).dims(), [2, 3, 20, 12]);
        }
    }

    /// Checks that no side is treated differently: with mirrored kernels, mirroring the input
    /// mirrors the output to rounding. Unpadded, stretched convolutions fail it not at the centre
    /// but in size; a shift by half a pixel fails it everywhere.
    #[test]
    fn left_and_right_are_treated_alike() {
        let mut fpn = Fpn::new(&CONFIG, SIZES, 0, &Device::flex());
        fpn.each("", &mut |_, slot| {
            if let Slot::Conv(weight) = slot {
                *weight = weight.clone() + weight.clone().flip([3]);
            }
        });
        let grid = [4, 6];
        let straight = features(grid, noise);
        let mirror = |tokens: &Tensor<3>| {
            let map = to_map(tokens.clone(), grid).flip([3]);
            map.flatten::<3>(2, 3).swap_dims(1, 2)
        };
        let mirrored =
            Features { patches: straight.patches.iter().map(mirror).collect(), ..straight.clone() };
        let a = fpn.forward(&straight, Mode::Eval).flip([3]);
        let b = fpn.forward(&mirrored, Mode::Eval);
        let worst: f32 = (a - b).abs().max().into_scalar();
        assert!(worst < 1e-5, "{worst}");
    }

    /// Checks that a single lit token at a border lights the logits at that border, undistorted:
    /// the strongest answer lies within the token's own 4 x 4 pixels.
    #[test]
    fn a_lit_border_token_is_answered_at_the_border() {
        let mut fpn = Fpn::new(&CONFIG, SIZES, 0, &Device::flex());
        let grid = [6, 6];
        for lit in [0, 5, 30, 35, 14] {
            let mut at = |value: f32| {
                let features = features(grid, |i| {
                    let token = (i / SIZES.dim) % 36;
                    if token == lit { value } else { 0.0 }
                });
                fpn.forward(&features, Mode::Eval)
            };
            let answer = (at(1.0) - at(0.0)).abs().sum_dim(1);
            let values: Vec<f32> =
                answer.narrow(0, 0, 1).into_data().try_into_vec::<f32>().unwrap();
            let strongest =
                (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap();
            let (row, column) = (strongest / 24 / 4, strongest % 24 / 4);
            let (lit_row, lit_column) = (lit / 6, lit % 6);
            let near = row.abs_diff(lit_row) <= 1 && column.abs_diff(lit_column) <= 1;
            assert!(near, "token {lit_row},{lit_column} answered at {row},{column}");
        }
    }

    /// The loss of a fixed linear form of the training logits, for gradient checks.
    fn loss(fpn: &mut Fpn, features: &Features) -> Tensor<1> {
        let logits = fpn.forward(features, Mode::Train(DRAW));
        let n: usize = logits.dims().iter().product();
        let weights: Vec<f32> = (0..n).map(|i| noise(1_000_000 + i)).collect();
        let weights =
            Tensor::<4>::from_data(TensorData::new(weights, logits.dims()), &Device::flex());
        (logits * weights).sum()
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let features = features([2, 3], noise);
        let mut fpn = Fpn::new(&CONFIG, SIZES, 0, &Device::flex());
        fpn.each("", &mut |name, mut slot| {
            if !name.contains("running") {
                slot.train();
            }
        });
        let gradients = loss(&mut fpn, &features).backward();
        let mut checks: Vec<(String, usize, f32, f32)> = vec![];
        fpn.each("", &mut |name, slot| {
            let Some(gradient) = slot.gradient_in_file_layout(&gradients) else { return };
            let i = gradient.len() / 2;
            let largest = gradient.iter().fold(0.0f32, |m, g| m.max(g.abs()));
            checks.push((name.to_owned(), i, gradient[i], largest));
        });
        assert_eq!(checks.len(), 3 * 5 + 2);
        for (name, i, gradient, largest) in checks {
            let at = |delta: f32| {
                let mut moved = fpn.clone();
                moved.each("", &mut |other, mut slot| {
                    slot.freeze();
                    if other == name {
                        let mut values = slot.to_file();
                        values[i] += delta;
                        slot.set_from_file(values, &Device::flex());
                    }
                });
                loss(&mut moved, &features).into_scalar::<f32>()
            };
            let step = 2e-3;
            let slope = (at(step) - at(-step)) / (2.0 * step);
            let limit = 0.02 * largest.max(1.0);
            assert!((slope - gradient).abs() < limit, "{name}: {slope} {gradient}");
        }
    }

    #[test]
    fn running_statistics_follow_the_batches_as_pytorchs() {
        let mut norm = BatchNorm::new(1, &Device::flex());
        let x = Tensor::<4>::from_data([[[[1.0f32, 3.0]]], [[[5.0, 7.0]]]], &Device::flex());
        norm.forward(x, Mode::Train(DRAW));
        let mut seen = vec![];
        norm.each("", &mut |_, slot| seen.push(slot.to_file()[0]));
        // Mean 4; unbiased variance 20 / 3; momentum 0.1 from 0 and 1.
        assert!((seen[2] - 0.4).abs() < 1e-6, "{seen:?}");
        assert!((seen[3] - (0.9 + 0.1 * 20.0 / 3.0)).abs() < 1e-6, "{seen:?}");
    }
}
