//! Logits upsampled bilinearly, a value at a time, inside kernels for GPUs.

use cubecl::prelude::*;

use crate::kernel::resize::cube::{Axis, axes, tap};

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

/// Sizes of logits on a grid, and of the output.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(in crate::kernel) struct Sizes {
    pub n_classes: usize,
    pub vertical: Axis,
    pub horizontal: Axis,
}

impl Sizes {
    /// Logits of `n_classes` on `grid` (rows, columns), and an output of `size` (height, width).
    pub(in crate::kernel) fn of(
        n_classes: usize,
        grid: [usize; 2],
        size: [usize; 2],
    ) -> SizesLaunch {
        let [vertical, horizontal] = axes(grid, size);
        SizesLaunch::new(n_classes, vertical, horizontal)
    }
}

/// The place of output pixel (`y`, `x`) on the grid.
#[cube]
pub(in crate::kernel) fn pixel(y: usize, x: usize, sizes: &Sizes) -> Pixel {
    let (rows, columns) = (sizes.vertical.n_in, sizes.horizontal.n_in);
    let (top, down) = tap(y, &sizes.vertical, false);
    let (left, right) = tap(x, &sizes.horizontal, false);
    let bottom = min(top + 1, rows - 1);
    let next = min(left + 1, columns - 1);
    Pixel {
        top_left: top * columns + left,
        top_right: top * columns + next,
        bottom_left: bottom * columns + left,
        bottom_right: bottom * columns + next,
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
