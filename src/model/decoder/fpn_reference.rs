//! The feature pyramid of the reference project, number for number, for its adapters and its table
//! (RobvanGastel/dinov2-finetune d109d85, `dino_finetune/model/fpn_decoder.py`).
//!
//! Its 3x3 convolutions are unpadded: from a grid of `h` patches come `4h - 24` rows of logits,
//! which show the central part of the image and are stretched over all of it when they are resized.
//! BatchNorm and ReLU act on the logits too. [`super::fpn`] is a pyramid that keeps the image's
//! geometry. Tensors have the reference's names.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Int, Tensor, activation, module};
use serde::{Deserialize, Serialize};

use super::batch_norm::BatchNorm;
use super::head::{Found, GridMin, Head, Shapes, Sizes, to_map};
use crate::kernel::loss::cross_entropy;
use crate::kernel::resize::nearest;
use crate::model::init;
use crate::model::mode::Mode;
use crate::model::params::{Params, Slot};
use crate::model::vit::{Features, linear};

/// Number of layers it reads.
const LAYERS: usize = 4;
/// Number of rows and columns of patches below which the unpadded convolutions leave nothing.
const GRID_MIN: usize = 7;

/// The settings of the pyramid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels of the first convolution; the inner ones have a half, a quarter and a sixth.
    #[serde(default = "channels")]
    pub channels: u32,
}

fn channels() -> u32 {
    128
}

/// A decoder of five convolutions, to which three laterals are added.
#[derive(Debug, Clone)]
pub struct FpnReference {
    convs: [Conv; 5],
    /// 1x1 convolutions of the first three layers.
    laterals: [linear::Linear; 3],
}

/// Unpadded 3x3 convolution without bias, BatchNorm and ReLU.
#[derive(Debug, Clone)]
struct Conv {
    weight: Tensor<4>,
    norm: BatchNorm,
}

impl Conv {
    fn zeros(d_in: usize, d_out: usize, device: &Device) -> Self {
        let norm = BatchNorm::counting(d_out, device);
        Self { weight: Tensor::zeros([d_out, d_in, 3, 3], device), norm }
    }

    /// Applies the convolution: `[batch, in, h, w]` -> `[batch, out, h - 2, w - 2]`.
    fn forward(&mut self, x: Tensor<4>, mode: Mode) -> Tensor<4> {
        // Stride 1, no padding, dilation 1, one group.
        let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
        let x = module::conv2d(x, self.weight.clone(), None, options);
        activation::relu(self.norm.forward(x, mode))
    }
}

impl Head for FpnReference {
    type Config = Config;
    /// The logits, `[batch, n_classes, 4 * rows - 24, 4 * columns - 24]`, none below 0.
    type Output = Tensor<4>;

    const REFERENCE_TENSOR: Option<&'static str> = Some("conv1.0.weight");

    fn label(_: &Config) -> String {
        "FPN (reference) decoder".to_owned()
    }

    fn layers(_: &Config) -> usize {
        LAYERS
    }

    fn parameters_min(config: &Config, sizes: Sizes) -> u64 {
        sizes.pyramid_parameters_min(config.channels)
    }

    fn grid_min(_: &Config) -> Option<GridMin> {
        let otherwise = "leaves nothing after the unpadded convolutions of `fpn_reference`";
        Some(GridMin { side: GRID_MIN, otherwise })
    }

    fn of_reference(shape: &Shapes<'_>) -> Option<Found<Config>> {
        match (shape("conv1.0.weight")?, shape("conv5.0.weight")?) {
            (&[channels, dim, 3, 3], &[n_classes, _, 3, 3]) => {
                let channels = u32::try_from(channels).ok()?;
                Some(Found { config: Config { channels }, n_classes, dim })
            }
            _ => None,
        }
    }

    /// Builds the pyramid with convolutions initialised as PyTorch's `nn.Conv2d`, BatchNorm as the
    /// identity.
    fn new(config: &Config, Sizes { dim, n_classes }: Sizes, seed: u64, device: &Device) -> Self {
        let channels = config.channels as usize;
        let inner = [channels / 2, channels / 4, channels / 6].map(|width| width.max(1));
        let widths = [dim, channels, inner[0], inner[1], inner[2], n_classes];
        let lateral = |width| linear::Linear::zeros(dim, width, linear::Bias::Yes, device);
        let mut fpn = Self {
            convs: std::array::from_fn(|i| Conv::zeros(widths[i], widths[i + 1], device)),
            laterals: inner.map(lateral),
        };
        fpn.each("", &mut |name, mut slot| {
            let fan_in = match name {
                _ if name.starts_with("inter_conv") => dim,
                _ if name.ends_with(".0.weight") => slot.file_shape()[1..].iter().product(),
                _ => return,
            };
            let values = init::fan_in_uniform(fan_in, slot.n_elements(), seed, name);
            slot.set_from_file(values, device);
        });
        fpn
    }

