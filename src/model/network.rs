//! Encoder, adapter and decoder as one network, which `train` trains and `eval` runs.

mod backward;

use burn::tensor::{Device, FloatDType, Int, Tensor};

use super::config::TuneConfig;
use super::decoder::{Decoder, DecoderConfig, Output, Sizes};
use super::init;
use super::mode::Mode;
use super::params::{Params, Slot, is_buffer, is_lora};
use super::vit::{Encoder, Features, Layout};

pub use backward::Activations;

/// Number of layouts that are kept: one or two are in use while training, one for each scale when
/// scoring; with images of many sizes the oldest are dropped.
const LAYOUTS_MAX: usize = 8;

/// A segmentation network; its trained parameters receive gradients.
#[derive(Debug, Clone)]
pub struct Network {
    encoder: Encoder,
    decoder: Decoder,
    decoder_config: DecoderConfig,
    /// Indices of the blocks whose features the decoder reads.
    layers: Vec<usize>,
    /// Layouts of the grids that were seen last, the newest at the end.
    layouts: Vec<Layout>,
}

/// The parts of a network beside its encoder's weights.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    pub tune: &'a TuneConfig,
    pub decoder: &'a DecoderConfig,
    pub n_classes: usize,
    /// Seed of LoRA's and the decoder's initial values.
    pub seed: u64,
}

impl Network {
    /// Adapts a loaded `encoder` and puts a decoder on it.
    ///
    /// # Panics
    /// If the encoder lacks what is adapted or read: specs and files are checked.
    pub fn new(mut encoder: Encoder, parts: &Parts<'_>) -> Self {
        let sizes = Sizes { dim: encoder.arch.dim, n_classes: parts.n_classes };
        let mut decoder = Decoder::new(parts.decoder, sizes, parts.seed, &encoder.device());
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
        let layers = parts.decoder.blocks_in(encoder.arch.depth);
        Self { encoder, decoder, decoder_config: parts.decoder.clone(), layers, layouts: vec![] }
    }

    /// Runs encoder and decoder on normalised images `[batch, 3, h, w]`.
    ///
    /// The encoder proper is in eval mode always; `mode` is the decoder's and LoRA's.
    ///
    /// # Panics
    /// If the patch does not divide the images' sides.
    pub fn forward(&mut self, images: Tensor<4>, mode: Mode) -> Output {
        let layout = self.layout(&images);
        let features = self.encoder.forward_on(&layout, images, &self.layers, mode);
        self.decoder.forward(&features, mode)
    }

    /// The mean loss of a batch, `[1]`, from what [`Self::forward`] gave and labels
    /// `[batch, height, width]`, void left out.
    pub fn loss(&self, output: Output, labels: Tensor<3, Int>) -> Tensor<1> {
        self.decoder.loss(output, labels)
    }

    /// Class logits `[batch, n_classes, rows, columns]` of normalised images `[batch, 3, h, w]`.
    ///
    /// # Panics
    /// As [`Self::forward`].
    pub fn logits(&mut self, images: Tensor<4>, mode: Mode) -> Tensor<4> {
        let output = self.forward(images, mode);
        self.decoder.predict(output)
    }

    /// Computes class logits from features of the blocks [`Self::layers`].
    pub fn decode(&mut self, features: &Features, mode: Mode) -> Tensor<4> {
        let output = self.decoder.forward(features, mode);
        self.decoder.predict(output)
    }

    /// Refuses a training step on `n_images` of `px` (height, width) whose result would mean
    /// nothing.
    pub fn check_batch(&self, n_images: usize, px: [usize; 2]) -> Result<(), String> {
        self.decoder_config.check_batch(n_images, self.encoder.grid(px))
    }

    /// Indices of the blocks whose features the decoder reads.
    pub fn layers(&self) -> &[usize] {
        &self.layers
    }

    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Lets the encoder compute in `dtype`; the decoder and the loss stay in f32.
    pub fn compute_in(&mut self, dtype: FloatDType) {
        self.encoder.compute_in(dtype);
    }

    /// A copy without gradients and without LoRA, whose updates are added to the weights: the same
    /// logits but for rounding, at the cost of the bare encoder. Adapted weights are copied, the
    /// others shared. Where weights are of less than f32, updates would be lost in them, so that
    /// LoRA is kept.
    #[must_use]
    pub fn merged(&self) -> Self {
        let mut network = self.without_gradients();
        if network.encoder.dtype() == FloatDType::F32 {
            network.encoder.merge();
        }
        network
    }

    /// A copy whose forward pass builds no autodiff graph; tensors are shared, not copied.
    #[must_use]
    pub fn without_gradients(&self) -> Self {
        let mut network = self.clone();
        network.encoder.freeze();
        network.decoder.each("", &mut |_, mut slot| slot.freeze());
        // Trained positions were resized in the graph; now they are constants.
        network.layouts.clear();
        network
    }

    pub fn device(&self) -> Device {
        self.encoder.device()
    }

    /// Number of parameters as (all, trained), buffers left out.
    pub fn count(&mut self) -> (u64, u64) {
        let (mut all, mut trained) = (0, 0);
        self.walk("", &mut |name, slot| {
            if !is_buffer(name) {
                let n = slot.n_elements() as u64;
                all += n;
                trained += if slot.is_trained() { n } else { 0 };
            }
        });
        (all, trained)
    }

    /// Calls `f` with every tensor that training changes: trained parameters, and the buffers of
    /// the decoder.
    pub fn each_changed(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        // Layouts stay: none is made of what is trained.
        self.walk("", &mut |name, slot| {
            if slot.is_trained() || (is_buffer(name) && name.starts_with("decoder.")) {
                f(name, slot);
            }
        });
    }

    fn walk(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.encoder.each(&format!("{path}encoder."), f);
        self.decoder.each(&format!("{path}decoder."), f);
    }

    /// The layout of the images' grid, from the cache where it is there.
    fn layout(&mut self, images: &Tensor<4>) -> Layout {
        let [_, _, height, width] = images.dims();
        let grid = self.encoder.grid([height, width]);
        if let Some(known) = self.layouts.iter().find(|layout| layout.grid() == grid) {
            return known.clone();
        }
        let layout = self.encoder.layout(grid);
        if self.layouts.len() == LAYOUTS_MAX {
            self.layouts.remove(0);
        }
        self.layouts.push(layout.clone());
        layout
    }
}

impl Params for Network {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        // `f` may change what layouts are made of.
        self.layouts.clear();
        self.walk(path, f);
    }
}

#[cfg(test)]
mod graph_tests;
#[cfg(test)]
pub(crate) mod tests;
