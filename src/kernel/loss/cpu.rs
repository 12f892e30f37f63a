//! Computes cross-entropy on the CPU without storing logits at full size: only one pixel's exist at
//! a time. Sums run in a fixed order whatever the number of threads.

use burn::tensor::{Int, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::data::VOID;
use crate::kernel::classes;
use crate::kernel::lanes::exp;
use crate::kernel::operation::{self, Operand, Values};
use crate::kernel::resize::bilinear::Tap;
use crate::kernel::upsampled::{Axes, Logits, blend};

/// Classes are padded to a multiple of this, the widest vector there is.
const LANES: usize = 16;

/// Mean cross-entropy over the labelled pixels of a batch, and its gradient.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CrossEntropy {
    /// Mean loss; 0 where no pixel is labelled.
    pub loss: f64,
    /// d loss / d logits, `[batch, n_classes, height, width]`.
    pub gradient: Vec<f32>,
}

/// Computes the loss as a node of the graph: the forward pass computes the gradient as well, and
/// the backward pass returns it.
pub(super) fn cross_entropy(logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<1> {
    let (shape, [_, height, width]) = (logits.dims(), targets.dims());
    let logits = Operand::new(logits);
    let found = {
        let at_grid = Logits::new(logits.values.slice(), shape);
        of_slices(at_grid, &classes::to_vec(targets), [height, width])
    };
    let kept = Values::new(found.gradient, shape);
    operation::finish([logits], Values::scalar(found.loss), kept, |mut kept, gradient, _| {
        // 1 where the loss itself is what is differentiated.
        let factor = gradient.to_scalar() as f32;
        kept.slice_mut().iter_mut().for_each(|value| *value *= factor);
        [Some(kept)]
    })
}

/// The loss and its gradient; `targets` is `[batch, height, width]` with `size` (height, width).
///
/// # Panics
/// If sizes do not agree, or a target is neither a class nor [`VOID`].
pub(super) fn of_slices(logits: Logits<'_>, targets: &[u8], size: [usize; 2]) -> CrossEntropy {
    let n_in = logits.n_classes * logits.grid[0] * logits.grid[1];
    let n_out = size[0] * size[1];
    let batch = logits.values.len() / n_in;
    assert_eq!(targets.len(), batch * n_out, "a target for every pixel of the batch");
    let labelled = targets.iter().filter(|t| **t != VOID).count();
    assert!(
        targets.iter().all(|t| *t == VOID || usize::from(*t) < logits.n_classes),
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
            let logits = Logits { values: &logits.values[image * n_in..][..n_in], ..logits };
            let first = image * n_out + starts[band] * size[1];
            let targets = &targets[first..][..bands[band].len() * size[1]];
            let horizontal = &axes.horizontal;
            let vertical = bands[band];
            Arch::new().dispatch(Band { logits, vertical, horizontal, targets })
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

/// Logits (or their gradients) along one grid row: `[width, classes]`, classes padded.
#[derive(Debug, Clone)]
struct Line {
    values: Vec<f32>,
    /// Number of padded classes, a multiple of [`LANES`].
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

    /// Adds the line times `scale` to row `y` of `[n_classes, height, width]`.
    fn add_to(&self, planes: &mut [f32], grid: [usize; 2], (y, scale): (usize, f32)) {
        for (class, plane) in planes.chunks_exact_mut(grid[0] * grid[1]).enumerate() {
            let row = &mut plane[y * grid[1]..][..grid[1]];
            for (x, sum) in row.iter_mut().enumerate() {
                *sum += self.values[x * self.classes + class] * scale;
            }
        }
    }
}

/// The result of a band of output rows: its summed loss, and d loss / d logits of the two grid rows
/// it lies between.
struct Shares {
    loss: f64,
    low: Line,
    high: Line,
}

/// Output rows between the same two grid rows of one image.
struct Band<'a> {
    /// Logits of that image.
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
            for (class, row) in blend(self.logits, *tap).chunks_exact(width).enumerate() {
                for (x, value) in row.iter().enumerate() {
                    line.values[x * line.classes + class] = *value;
                }
            }
            let mut gradient = zero.clone();
            for (across, target) in self.horizontal.iter().zip(targets) {
                if *target != VOID {
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

/// Computes the loss of one pixel and adds its gradient to that of the line.
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
