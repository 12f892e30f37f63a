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
use crate::kernel::cube::{
    Gpu, UNITS, address, contiguous, cube_each, elem, empty, finish, one_each, take, total,
};
use crate::kernel::upsampled::cube::{logit, pixel, tap};

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
        let [logits, targets] = contiguous([logits, targets]);
        let shape = TensorMetadata::shape(&targets);
        let [batch, height, width] = shape.dims();
        let [_, n_classes, rows, columns] = TensorMetadata::shape(&logits).dims();
        let sums = empty(&logits, rows_shape(&shape), DType::F32);
        let log_sums = empty(&logits, shape, DType::F32);
        let (count, dim) = cube_each(batch * height);
        let (client, address) = (logits.client.clone(), address(&[&logits, &log_sums]));
        let elems = [elem(&logits), elem(&targets)];
        losses::launch(
            &client,
            count,
            dim,
            address,
            logits.into_buffer_arg(),
            targets.into_buffer_arg(),
            sums.clone().into_buffer_arg(),
            log_sums.clone().into_buffer_arg(),
            Sizes::of([n_classes, rows, columns, height, width]),
            elems,
        );
        (sums, log_sums)
    }

    fn mean_of_rows(rows: CubeTensor) -> CubeTensor {
        let [rows] = contiguous([rows]);
        let output = empty(&rows, Shape::new([2]), DType::F32);
        let (count, dim) = cube_each(1);
        let (client, address) = (rows.client.clone(), address(&[&rows]));
        means::launch(
            &client,
            count,
            dim,
            address,
            rows.into_buffer_arg(),
            output.clone().into_buffer_arg(),
        );
        output
    }

    fn slopes_across(logits: CubeTensor, targets: CubeTensor, log_sums: CubeTensor) -> CubeTensor {
        let [logits, targets, log_sums] = contiguous([logits, targets, log_sums]);
        let [_, height, width] = TensorMetadata::shape(&targets).dims();
        let shape = TensorMetadata::shape(&logits);
        let [_, n_classes, rows, columns] = shape.dims();
        let shape = across_shape(&shape, &TensorMetadata::shape(&targets));
        let output = empty(&logits, shape, DType::F32);
        let (count, dim) = one_each(&logits.client, output.meta.num_elements());
        let (client, address) = (logits.client.clone(), address(&[&logits, &output]));
        let elems = [elem(&logits), elem(&targets)];
        across::launch(
            &client,
            count,
            dim,
            address,
            logits.into_buffer_arg(),
            targets.into_buffer_arg(),
            log_sums.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            Sizes::of([n_classes, rows, columns, height, width]),
            elems,
        );
        output
    }

    fn slopes_down(
        across: CubeTensor,
        factor: CubeTensor,
        rows: usize,
        columns: usize,
    ) -> CubeTensor {
        let [across, factor] = contiguous([across, factor]);
        let shape = TensorMetadata::shape(&across);
        let [_, height, n_classes, _] = shape.dims();
        let output = empty(&across, down_shape(&shape, rows, columns), DType::F32);
        let (count, dim) = one_each(&across.client, output.meta.num_elements());
        let (client, address) = (across.client.clone(), address(&[&across, &output]));
        down::launch(
            &client,
            count,
            dim,
            address,
            across.into_buffer_arg(),
            factor.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            Sizes::of([n_classes, rows, columns, height, 0]),
        );
        output
    }
}

/// Sizes of logits and labels.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Sizes {
    n_classes: usize,
    rows: usize,
    columns: usize,
    height: usize,
    width: usize,
}

impl Sizes {
    fn of([n_classes, rows, columns, height, width]: [usize; 5]) -> SizesLaunch {
        SizesLaunch::new(n_classes, rows, columns, height, width)
    }
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
        let plane = sizes.rows * sizes.columns;
        let image = row / sizes.height * sizes.n_classes * plane;
        let mut loss = 0.0f32;
        let mut labelled = 0.0f32;
        let mut x = UNIT_POS as usize;
        while x < sizes.width {
            let at =
                pixel(row % sizes.height, x, sizes.rows, sizes.columns, sizes.height, sizes.width);
            let mut top = logit::<F>(logits, image, &at);
            for class in 1..sizes.n_classes {
                top = max(top, logit::<F>(logits, image + class * plane, &at));
            }
            let mut sum = 0.0f32;
            for class in 0..sizes.n_classes {
                sum += (logit::<F>(logits, image + class * plane, &at) - top).exp();
            }
            let log = sum.ln();
            log_sums[row * sizes.width + x] = top + log;
            let target = u32::cast_from(targets[row * sizes.width + x]);
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

/// The weight that output position `i` gives to grid position `at`.
#[cube]
fn share(i: usize, at: usize, n_in: usize, n_out: usize) -> f32 {
    let (low, weight) = tap(i, n_in, n_out);
    let mut share = 0.0f32;
    if low == at {
        share = 1.0f32 - weight;
    }
    if min(low + 1, n_in - 1) == at {
        share += weight;
    }
    share
}

/// The first output position that may give weight to grid position `at`; and the first beyond them.
#[cube]
fn reach(at: usize, n_in: usize, n_out: usize) -> (usize, usize) {
    let step = f32::cast_from(n_out as u32) / f32::cast_from(n_in as u32);
    let at = f32::cast_from(at as u32);
    let first = max((at - 0.5f32) * step - 2.0f32, 0.0f32);
    let end = (at + 1.5f32) * step + 2.0f32;
    (u32::cast_from(first) as usize, min(u32::cast_from(end) as usize, n_out))
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
        let column = i % sizes.columns;
        let class = i / sizes.columns % sizes.n_classes;
        let row = i / sizes.columns / sizes.n_classes;
        let (image, y) = (row / sizes.height, row % sizes.height);
        let plane = (image * sizes.n_classes + class) * sizes.rows * sizes.columns;
        let (first, end) = reach(column, sizes.columns, sizes.width);
        let mut sum = 0.0f32;
        for x in first..end {
            let target = u32::cast_from(targets[row * sizes.width + x]);
            if target != NONE {
                let at = pixel(y, x, sizes.rows, sizes.columns, sizes.height, sizes.width);
                let log_sum = log_sums[row * sizes.width + x];
                let mut slope = (logit::<F>(logits, plane, &at) - log_sum).exp();
                if target as usize == class {
                    slope -= 1.0f32;
                }
                sum += slope * share(x, column, sizes.columns, sizes.width);
            }
        }
        output[i] = sum;
    }
}

#[cube(launch, address_type = "dynamic")]
fn down(across: &[f32], factor: &[f32], output: &mut [f32], sizes: Sizes) {
    let i = ABSOLUTE_POS;
    if i < output.len() {
        let column = i % sizes.columns;
        let row = i / sizes.columns % sizes.rows;
        let class = i / sizes.columns / sizes.rows % sizes.n_classes;
        let image = i / sizes.columns / sizes.rows / sizes.n_classes;
        let (first, end) = reach(row, sizes.rows, sizes.height);
        let mut sum = 0.0f32;
        for y in first..end {
            let line = (image * sizes.height + y) * sizes.n_classes + class;
            sum += across[line * sizes.columns + column] * share(y, row, sizes.rows, sizes.height);
        }
        output[i] = sum * factor[0];
    }
}
