//! NAF's image encoders: plain stacks of convolutions, without residuals.

use crate::upsample::ops::{Conv, GroupNorm, Moments, Pad, silu};
use crate::upsample::{Map, Tensors};

const BLOCKS: usize = 2;

/// A convolution of the image, and twice two of (group norm, SiLU, convolution), which mirror edges.
pub(super) struct Encoder {
    first: Conv,
    rest: Vec<(GroupNorm, Conv)>,
}

impl Encoder {
    /// The encoder `name` of `n` channels, whose convolutions are `side` x `side`.
    pub(super) fn take(tensors: &mut Tensors, name: &str, side: usize, n: usize) -> Self {
        let conv = |tensors: &mut Tensors, name: &str, n_in: usize| {
            Conv::take(tensors, name, [n, n_in], side, Pad::Reflect).biased(tensors, name)
        };
        let first = conv(tensors, &format!("{name}.0"), 3);
        let mut rest = vec![];
        for block in 1..=BLOCKS {
            for i in 1..=2 {
                let norm = GroupNorm::take(tensors, &format!("{name}.{block}.norm{i}"), n);
                rest.push((norm, conv(tensors, &format!("{name}.{block}.conv{i}"), n)));
            }
        }
        Self { first, rest }
    }

    pub(super) fn apply(&self, image: &Map) -> Map {
        let mut map = self.first.map(image);
        for (norm, conv) in &self.rest {
            let affine = norm.affine(&Moments::of(&map));
            conv.in_place(&mut map, &|row| silu(row, &affine));
        }
        map
    }
}
