//! Encoder, adapter and decoder as one network.

use burn::tensor::{Device, Tensor};

use super::config::{DecoderConfig, TuneConfig};
use super::decoder::Decoder;
use super::init;
use super::mode::Mode;
use super::params::{Params, Slot};
use super::vit::{Encoder, Features};

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
    /// The encoder proper is in eval mode always; `mode` is the decoder's and LoRA's.
    pub fn forward(&mut self, images: Tensor<4>, mode: Mode) -> Tensor<4> {
        let features = self.encoder.forward(images, &self.layers, mode);
        self.decode(&features, mode)
    }

    /// Logits of features after [`Self::layers`].
    pub fn decode(&mut self, features: &Features, mode: Mode) -> Tensor<4> {
        self.decoder.forward(features, mode)
    }

    /// Indices of the blocks whose features the decoder reads.
    pub fn layers(&self) -> &[usize] {
        &self.layers
    }

    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// A copy without gradients and without LoRA, whose updates are added to the weights: the same
    /// logits but for rounding, at the cost of the bare encoder. Adapted weights are copied, the
    /// others shared.
    #[must_use]
    pub fn merged(&self) -> Self {
        let mut network = self.without_gradients();
        network.encoder.merge();
        network
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

    /// The input size (height, width) that [`Self::prepare`] was last called for.
    pub fn prepared_px(&self) -> Option<[usize; 2]> {
        self.encoder.prepared_px()
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
    ["periods", "running_mean", "running_var", "num_batches_tracked"]
        .iter()
        .any(|suffix| name.ends_with(suffix))
}

/// LoRA's tensors.
pub fn is_lora(name: &str) -> bool {
    name.ends_with("lora_a") || name.ends_with("lora_b")
}

#[cfg(test)]
mod graph_tests;
#[cfg(test)]
pub(crate) mod tests;
