//! Decoders: features in, logits on the patch grid (or a finer one) out.

pub mod batch_norm;
pub mod linear;
pub mod linear_bn;
pub mod fpn;
pub mod fpn_reference;

use burn::tensor::{Device, Tensor};

use super::config::DecoderConfig;
use super::mode::Mode;
use super::params::{Params, Slot};
use super::vit::{Arch, Features};
pub use fpn::Fpn;
pub use fpn_reference::FpnReference;
pub use linear::Linear;
pub use linear_bn::LinearBn;

#[derive(Debug, Clone)]
pub enum Decoder {
    Linear(Linear),
    LinearBn(Box<LinearBn>),
    Fpn(Fpn),
    FpnReference(Box<FpnReference>),
}

impl Decoder {
    /// An initialised decoder; draws are keyed by `seed`.
    pub fn new(
        config: &DecoderConfig,
        arch: &Arch,
        n_classes: usize,
        (seed, device): (u64, &Device),
    ) -> Self {
        let dim = arch.dim;
        let pyramid = |channels: u32| fpn::Sizes { dim, channels: channels as usize, n_classes };
        match *config {
            DecoderConfig::Linear {} => Self::Linear(Linear::new(dim, n_classes, seed, device)),
            DecoderConfig::LinearBn { layers, dropout } => {
                let sizes = linear_bn::Sizes { dim, layers: layers as usize, n_classes, dropout };
                Self::LinearBn(Box::new(LinearBn::new(sizes, seed, device)))
            }
            DecoderConfig::Fpn { channels } => Self::Fpn(Fpn::new(pyramid(channels), seed, device)),
            DecoderConfig::FpnReference { channels } => {
                let fpn = FpnReference::new(pyramid(channels), seed, device);
                Self::FpnReference(Box::new(fpn))
            }
        }
    }

    /// Indices of the blocks whose features this decoder reads, ascending.
    pub fn layers(&self, arch: &Arch) -> Vec<usize> {
        let n = match self {
            Self::Linear(_) => 1,
            Self::LinearBn(linear) => linear.layers,
            Self::Fpn(_) => fpn::LAYERS,
            Self::FpnReference(_) => fpn_reference::LAYERS,
        };
        (arch.depth - n..arch.depth).collect()
    }

    /// Logits `[batch, n_classes, rows, columns]`; rows and columns are the patch grid's or a
    /// finer one's.
    pub fn forward(&mut self, features: &Features, mode: Mode) -> Tensor<4> {
        match self {
            Self::Linear(linear) => linear.forward(features),
            Self::LinearBn(linear) => linear.forward(features, mode),
            Self::Fpn(fpn) => fpn.forward(features, mode),
            Self::FpnReference(fpn) => fpn.forward(features, mode),
        }
    }
}

impl Params for Decoder {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        match self {
            Self::Linear(linear) => linear.each(path, f),
            Self::LinearBn(linear) => linear.each(path, f),
            Self::Fpn(fpn) => fpn.each(path, f),
            Self::FpnReference(fpn) => fpn.each(path, f),
        }
    }
}

/// Fewest rows and columns of patches that the decoder can work on.
pub fn grid_min(config: &DecoderConfig) -> usize {
    match config {
        DecoderConfig::Linear {} | DecoderConfig::LinearBn { .. } | DecoderConfig::Fpn { .. } => 1,
        DecoderConfig::FpnReference { .. } => fpn_reference::GRID_MIN,
    }
}

