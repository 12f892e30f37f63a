//! The Gaussian filter of scikit-image, to the last bit where its weights are.
//!
//! `skimage.filters.gaussian` filters in f64 along the columns, then along the rows
//! (`scipy.ndimage.correlate1d`), and what is cut to 8 bits afterwards depends on the last bit
//! wherever the picture is flat. So the sums are made in scipy's order: the middle first, then
//! pairs from the outside in.

use super::Severity;
use crate::data::Rgb;

/// Standard deviation in pixels, by level.
const SIGMA: [f64; 5] = [1.0, 2.0, 3.0, 4.0, 6.0];
/// Standard deviations after which the kernel is cut, unless the caller says otherwise.
pub(super) const TRUNCATE: f64 = 4.0;

const CHANNELS: usize = 3;
/// Values that are summed side by side, a multiple of every vector width.
const LANES: usize = 16;

/// The corruption `gaussian_blur`.
pub(super) fn gaussian_blur(image: &Rgb, severity: Severity) -> Rgb {
    blur_rgb(image, severity.of(&SIGMA))
}

/// Blurs `image` and cuts it to 8 bits, border pixels repeated.
pub(super) fn blur_rgb(image: &Rgb, sigma: f64) -> Rgb {
    let kernel = Kernel::new(sigma, TRUNCATE);
    let units: [f64; 256] = std::array::from_fn(|level| level as f64 / 255.0);
    filter_rgb(image, &kernel, (Edge::Nearest, &units), |value| (value.min(1.0) * 255.0) as u8)
}

/// Filters `image` along both axes: its levels through `units`, the sums through `finish`.
pub(super) fn filter_rgb(
    image: &Rgb,
    kernel: &Kernel,
    (edge, units): (Edge, &[f64; 256]),
    finish: impl Fn(f64) -> u8,
) -> Rgb {
    let field = Field {
        width: image.width as usize,
        height: image.height as usize,
        channels: CHANNELS,
        values: image.pixels.iter().map(|&level| units[usize::from(level)]).collect(),
    };
    let mut pixels = Vec::with_capacity(image.pixels.len());
    field.blur([kernel, kernel], edge, |row| {
        pixels.extend(row.iter().map(|&value| finish(value)));
    });
    Rgb { pixels, ..*image }
}

/// The continuation of a field beyond its border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    /// `a a a | a b c | c c c`
    Nearest,
    /// `c b a | a b c | c b a`
    Reflect,
    /// `d c b | a b c d | c b a`
    Mirror,
}

/// A symmetric kernel that sums to one.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    middle: f64,
    /// The weights at distance 1, 2, …
    sides: Vec<f64>,
}

/// Rows of interleaved channels.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) channels: usize,
    pub(super) values: Vec<f64>,
}

impl Edge {
    /// The index inside `0..side` that `at` maps to.
    pub(super) fn inside(self, at: isize, side: usize) -> usize {
        let last = side.cast_signed() - 1;
        match self {
            Self::Nearest => at.clamp(0, last) as usize,
            Self::Mirror => {
                let at = at.rem_euclid((2 * last).max(1));
                at.min(2 * last - at).max(0) as usize
            }
            Self::Reflect => {
                let at = at.rem_euclid(2 * side.cast_signed());
                at.min(2 * last + 1 - at) as usize
            }
        }
    }

    /// [`Self::inside`], with a fast path for indices that are inside.
    pub(super) fn near(self, at: isize, side: usize) -> usize {
        if at.cast_unsigned() < side { at.cast_unsigned() } else { self.inside(at, side) }
    }
}

impl Kernel {
    /// `scipy.ndimage`'s weights: cut at `truncate` standard deviations, then normalised.
    pub(super) fn new(sigma: f64, truncate: f64) -> Self {
        let radius = (truncate * sigma + 0.5) as usize;
        if radius == 0 {
            return Self { middle: 1.0, sides: Vec::new() };
        }
        let at = |d: usize| (-0.5 / (sigma * sigma) * (d * d) as f64).exp();
        let all: Vec<f64> = (0..=2 * radius).map(|i| at(i.abs_diff(radius))).collect();
        let total = sum_as_numpy(&all);
        Self {
            middle: all[radius] / total,
            sides: all[radius + 1..].iter().map(|weight| weight / total).collect(),
        }
    }

    /// The kernel of these weights at distance 0, 1, …, which need not sum to one yet.
    pub(super) fn of(weights: &[f64]) -> Self {
        let total = weights[0] + 2.0 * weights[1..].iter().sum::<f64>();
        let sides = weights[1..].iter().map(|weight| weight / total).collect();
        Self { middle: weights[0] / total, sides }
    }

    pub(super) fn radius(&self) -> usize {
        self.sides.len()
    }
}

