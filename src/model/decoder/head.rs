//! The interface that every decoder implements, and the types and functions that decoders share.

use burn::tensor::{Device, Int, Tensor};

use crate::model::mode::Mode;
use crate::model::params::Params;
use crate::model::vit::Features;

/// A decoder: turns the features of some of the encoder's layers into class logits.
pub trait Head: Params + Sized {
    /// Settings of the decoder: key `decoder` of a spec, less its `kind`.
    type Config;
    /// Result of the forward pass, in the form that the loss needs.
    type Output;

    /// The tensor by which the reference project's adapter files show that they hold this decoder;
    /// `None` where they cannot hold it.
    const REFERENCE_TENSOR: Option<&'static str> = None;

    /// The decoder's name in tables, e.g. `1x1 decoder`.
    fn label(config: &Self::Config) -> String;

    /// Number of the encoder's last layers that it reads, at least 1.
    fn layers(config: &Self::Config) -> usize;

    /// The smallest patch grid that it works on; `None` where any will do.
    fn grid_min(_: &Self::Config) -> Option<GridMin> {
        None
    }

    /// Refuses a training step on `n_images` of `grid` (rows and columns of patches) whose result
    /// would mean nothing.
    fn check_batch(_: &Self::Config, _n_images: usize, _grid: [usize; 2]) -> Result<(), String> {
        Ok(())
    }

    /// A lower bound of the number of its parameters, whatever the sizes: by it a file that claims
    /// more than it holds is refused before memory is allocated.
    fn parameters_min(config: &Self::Config, sizes: Sizes) -> u64 {
        let inputs = (sizes.dim as u64).saturating_mul(Self::layers(config) as u64);
        inputs.saturating_mul(sizes.n_classes as u64)
    }

    /// Recognises the decoder in a file of the reference project by its tensors' shapes; `None`
    /// where the file does not hold it.
    fn of_reference(_: &Shapes<'_>) -> Option<Found<Self::Config>> {
        None
    }

    /// Builds an initialised decoder; draws are keyed by `seed` and the tensors' names.
    fn new(config: &Self::Config, sizes: Sizes, seed: u64, device: &Device) -> Self;

    /// Runs the decoder on `features` of the last [`Self::layers`] layers, the earliest first.
    fn forward(&mut self, features: &Features, mode: Mode) -> Self::Output;

    /// The mean loss of a batch, `[1]`, against labels `[batch, height, width]` at the size of the
    /// network's input, where [`crate::data::VOID`] is left out.
    fn loss(&self, output: Self::Output, labels: Tensor<3, Int>) -> Tensor<1>;

    /// Class logits `[batch, n_classes, rows, columns]` on the patch grid or a finer one: their arg
    /// max, upsampled bilinearly, is the prediction, their softmax the probabilities.
    fn predict(&self, output: Self::Output) -> Tensor<4>;
}

/// The sizes that a decoder is made for.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Channels of the encoder's tokens.
    pub dim: usize,
    pub n_classes: usize,
}

impl Sizes {
    /// A lower bound of the parameters of a pyramid: the 3x3 convolution of its first stage, to
    /// `channels` channels, and the classifier's, of one channel at least.
    pub(super) fn pyramid_parameters_min(self, channels: u32) -> u64 {
        let first = (self.dim as u64).saturating_mul(9).saturating_mul(u64::from(channels));
        first.saturating_add((self.n_classes as u64).saturating_mul(9))
    }
}

/// The smallest patch grid that a decoder works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridMin {
    /// Rows and columns of patches, at least.
    pub side: usize,
    /// The consequence for a smaller input, to follow its size in a sentence.
    pub otherwise: &'static str,
}

/// A function that gives the shape of a file's tensor by name; `None` where the file has none of
/// that name.
pub type Shapes<'a> = dyn Fn(&str) -> Option<&'a [usize]> + 'a;

/// A decoder that was found in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<C> {
    pub config: C,
    pub n_classes: usize,
    /// Channels of the encoder's tokens.
    pub dim: usize,
}

/// Turns patch tokens into a map: `[batch, n_patches, channels]` ->
/// `[batch, channels, rows, columns]`.
pub(super) fn to_map(tokens: Tensor<3>, grid: [usize; 2]) -> Tensor<4> {
    let [batch, _, channels] = tokens.dims();
    tokens.swap_dims(1, 2).reshape([batch, channels, grid[0], grid[1]])
}
