//! A 1x1 convolution on the last layer's normed patch tokens.

use burn::tensor::{Device, Tensor};

use super::to_map;
use crate::model::init;
use crate::model::params::{Params, Slot};
use crate::model::vit::{Features, linear};

#[derive(Debug, Clone)]
pub struct Linear {
    classifier: linear::Linear,
}

impl Linear {
    /// Initialised as PyTorch's `nn.Conv2d`.
    pub fn new(dim: usize, n_classes: usize, seed: u64, device: &Device) -> Self {
        let mut decoder =
            Self { classifier: linear::Linear::zeros(dim, n_classes, linear::Bias::Yes, device) };
        decoder.each("", &mut |name, mut slot| {
            let values = init::fan_in_uniform(dim, slot.n_elements(), seed, name);
            slot.set_from_file(values, device);
        });
        decoder
    }

    /// Logits `[batch, n_classes, rows, columns]` on the patch grid.
    pub fn forward(&self, features: &Features) -> Tensor<4> {
        let tokens = features.patches.last().expect("the last layer was asked for").clone();
        to_map(self.classifier.forward(tokens), features.grid)
    }
}

impl Params for Linear {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        let [dim, n_classes] = self.classifier.weight.dims();
        let shape = [n_classes, dim, 1, 1];
        f(&format!("{path}classifier.weight"), Slot::Kernel(&mut self.classifier.weight, shape));
        if let Some(bias) = &mut self.classifier.bias {
            f(&format!("{path}classifier.bias"), Slot::Vector(bias));
        }
    }
}
