//! Resizes DINOv2's learned position embedding exactly as the original and PyTorch do it
//! (facebookresearch/dinov2 b8931f7, `interpolate_pos_encoding`).
//!
//! Models without registers pass `scale_factor = (n + 0.1) / 37` to a plain bicubic (a = -0.75);
//! register models pass the size to an antialiased bicubic (a = -0.5, support widened when
//! shrinking). Both are separable, so each is two small matrices.

pub use crate::model::arch::Resize;

/// Weights of one axis of a resize: `[n_out][n_in]`, each row summing to 1.
fn axis_weights(resize: Resize, n_in: usize, n_out: usize) -> Vec<Vec<f64>> {
    (0..n_out)
        .map(|i| match resize {
            Resize::Offset(offset) => plain_row(i, n_in, n_in as f64 / (n_out as f64 + offset)),
            Resize::Antialias => antialias_row(i, n_in, n_in as f64 / n_out as f64),
        })
        .collect()
}

fn plain_row(i: usize, n_in: usize, scale: f64) -> Vec<f64> {
    let centre = scale * (i as f64 + 0.5) - 0.5;
    let first = centre.floor();
    let mut row = vec![0.0; n_in];
    for tap in -1..=2 {
        let at = first + f64::from(tap);
        let clamped = at.clamp(0.0, (n_in - 1) as f64) as usize;
        row[clamped] += cubic(centre - at, -0.75);
    }
    row
}

fn antialias_row(i: usize, n_in: usize, scale: f64) -> Vec<f64> {
    let (support, inverse) = if scale >= 1.0 { (2.0 * scale, 1.0 / scale) } else { (2.0, 1.0) };
    let centre = scale * (i as f64 + 0.5);
    let first = (centre - support + 0.5).max(0.0) as usize;
    let end = ((centre + support + 0.5) as usize).min(n_in);
    let mut row = vec![0.0; n_in];
    for (at, weight) in row.iter_mut().enumerate().take(end).skip(first) {
        *weight = cubic((at as f64 - centre + 0.5) * inverse, -0.5);
    }
    let sum: f64 = row.iter().sum();
    for weight in &mut row {
        *weight /= sum;
    }
    row
}

/// Keys' cubic kernel.
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

/// Resizes the patch part of an embedding: `[side * side, dim]` row-major to
/// `[rows * columns, dim]`.
pub fn resize(values: &[f32], side: usize, grid: [usize; 2], resize: Resize) -> Vec<f32> {
    let dim = values.len() / (side * side);
    if grid == [side, side] {
        return values.to_vec();
    }
    let vertical = axis_weights(resize, side, grid[0]);
    let horizontal = axis_weights(resize, side, grid[1]);
    let mut out = Vec::with_capacity(grid[0] * grid[1] * dim);
    for row_weights in &vertical {
        // One output row over the input columns: [side, dim].
        let mut line = vec![0.0f64; side * dim];
        for (row, weight) in row_weights.iter().enumerate().filter(|(_, w)| **w != 0.0) {
            let source = &values[row * side * dim..(row + 1) * side * dim];
            for (sum, value) in line.iter_mut().zip(source) {
                *sum += weight * f64::from(*value);
            }
        }
        for column_weights in &horizontal {
            let mut token = vec![0.0f64; dim];
            for (column, weight) in column_weights.iter().enumerate().filter(|(_, w)| **w != 0.0) {
                for (sum, value) in token.iter_mut().zip(&line[column * dim..(column + 1) * dim]) {
                    *sum += weight * value;
                }
            }
            out.extend(token.iter().map(|x| *x as f32));
        }
    }
    out
}

/// The matrix of that resize, `[rows * columns, side * side]`, row-major: for training the
/// embedding itself, where the resize has to be part of the graph.
pub fn matrix(side: usize, grid: [usize; 2], resize: Resize) -> Vec<f32> {
    let vertical = axis_weights(resize, side, grid[0]);
    let horizontal = axis_weights(resize, side, grid[1]);
    let mut out = Vec::with_capacity(grid[0] * grid[1] * side * side);
    for row in &vertical {
        for column in &horizontal {
            for from_row in row {
                out.extend(column.iter().map(|from_column| (from_row * from_column) as f32));
            }
        }
    }
    out
}
