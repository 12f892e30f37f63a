//! Meta's linear head: dropout of whole channels, BatchNorm, 1x1 convolution, on the normed patch
//! tokens of the last layer or of the last few, concatenated from the earliest to the last.
//!
//! facebookresearch/dinov3 6876159, `eval/segmentation/models/heads/linear_head.py`, without class
//! token. DINOv2's (`BNHead`, facebookresearch/dinov2 b8931f7, `eval/segmentation/models/
//! decode_heads/linear_head.py`) is the same with dropout 0; its `ms` heads read 4 layers.

use burn::tensor::{Device, Tensor, TensorData};

use super::batch_norm::BatchNorm;
use super::to_map;
use crate::kernel::dropout;
use crate::model::init;
use crate::model::mode::Mode;
use crate::model::params::{Params, Slot};
use crate::model::vit::{Features, linear};

/// Standard deviation of the initial weights; the bias is 0.
const INIT_STD: f64 = 0.01;

/// What a head is made for.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub dim: usize,
    /// Last layers that it reads.
    pub layers: usize,
    pub n_classes: usize,
    /// Probability that a channel of an image is dropped in training.
    pub dropout: f64,
}

#[derive(Debug, Clone)]
pub struct LinearBn {
    pub layers: usize,
    dropout: f64,
    norm: BatchNorm,
    classifier: linear::Linear,
}

impl LinearBn {
    pub fn new(sizes: Sizes, seed: u64, device: &Device) -> Self {
        let channels = sizes.layers * sizes.dim;
        let mut classifier =
            linear::Linear::zeros(channels, sizes.n_classes, linear::Bias::Yes, device);
        let weights = init::normal(INIT_STD, channels * sizes.n_classes, seed, "classifier.weight");
        classifier.weight =
            Tensor::from_data(TensorData::new(weights, [channels, sizes.n_classes]), device);
        let norm = BatchNorm::new(channels, device);
        Self { layers: sizes.layers, dropout: sizes.dropout, norm, classifier }
    }

    /// Logits `[batch, n_classes, rows, columns]` on the patch grid.
    pub fn forward(&mut self, features: &Features, mode: Mode) -> Tensor<4> {
        assert_eq!(features.patches.len(), self.layers, "its layers were asked for");
        let tokens = Tensor::cat(features.patches.clone(), 2);
        let [batch, n_patches, channels] = tokens.dims();
        let device = tokens.device().inner();
        let tokens = match mode {
            Mode::Train(draw) if self.dropout > 0.0 => {
                let draw = (draw, "decoder");
                let shape = [batch, 1, channels];
                tokens * dropout::mask(shape, self.dropout, draw, &device)
            }
            _ => tokens,
        };
        // [batch, n, channels] -> [batch * n, channels]: BatchNorm over all places.
        let flat = tokens.reshape([batch * n_patches, channels]);
        let logits = self.classifier.forward(self.norm.forward(flat, mode));
        let [_, n_classes] = logits.dims();
        to_map(logits.reshape([batch, n_patches, n_classes]), features.grid)
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
