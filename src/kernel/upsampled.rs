//! What is read off upsampled logits, without ever storing them at full size: cross-entropy with
//! its gradient, and the arg max.
//!
//! At 150 classes, 512 px and a batch of 16, one tensor of full-size logits is 2.5 GB; here a
//! row of them lives at a time. Rows are summed in a fixed order whatever the number of threads.

use rayon::prelude::*;

use super::bilinear::{Tap, taps};

/// Class index that neither loss nor gradient sees.
pub const IGNORED: u8 = 255;

/// Logits of one batch on the patch grid.
#[derive(Debug, Clone, Copy)]
pub struct Logits<'a> {
    /// `[batch, n_classes, height, width]`, row-major.
    pub values: &'a [f32],
    pub n_classes: usize,
    /// Height and width of the grid.
    pub grid: [usize; 2],
}

/// Mean cross-entropy over the labelled pixels of a batch, and its gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossEntropy {
    /// 0 where no pixel is labelled.
    pub loss: f64,
    /// d loss / d logits, `[batch, n_classes, height, width]`.
    pub gradient: Vec<f32>,
}

/// Cross-entropy of logits upsampled bilinearly (`align_corners = false`) to the targets' size.
///
/// `targets` is `[batch, height, width]`; [`IGNORED`] is left out, as `ignore_index` of PyTorch's
/// `F.cross_entropy`, whose mean over the batch this is.
///
/// # Panics
/// If sizes do not agree, or a target is neither a class nor [`IGNORED`].
pub fn cross_entropy(logits: Logits<'_>, targets: &[u8], size: [usize; 2]) -> CrossEntropy {
    let n_in = logits.n_classes * logits.grid[0] * logits.grid[1];
    let n_out = size[0] * size[1];
    let batch = logits.values.len() / n_in;
    assert_eq!(targets.len(), batch * n_out, "a target for every pixel of the batch");
    let labelled = targets.iter().filter(|t| **t != IGNORED).count();
    let inverse = if labelled == 0 { 0.0 } else { 1.0 / labelled as f32 };
    let axes = Axes::new(logits.grid, size);
    // One task an output row, then each grid row gathers its tasks' shares in order.
    let rows: Vec<(f64, Vec<f32>)> = (0..batch * size[0])
        .into_par_iter()
        .map(|task| {
            let (image, y) = (task / size[0], task % size[0]);
            let values = &logits.values[image * n_in..(image + 1) * n_in];
            let row_targets = &targets[image * n_out + y * size[1]..][..size[1]];
            row_loss(values, logits, &axes, (y, row_targets))
        })
        .collect();
    let loss: f64 = rows.iter().map(|(loss, _)| loss).sum();
    let mut gradient = vec![0.0f32; logits.values.len()];
    gradient.par_chunks_exact_mut(n_in).enumerate().for_each(|(image, gradient)| {
        for y in 0..size[0] {
            let tap = axes.vertical[y];
            spread(&rows[image * size[0] + y].1, tap, logits.grid, gradient, inverse);
        }
    });
    CrossEntropy { loss: loss * f64::from(inverse), gradient }
}

pub(super) struct Axes {
    pub(super) vertical: Vec<Tap>,
    pub(super) horizontal: Vec<Tap>,
}

impl Axes {
    pub(super) fn new(grid: [usize; 2], size: [usize; 2]) -> Self {
        Self { vertical: taps(grid[0], size[0]), horizontal: taps(grid[1], size[1]) }
    }
}

/// The grid rows of one image blended for one output row: `[n_classes, grid width]`.
pub(super) fn blend(values: &[f32], logits: Logits<'_>, tap: Tap) -> Vec<f32> {
    let [height, width] = logits.grid;
    let mut line = Vec::with_capacity(logits.n_classes * width);
    for plane in values.chunks_exact(height * width) {
        let low = &plane[tap.low * width..][..width];
        let high = &plane[tap.high * width..][..width];
        line.extend(
            low.iter().zip(high).map(|(a, b)| a * (1.0 - tap.weight_high) + b * tap.weight_high),
        );
    }
    line
}