/// The sum of up to 128 values in numpy's order: eight sums side by side, then the rest.
pub(super) fn sum_as_numpy(values: &[f64]) -> f64 {
    if values.len() < 8 {
        return values.iter().fold(-0.0, |sum, value| sum + value);
    }
    let (blocks, rest) = values.as_chunks::<8>();
    let mut sums = blocks[0];
    for block in &blocks[1..] {
        for (sum, value) in sums.iter_mut().zip(block) {
            *sum += value;
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    rest.iter().fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |sum, value| sum + value)
}

impl Field {
    /// Hands each row of the filtered field to `sink`, from the top. `kernels`: along the columns,
    /// along the rows.
    pub(super) fn blur(
        &self,
        [down, along]: [&Kernel; 2],
        edge: Edge,
        mut sink: impl FnMut(&[f64]),
    ) {
        let stride = self.width * self.channels;
        let margin = along.radius() * self.channels;
        let (mut padded, mut out) = (vec![0.0; stride + 2 * margin], vec![0.0; stride]);
        let row = |y: isize| &self.values[edge.inside(y, self.height) * stride..][..stride];
        let mut pairs: Vec<(&[f64], &[f64])> = Vec::with_capacity(down.radius());
        for y in 0..self.height.cast_signed() {
            pairs.clear();
            pairs.extend(
                (1..=down.radius().cast_signed())
                    .map(|distance| (row(y - distance), row(y + distance))),
            );
            weigh(down, row(y), &pairs, &mut padded[margin..margin + stride]);
            self.pad(&mut padded, along.radius(), edge);
            let at = |distance: usize| {
                let shift = distance * self.channels;
                (&padded[margin - shift..][..stride], &padded[margin + shift..][..stride])
            };
            let pairs: Vec<_> = (1..=along.radius()).map(at).collect();
            weigh(along, &padded[margin..][..stride], &pairs, &mut out);
            sink(&out);
        }
    }

    /// [`Self::blur`] into a field.
    pub(super) fn blurred(&self, kernels: [&Kernel; 2], edge: Edge) -> Self {
        let mut values = Vec::with_capacity(self.values.len());
        self.blur(kernels, edge, |row| values.extend_from_slice(row));
        Self { values, ..*self }
    }

    /// Fills the `radius` pixels on both sides of a row.
    fn pad(&self, padded: &mut [f64], radius: usize, edge: Edge) {
        for i in 0..radius {
            let left = i.cast_signed() - radius.cast_signed();
            for (to, from) in [(i, left), (radius + self.width + i, (self.width + i).cast_signed())]
            {
                let from = (radius + edge.inside(from, self.width)) * self.channels;
                padded.copy_within(from..from + self.channels, to * self.channels);
            }
        }
    }
}

/// Computes `out = middle * kernel.middle + sum over pairs, from the last to the first`.
fn weigh(kernel: &Kernel, middle: &[f64], pairs: &[(&[f64], &[f64])], out: &mut [f64]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let whole = out.len() / LANES * LANES;
            for at in (0..whole).step_by(LANES) {
                let mut sums = [0.0; LANES];
                for (sum, value) in sums.iter_mut().zip(&middle[at..at + LANES]) {
                    *sum = value * kernel.middle;
                }
                for (weight, (a, b)) in kernel.sides.iter().zip(pairs).rev() {
                    let (a, b) = (&a[at..at + LANES], &b[at..at + LANES]);
                    for i in 0..LANES {
                        sums[i] += (a[i] + b[i]) * weight;
                    }
                }
                out[at..at + LANES].copy_from_slice(&sums);
            }
            for at in whole..out.len() {
                out[at] = middle[at] * kernel.middle;
                for (weight, (a, b)) in kernel.sides.iter().zip(pairs).rev() {
                    out[at] += (a[at] + b[at]) * weight;
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_those_of_scipy() {
        let indices = |edge: Edge| (-4..7).map(|at| edge.inside(at, 3)).collect::<Vec<_>>();
        assert_eq!(indices(Edge::Nearest), [0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2]);
        assert_eq!(indices(Edge::Reflect), [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0]);
        assert_eq!(indices(Edge::Mirror), [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]);
        assert_eq!((-3..3).map(|at| Edge::Mirror.inside(at, 1)).max(), Some(0));
        assert_eq!((-3..3).map(|at| Edge::Reflect.inside(at, 1)).max(), Some(0));
    }

    #[test]
    fn kernels_sum_to_one_and_are_cut_where_scipy_cuts_them() {
        for (sigma, truncate, radius) in
            [(1.0, 4.0, 4), (6.0, 4.0, 24), (0.7, 4.0, 3), (0.1, 3.0, 0)]
        {
            let kernel = Kernel::new(sigma, truncate);
            assert_eq!(kernel.radius(), radius);
            let total = kernel.middle + 2.0 * kernel.sides.iter().sum::<f64>();
            assert!((total - 1.0).abs() < 1e-14, "{sigma}: {total}");
        }
    }

    /// Against the definition, on a field smaller than its kernel too.
    #[test]
    fn a_field_is_filtered_along_both_axes() {
        let (down, along) = (Kernel::new(1.3, 4.0), Kernel::new(0.8, 3.0));
        for (width, height, channels) in [(7, 5, 1), (2, 1, 3), (40, 3, 3)] {
            let n = width * height * channels;
            let values: Vec<f64> = (0..n).map(|i| ((i * 37) % 101) as f64).collect();
            let field = Field { width, height, channels, values };
            for edge in [Edge::Nearest, Edge::Reflect] {
                let blurred = field.blurred([&down, &along], edge);
                for (i, value) in blurred.values.iter().enumerate() {
                    let (pixel, c) = (i / channels, i % channels);
                    let expect = by_definition(&field, (pixel % width, pixel / width, c), edge);
                    assert!((value - expect).abs() < 1e-11, "{value} for {expect}");
                }
            }
        }
    }

    fn by_definition(field: &Field, (x, y, c): (usize, usize, usize), edge: Edge) -> f64 {
        let gauss = |d: isize, sigma: f64| (-0.5 * (d as f64 / sigma).powi(2)).exp();
        let (mut sum, mut total) = (0.0, 0.0);
        for dy in -5..=5 {
            for dx in -2..=2 {
                let weight = gauss(dy, 1.3) * gauss(dx, 0.8);
                let row = edge.inside(y.cast_signed() + dy, field.height);
                let column = edge.inside(x.cast_signed() + dx, field.width);
                sum += weight * field.values[(row * field.width + column) * field.channels + c];
                total += weight;
            }
        }
        sum / total
    }
}
