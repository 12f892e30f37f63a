//! Keys `weights` and `tune` of a spec, and the choices of key `model`.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::arch::{Arch, Ffn};

/// The images that an encoder was trained on, where a size was released for several.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pretraining {
    /// Web images.
    #[default]
    Lvd1689m,
    /// Satellite images, which have another mean and standard deviation.
    Sat493m,
}

impl Pretraining {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A family of encoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DinoType {
    Dinov2,
    Dinov3,
}

impl DinoType {
    /// The family's name as people write it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Dinov2 => "DINOv2",
            Self::Dinov3 => "DINOv3",
        }
    }
}

/// Key `weights`: the source of the encoder's weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum WeightsConfig {
    /// Random weights, drawn from the run's seed.
    Random {},
    /// The released file of the variant, from the weight folders.
    Pretrained {},
    /// A weight file, an index or a folder, in any naming that [`crate::weights`] knows.
    File { path: PathBuf },
}

/// Key `tune`: the part of the encoder that is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TuneConfig {
    Frozen {},
    Lora(LoraConfig),
    Full {},
}

/// Key `init`: what training starts from besides the encoder's weights.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitConfig {
    /// File of an adapter that gives LoRA and decoder their first values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<PathBuf>,
}

impl InitConfig {
    /// Whether nothing is given.
    pub fn is_empty(&self) -> bool {
        self.adapter.is_none()
    }
}

/// Low-rank updates of the encoder's linear layers (Hu et al. 2021, arXiv:2106.09685).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    pub rank: NonZeroU32,
    /// Numerator of the update's factor; by default the rank.
    #[serde(default)]
    pub alpha: Option<f64>,
    #[serde(default = "q_and_v")]
    pub targets: Vec<LoraTarget>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub scaling: Scaling,
    /// Probability with which an input of the update is dropped in training.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dropout: f64,
    /// First and last block that are adapted, from 0. Default: all.
    #[serde(default, skip_serializing_if = "is_default")]
    pub blocks: Option<[u32; 2]>,
}

/// The factor that an update is multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// The factor `alpha / rank`.
    #[default]
    Standard,
    /// The factor `alpha / √rank` (Kalajdzievski 2023, arXiv:2312.03732).
    Rslora,
}

/// A linear layer of a block, by its official name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoraTarget {
    Q,
    K,
    V,
    Proj,
    Fc1,
    Fc2,
    W1,
    W2,
    /// Both gates of DINOv2's SwiGLU, which official files have as one layer.
    W12,
    W3,
    /// Every linear layer that the encoder's blocks have.
    All,
}

impl LoraConfig {
    /// LoRA as the reference project has it: q and v of every block, without a scale.
    pub fn reference(rank: NonZeroU32) -> Self {
        Self {
            rank,
            alpha: None,
            targets: q_and_v(),
            scaling: Scaling::Standard,
            dropout: 0.0,
            blocks: None,
        }
    }

    /// The factor that the update is multiplied by.
    pub fn scale(&self) -> f64 {
        let rank = f64::from(self.rank.get());
        match (self.scaling, self.alpha) {
            (Scaling::Standard, None) => 1.0,
            (Scaling::Standard, Some(alpha)) => alpha / rank,
            (Scaling::Rslora, alpha) => alpha.unwrap_or(rank) / rank.sqrt(),
        }
    }

    /// The layers that `targets` name in an encoder, each once, in a fixed order.
    pub fn targets_in(&self, arch: &Arch) -> Vec<LoraTarget> {
        let mut targets = self.targets.clone();
        if let Some(all) = targets.iter().position(|target| *target == LoraTarget::All) {
            targets.remove(all);
            targets.extend(LoraTarget::of(arch));
        }
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    /// A target that the encoder called `name` does not have, with the error message about it.
    pub fn unknown_target(&self, (name, arch): (&str, &Arch)) -> Option<(LoraTarget, String)> {
        let known = LoraTarget::of(arch);
        let unknown = self.targets_in(arch).into_iter().find(|target| !known.contains(target))?;
        let names: Vec<_> = known.iter().map(|target| format!("`{}`", target.name())).collect();
        let message = format!(
            "the blocks of {name} have no layer `{}`; allowed: {}, or `all` for every one",
            unknown.name(),
            names.join(", ")
        );
        Some((unknown, message))
    }

    /// The error message if the encoder called `name` does not have the blocks.
    pub fn unknown_blocks(&self, (name, arch): (&str, &Arch)) -> Option<String> {
        let [first, last] = self.blocks?;
        (first > last || last as usize >= arch.depth).then(|| {
            let depth = arch.depth - 1;
            format!("{name} has blocks 0 to {depth}; allowed: [first, last] within them")
        })
    }

    /// Checks that the encoder called `name` has all layers and blocks that are to be adapted.
    pub fn check(&self, encoder: (&str, &Arch)) -> Result<(), String> {
        let target =
            self.unknown_target(encoder).map(|(_, message)| format!("tune.targets: {message}"));
        let blocks = self.unknown_blocks(encoder).map(|message| format!("tune.blocks: {message}"));
        target.or(blocks).map_or(Ok(()), Err)
    }

    /// The blocks to adapt.
    pub fn blocks_in(&self, arch: &Arch) -> RangeInclusive<usize> {
        match self.blocks {
            Some([first, last]) => first as usize..=last as usize,
            None => 0..=arch.depth - 1,
        }
    }
}

impl LoraTarget {
    /// The linear layers of an encoder's blocks.
    pub fn of(arch: &Arch) -> &'static [Self] {
        match (arch.ffn, arch.has_fused_gates()) {
            (Ffn::Mlp { .. }, _) => &[Self::Q, Self::K, Self::V, Self::Proj, Self::Fc1, Self::Fc2],
            (Ffn::SwiGlu { .. }, true) => {
                &[Self::Q, Self::K, Self::V, Self::Proj, Self::W12, Self::W3]
            }
            (Ffn::SwiGlu { .. }, false) => {
                &[Self::Q, Self::K, Self::V, Self::Proj, Self::W1, Self::W2, Self::W3]
            }
        }
    }

    /// The name of the layer in specs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q => "q",
            Self::K => "k",
            Self::V => "v",
            Self::Proj => "proj",
            Self::Fc1 => "fc1",
            Self::Fc2 => "fc2",
            Self::W1 => "w1",
            Self::W2 => "w2",
            Self::W12 => "w12",
            Self::W3 => "w3",
            Self::All => "all",
        }
    }

    /// The layer's path within a block, e.g. `attn.q`.
    ///
    /// # Panics
    /// For `All`, which is no layer: resolved by [`LoraConfig::targets_in`].
    pub fn path(self) -> String {
        match self {
            Self::Q | Self::K | Self::V | Self::Proj => format!("attn.{}", self.name()),
            Self::Fc1 | Self::Fc2 | Self::W1 | Self::W2 | Self::W12 | Self::W3 => {
                format!("mlp.{}", self.name())
            }
            Self::All => unreachable!("`all` is resolved before layers are looked up"),
        }
    }
}

/// Tells whether a key has its default: keys that came later are then left out, so that older
/// programs can read the rest.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn q_and_v() -> Vec<LoraTarget> {
    vec![LoraTarget::Q, LoraTarget::V]
}