    fn forward(&mut self, features: &Features, mode: Mode) -> Tensor<4> {
        let grid = features.grid;
        assert!(grid.iter().all(|side| *side >= GRID_MIN), "the spec was checked");
        let [conv1, conv2, conv3, conv4, conv5] = &mut self.convs;
        let lateral = |i: usize, x: &Tensor<4>| {
            let [_, _, height, width] = x.dims();
            let map = to_map(self.laterals[i].forward(features.patches[i].clone()), grid);
            nearest::resize(map, [height, width])
        };
        let x = to_map(features.patches[LAYERS - 1].clone(), grid);
        let x = doubled(conv2.forward(conv1.forward(x, mode), mode)); // 2 * (h - 4)
        let x = x.clone() + lateral(0, &x);
        let x = doubled(conv3.forward(x, mode)); // 4 * h - 20
        let x = x.clone() + lateral(1, &x);
        let x = conv4.forward(x, mode); // 4 * h - 22
        let x = x.clone() + lateral(2, &x);
        conv5.forward(x, mode)
    }

    fn loss(&self, logits: Tensor<4>, labels: Tensor<3, Int>) -> Tensor<1> {
        cross_entropy(logits, labels)
    }

    fn predict(&self, logits: Tensor<4>) -> Tensor<4> {
        logits
    }
}

fn doubled(x: Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    nearest::resize(x, [2 * height, 2 * width])
}

impl Params for FpnReference {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        for (i, conv) in self.convs.iter_mut().enumerate() {
            let path = format!("{path}conv{}.", i + 1);
            f(&format!("{path}0.weight"), Slot::Conv(&mut conv.weight));
            conv.norm.each(&format!("{path}1."), f);
        }
        for (i, lateral) in self.laterals.iter_mut().enumerate() {
            let path = format!("{path}inter_conv{}.", i + 1);
            let [dim, width] = lateral.weight.dims();
            f(&format!("{path}weight"), Slot::Kernel(&mut lateral.weight, [width, dim, 1, 1]));
            if let Some(bias) = &mut lateral.bias {
                f(&format!("{path}bias"), Slot::Vector(bias));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decoder::check;

    #[test]
    fn parameters_are_those_of_the_formula() {
        let convs = 9 * (64 * 12 + 12 * 6 + 6 * 3 + 3 * 2 + 2 * 3);
        let expect = convs + 2 * (12 + 6 + 3 + 2 + 3) + 65 * (6 + 3 + 2);
        assert_eq!(check::n_parameters::<FpnReference>(&Config { channels: 12 }), expect);
    }

    /// FACTS of the reference's own adapters: ViT-L, 21 classes.
    #[test]
    fn names_and_shapes_are_those_of_the_references_files() {
        let (config, sizes) = (Config { channels: 128 }, Sizes { dim: 1024, n_classes: 21 });
        let mut fpn = FpnReference::new(&config, sizes, 0, &Device::flex());
        let mut seen = vec![];
        fpn.each("", &mut |name, slot| seen.push(format!("{name} {:?}", slot.file_shape())));
        let of_conv = |k: usize, d_out: usize, d_in: usize| {
            let norm = ["weight", "bias", "running_mean", "running_var"];
            let norm = norm.map(|part| format!("conv{k}.1.{part} [{d_out}]"));
            let first = format!("conv{k}.0.weight [{d_out}, {d_in}, 3, 3]");
            let last = format!("conv{k}.1.num_batches_tracked [1]");
            std::iter::once(first).chain(norm).chain([last])
        };
        let of_lateral = |k: usize, d_out: usize| {
            let first = format!("inter_conv{k}.weight [{d_out}, 1024, 1, 1]");
            [first, format!("inter_conv{k}.bias [{d_out}]")]
        };
        let expect: Vec<String> = of_conv(1, 128, 1024)
            .chain(of_conv(2, 64, 128))
            .chain(of_conv(3, 32, 64))
            .chain(of_conv(4, 21, 32))
            .chain(of_conv(5, 21, 21))
            .chain(of_lateral(1, 64))
            .chain(of_lateral(2, 32))
            .chain(of_lateral(3, 21))
            .collect();
        assert_eq!(seen, expect);
    }

    #[test]
    fn the_smallest_grid_leaves_four_places() {
        let (config, sizes) = (Config { channels: 8 }, Sizes { dim: 6, n_classes: 3 });
        let mut fpn = FpnReference::new(&config, sizes, 0, &Device::flex());
        let layer = Tensor::<3>::zeros([1, GRID_MIN * 9, 6], &Device::flex());
        let patches = vec![layer; LAYERS];
        let features = Features { patches, class: vec![], grid: [GRID_MIN, 9] };
        assert_eq!(fpn.forward(&features, Mode::Eval).dims(), [1, 3, 4, 12]);
    }
}
