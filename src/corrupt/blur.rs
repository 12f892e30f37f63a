//! Defocus blur: convolution with a soft-edged disk.

use super::Severity;
use crate::data::Rgb;

/// Radius of the disk and sigma of the Gaussian that softens its edge.
const DEFOCUS: [(isize, f64); 5] = [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)];
/// The reference draws every smaller disk on a grid of this reach.
const REACH_MIN: isize = 8;
/// The reference's f32 kernels sum to just below one (by 3e-9 to 3e-8), so that flat areas
/// truncate to the level below. f32 sums need a larger margin to do the same.
const JUST_BELOW_ONE: f32 = 1.0 - 3e-6;

const CHANNELS: usize = 3;

/// Convolves with a soft-edged disk; borders mirror without repeating the edge pixel.
pub(super) fn defocus(image: &Rgb, severity: Severity) -> Rgb {
    defocus_by(image, severity.of(&DEFOCUS), 0.0)
}

/// Convolves with a disk of (radius, sigma); `bias` is added before a level is cut to a whole one.
pub(super) fn defocus_by(image: &Rgb, (radius, sigma): (isize, f64), bias: f32) -> Rgb {
    Disk::new(radius, sigma).convolve(image, bias)
}

/// A disk of ones softened by a small Gaussian, as `cv2.GaussianBlur` does it *on the kernel's own
/// grid*: what it smears beyond the grid is cut off, and the grid's mirrored border is smeared in.
///
/// Convolution commutes, so the image is summed over the hard disk (exactly, in integers, by
/// running sums down the columns) and softened afterwards. What the grid's border changes is added
/// as [`EdgeTerm`]s; for disks that stay clear of the border there are none.
struct Disk {
    radius: isize,
    /// The kernel's grid is `[-reach, reach]` on both axes.
    reach: isize,
    /// Gaussian weights at distance 0, 1, …
    soft: Vec<f32>,
    /// Half the length of the disk's chord at distance -radius, …, radius from its centre.
    chords: Vec<isize>,
    edges: Vec<EdgeTerm>,
}

/// `gain` times the sum along the disk's chord of half-width `half_width`, at `±offset`.
struct EdgeTerm {
    offset: isize,
    half_width: isize,
    gain: f32,
}

impl Disk {
    fn new(radius: isize, sigma: f64) -> Self {
        let (reach, softness) = if radius <= REACH_MIN { (REACH_MIN, 1) } else { (radius, 2) };
        let weights: Vec<f64> =
            (0..=softness).map(|d: i32| (-0.5 * (f64::from(d) / sigma).powi(2)).exp()).collect();
        let total: f64 = weights[0] + 2.0 * weights[1..].iter().sum::<f64>();
        let soft = weights.iter().map(|weight| (weight / total) as f32).collect();
        let chords = (-radius..=radius).map(|d| (radius * radius - d * d).isqrt()).collect();
        let mut disk = Self { radius, reach, soft, chords, edges: Vec::new() };
        disk.edges = disk.edge_terms();
        disk
    }

    fn softness(&self) -> isize {
        self.soft.len().cast_signed() - 1
    }

    fn area(&self) -> isize {
        self.chords.iter().map(|half| 2 * half + 1).sum()
    }

    /// The difference between softening on the grid and softening without bounds, for the chords
    /// near one edge of the grid.
    ///
    /// The mirror maps `reach + t` to `reach - t`, so the weight that a chord would smear to
    /// `reach + t` is missing there, and comes back at `reach - t` (its own smear into the row
    /// `reach + t`'s image; a chord on the edge itself has no image).
    fn edge_terms(&self) -> Vec<EdgeTerm> {
        let mut terms = Vec::new();
        for chord in self.reach - self.softness()..=self.reach {
            if chord > self.radius {
                continue;
            }
            let half_width = self.chords[(self.radius + chord) as usize];
            for t in 0..=self.softness() {
                let distance = self.reach - chord + t;
                if distance == 0 || distance > self.softness() {
                    continue;
                }
                let gain = self.soft[distance as usize];
                if chord < self.reach {
                    terms.push(EdgeTerm { offset: self.reach - t, half_width, gain });
                }
                if t > 0 {
                    terms.push(EdgeTerm { offset: self.reach + t, half_width, gain: -gain });
                }
            }
        }
        terms
    }

