//! The loss on GPUs, with its gradient: nothing of the size of the upsampled logits is held, and
//! nothing comes back to the host.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{
    Backend, Shape, TensorMetadata, backend_extension, fusion::custom::TensorSpec,
};
use burn::tensor::{DType, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::data::VOID;
use crate::kernel::cube::{Gpu, Grid, UNITS, elem, empty, finish, launch, take, total};
use crate::kernel::resize::cube::{reach, share};
use crate::kernel::upsampled::cube::{Sizes, SizesLaunch, logit, pixel};

/// The void class in a kernel.
const NONE: u32 = VOID as u32;

/// The mean loss, `[1]` of f32.
pub(super) fn cross_entropy(logits: Tensor<4>, targets: Tensor<3, burn::tensor::Int>) -> Tensor<1> {
    let logits = take(logits);
    let targets = targets.try_into_primitive::<Gpu>().expect("on the device of the logits");
    let (rows, log_sums) = Gpu::losses(logits.0.clone(), targets.clone());
    let mean = Gpu::mean_of_rows(rows);
    // The loss, and 1 over the number of labelled pixels.
    let [loss, inverse] = [0..1, 1..2]
        .map(|range: std::ops::Range<usize>| Gpu::float_slice(mean.clone(), &[range.into()]));
    let kept = Kept { logits: logits.0.clone(), targets, log_sums, inverse };
    finish([logits], loss, kept, |kept, gradient, _| {
        let factor = Gpu::float_mul(gradient, kept.inverse);
        let [_, _, rows, columns] = kept.logits.shape().dims();
        let across = Gpu::slopes_across(kept.logits, kept.targets, kept.log_sums);
        [Some(Gpu::slopes_down(across, factor, rows, columns))]
    })
}

#[derive(Debug, Clone)]
struct Kept {
    logits: FloatTensor<Gpu>,
    targets: IntTensor<Gpu>,
    /// Log of the sum of exponentials of each pixel, `[batch, height, width]`.
    log_sums: FloatTensor<Gpu>,
    inverse: FloatTensor<Gpu>,
}

#[backend_extension(Cube, Fusion)]
trait Loss: Backend {
    /// For each row of pixels its summed loss and its number of labelled pixels,
    /// `[batch * height, 2]`; and the log-sums, `[batch, height, width]`.
    #[fusion(meta = |_, targets| (rows_spec(targets), f32_spec(&targets.shape)))]
    fn losses(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The mean loss, and 1 over the number of labelled pixels; both 0 where there are none.
    #[fusion(dtype = DType::F32, shape = Shape::new([2]))]
    fn mean_of_rows(rows: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The gradients of the summed loss by the logits of each row of pixels, gathered along x onto
    /// the grid: `[batch, height, n_classes, columns]`.
    #[fusion(meta = |logits, targets, _| f32_spec(&across_shape(&logits.shape, &targets.shape)))]
    fn slopes_across(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        log_sums: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Gathers along y onto the grid, times `factor`: `[batch, n_classes, rows, columns]`.
    #[fusion(dtype = DType::F32, shape = down_shape(across, *rows, *columns))]
    fn slopes_down(
        across: FloatTensor<Self>,
        factor: FloatTensor<Self>,
        rows: usize,
        columns: usize,
    ) -> FloatTensor<Self>;
}

fn f32_spec(shape: &Shape) -> TensorSpec {
    TensorSpec::new(shape.clone(), DType::F32)
}

fn rows_spec(targets: &TensorSpec) -> TensorSpec {
    f32_spec(&rows_shape(&targets.shape))
}

fn rows_shape(targets: &Shape) -> Shape {
    let [batch, height, _] = targets.dims();
    Shape::new([batch * height, 2])
}

fn across_shape(logits: &Shape, targets: &Shape) -> Shape {
    let ([batch, n_classes, _, columns], [_, height, _]) = (logits.dims(), targets.dims());
    Shape::new([batch, height, n_classes, columns])
}

fn down_shape(across: &Shape, rows: usize, columns: usize) -> Shape {
    let [batch, _, n_classes, _] = across.dims();
    Shape::new([batch, n_classes, rows, columns])
}

impl Loss for CubeBackend {
    fn losses(logits: CubeTensor, targets: CubeTensor) -> (CubeTensor, CubeTensor) {
        let (sizes, shape) = (sizes(&logits, &targets), TensorMetadata::shape(&targets));
        let sums = empty(&logits, rows_shape(&shape), DType::F32);
        let log_sums = empty(&logits, shape, DType::F32);
        let grid = Grid::rows(&logits, sums.meta.shape()[0]);
        let elems = [elem(&logits), elem(&targets)];
        launch!(losses, grid, [logits, targets, sums.clone(), log_sums.clone()], sizes, elems,);
        (sums, log_sums)
    }

    fn mean_of_rows(rows: CubeTensor) -> CubeTensor {
        let output = empty(&rows, Shape::new([2]), DType::F32);
        launch!(means, Grid::rows(&output, 1), [rows, output.clone()]);
        output
    }

    fn slopes_across(logits: CubeTensor, targets: CubeTensor, log_sums: CubeTensor) -> CubeTensor {
        let sizes = sizes(&logits, &targets);
        let shape = across_shape(&TensorMetadata::shape(&logits), &TensorMetadata::shape(&targets));
        let output = empty(&logits, shape, DType::F32);
        let elems = [elem(&logits), elem(&targets)];
        let grid = Grid::each(&output);
        launch!(across, grid, [logits, targets, log_sums, output.clone()], sizes, elems);
        output
    }

    fn slopes_down(
        across: CubeTensor,
        factor: CubeTensor,
        rows: usize,
        columns: usize,
    ) -> CubeTensor {
        let shape = TensorMetadata::shape(&across);
        let [_, height, n_classes, _] = shape.dims();
        let output = empty(&across, down_shape(&shape, rows, columns), DType::F32);
        let sizes = Sizes::of(n_classes, [rows, columns], [height, columns]);
        launch!(down, Grid::each(&output), [across, factor, output.clone()], sizes);
        output
    }
}

fn sizes(logits: &CubeTensor, targets: &CubeTensor) -> SizesLaunch {
    let [_, n_classes, rows, columns] = TensorMetadata::shape(logits).dims();
    let [_, height, width] = TensorMetadata::shape(targets).dims();
    Sizes::of(n_classes, [rows, columns], [height, width])
}

/// A cube for each row of pixels.
#[cube(launch, address_type = "dynamic")]
fn losses<F: Float, I: Int>(
    logits: &[F],
    targets: &[I],
    sums: &mut [f32],
    log_sums: &mut [f32],
    sizes: Sizes,
    #[define(F, I)] _elems: [ElemType; 2],
) {
    let row = CUBE_POS;
    if 2 * row < sums.len() {
        let mut scratch = Shared::<[f32]>::new_slice(comptime!(UNITS as usize));
        let plane = sizes.vertical.n_in * sizes.horizontal.n_in;
        let image = row / sizes.vertical.n_out * sizes.n_classes * plane;
        let mut loss = 0.0f32;
        let mut labelled = 0.0f32;
        let mut x = UNIT_POS as usize;
        while x < sizes.horizontal.n_out {
            let at = pixel(row % sizes.vertical.n_out, x, &sizes);
            let mut top = logit::<F>(logits, image, &at);
            for class in 1..sizes.n_classes {
                top = max(top, logit::<F>(logits, image + class * plane, &at));
            }
            let mut sum = 0.0f32;
            for class in 0..sizes.n_classes {
                sum += (logit::<F>(logits, image + class * plane, &at) - top).exp();
            }
            let log = sum.ln();
            log_sums[row * sizes.horizontal.n_out + x] = top + log;
            let target = u32::cast_from(targets[row * sizes.horizontal.n_out + x]);
            if target != NONE {
                let own = logit::<F>(logits, image + target as usize * plane, &at);
                loss += log - (own - top);
                labelled += 1.0f32;
            }
            x += CUBE_DIM as usize;
        }
        let loss = total(loss, &mut scratch);
        let labelled = total(labelled, &mut scratch);
        if UNIT_POS == 0 {
            sums[2 * row] = loss;
            sums[2 * row + 1] = labelled;
        }
    }
}

#[cube(launch, address_type = "dynamic")]
fn means(rows: &[f32], output: &mut [f32]) {
    let mut scratch = Shared::<[f32]>::new_slice(comptime!(UNITS as usize));
    let n = rows.len() / 2;
    let mut loss = 0.0f32;
    let mut labelled = 0.0f32;
    let mut row = UNIT_POS as usize;
    while row < n {
        loss += rows[2 * row];
        labelled += rows[2 * row + 1];
        row += CUBE_DIM as usize;
    }
    let loss = total(loss, &mut scratch);
    let labelled = total(labelled, &mut scratch);
    if UNIT_POS == 0 {
        let mut inverse = 0.0f32;
        if labelled > 0.0f32 {
            inverse = 1.0f32 / labelled;
        }
        output[0] = loss * inverse;
        output[1] = inverse;
    }
}

#[cube(launch, address_type = "dynamic")]
fn across<F: Float, I: Int>(
    logits: &[F],
    targets: &[I],
    log_sums: &[f32],
    output: &mut [f32],
    sizes: Sizes,
    #[define(F, I)] _elems: [ElemType; 2],
) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        let column = i % sizes.horizontal.n_in;
        let class = i / sizes.horizontal.n_in % sizes.n_classes;
        let row = i / sizes.horizontal.n_in / sizes.n_classes;
        let (image, y) = (row / sizes.vertical.n_out, row % sizes.vertical.n_out);
        let plane = (image * sizes.n_classes + class) * sizes.vertical.n_in * sizes.horizontal.n_in;
        let (first, end) = reach(column, &sizes.horizontal);
        let mut sum = 0.0f32;
        for x in first..end {
            let target = u32::cast_from(targets[row * sizes.horizontal.n_out + x]);
            if target != NONE {
                let at = pixel(y, x, &sizes);
                let log_sum = log_sums[row * sizes.horizontal.n_out + x];
                let mut slope = (logit::<F>(logits, plane, &at) - log_sum).exp();
                if target as usize == class {
                    slope -= 1.0f32;
                }
                sum += slope * share(x, column, &sizes.horizontal, false);
            }
        }
        output[i] = sum;
    }
}

#[cube(launch, address_type = "dynamic")]
fn down(across: &[f32], factor: &[f32], output: &mut [f32], sizes: Sizes) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        let column = i % sizes.horizontal.n_in;
        let row = i / sizes.horizontal.n_in % sizes.vertical.n_in;
        let class = i / sizes.horizontal.n_in / sizes.vertical.n_in % sizes.n_classes;
        let image = i / sizes.horizontal.n_in / sizes.vertical.n_in / sizes.n_classes;
        let (first, end) = reach(row, &sizes.vertical);
        let mut sum = 0.0f32;
        for y in first..end {
            let line = (image * sizes.vertical.n_out + y) * sizes.n_classes + class;
            sum += across[line * sizes.horizontal.n_in + column]
                * share(y, row, &sizes.vertical, false);
        }
        output[i] = sum * factor[0];
    }
}