/// Summed loss of one output row, and d loss / d blended grid row `[n_classes, grid width]`.
fn row_loss(
    values: &[f32],
    logits: Logits<'_>,
    axes: &Axes,
    (y, targets): (usize, &[u8]),
) -> (f64, Vec<f32>) {
    let width = logits.grid[1];
    let line = blend(values, logits, axes.vertical[y]);
    let mut gradient = vec![0.0f32; line.len()];
    let mut at = vec![0.0f32; logits.n_classes];
    let mut loss = 0.0f64;
    for (tap, target) in axes.horizontal.iter().zip(targets) {
        if *target == IGNORED {
            continue;
        }
        assert!(usize::from(*target) < logits.n_classes, "targets are checked when loaded");
        let (low, high) = (1.0 - tap.weight_high, tap.weight_high);
        let mut max = f32::NEG_INFINITY;
        for (value, row) in at.iter_mut().zip(line.chunks_exact(width)) {
            *value = row[tap.low] * low + row[tap.high] * high;
            max = max.max(*value);
        }
        let of_target = at[usize::from(*target)] - max;
        let mut sum = 0.0f32;
        for value in &mut at {
            *value = (*value - max).exp();
            sum += *value;
        }
        loss += f64::from(sum.ln() - of_target);
        let inverse = 1.0 / sum;
        for (class, (value, row)) in at.iter().zip(gradient.chunks_exact_mut(width)).enumerate() {
            let one_hot = if class == usize::from(*target) { 1.0 } else { 0.0 };
            let slope = value * inverse - one_hot;
            row[tap.low] += slope * low;
            row[tap.high] += slope * high;
        }
    }
    (loss, gradient)
}

/// Adds one output row's gradient to the two grid rows it was blended from.
fn spread(line: &[f32], tap: Tap, grid: [usize; 2], gradient: &mut [f32], scale: f32) {
    let [height, width] = grid;
    for (plane, row) in gradient.chunks_exact_mut(height * width).zip(line.chunks_exact(width)) {
        let mut add = |at: usize, weight: f32| {
            for (sum, value) in plane[at * width..][..width].iter_mut().zip(row) {
                *sum += value * weight;
            }
        };
        add(tap.low, (1.0 - tap.weight_high) * scale);
        add(tap.high, tap.weight_high * scale);
    }
}

