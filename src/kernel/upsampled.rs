//! What is read off upsampled logits, without ever storing them at full size: cross-entropy with
//! its gradient, and the arg max.
//!
//! At 150 classes, 512 px and a batch of 16, one tensor of full-size logits is 2.5 GB; here a
//! pixel of them lives at a time. Sums run in a fixed order whatever the number of threads.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::bilinear::{Tap, taps};
use super::lanes::exp;

/// Class index that neither loss nor gradient sees.
pub const IGNORED: u8 = 255;

/// Classes are padded to a multiple of this, the widest vector there is.
const LANES: usize = 16;

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
    assert!(
        targets.iter().all(|t| *t == IGNORED || usize::from(*t) < logits.n_classes),
        "targets are checked when loaded"
    );
    let inverse = if labelled == 0 { 0.0 } else { 1.0 / labelled as f32 };
    let axes = Axes::new(logits.grid, size);
    // One task a band of output rows that lie below the same grid row; then each grid row gathers
    // the shares of the band below it and of the one above it.
    let bands: Vec<&[Tap]> = axes.vertical.chunk_by(|a, b| a.low == b.low).collect();
    let starts: Vec<usize> =
        bands.iter().scan(0, |at, band| Some(std::mem::replace(at, *at + band.len()))).collect();
    let shares: Vec<Shares> = (0..batch * bands.len())
        .into_par_iter()
        .map(|task| {
            let (image, band) = (task / bands.len(), task % bands.len());
            let values = &logits.values[image * n_in..][..n_in];
            let first = image * n_out + starts[band] * size[1];
            let targets = &targets[first..][..bands[band].len() * size[1]];
            let horizontal = &axes.horizontal;
            let vertical = bands[band];
            Arch::new().dispatch(Band { values, logits, vertical, horizontal, targets })
        })
        .collect();
    let loss: f64 = shares.iter().map(|share| share.loss).sum();
    let mut gradient = vec![0.0f32; logits.values.len()];
    let shares = shares.par_chunks_exact(bands.len());
    gradient.par_chunks_exact_mut(n_in).zip(shares).for_each(|(gradient, shares)| {
        for (share, band) in shares.iter().zip(&bands) {
            share.low.add_to(gradient, logits.grid, (band[0].low, inverse));
            share.high.add_to(gradient, logits.grid, (band[0].high, inverse));
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

/// Logits (or their gradients) along one grid row: `[width, classes]`, classes padded.
#[derive(Debug, Clone)]
struct Line {
    values: Vec<f32>,
    /// A multiple of [`LANES`].
    classes: usize,
}

impl Line {
    fn filled(width: usize, n_classes: usize, value: f32) -> Self {
        let classes = n_classes.next_multiple_of(LANES);
        Self { values: vec![value; width * classes], classes }
    }

    fn at(&self, x: usize) -> &[f32] {
        &self.values[x * self.classes..][..self.classes]
    }

    fn at_mut(&mut self, x: usize) -> &mut [f32] {
        &mut self.values[x * self.classes..][..self.classes]
    }

    /// Adds itself times `scale` to row `y` of `[n_classes, height, width]`.
    fn add_to(&self, planes: &mut [f32], grid: [usize; 2], (y, scale): (usize, f32)) {
        for (class, plane) in planes.chunks_exact_mut(grid[0] * grid[1]).enumerate() {
            let row = &mut plane[y * grid[1]..][..grid[1]];
            for (x, sum) in row.iter_mut().enumerate() {
                *sum += self.values[x * self.classes + class] * scale;
            }
        }
    }
}

/// What a band of output rows gives: its summed loss, and d loss / d logits of the two grid rows
/// it lies between.
struct Shares {
    loss: f64,
    low: Line,
    high: Line,
}

/// Output rows between the same two grid rows of one image.
struct Band<'a> {
    /// `[n_classes, height, width]`
    values: &'a [f32],
    logits: Logits<'a>,
    vertical: &'a [Tap],
    horizontal: &'a [Tap],
    targets: &'a [u8],
}

#[expect(clippy::inline_always, reason = "as `WithSimd` demands")]
impl WithSimd for Band<'_> {
    type Output = Shares;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Shares {
        let (width, n_classes) = (self.logits.grid[1], self.logits.n_classes);
        let zero = Line::filled(width, n_classes, 0.0);
        let mut shares = Shares { loss: 0.0, low: zero.clone(), high: zero.clone() };
        // Classes that only fill up a vector take no part in the softmax.
        let mut line = Line::filled(width, n_classes, -1e30);
        let mut pixel = vec![0.0f32; line.classes];
        for (tap, targets) in
            self.vertical.iter().zip(self.targets.chunks_exact(self.horizontal.len()))
        {
            for (class, row) in
                blend(self.values, self.logits, *tap).chunks_exact(width).enumerate()
            {
                for (x, value) in row.iter().enumerate() {
                    line.values[x * line.classes + class] = *value;
                }
            }
            let mut gradient = zero.clone();
            for (across, target) in self.horizontal.iter().zip(targets) {
                if *target != IGNORED {
                    let at = (across, usize::from(*target));
                    shares.loss += pixel_loss(simd, &line, at, (&mut pixel, &mut gradient));
                }
            }
            for ((low, high), g) in
                shares.low.values.iter_mut().zip(&mut shares.high.values).zip(&gradient.values)
            {
                *low += g * (1.0 - tap.weight_high);
                *high += g * tap.weight_high;
            }
        }
        shares
    }
}

/// The loss of one pixel; its gradient is added to that of the line.
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
fn pixel_loss<S: Simd>(
    simd: S,
    line: &Line,
    (tap, target): (&Tap, usize),
    (pixel, gradient): (&mut [f32], &mut Line),
) -> f64 {
    let (low, high) = (1.0 - tap.weight_high, tap.weight_high);
    for ((value, a), b) in pixel.iter_mut().zip(line.at(tap.low)).zip(line.at(tap.high)) {
        *value = a * low + b * high;
    }
    let of_target = pixel[target];
    let vectors = S::as_simd_f32s(pixel).0;
    let max = vectors[1..].iter().fold(vectors[0], |max, v| simd.max_f32s(max, *v));
    let max = simd.reduce_max_f32s(max);
    for value in &mut *pixel {
        *value = exp(*value - max);
    }
    let vectors = S::as_simd_f32s(pixel).0;
    let sum = vectors[1..].iter().fold(vectors[0], |sum, v| simd.add_f32s(sum, *v));
    let sum = simd.reduce_sum_f32s(sum);
    for (x, weight) in [(tap.low, low), (tap.high, high)] {
        let share = weight / sum;
        let gradient = gradient.at_mut(x);
        for (g, value) in gradient.iter_mut().zip(&*pixel) {
            *g += value * share;
        }
        gradient[target] -= weight;
    }
    f64::from(sum.ln() - (of_target - max))
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
    fn the_number_of_threads_changes_no_bit() {
        let (shape, size) = ([2, 21, 5, 6], [70, 84]);
        let values = random(shape.iter().product());
        let targets = targets(2 * size[0] * size[1], 21);
        let run = |n| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            let logits = Logits { values: &values, n_classes: 21, grid: [5, 6] };
            pool.install(|| cross_entropy(logits, &targets, size))
        };
        let one = run(1);
        assert_eq!(run(2), one);
        assert_eq!(run(8), one);
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
