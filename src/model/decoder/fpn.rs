//! A feature pyramid over the last four layers, of right geometry.
//!
//! The reference project's has the same idea (3x3 convolutions, 1x1 laterals, nearest x2), but its
//! convolutions are unpadded, so that the borders are stretched, and its logits pass a ReLU. Here
//! convolutions are padded, resizing is bilinear, and logits come straight from a convolution.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, activation, module};

use super::batch_norm::BatchNorm;
use super::{Mode, to_map};
use crate::kernel::bilinear;
use crate::model::init;
use crate::model::params::{Params, Slot};
use crate::model::vit::{Features, linear};

/// Layers it reads.
pub const LAYERS: usize = 4;

/// Widths of the pyramid.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub dim: usize,
    /// Channels of the first stage; the second has half, the third a quarter.
    pub channels: usize,
    pub n_classes: usize,
}

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

impl Fpn {
    /// Convolutions initialised as PyTorch's `nn.Conv2d`, BatchNorm to the identity.
    pub fn new(sizes: Sizes, seed: u64, device: &Device) -> Self {
        let width = |stage: usize| (sizes.channels >> stage).max(1);
        let stage = |i: usize| {
            let d_in = if i == 0 { sizes.dim } else { width(i - 1) };
            Stage {
                conv: Conv { weight: Tensor::zeros([width(i), d_in, 3, 3], device), bias: None },
                norm: BatchNorm::new(width(i), device),
                lateral: linear::Linear::zeros(sizes.dim, width(i), linear::Bias::Yes, device),
            }
        };
        let mut fpn = Self {
            stages: (0..LAYERS - 1).map(stage).collect(),
            classifier: Conv {
                weight: Tensor::zeros([sizes.n_classes, width(LAYERS - 2), 3, 3], device),
                bias: Some(Tensor::zeros([sizes.n_classes], device)),
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

    /// Logits `[batch, n_classes, 4 * rows, 4 * columns]`.
    pub fn forward(&mut self, features: &Features, mode: Mode) -> Tensor<4> {
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
