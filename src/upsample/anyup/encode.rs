//! AnyUp's encoders: a convolution, and two residual blocks of 1x1 convolutions.

use rayon::prelude::*;

use crate::upsample::ops::{Conv, GroupNorm, Moments, Pad, silu};
use crate::upsample::{Map, Tensors};

const BLOCKS: usize = 2;

pub(super) struct Encoder {
    /// None where something else comes before the blocks.
    first: Option<Conv>,
    blocks: Vec<Block>,
}

/// `x + conv(SiLU(norm(conv(SiLU(norm(x))))))`.
struct Block {
    norms: [GroupNorm; 2],
    convs: [Conv; 2],
}

impl Encoder {
    /// The blocks `<name>.1` and `<name>.2` of `n` channels, after `first`.
    pub(super) fn take(tensors: &mut Tensors, name: &str, first: Option<Conv>, n: usize) -> Self {
        let mut block = |i: usize| {
            let name = format!("{name}.{i}.block");
            let mut norm = |i: usize| GroupNorm::take(tensors, &format!("{name}.{i}"), n);
            let norms = [norm(0), norm(3)];
            let mut conv =
                |i: usize| Conv::take(tensors, &format!("{name}.{i}"), [n, n], 1, Pad::Zero);
            Block { norms, convs: [conv(2), conv(5)] }
        };
        let blocks = (1..=BLOCKS).map(&mut block).collect();
        Self { first, blocks }
    }

    /// Encodes a map, whose memory is used where the number of channels stays.
    pub(super) fn apply(&self, mut map: Map) -> Map {
        match &self.first {
            Some(conv) if conv.n_out() == map.channels() => conv.in_place(&mut map, &|_| {}),
            Some(conv) => map = conv.map(&map),
            None => {}
        }
        self.blocks.iter().for_each(|block| block.apply(&mut map));
        map
    }

    /// Encodes a map that is needed afterwards.
    pub(super) fn apply_to(&self, map: &Map) -> Map {
        let Some(conv) = &self.first else { return self.apply(map.clone()) };
        let mut map = conv.map(map);
        self.blocks.iter().for_each(|block| block.apply(&mut map));
        map
    }
}

impl Block {
    /// Replaces a map by the block's output. The inner convolution is computed twice, once for the
    /// moments of the second norm, as its output would take as much memory as the map.
    fn apply(&self, map: &mut Map) {
        let affine = self.norms[0].affine(&Moments::of(map));
        let width = map.width();
        let inner = |row: &[f32]| {
            let mut hidden = row.to_vec();
            silu(&mut hidden, &affine);
            let mut out = vec![0.0; row.len()];
            self.convs[0].point(&hidden, width, &mut out);
            out
        };
        let moments = (0..map.height()).into_par_iter();
        let moments: Vec<_> = moments.map(|y| Moments::of_row(&inner(map.row(y)))).collect();
        let second = self.norms[1].affine(&Moments::total(&moments));
        map.each_row(|_, row| {
            let mut hidden = inner(row);
            silu(&mut hidden, &second);
            let mut update = vec![0.0; row.len()];
            self.convs[1].point(&hidden, width, &mut update);
            row.iter_mut().zip(&update).for_each(|(value, update)| *value += update);
        });
    }
}
