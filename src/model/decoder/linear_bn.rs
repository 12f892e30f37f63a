//! Meta's linear head: dropout of whole channels, BatchNorm, 1x1 convolution, on the normed patch
//! tokens of the last layer or of the last few, concatenated from the earliest to the last.
//!
//! facebookresearch/dinov3 6876159, `eval/segmentation/models/heads/linear_head.py`, without class
//! token. DINOv2's (`BNHead`, facebookresearch/dinov2 b8931f7,
//! `eval/segmentation/models/decode_heads/linear_head.py`) is the same with dropout 0; its `ms`
//! heads read 4 layers.

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::batch_norm::{self, BatchNorm};
use super::head::{Head, Sizes, to_map};
use crate::kernel::dropout;
use crate::kernel::loss::cross_entropy;
use crate::model::init;
use crate::model::mode::Mode;
use crate::model::params::{Params, Slot};
use crate::model::vit::{Features, linear};

/// Standard deviation of the initial weights; the bias is 0.
const INIT_STD: f64 = 0.01;

/// The layers that are read, and the dropout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Number of last layers that are read, their channels concatenated; 1 to 4.
    #[serde(default = "one_layer")]
    pub layers: u32,
    /// Probability that a channel of an image is dropped in training.
    #[serde(default = "head_dropout")]
    pub dropout: f64,
}

fn one_layer() -> u32 {
    1
}

fn head_dropout() -> f64 {
    0.1
}

/// A decoder of BatchNorm and a 1x1 convolution.
#[derive(Debug, Clone)]
pub struct LinearBn {
    layers: usize,
    dropout: f64,
    norm: BatchNorm,
    classifier: linear::Linear,
}

impl Head for LinearBn {
    type Config = Config;
    /// The logits, `[batch, n_classes, rows, columns]`, on the patch grid.
    type Output = Tensor<4>;

    fn label(config: &Config) -> String {
        match config.layers {
            1 => "BN + 1x1 decoder".to_owned(),
            layers => format!("BN + 1x1 decoder ({layers} layers)"),
        }
    }

    fn layers(config: &Config) -> usize {
        config.layers as usize
    }

    fn check_batch(_: &Config, n_images: usize, grid: [usize; 2]) -> Result<(), String> {
        batch_norm::check_batch(n_images, grid)
    }

    fn new(config: &Config, Sizes { dim, n_classes }: Sizes, seed: u64, device: &Device) -> Self {
        let layers = config.layers as usize;
        let channels = layers * dim;
        let mut classifier = linear::Linear::zeros(channels, n_classes, linear::Bias::Yes, device);
        let weights = init::normal(INIT_STD, channels * n_classes, seed, "classifier.weight");
        classifier.weight =
            Tensor::from_data(TensorData::new(weights, [channels, n_classes]), device);
        let norm = BatchNorm::new(channels, device);
        Self { layers, dropout: config.dropout, norm, classifier }
    }

    fn forward(&mut self, features: &Features, mode: Mode) -> Tensor<4> {
        assert_eq!(features.patches.len(), self.layers, "its layers were asked for");
        let tokens = Tensor::cat(features.patches.clone(), 2);
        let [batch, n_patches, channels] = tokens.dims();
        let device = tokens.device().inner();
        let tokens = match mode {
            Mode::Train(draw) if self.dropout > 0.0 => {
                let shape = [batch, 1, channels];
                tokens * dropout::mask(shape, self.dropout, draw, "decoder", &device)
            }
            _ => tokens,
        };
        // [batch, n, channels] -> [batch * n, channels]: BatchNorm over all places.
        let flat = tokens.reshape([batch * n_patches, channels]);
        let logits = self.classifier.forward(self.norm.forward(flat, mode));
        let [_, n_classes] = logits.dims();
        to_map(logits.reshape([batch, n_patches, n_classes]), features.grid)
    }

    fn loss(&self, logits: Tensor<4>, labels: Tensor<3, Int>) -> Tensor<1> {
        cross_entropy(logits, labels)
    }

    fn predict(&self, logits: Tensor<4>) -> Tensor<4> {
        logits
    }
}

impl Params for LinearBn {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.norm.each(&format!("{path}norm."), f);
        let [channels, n_classes] = self.classifier.weight.dims();
        let shape = [n_classes, channels, 1, 1];
        f(&format!("{path}classifier.weight"), Slot::Kernel(&mut self.classifier.weight, shape));
        if let Some(bias) = &mut self.classifier.bias {
            f(&format!("{path}classifier.bias"), Slot::Vector(bias));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::dropout::Draw;
    use crate::model::decoder::check;

    #[test]
    fn whole_channels_are_dropped_in_training_only() {
        let (config, sizes) = (Config { layers: 1, dropout: 0.5 }, Sizes { dim: 8, n_classes: 3 });
        let mut head = LinearBn::new(&config, sizes, 0, &Device::flex());
        let features = check::features(1, [2, 3], 8);
        let mut at = |mode| -> Vec<f32> {
            head.forward(&features, mode).into_data().try_into_vec().unwrap()
        };
        let step = |step| Mode::Train(Draw { seed: 0, step });
        assert_eq!(at(step(1)), at(step(1)));
        assert_ne!(at(step(1)), at(step(2)));
        assert_eq!(at(Mode::Eval), at(Mode::Eval));
    }

    #[test]
    fn parameters_are_those_of_the_formula() {
        for layers in [1, 4] {
            let config = Config { layers, dropout: 0.1 };
            let channels = 64 * layers as usize;
            assert_eq!(check::n_parameters::<LinearBn>(&config), 2 * channels + 3 * (channels + 1));
        }
    }
}