/// Class of the largest logit of one image at `size`, upsampled bilinearly; row-major.
///
/// Of equal logits the lowest class wins. A NaN never wins.
///
/// # Panics
/// If `logits` holds more than one image, or more than 255 classes.
pub fn arg_max(logits: Logits<'_>, size: [usize; 2]) -> Vec<u8> {
    let [height, width] = logits.grid;
    assert_eq!(logits.values.len(), logits.n_classes * height * width, "one image");
    assert!(logits.n_classes <= 255, "classes are u8, and 255 is void");
    let axes = Axes::new(logits.grid, size);
    let mut out = vec![0u8; size[0] * size[1]];
    out.par_chunks_exact_mut(size[1]).zip(&axes.vertical).for_each(|(out, tap)| {
        let line = blend(logits.values, logits, *tap);
        let mut best = vec![f32::NEG_INFINITY; size[1]];
        for (class, row) in line.chunks_exact(width).enumerate() {
            for ((out, best), tap) in out.iter_mut().zip(&mut best).zip(&axes.horizontal) {
                let value =
                    row[tap.low] * (1.0 - tap.weight_high) + row[tap.high] * tap.weight_high;
                if value > *best {
                    *best = value;
                    *out = class as u8;
                }
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData, activation};

    use super::super::bilinear;
    use super::*;
    use crate::rng;

    fn random(n: usize) -> Vec<f32> {
        let mut rng = rng::keyed(7, "test", &[]);
        (0..n).map(|_| rng::normal(&mut rng) as f32).collect()
    }

    fn targets(n: usize, n_classes: u64) -> Vec<u8> {
        let mut rng = rng::keyed(8, "test", &[]);
        (0..n)
            .map(|_| match rng::below(&mut rng, n_classes + 1) {
                class if class == n_classes => IGNORED,
                class => class as u8,
            })
            .collect()
    }

    /// The same by Burn's own operations: loss, gradient and upsampled logits.
    fn composed(
        values: &[f32],
        shape: [usize; 4],
        targets: &[u8],
        size: [usize; 2],
    ) -> (f64, Vec<f32>) {
        let device = Device::flex().autodiff();
        let logits =
            Tensor::<4>::from_data(TensorData::new(values.to_vec(), shape), &device).require_grad();
        let log = activation::log_softmax(bilinear::resize(logits.clone(), size), 1);
        let [batch, n_classes, h, w] = log.dims();
        let mut weights = vec![0.0f32; batch * n_classes * h * w];
        let labelled = targets.iter().filter(|t| **t != IGNORED).count() as f32;
        for (i, target) in targets.iter().enumerate().filter(|(_, t)| **t != IGNORED) {
            let (image, pixel) = (i / (h * w), i % (h * w));
            weights[(image * n_classes + usize::from(*target)) * h * w + pixel] = -1.0 / labelled;
        }
        let weights =
            Tensor::<4>::from_data(TensorData::new(weights, [batch, n_classes, h, w]), &device);
        let loss = (log * weights).sum();
        let gradients = loss.backward();
        let gradient = logits.grad(&gradients).unwrap().into_data().try_into_vec().unwrap();
        (loss.into_scalar::<f64>(), gradient)
    }

    fn check(shape: [usize; 4], size: [usize; 2]) {
        let values = random(shape.iter().product());
        let targets = targets(shape[0] * size[0] * size[1], shape[1] as u64);
        let logits = Logits { values: &values, n_classes: shape[1], grid: [shape[2], shape[3]] };
        let ours = cross_entropy(logits, &targets, size);
        let (loss, gradient) = composed(&values, shape, &targets, size);
        assert!((ours.loss - loss).abs() < 1e-5, "{} {loss}", ours.loss);
        let largest = gradient.iter().fold(0.0f32, |m, g| m.max(g.abs()));
        for (a, b) in ours.gradient.iter().zip(&gradient) {
            assert!((a - b).abs() < 2e-5 * largest, "{a} {b}");
        }
    }

    #[test]
    fn cross_entropy_equals_the_composition() {
        check([2, 6, 4, 5], [56, 70]);
        check([1, 3, 1, 1], [7, 9]);
        check([3, 2, 9, 4], [5, 3]);
    }

    #[test]
    fn all_void_is_zero_not_nan() {
        let values = random(2 * 4);
        let logits = Logits { values: &values, n_classes: 2, grid: [2, 2] };
        let result = cross_entropy(logits, &[IGNORED; 16], [4, 4]);
        assert_eq!(result, CrossEntropy { loss: 0.0, gradient: vec![0.0; 8] });
    }

    #[test]
    fn arg_max_equals_the_composition() {
        let (shape, size) = ([1, 7, 5, 6], [33, 41]);
        let values = random(shape.iter().product());
        let device = Device::flex();
        let tensor = Tensor::<4>::from_data(TensorData::new(values.clone(), shape), &device);
        let expect: Vec<i64> = bilinear::resize(tensor, size)
            .argmax(1)
            .into_data()
            .convert::<i64>()
            .try_into_vec()
            .unwrap();
        let ours = arg_max(Logits { values: &values, n_classes: 7, grid: [5, 6] }, size);
        let differ = ours.iter().zip(&expect).filter(|(a, b)| i64::from(**a) != **b).count();
        assert!(differ <= 1, "{differ} pixels differ by more than rounding can explain");
    }
}
