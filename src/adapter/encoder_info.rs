//! The encoder that an adapter belongs to, and the differences between it and another encoder.

use super::EncoderInfo;
use crate::model::config::DinoType;
use crate::model::vit::{Arch, Ffn, Position};

impl EncoderInfo {
    /// The description of an encoder called `name`.
    pub fn of(name: &str, arch: &Arch) -> Self {
        let (Ffn::Mlp { hidden } | Ffn::SwiGlu { hidden }) = arch.ffn;
        Self {
            name: Some(name.to_owned()),
            dino_type: Some(match arch.position {
                Position::Learned { .. } => DinoType::Dinov2,
                Position::Rotary { .. } => DinoType::Dinov3,
            }),
            patch: Some(arch.patch),
            dim: Some(arch.dim),
            depth: Some(arch.depth),
            heads: Some(arch.heads),
            hidden: Some(hidden),
            registers: Some(arch.registers),
            weights_sha256: None,
        }
    }

    /// The family's name; a general word where it is unknown.
    pub(super) fn family(&self) -> &'static str {
        self.dino_type.map_or("DINO", DinoType::label)
    }

    /// The sizes that both descriptions give and that differ, each with its name and both values.
    pub(super) fn differences(&self, other: &Self) -> Vec<Difference> {
        let pairs = [
            ("dim", self.dim, other.dim),
            ("number of blocks", self.depth, other.depth),
            ("patch", self.patch, other.patch),
            ("number of heads", self.heads, other.heads),
            ("feed-forward width", self.hidden, other.hidden),
            ("number of registers", self.registers, other.registers),
        ];
        let differs = |(what, ours, theirs): (&'static str, Option<usize>, Option<usize>)| {
            let (ours, theirs) = (ours?, theirs?);
            (ours != theirs).then_some(Difference { what, ours, theirs })
        };
        pairs.into_iter().filter_map(differs).collect()
    }
}

/// A size that two descriptions of an encoder give differently.
pub(super) struct Difference {
    pub(super) what: &'static str,
    pub(super) ours: usize,
    pub(super) theirs: usize,
}