    /// `soft_x * (soft_y * disk + edges_y) + soft_y * edges_x`, where `*` convolves.
    fn convolve(&self, image: &Rgb, bias: f32) -> Rgb {
        let (width, height) = (image.width as usize, signed(image.height));
        let soft = self.softness();
        let sums = Sums::new(image, self.reach.max(self.radius) + soft);
        let wide = width + 2 * soft as usize;
        let tall = -soft..height + soft;
        let disks: Vec<_> = tall.clone().map(|y| self.disk_row(&sums, y, wide)).collect();
        let edges: Vec<_> = tall.map(|y| self.edges_x_row(&sums, y, width)).collect();
        let scale = JUST_BELOW_ONE / self.area() as f32;
        let mut pixels = Vec::with_capacity(image.pixels.len());
        let mut total = vec![0.0; width * CHANNELS];
        for (y, (disks, edges)) in disks
            .windows(2 * soft as usize + 1)
            .zip(edges.windows(2 * soft as usize + 1))
            .enumerate()
        {
            let mut column = self.edges_y_row(&sums, y.cast_signed(), wide);
            for (weight, row) in self.weights().zip(disks) {
                add_scaled(&mut column, weight, row);
            }
            total.fill(0.0);
            for (tap, (weight, row)) in self.weights().zip(edges).enumerate() {
                add_scaled(&mut total, weight, row);
                add_scaled(&mut total, weight, &column[tap * CHANNELS..]);
            }
            pixels.extend(total.iter().map(|&sum| (sum * scale + bias) as u8));
        }
        Rgb { pixels, ..*image }
    }

    /// Gaussian weights from left to right.
    fn weights(&self) -> impl Iterator<Item = f32> + '_ {
        let soft = self.softness();
        (-soft..=soft).map(|d| self.soft[d.unsigned_abs()])
    }

    /// The image summed over the hard disk around (y, x), for the x of `wide` pixels.
    fn disk_row(&self, sums: &Sums, y: isize, wide: usize) -> Vec<f32> {
        let mut acc = vec![0i32; wide * CHANNELS];
        for (dx, &half) in (-self.radius..).zip(&self.chords) {
            let x = dx - self.softness();
            let above = sums.columns.run(y - half, x, wide);
            let below = sums.columns.run(y + half + 1, x, wide);
            for (acc, (below, above)) in acc.iter_mut().zip(below.iter().zip(above)) {
                *acc += below - above;
            }
        }
        acc.into_iter().map(|sum| sum as f32).collect()
    }

    /// Edge terms above and below row `y`, chords lying along it.
    fn edges_y_row(&self, sums: &Sums, y: isize, wide: usize) -> Vec<f32> {
        let mut acc = vec![0.0; wide * CHANNELS];
        for term in &self.edges {
            for y in [y - term.offset, y + term.offset] {
                let left = sums.rows.run(y, -self.softness() - term.half_width, wide);
                let right = sums.rows.run(y, -self.softness() + term.half_width + 1, wide);
                add_difference(&mut acc, term.gain, right, left);
            }
        }
        acc
    }

    /// Edge terms left and right of each pixel of row `y`, chords standing across it.
    fn edges_x_row(&self, sums: &Sums, y: isize, width: usize) -> Vec<f32> {
        let mut acc = vec![0.0; width * CHANNELS];
        for term in &self.edges {
            for x in [-term.offset, term.offset] {
                let above = sums.columns.run(y - term.half_width, x, width);
                let below = sums.columns.run(y + term.half_width + 1, x, width);
                add_difference(&mut acc, term.gain, below, above);
            }
        }
        acc
    }
}

/// Running sums of an image continued past its borders, `reach` pixels on every side.
struct Sums {
    /// The sum of column x above row y, at (y, x).
    columns: Plane,
    /// The sum of row y left of column x, at (y, x).
    rows: Plane,
}

/// Rows of interleaved channels that start at (-reach, -reach).
struct Plane {
    reach: isize,
    stride: usize,
    values: Vec<i32>,
}

impl Sums {
    fn new(image: &Rgb, reach: isize) -> Self {
        let (width, height) = (signed(image.width), signed(image.height));
        let sources: Vec<_> =
            (-reach..width + reach).map(|x| mirror(x, width) * CHANNELS).collect();
        let stride = sources.len() * CHANNELS;
        let mut columns = Vec::with_capacity((height + 2 * reach + 1) as usize * stride);
        let mut rows = Vec::with_capacity((height + 2 * reach) as usize * (stride + CHANNELS));
        columns.resize(stride, 0);
        for y in -reach..height + reach {
            let row = &image.pixels[mirror(y, height) * width as usize * CHANNELS..];
            let mut sum = [0i32; CHANNELS];
            rows.extend(sum);
            let above = columns.len() - stride;
            for (i, &source) in sources.iter().enumerate() {
                for c in 0..CHANNELS {
                    let value = i32::from(row[source + c]);
                    sum[c] += value;
                    columns.push(columns[above + i * CHANNELS + c] + value);
                }
                rows.extend(sum);
            }
        }
        Self {
            columns: Plane { reach, stride, values: columns },
            rows: Plane { reach, stride: stride + CHANNELS, values: rows },
        }
    }
}

