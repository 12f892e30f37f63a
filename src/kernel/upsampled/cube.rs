//! Logits upsampled bilinearly, a value at a time, inside kernels for GPUs.

use cubecl::prelude::*;

/// The grid position at or before output position `i`, and the weight of the next one, as
/// `super::super::resize::bilinear::taps` has them.
#[cube]
pub(in crate::kernel) fn tap(i: usize, n_in: usize, n_out: usize) -> (usize, f32) {
    let scale = f32::cast_from(n_in as u32) / f32::cast_from(n_out as u32);
    let at = max(scale * (f32::cast_from(i as u32) + 0.5f32) - 0.5f32, 0.0f32);
    let low = min(u32::cast_from(at) as usize, n_in - 1);
    let weight = clamp(at - f32::cast_from(low as u32), 0.0f32, 1.0f32);
    (low, weight)
}

/// Where one output pixel lies on the grid, of one image.
#[derive(CubeType, Clone, Copy)]
pub(in crate::kernel) struct Pixel {
    /// Offsets of the four grid positions in a class's plane.
    top_left: usize,
    top_right: usize,
    bottom_left: usize,
    bottom_right: usize,
    /// Weights of the lower row and of the right column.
    down: f32,
    right: f32,
}

/// The place of pixel (`y`, `x`) of an output of `height` x `width` on a grid.
#[cube]
pub(in crate::kernel) fn pixel(
    y: usize,
    x: usize,
    grid_height: usize,
    grid_width: usize,
    height: usize,
    width: usize,
) -> Pixel {
    let (top, down) = tap(y, grid_height, height);
    let (left, right) = tap(x, grid_width, width);
    let bottom = min(top + 1, grid_height - 1);
    let next = min(left + 1, grid_width - 1);
    Pixel {
        top_left: top * grid_width + left,
        top_right: top * grid_width + next,
        bottom_left: bottom * grid_width + left,
        bottom_right: bottom * grid_width + next,
        down,
        right,
    }
}

/// The logit at a pixel of the plane that begins at `plane`.
#[cube]
pub(in crate::kernel) fn logit<F: Float>(logits: &[F], plane: usize, at: &Pixel) -> f32 {
    let top_left = f32::cast_from(logits[plane + at.top_left]);
    let top_right = f32::cast_from(logits[plane + at.top_right]);
    let bottom_left = f32::cast_from(logits[plane + at.bottom_left]);
    let bottom_right = f32::cast_from(logits[plane + at.bottom_right]);
    // Rows are blended first, as on the CPU.
    let left = top_left * (1.0f32 - at.down) + bottom_left * at.down;
    let right = top_right * (1.0f32 - at.down) + bottom_right * at.down;
    left * (1.0f32 - at.right) + right * at.right
}
