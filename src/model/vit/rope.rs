//! Rotary position embedding of DINOv3 (facebookresearch/dinov3 6876159,
//! `dinov3/layers/rope_position_encoding.py`), in f32, evaluation mode: no jitter, no rescaling.

use std::f32::consts::PI;

use burn::tensor::{Device, Tensor, TensorData};

/// Sines and cosines for one patch grid; the prefix tokens are not turned.
#[derive(Debug, Clone)]
pub struct Rope {
    /// `[1, 1, n_tokens, head_dim]`
    cos: Tensor<4>,
    sin: Tensor<4>,
    /// `[1, 1, head_dim, head_dim]`: `x R` is `(-x2, x1)` for the halves `(x1, x2)` of x.
    half_turn: Tensor<4>,
}

/// Periods of the official formula, `base^(2i / (head_dim / 2))`; `[head_dim / 4]`.
pub fn periods(base: f64, head_dim: usize) -> Vec<f32> {
    let n = head_dim / 4;
    (0..n).map(|i| (base as f32).powf(2.0 * i as f32 / (head_dim / 2) as f32)).collect()
}

/// Angles of the patches, row-major over a `rows` x `columns` grid: `[n_patches * head_dim]`.
///
/// Coordinates are separate per axis: centres over the axis' own length, mapped to -1..1.
fn angles(periods: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let centre = |i: usize, n: usize| 2.0 * ((i as f32 + 0.5) / n as f32) - 1.0;
    let mut angles = Vec::with_capacity(rows * columns * periods.len() * 4);
    for row in 0..rows {
        for column in 0..columns {
            let half: Vec<f32> = [centre(row, rows), centre(column, columns)]
                .iter()
                .flat_map(|c| periods.iter().map(move |period| 2.0 * PI * c / period))
                .collect();
            angles.extend_from_slice(&half);
            angles.extend_from_slice(&half);
        }
    }
    angles
}

impl Rope {
    pub fn new(periods: &[f32], grid: [usize; 2], prefix: usize, device: &Device) -> Self {
        let head_dim = periods.len() * 4;
        let angles = angles(periods, grid[0], grid[1]);
        let n_tokens = prefix + grid[0] * grid[1];
        let table = |of_prefix: f32, f: fn(f32) -> f32| {
            let mut values = vec![of_prefix; prefix * head_dim];
            values.extend(angles.iter().map(|&a| f(a)));
            Tensor::from_data(TensorData::new(values, [1, 1, n_tokens, head_dim]), device)
        };
        let mut turn = vec![0.0f32; head_dim * head_dim];
        let half = head_dim / 2;
        for i in 0..half {
            turn[(half + i) * head_dim + i] = -1.0;
            turn[i * head_dim + half + i] = 1.0;
        }
        Self {
            cos: table(1.0, f32::cos),
            sin: table(0.0, f32::sin),
            half_turn: Tensor::from_data(TensorData::new(turn, [1, 1, head_dim, head_dim]), device),
        }
    }

    /// `[batch, heads, n_tokens, head_dim]`, turned by each token's angles.
    pub fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let turned = x.clone().matmul(self.half_turn.clone());
        x * self.cos.clone() + turned * self.sin.clone()
    }
}
