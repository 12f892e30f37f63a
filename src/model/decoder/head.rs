//! What a decoder has to provide, and what all of them share.

use burn::tensor::{Device, Int, Tensor};

use crate::model::mode::Mode;
use crate::model::params::Params;
use crate::model::vit::Features;

/// A decoder: from the features of some of the encoder's layers to classes.
pub trait Head: Params + Sized {
    /// Key `decoder` of a spec, less its `kind`.
    type Config;
    /// What the forward pass gives, of whatever form the loss needs.
    type Output;

    /// The tensor by which the reference project's adapter files show that they hold this decoder;
    /// `None`: they cannot.
    const REFERENCE_TENSOR: Option<&'static str> = None;

    /// As tables name it, e.g. `1x1 decoder`.
    fn label(config: &Self::Config) -> String;

    /// How many of the encoder's last layers it reads, at least 1.
    fn layers(config: &Self::Config) -> usize;

    /// The smallest patch grid that it works on; `None`: any.
    fn grid_min(_: &Self::Config) -> Option<GridMin> {
        None
    }

    /// What is wrong where a training step on `n_images` of `grid` (rows and columns of patches)
    /// means nothing.
    fn check_batch(_: &Self::Config, _n_images: usize, _grid: [usize; 2]) -> Result<(), String> {
        Ok(())
    }

    /// A lower bound of its parameters, whatever the sizes: a file that claims more than it holds is
    /// refused by it before anything is allocated.
    fn parameters_min(config: &Self::Config, sizes: Sizes) -> u64 {
        let inputs = (sizes.dim as u64).saturating_mul(Self::layers(config) as u64);
        inputs.saturating_mul(sizes.n_classes as u64)
    }

    /// What a file of the reference project holds, by its tensors' shapes.
    fn of_reference(_: &Shapes<'_>) -> Option<Found<Self::Config>> {
        None
    }

    /// An initialised decoder; draws are keyed by `seed` and the tensors' names.
    fn new(config: &Self::Config, sizes: Sizes, seed: u64, device: &Device) -> Self;

    /// `features` are those of the last [`Self::layers`] layers, the earliest first.
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

/// The smallest patch grid that a decoder works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridMin {
    /// Rows and columns of patches, at least.
    pub side: usize,
    /// What happens to a smaller input, to follow its size in a sentence.
    pub otherwise: &'static str,
}

/// The shape of a tensor of a file; `None` where it has none of that name.
pub type Shapes<'a> = dyn Fn(&str) -> Option<&'a [usize]> + 'a;

/// A decoder that was found in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<C> {
    pub config: C,
    pub n_classes: usize,
    /// Channels of the encoder's tokens.
    pub dim: usize,
}

/// `[batch, n_patches, channels]` -> `[batch, channels, rows, columns]`.
pub(super) fn to_map(tokens: Tensor<3>, grid: [usize; 2]) -> Tensor<4> {
    let [batch, _, channels] = tokens.dims();
    tokens.swap_dims(1, 2).reshape([batch, channels, grid[0], grid[1]])
}
