//! Decoders: they turn features into a loss, or into class logits on the patch grid or a finer one.
//!
//! A decoder is a file that implements [`Head`] and a line of the list below; [`super::Network`]
//! runs it, and specs, messages, reports and adapter files derive the list of decoders from here.

pub mod head;
pub mod batch_norm;
pub mod linear;
pub mod linear_bn;
pub mod fpn;
pub mod fpn_reference;

use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use super::mode::Mode;
use super::params::{Params, Slot};
use super::vit::Features;
pub use head::{Found, GridMin, Head, Shapes, Sizes};

/// Makes the enums and their dispatch: for each decoder, its variant and its module, which is the
/// `kind` as well and has a `Config` and a [`Head`] of the variant's name.
macro_rules! decoders {
    ($($(#[$doc:meta])* $variant:ident = $module:ident),+ $(,)?) => {
        /// Key `decoder` of a spec.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
        pub enum DecoderConfig {
            $($(#[$doc])* $variant($module::Config)),+
        }

        /// A decoder with its tensors.
        #[derive(Debug, Clone)]
        pub enum Decoder {
            $($variant(Box<$module::$variant>)),+
        }

        /// The result of a decoder's forward pass, for [`Decoder::loss`] and [`Decoder::predict`]
        /// of the same decoder.
        #[derive(Debug, Clone)]
        pub enum Output {
            $($variant(<$module::$variant as Head>::Output)),+
        }

        impl DecoderConfig {
            /// The values of `kind`.
            pub const KINDS: &[&str] = &[$(stringify!($module)),+];

            /// This decoder's value of `kind`.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => stringify!($module)),+
                }
            }

            /// The decoder's name in tables.
            pub fn label(&self) -> String {
                match self {
                    $(Self::$variant(config) => $module::$variant::label(config)),+
                }
            }

            /// Number of the encoder's last layers that are read.
            pub fn layers(&self) -> usize {
                match self {
                    $(Self::$variant(config) => $module::$variant::layers(config)),+
                }
            }

            /// A lower bound of the number of the decoder's parameters; never overflows.
            pub fn parameters_min(&self, sizes: Sizes) -> u64 {
                match self {
                    $(Self::$variant(config) => $module::$variant::parameters_min(config, sizes)),+
                }
            }

            /// The smallest patch grid that the decoder works on; `None` where any will do.
            pub fn grid_min(&self) -> Option<GridMin> {
                match self {
                    $(Self::$variant(config) => $module::$variant::grid_min(config)),+
                }
            }

            /// Refuses a training step on `n_images` of `grid` (rows and columns of patches) whose
            /// result would mean nothing.
            pub fn check_batch(&self, n_images: usize, grid: [usize; 2]) -> Result<(), String> {
                match self {
                    $(Self::$variant(config) => {
                        $module::$variant::check_batch(config, n_images, grid)
                    }),+
                }
            }

            /// (kind, tensor that shows it) of the decoders that files of the reference project can
            /// hold.
            pub fn in_reference() -> Vec<(&'static str, &'static str)> {
                let all = [
                    $((stringify!($module), $module::$variant::REFERENCE_TENSOR)),+
                ];
                all.into_iter().filter_map(|(kind, tensor)| Some((kind, tensor?))).collect()
            }

            /// Recognises the decoder in a file of the reference project by its tensors' shapes.
            pub fn of_reference(shape: &Shapes<'_>) -> Option<Found<Self>> {
                $(if let Some(found) = $module::$variant::of_reference(shape) {
                    let Found { config, n_classes, dim } = found;
                    return Some(Found { config: Self::$variant(config), n_classes, dim });
                })+
                None
            }
        }

        impl Decoder {
            /// Builds an initialised decoder; draws are keyed by `seed`.
            pub fn new(config: &DecoderConfig, sizes: Sizes, seed: u64, device: &Device) -> Self {
                match config {
                    $(DecoderConfig::$variant(config) => {
                        Self::$variant(Box::new(Head::new(config, sizes, seed, device)))
                    }),+
                }
            }

            /// Runs the decoder on `features` of the last [`DecoderConfig::layers`] layers, the
            /// earliest first.
            pub fn forward(&mut self, features: &Features, mode: Mode) -> Output {
                match self {
                    $(Self::$variant(head) => Output::$variant(head.forward(features, mode))),+
                }
            }

            /// The mean loss of a batch, `[1]`, against labels `[batch, height, width]` at the size
            /// of the network's input, void left out.
            ///
            /// # Panics
            /// If `output` is another decoder's.
            pub fn loss(&self, output: Output, labels: Tensor<3, Int>) -> Tensor<1> {
                match (self, output) {
                    $((Self::$variant(head), Output::$variant(output)) => {
                        head.loss(output, labels)
                    })+
                    _ => panic!("an output of another decoder"),
                }
            }

            /// Class logits `[batch, n_classes, rows, columns]`; rows and columns are the patch
            /// grid's or a finer one's.
            ///
            /// # Panics
            /// If `output` is another decoder's.
            pub fn predict(&self, output: Output) -> Tensor<4> {
                match (self, output) {
                    $((Self::$variant(head), Output::$variant(output)) => head.predict(output),)+
                    _ => panic!("an output of another decoder"),
                }
            }
        }

        impl Params for Decoder {
            fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
                match self {
                    $(Self::$variant(head) => head.each(path, f)),+
                }
            }
        }
    };
}

decoders! {
    /// 1x1 convolution on the last layer's normed patch tokens.
    Linear = linear,
    /// Meta's linear head: dropout, BatchNorm, 1x1 convolution.
    LinearBn = linear_bn,
    /// Feature pyramid over the last 4 layers; padded convolutions.
    Fpn = fpn,
    /// The reference project's feature pyramid, unpadded convolutions and all.
    FpnReference = fpn_reference,
}

impl DecoderConfig {
    /// Indices of the blocks whose features are read of an encoder with `depth` of them, ascending.
    ///
    /// # Panics
    /// If it has fewer: see [`Self::check_depth`].
    pub fn blocks_in(&self, depth: usize) -> Vec<usize> {
        let n = self.layers();
        assert!(n <= depth, "specs and files are checked");
        (depth - n..depth).collect()
    }

    /// Refuses an encoder that has fewer blocks than the decoder reads; released ones have enough.
    pub fn check_depth(&self, depth: usize) -> Result<(), String> {
        let n = self.layers();
        if n <= depth {
            return Ok(());
        }
        Err(format!("the decoder reads the last {n} layers, and the encoder has {depth}"))
    }
}

#[cfg(test)]
mod check;
#[cfg(test)]
mod tests;