impl Plane {
    /// `n_pixels` values of row `y` from column `x` on.
    fn run(&self, y: isize, x: isize, n_pixels: usize) -> &[i32] {
        let start = (y + self.reach) as usize * self.stride + (x + self.reach) as usize * CHANNELS;
        &self.values[start..start + n_pixels * CHANNELS]
    }
}

/// Index of position `at` in `0..side` mirrored at its ends without repeating them
/// (`cv2.BORDER_REFLECT_101`).
fn mirror(at: isize, side: isize) -> usize {
    let period = (2 * (side - 1)).max(1);
    let at = at.rem_euclid(period);
    at.min(period - at).min(side - 1) as usize
}

fn signed(side: u32) -> isize {
    (side as usize).cast_signed()
}

fn add_scaled(acc: &mut [f32], weight: f32, row: &[f32]) {
    for (acc, value) in acc.iter_mut().zip(row) {
        *acc += weight * value;
    }
}

fn add_difference(acc: &mut [f32], gain: f32, plus: &[i32], minus: &[i32]) {
    for (acc, (plus, minus)) in acc.iter_mut().zip(plus.iter().zip(minus)) {
        *acc += gain * (plus - minus) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{below, keyed};

    /// The kernel as the reference makes it: ones in a disk, divided by their number, softened by
    /// a separable Gaussian whose border mirrors.
    fn kernel(radius: isize, sigma: f64) -> (isize, Vec<f64>) {
        let (reach, soft) = if radius <= 8 { (8, 1) } else { (radius, 2) };
        let side = 2 * reach + 1;
        let inside = |i: isize, j: isize| {
            let (y, x) = (i - reach, j - reach);
            if y * y + x * x <= radius * radius { 1.0 } else { 0.0 }
        };
        let gauss = |d: isize| (-0.5 * (d as f64 / sigma).powi(2)).exp();
        let total: f64 = (-soft..=soft).map(gauss).sum();
        let area: f64 = (0..side * side).map(|at| inside(at / side, at % side)).sum();
        let mut kernel = Vec::new();
        for i in 0..side {
            for j in 0..side {
                let mut sum = 0.0;
                for a in -soft..=soft {
                    for b in -soft..=soft {
                        let [i, j] = [i + a, j + b].map(|at| mirror(at, side).cast_signed());
                        sum += gauss(a) * gauss(b) * inside(i, j);
                    }
                }
                kernel.push(sum / (total * total * area));
            }
        }
        (reach, kernel)
    }

    fn check_against_the_kernel(width: u32, height: u32, severity: Severity) {
        let mut rng = keyed(0, "blur", &[u64::from(width), u64::from(height)]);
        let pixels = (0..width * height * 3).map(|_| below(&mut rng, 256) as u8).collect();
        let image = Rgb { width, height, pixels };
        let (radius, sigma) = severity.of(&DEFOCUS);
        let (reach, kernel) = kernel(radius, sigma);
        let side = 2 * reach + 1;
        let blurred = defocus(&image, severity);
        let (width, height) = (signed(width), signed(height));
        for (at, &level) in (0..).zip(&blurred.pixels) {
            let (y, x, c) = (at / 3 / width, at / 3 % width, at % 3);
            let mut sum = 0.0;
            for (tap, weight) in (0..).zip(&kernel) {
                let y = mirror(y + tap / side - reach, height);
                let x = mirror(x + tap % side - reach, width);
                let source = (y * image.width as usize + x) * 3 + c as usize;
                sum += weight * f64::from(image.pixels[source]);
            }
            let cut = |sum: f64| sum.min(255.0) as u8;
            assert!(
                (cut(sum - 1e-2)..=cut(sum + 1e-2)).contains(&level),
                "{width}x{height} {severity:?} at {at}: {level} for {sum}"
            );
        }
    }

    #[test]
    fn defocus_is_a_convolution_with_the_softened_disk() {
        for severity in Severity::ALL {
            for (width, height) in [(31, 26), (1, 1), (2, 9), (7, 1)] {
                check_against_the_kernel(width, height, severity);
            }
        }
    }

    #[test]
    fn flat_areas_fall_by_one_level_where_the_reference_kernel_sums_below_one() {
        for (level, expect) in [(1, 199), (2, 199), (3, 199), (4, 202), (5, 202)] {
            let image = Rgb { width: 30, height: 30, pixels: vec![200; 2700] };
            let blurred = defocus(&image, Severity::new(level).unwrap());
            assert!(blurred.pixels.iter().all(|&value| value == expect), "{level}");
        }
    }

    #[test]
    fn mirror_does_not_repeat_the_edge() {
        let indices: Vec<_> = (-4..7).map(|at| mirror(at, 3)).collect();
        assert_eq!(indices, [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]);
        assert_eq!((mirror(-5, 1), mirror(5, 1), mirror(-1, 2), mirror(2, 2)), (0, 0, 1, 0));
    }
}