/// `[batch, n_patches, channels]` -> `[batch, channels, rows, columns]`.
pub(super) fn to_map(tokens: Tensor<3>, grid: [usize; 2]) -> Tensor<4> {
    let [batch, _, channels] = tokens.dims();
    tokens.swap_dims(1, 2).reshape([batch, channels, grid[0], grid[1]])
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::kernel::dropout::Draw;
    use crate::model::backbone;
    use crate::model::network::is_buffer;
    use crate::rng;

    /// (a config of each variant, its parameters with 3 classes on 64 channels)
    fn variants() -> Vec<(DecoderConfig, usize)> {
        let all = vec![
            (DecoderConfig::Linear {}, 3 * 65),
            (DecoderConfig::LinearBn { layers: 1, dropout: 0.1 }, 2 * 64 + 3 * 65),
            (DecoderConfig::LinearBn { layers: 4, dropout: 0.1 }, 2 * 256 + 3 * 257),
            (DecoderConfig::Fpn { channels: 8 }, {
                let convs = 9 * (64 * 8 + 8 * 4 + 4 * 2 + 2 * 3) + 3;
                convs + 2 * (8 + 4 + 2) + 65 * (8 + 4 + 2)
            }),
            (DecoderConfig::FpnReference { channels: 12 }, {
                let convs = 9 * (64 * 12 + 12 * 6 + 6 * 3 + 3 * 2 + 2 * 3);
                convs + 2 * (12 + 6 + 3 + 2 + 3) + 65 * (6 + 3 + 2)
            }),
        ];
        for (config, _) in &all {
            // A new variant does not compile until it has its line here and above.
            match config {
                DecoderConfig::Linear {}
                | DecoderConfig::LinearBn { .. }
                | DecoderConfig::Fpn { .. }
                | DecoderConfig::FpnReference { .. } => {}
            }
        }
        all
    }

    #[test]
    fn every_variant_builds_learns_and_gives_logits() {
        let variant = backbone::variants().find(|v| v.name == "dinov2_tiny14").unwrap();
        let (arch, device) = (variant.arch, Device::flex());
        for (config, n_params) in variants() {
            let mut decoder = Decoder::new(&config, &arch, 3, (0, &device));
            let mut counted = 0;
            decoder.each("", &mut |name, mut slot| {
                if !is_buffer(name) {
                    counted += slot.n_elements();
                    slot.train();
                }
            });
            assert_eq!(counted, n_params, "{config:?}");
            let side = grid_min(&config).max(2);
            let features = noise(decoder.layers(&arch).len(), [side, side + 1], arch.dim);
            let draw = Draw { seed: 0, step: 0 };
            let logits = decoder.forward(&features, Mode::Train(draw));
            let [batch, n_classes, rows, columns] = logits.dims();
            assert_eq!([batch, n_classes], [2, 3], "{config:?}");
            let weights = Tensor::<4>::from_data(
                TensorData::new(normal(logits.dims().iter().product(), 9), logits.dims()),
                &device,
            );
            let gradients = (logits * weights).sum().backward();
            decoder.each("", &mut |name, slot| {
                if !is_buffer(name) {
                    let gradient = slot.gradient_in_file_layout(&gradients).unwrap();
                    assert!(gradient.iter().all(|g| g.is_finite()), "{config:?} {name}");
                }
            });
            assert_eq!(decoder.forward(&features, Mode::Eval).dims(), [2, 3, rows, columns]);
        }
    }

    #[test]
    fn the_bn_head_drops_whole_channels_in_training_only() {
        let variant = backbone::variants().find(|v| v.name == "dinov2_tiny14").unwrap();
        let config = DecoderConfig::LinearBn { layers: 1, dropout: 0.5 };
        let mut head = Decoder::new(&config, &variant.arch, 3, (0, &Device::flex()));
        let features = noise(1, [2, 3], variant.arch.dim);
        let mut at = |mode| -> Vec<f32> {
            head.forward(&features, mode).into_data().try_into_vec().unwrap()
        };
        let step = |step| Mode::Train(Draw { seed: 0, step });
        assert_eq!(at(step(1)), at(step(1)));
        assert_ne!(at(step(1)), at(step(2)));
    }

    fn normal(n: usize, key: u64) -> Vec<f32> {
        let draw = |i| rng::normal(&mut rng::keyed(key, "decoders", &[i as u64])) as f32;
        (0..n).map(draw).collect()
    }

    fn noise(n_layers: usize, grid: [usize; 2], dim: usize) -> Features {
        let shape = [2, grid[0] * grid[1], dim];
        let layer = |key: usize| {
            let values = normal(shape.iter().product(), key as u64);
            Tensor::from_data(TensorData::new(values, shape), &Device::flex())
        };
        Features { patches: (0..n_layers).map(layer).collect(), class: vec![], grid }
    }
}
