//! Encoder, adapter and decoder as one network.

use burn::tensor::{Device, Tensor};

use super::config::{DecoderConfig, TuneConfig};
use super::decoder::Decoder;
use super::init;
use super::mode::Mode;
use super::params::{Params, Slot};
use super::vit::Encoder;

/// A segmentation network, with what is trained marked.
#[derive(Debug, Clone)]
pub struct Network {
    encoder: Encoder,
    decoder: Decoder,
    layers: Vec<usize>,
}

/// What a network is made of, beside its encoder's weights.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    pub tune: &'a TuneConfig,
    pub decoder: &'a DecoderConfig,
    pub n_classes: usize,
    /// Height and width of the input, multiples of the patch.
    pub input_px: [usize; 2],
    /// Seed of LoRA and decoder.
    pub seed: u64,
}

impl Network {
    /// Adapts a loaded `encoder` and puts a decoder on it.
    pub fn new(mut encoder: Encoder, parts: &Parts<'_>) -> Self {
        let device = encoder.device();
        let mut decoder =
            Decoder::new(parts.decoder, &encoder.arch, parts.n_classes, (parts.seed, &device));
        decoder.each("", &mut |name, mut slot| {
            if !is_buffer(name) {
                slot.train();
            }
        });
        match parts.tune {
            TuneConfig::Frozen {} => {}
            TuneConfig::Lora(config) => {
                init::lora(&mut encoder, config, parts.seed);
                encoder.each("", &mut |name, mut slot| {
                    if is_lora(name) {
                        slot.train();
                    }
                });
            }
            TuneConfig::Full {} => encoder.each("", &mut |name, mut slot| {
                if !is_buffer(name) {
                    slot.train();
                }
            }),
        }
        encoder.prepare(parts.input_px);
        let layers = decoder.layers(&encoder.arch);
        Self { encoder, decoder, layers }
    }

    /// Logits `[batch, n_classes, rows, columns]` of normalised images `[batch, 3, h, w]`.
    ///
    /// The encoder is in eval mode always; `mode` is the decoder's.
    pub fn forward(&mut self, images: Tensor<4>, mode: Mode) -> Tensor<4> {
        let features = self.encoder.forward(images, &self.layers);
        self.decoder.forward(&features, mode)
    }

    /// A copy whose forward pass builds no autodiff graph; tensors are shared, not copied.
    #[must_use]
    pub fn without_gradients(&self) -> Self {
        let mut network = self.clone();
        network.each("", &mut |_, mut slot| slot.freeze());
        network.encoder.freeze_positions();
        network
    }

    pub fn device(&self) -> Device {
        self.encoder.device()
    }

    /// Works out again what depends on loaded weights; call after changing them by name.
    pub fn prepare(&mut self, input_px: [usize; 2]) {
        self.encoder.prepare(input_px);
    }

    /// (all, trained) parameters, buffers left out.
    pub fn count(&mut self) -> (u64, u64) {
        let (mut all, mut trained) = (0, 0);
        self.each("", &mut |name, slot| {
            if !is_buffer(name) {
                let n = slot.n_elements() as u64;
                all += n;
                trained += if slot.is_trained() { n } else { 0 };
            }
        });
        (all, trained)
    }

    /// Calls `f` with all that training changes: trained parameters, and the buffers of the
    /// decoder.
    pub fn each_changed(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.each("", &mut |name, slot| {
            if slot.is_trained() || (is_buffer(name) && name.starts_with("decoder.")) {
                f(name, slot);
            }
        });
    }
}

impl Params for Network {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.encoder.each(&format!("{path}encoder."), f);
        self.decoder.each(&format!("{path}decoder."), f);
    }
}

/// State that is no parameter: RoPE periods, BatchNorm's running statistics.
pub fn is_buffer(name: &str) -> bool {
    name.ends_with("periods") || name.ends_with("running_mean") || name.ends_with("running_var")
}

fn is_lora(name: &str) -> bool {
    name.ends_with("lora_a") || name.ends_with("lora_b")
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::kernel::dropout::Draw;
    use crate::model::backbone;
    use crate::model::config::{LoraConfig, LoraTarget};

    fn network(tune: &TuneConfig, decoder: &DecoderConfig) -> Network {
        let variant = backbone::variants().find(|v| v.name == "dinov2_tiny14_reg").unwrap();
        let mut encoder = Encoder::zeros(variant.arch, &Device::flex());
        init::encoder(&mut encoder, 1);
        let input_px = [28, 42];
        Network::new(encoder, &Parts { tune, decoder, n_classes: 5, input_px, seed: 1 })
    }

    fn lora() -> TuneConfig {
        TuneConfig::Lora(LoraConfig {
            rank: NonZeroU32::MIN,
            alpha: None,
            targets: vec![LoraTarget::Q, LoraTarget::V],
        })
    }

    fn images() -> Tensor<4> {
        Tensor::ones([2, 3, 28, 42], &Device::flex())
    }

    /// Names of the parameters that the backward pass found a gradient for.
    fn with_gradients(tune: &TuneConfig, decoder: &DecoderConfig) -> Vec<String> {
        let mut network = network(tune, decoder);
        let logits = network.forward(images(), Mode::Train(Draw { seed: 0, step: 0 }));
        let mut gradients = logits.sum().backward();
        let mut names = Vec::new();
        network.each("", &mut |name, slot| {
            if slot.take_gradient(&mut gradients).is_some() {
                names.push(name.to_owned());
            }
        });
        names
    }

    #[test]
    fn only_what_is_trained_gets_a_gradient() {
        for decoder in [DecoderConfig::Linear {}, DecoderConfig::Fpn { channels: 16 }] {
            let names = with_gradients(&TuneConfig::Frozen {}, &decoder);
            assert!(!names.is_empty());
            assert!(names.iter().all(|name| name.starts_with("decoder.")), "{names:?}");
            let names = with_gradients(&lora(), &decoder);
            let of_encoder: Vec<_> = names.iter().filter(|n| n.starts_with("encoder.")).collect();
            // A and B of q and v in each of the 4 blocks.
            assert_eq!(of_encoder.len(), 16);
            assert!(of_encoder.iter().all(|name| is_lora(name)), "{of_encoder:?}");
            assert!(names.iter().any(|name| name.starts_with("decoder.")));
        }
    }

    #[test]
    fn a_frozen_tensor_is_no_node_of_any_graph() {
        network(&lora(), &DecoderConfig::Linear {}).each("", &mut |name, slot| {
            assert_eq!(slot.is_trained(), slot.is_autodiff(), "{name}");
            assert_eq!(slot.is_trained(), is_lora(name) || name.starts_with("decoder."), "{name}");
        });
    }

    #[test]
    fn a_frozen_encoder_builds_no_graph() {
        let network = network(&TuneConfig::Frozen {}, &DecoderConfig::Linear {});
        let features = network.encoder.forward(images(), &network.layers);
        for tokens in features.patches.iter().chain(&features.class) {
            assert!(!tokens.is_autodiff());
        }
    }

    #[test]
    fn evaluation_builds_no_graph() {
        let mut network = network(&lora(), &DecoderConfig::Linear {}).without_gradients();
        assert!(!network.forward(images(), Mode::Eval).is_autodiff());
    }
}
