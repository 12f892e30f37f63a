//! Rotary position embedding of DINOv3 (facebookresearch/dinov3 6876159,
//! `dinov3/layers/rope_position_encoding.py`), in f32, evaluation mode: no jitter, no rescaling.

use std::f32::consts::PI;

use burn::tensor::Device;

use crate::kernel::attention::Rotation;

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

/// Sines and cosines for one patch grid; the prefix tokens are not turned.
pub fn rotation(periods: &[f32], grid: [usize; 2], prefix: usize, device: &Device) -> Rotation {
    let head_dim = periods.len() * 4;
    let angles = angles(periods, grid[0], grid[1]);
    let table = |of_prefix: f32, f: fn(f32) -> f32| {
        let mut values = vec![of_prefix; prefix * head_dim];
        values.extend(angles.iter().map(|&a| f(a)));
        values
    };
    Rotation::new(table(1.0, f32::cos), table(0.0, f32::sin), head_dim, device)
}
