//! Bilinear and nearest interpolation on GPUs: a unit for each output value, and for each input value
//! on the way back, so that neither matrices nor copies are needed.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Shape, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernel::cube::{Gpu, Grid, elem, empty, finish, launch, take};

/// The kinds of interpolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) enum Kind {
    Bilinear,
    Nearest,
}

/// Resizes `[batch, channels, h, w]` to `size` (height, width).
pub(super) fn resize(x: Tensor<4>, size: [usize; 2], kind: Kind) -> Tensor<4> {
    let [_, _, rows, columns] = x.dims();
    let x = take(x);
    let output = Gpu::resized(x.0.clone(), size, kind);
    finish([x], output, ([rows, columns], kind), |(grid, kind), gradient, _| {
        [Some(Gpu::resized_back(gradient, grid, kind))]
    })
}

#[backend_extension(Cube, Fusion)]
trait Resize: Backend {
    #[fusion(dtype = x, shape = with_size(x, *size))]
    fn resized(x: FloatTensor<Self>, size: [usize; 2], kind: Kind) -> FloatTensor<Self>;

    /// The transpose of [`Resize::resized`] from maps of size `grid`.
    #[fusion(dtype = x, shape = with_size(x, *grid))]
    fn resized_back(x: FloatTensor<Self>, grid: [usize; 2], kind: Kind) -> FloatTensor<Self>;
}

fn with_size(x: &Shape, [height, width]: [usize; 2]) -> Shape {
    let [batch, channels, _, _] = x.dims();
    Shape::new([batch, channels, height, width])
}

/// Both axes of a resize between `grid` and `size`.
pub(in crate::kernel) fn axes(grid: [usize; 2], size: [usize; 2]) -> [AxisLaunch; 2] {
    // The quotient is the host's: a GPU's may be off in the last bit, which nearest would see.
    [0, 1].map(|i| AxisLaunch::new(grid[i], size[i], grid[i] as f32 / size[i] as f32))
}

impl Resize for CubeBackend {
    fn resized(x: CubeTensor, size: [usize; 2], kind: Kind) -> CubeTensor {
        let shape = TensorMetadata::shape(&x);
        let [_, _, rows, columns] = shape.dims();
        let output = empty(&x, with_size(&shape, size), x.dtype);
        let ([vertical, horizontal], elem) = (axes([rows, columns], size), elem(&x));
        let nearest = kind == Kind::Nearest;
        let grid = Grid::each(&output);
        launch!(values, grid, [x, output.clone()], vertical, horizontal, nearest, elem);
        output
    }

    fn resized_back(x: CubeTensor, grid: [usize; 2], kind: Kind) -> CubeTensor {
        let shape = TensorMetadata::shape(&x);
        let [_, _, height, width] = shape.dims();
        let output = empty(&x, with_size(&shape, grid), x.dtype);
        let ([vertical, horizontal], elem) = (axes(grid, [height, width]), elem(&x));
        let nearest = kind == Kind::Nearest;
        let grid = Grid::each(&output);
        launch!(slopes, grid, [x, output.clone()], vertical, horizontal, nearest, elem);
        output
    }
}

/// One axis of a resize.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(in crate::kernel) struct Axis {
    pub n_in: usize,
    pub n_out: usize,
    /// `n_in / n_out`
    pub scale: f32,
}

/// The input position at or before output position `i`, and the weight of the next one, as
/// `bilinear::taps` and `nearest::sources` have them.
#[cube]
pub(in crate::kernel) fn tap(i: usize, axis: &Axis, #[comptime] nearest: bool) -> (usize, f32) {
    let i = f32::cast_from(i as u32);
    if nearest {
        (min(u32::cast_from(i * axis.scale) as usize, axis.n_in - 1), 0.0f32)
    } else {
        let at = max(axis.scale * (i + 0.5f32) - 0.5f32, 0.0f32);
        let low = min(u32::cast_from(at) as usize, axis.n_in - 1);
        (low, clamp(at - f32::cast_from(low as u32), 0.0f32, 1.0f32))
    }
}

/// The weight that output position `i` gives to input position `at`.
#[cube]
pub(in crate::kernel) fn share(i: usize, at: usize, axis: &Axis, #[comptime] nearest: bool) -> f32 {
    let (low, weight) = tap(i, axis, nearest);
    let mut share = 0.0f32;
    if low == at {
        share = 1.0f32 - weight;
    }
    if min(low + 1, axis.n_in - 1) == at {
        share += weight;
    }
    share
}

/// The first output position that may give weight to input position `at`; and the first beyond them.
#[cube]
pub(in crate::kernel) fn reach(at: usize, axis: &Axis) -> (usize, usize) {
    let at = f32::cast_from(at as u32);
    let first = max((at - 0.5f32) / axis.scale - 2.0f32, 0.0f32);
    let end = (at + 1.5f32) / axis.scale + 2.0f32;
    (u32::cast_from(first) as usize, min(u32::cast_from(end) as usize, axis.n_out))
}

#[cube(launch, address_type = "dynamic")]
fn values<F: Float>(
    x: &[F],
    output: &mut [F],
    vertical: Axis,
    horizontal: Axis,
    #[comptime] nearest: bool,
    #[define(F)] _elem: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        let row = i / horizontal.n_out;
        let (top, down) = tap(row % vertical.n_out, &vertical, nearest);
        let (left, right) = tap(i % horizontal.n_out, &horizontal, nearest);
        let plane = row / vertical.n_out * vertical.n_in * horizontal.n_in;
        let upper = plane + top * horizontal.n_in;
        if nearest {
            output[i] = x[upper + left];
        } else {
            let lower = plane + min(top + 1, vertical.n_in - 1) * horizontal.n_in;
            let next = min(left + 1, horizontal.n_in - 1);
            let at_left = f32::cast_from(x[upper + left]) * (1.0f32 - down)
                + f32::cast_from(x[lower + left]) * down;
            let at_right = f32::cast_from(x[upper + next]) * (1.0f32 - down)
                + f32::cast_from(x[lower + next]) * down;
            output[i] = F::cast_from(at_left * (1.0f32 - right) + at_right * right);
        }
    }
}

#[cube(launch, address_type = "dynamic")]
fn slopes<F: Float>(
    gradient: &[F],
    output: &mut [F],
    vertical: Axis,
    horizontal: Axis,
    #[comptime] nearest: bool,
    #[define(F)] _elem: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        let (column, above) = (i % horizontal.n_in, i / horizontal.n_in);
        let (row, map) = (above % vertical.n_in, above / vertical.n_in);
        let (top, bottom) = reach(row, &vertical);
        let (left, right) = reach(column, &horizontal);
        let mut sum = 0.0f32;
        for y in top..bottom {
            let of_row = share(y, row, &vertical, nearest);
            if of_row > 0.0f32 {
                let line = (map * vertical.n_out + y) * horizontal.n_out;
                for x in left..right {
                    let share = of_row * share(x, column, &horizontal, nearest);
                    sum += f32::cast_from(gradient[line + x]) * share;
                }
            }
        }
        output[i] = F::cast_from(sum);
    }
}
