//! A 1x1 convolution on the last layer's normed patch tokens: the linear probe of the DINO papers,
//! and the reference project's default (RobvanGastel/dinov2-finetune d109d85,
//! `dino_finetune/model/linear_decoder.py`).

use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use super::head::{Found, Head, Shapes, Sizes, to_map};
use crate::kernel::loss::cross_entropy;
use crate::model::init;
use crate::model::mode::Mode;
use crate::model::params::{Params, Slot};
use crate::model::vit::{Features, linear};

/// The settings of the decoder: there are none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// A decoder of one 1x1 convolution.
#[derive(Debug, Clone)]
pub struct Linear {
    classifier: linear::Linear,
}

impl Head for Linear {
    type Config = Config;
    /// The logits, `[batch, n_classes, rows, columns]`, on the patch grid.
    type Output = Tensor<4>;

    const REFERENCE_TENSOR: Option<&'static str> = Some("classifier.weight");

    fn label(_: &Config) -> String {
        "1x1 decoder".to_owned()
    }

    fn layers(_: &Config) -> usize {
        1
    }

    fn of_reference(shape: &Shapes<'_>) -> Option<Found<Config>> {
        match *shape("classifier.weight")? {
            [n_classes, dim, 1, 1] => Some(Found { config: Config {}, n_classes, dim }),
            _ => None,
        }
    }

    /// Builds the decoder, initialised as PyTorch's `nn.Conv2d`.
    fn new(_: &Config, Sizes { dim, n_classes }: Sizes, seed: u64, device: &Device) -> Self {
        let mut decoder =
            Self { classifier: linear::Linear::zeros(dim, n_classes, linear::Bias::Yes, device) };
        decoder.each("", &mut |name, mut slot| {
            let values = init::fan_in_uniform(dim, slot.n_elements(), seed, name);
            slot.set_from_file(values, device);
        });
        decoder
    }

    fn forward(&mut self, features: &Features, _: Mode) -> Tensor<4> {
        let tokens = features.patches.last().expect("the last layer was asked for").clone();
        to_map(self.classifier.forward(tokens), features.grid)
    }

    fn loss(&self, logits: Tensor<4>, labels: Tensor<3, Int>) -> Tensor<1> {
        cross_entropy(logits, labels)
    }

    fn predict(&self, logits: Tensor<4>) -> Tensor<4> {
        logits
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decoder::check;

    #[test]
    fn parameters_are_those_of_the_formula() {
        assert_eq!(check::n_parameters::<Linear>(&Config {}), 3 * 65);
    }
}
