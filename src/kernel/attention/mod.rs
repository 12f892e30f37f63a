//! Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762) with rotary positions.
//!
//! Takes q, k and v as the linear layers give them, `[batch, n_tokens, heads * head_dim]`, so that
//! no transposed copy is made.

mod cpu;
#[cfg(feature = "cube")]
mod cube;

use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor, TensorData, module};

use super::dispatch::{Path, path};

/// Scores that are computed at once on a GPU, at most: 1 GiB in f32, of which a backward pass has
/// three.
pub(crate) const SCORES_MAX: usize = 1 << 28;

/// Angles by which queries and keys are turned (Su et al. 2021, arXiv:2104.09864).
#[derive(Debug, Clone)]
pub struct Rotation {
    /// `[1, 1, n_tokens, head_dim]`
    cos: Tensor<4>,
    sin: Tensor<4>,
    /// `[1, 1, head_dim, head_dim]`: `x R` is `(-x2, x1)` for the halves `(x1, x2)` of x.
    half_turn: Tensor<4>,
}

impl Rotation {
    /// A rotation by these cosines and sines, `[n_tokens, head_dim]`.
    pub fn new(cos: Vec<f32>, sin: Vec<f32>, head_dim: usize, device: &Device) -> Self {
        let n_tokens = cos.len() / head_dim;
        let table =
            |values| Tensor::from_data(TensorData::new(values, [1, 1, n_tokens, head_dim]), device);
        let mut turn = vec![0.0f32; head_dim * head_dim];
        let half = head_dim / 2;
        for i in 0..half {
            turn[(half + i) * head_dim + i] = -1.0;
            turn[i * head_dim + half + i] = 1.0;
        }
        let half_turn = TensorData::new(turn, [1, 1, head_dim, head_dim]);
        Self { cos: table(cos), sin: table(sin), half_turn: Tensor::from_data(half_turn, device) }
    }

    /// Rotates `[batch, heads, n_tokens, head_dim]` by each token's angles.
    pub fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let turned = x.clone().matmul(self.half_turn.clone());
        x * self.cos.clone() + turned * self.sin.clone()
    }
}

/// Computes `softmax(q kᵀ / √head_dim) v` in each of `n_heads` heads, q and k rotated by `rotation`
/// first.
///
/// All are `[batch, n_tokens, n_heads * head_dim]`.
pub fn attention(
    [q, k, v]: [Tensor<3>; 3],
    n_heads: usize,
    rotation: Option<&Rotation>,
) -> Tensor<3> {
    match path(&[&q, &k, &v]) {
        Path::Cpu => {
            let turn = rotation.map(|rotation| [rotation.cos.clone(), rotation.sin.clone()]);
            cpu::attention([q, k, v], n_heads, turn)
        }
        #[cfg(feature = "cube")]
        Path::Cube => {
            let turn = rotation.map(|rotation| [rotation.cos.clone(), rotation.sin.clone()]);
            cube::attention([q, k, v], n_heads, turn)
        }
        Path::Any => composed([q, k, v], n_heads, rotation),
    }
}

/// Computes attention by Burn's operations.
fn composed(qkv: [Tensor<3>; 3], n_heads: usize, rotation: Option<&Rotation>) -> Tensor<3> {
    let [q, k, v] = by_head(qkv, n_heads, rotation);
    joined(module::attention(q, k, v, None, None, AttentionModuleOptions::default()))
}

/// Splits q, k and v into heads, `[batch, n_heads, n_tokens, head_dim]`, and rotates q and k.
fn by_head(qkv: [Tensor<3>; 3], n_heads: usize, rotation: Option<&Rotation>) -> [Tensor<4>; 3] {
    let [batch, n_tokens, dim] = qkv[0].dims();
    let split = [batch, n_tokens, n_heads, dim / n_heads];
    let [q, k, v] = qkv.map(|t| t.reshape(split).swap_dims(1, 2));
    match rotation {
        Some(rotation) => [rotation.rotate(q), rotation.rotate(k), v],
        None => [q, k, v],
    }
}

/// Joins heads: `[batch, n_heads, n_tokens, head_dim]` to `[batch, n_tokens, n_heads * head_dim]`.
fn joined(out: Tensor<4>) -> Tensor<3> {
    let [batch, n_heads, n_tokens, head_dim] = out.dims();
    out.swap_dims(1, 2).reshape([batch, n_tokens, n_heads * head_dim])
}

#[cfg(test)]
mod tests;
