//! JPEG compression at libjpeg's qualities, 4:2:0, bit for bit as libjpeg-turbo writes and reads
//! it.
//!
//! Entropy coding loses nothing, so only the lossy steps are here: colour conversion, chroma
//! averaging, the discrete cosine transform, quantisation, and the way back with smoothed
//! ("fancy") chroma. All are libjpeg's integer arithmetic: its `islow` transforms are those of
//! Loeffler, Ligtenberg & Moschytz (ICASSP 1989) with 13 fractional bits.

use super::Severity;
use crate::data::Rgb;

/// libjpeg's quality, by level.
const QUALITY: [i32; 5] = [25, 18, 15, 10, 7];

/// Quantisation steps at quality 50 (ITU-T T.81, annex K), rows of increasing vertical frequency.
const LUMA_STEPS: [i32; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113,
    92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];
const CHROMA_STEPS: [i32; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
];

const CHANNELS: usize = 3;
/// Side of a block.
const BLOCK: usize = 8;
type Block = [[i32; BLOCK]; BLOCK];

/// Compresses and decompresses as a JPEG.
pub(super) fn jpeg(image: &Rgb, severity: Severity) -> Rgb {
    let quality = severity.of(&QUALITY);
    let [mut y, cb, cr] = planes(image);
    let [mut cb, mut cr] = [cb, cr].map(|plane| halve(&plane));
    y.quantise(&steps(&LUMA_STEPS, quality));
    let chroma_steps = steps(&CHROMA_STEPS, quality);
    cb.quantise(&chroma_steps);
    cr.quantise(&chroma_steps);
    let mut pixels = Vec::with_capacity(image.pixels.len());
    let width = image.width as usize;
    let [mut blue, mut red] = [vec![0; 2 * cb.width], vec![0; 2 * cr.width]];
    for row in 0..image.height as usize {
        double_row(&cb, row, &mut blue);
        double_row(&cr, row, &mut red);
        let luma = &y.row(row)[..width];
        pixels.extend(
            luma.iter().zip(blue.iter().zip(&red)).flat_map(|(&y, (&cb, &cr))| rgb(y, cb, cr)),
        );
    }
    Rgb { pixels, ..*image }
}

/// Quantisation steps for a quality below 50.
fn steps(base: &[i32; 64], quality: i32) -> [i32; 64] {
    base.map(|step| ((step * (5000 / quality) + 50) / 100).clamp(1, 255))
}

/// One channel, its rows padded to whole blocks.
struct Plane {
    width: usize,
    height: usize,
    stride: usize,
    values: Vec<u8>,
}

impl Plane {
    fn new(width: usize, height: usize) -> Self {
        let [stride, rows] = [width, height].map(|side| side.next_multiple_of(BLOCK));
        Self { width, height, stride, values: vec![0; stride * rows] }
    }

    fn row(&self, y: usize) -> &[u8] {
        &self.values[y * self.stride..][..self.stride]
    }

    /// Repeats the last row down to the end of its block.
    fn pad_rows(&mut self) {
        let last = (self.height - 1) * self.stride;
        for start in (last + self.stride..self.values.len()).step_by(self.stride) {
            self.values.copy_within(last..last + self.stride, start);
        }
    }

    /// Transforms every block, rounds its coefficients to multiples of `steps`, transforms back.
    fn quantise(&mut self, steps: &[i32; 64]) {
        for y in (0..self.values.len() / self.stride).step_by(BLOCK) {
            for x in (0..self.stride).step_by(BLOCK) {
                let mut block = Block::default();
                for (dy, row) in block.iter_mut().enumerate() {
                    let values = &self.values[(y + dy) * self.stride + x..][..BLOCK];
                    for (out, value) in row.iter_mut().zip(values) {
                        *out = i32::from(*value) - 128;
                    }
                }
                forward(&mut block);
                for (row, steps) in block.iter_mut().zip(steps.chunks_exact(BLOCK)) {
                    for (coefficient, step) in row.iter_mut().zip(steps) {
                        *coefficient = round_to_step(*coefficient, *step);
                    }
                }
                inverse(&mut block);
                for (dy, row) in block.iter().enumerate() {
                    let values = &mut self.values[(y + dy) * self.stride + x..][..BLOCK];
                    for (out, value) in values.iter_mut().zip(row) {
                        *out = clamp(value + 128);
                    }
                }
            }
        }
    }
}

/// Y, Cb and Cr (ITU-R BT.601, full range), rows padded on the right by their last value.
fn planes(image: &Rgb) -> [Plane; CHANNELS] {
    // Cut after rounding; the second constant is half minus one unit, and 128 for chroma.
    const HALF: i32 = 1 << 15;
    const CENTRE: i32 = (128 << 16) + HALF - 1;
    let (width, height) = (image.width as usize, image.height as usize);
    // Chroma is halved, so its blocks take 16 pixels.
    let mut planes = [0; CHANNELS].map(|_| Plane {
        width,
        height,
        stride: width.next_multiple_of(2 * BLOCK),
        values: Vec::with_capacity(width.next_multiple_of(2 * BLOCK) * (height + BLOCK)),
    });
    let [luma, blue, red] = &mut planes;
    for row in image.pixels.chunks_exact(width * CHANNELS) {
        for pixel in row.chunks_exact(CHANNELS) {
            let [r, g, b] = [0, 1, 2].map(|c| i32::from(pixel[c]));
            luma.values.push(((19595 * r + 38470 * g + 7471 * b + HALF) >> 16) as u8);
            blue.values.push(((-11059 * r - 21709 * g + 32768 * b + CENTRE) >> 16) as u8);
            red.values.push(((32768 * r - 27439 * g - 5329 * b + CENTRE) >> 16) as u8);
        }
        for plane in [&mut *luma, &mut *blue, &mut *red] {
            let last = plane.values[plane.values.len() - 1];
            plane.values.resize(plane.values.len().next_multiple_of(plane.stride), last);
        }
    }
    luma.values.resize(luma.stride * height.next_multiple_of(BLOCK), 0);
    luma.pad_rows();
    planes
}

/// Averages 2x2 pixels; the rounding alternates from column to column.
fn halve(plane: &Plane) -> Plane {
    let mut half = Plane::new(plane.width.div_ceil(2), plane.height.div_ceil(2));
    for y in 0..half.height {
        let (top, bottom) = (plane.row(2 * y), plane.row((2 * y + 1).min(plane.height - 1)));
        let out = &mut half.values[y * half.stride..][..half.stride];
        let pairs = top.chunks_exact(2).zip(bottom.chunks_exact(2));
        for (x, (out, (top, bottom))) in out.iter_mut().zip(pairs).enumerate() {
            let sum = [top[0], top[1], bottom[0], bottom[1]].map(u16::from).iter().sum::<u16>();
            *out = ((sum + 1 + x as u16 % 2) >> 2) as u8;
        }
    }
    half.pad_rows();
    half
}

/// Row `y` of a halved plane at full size: each pixel is three parts the nearest sample and one
/// part the next, down and across. Planes too narrow for that repeat their samples.
fn double_row(half: &Plane, y: usize, out: &mut [u8]) {
    let near = &half.row(y / 2)[..half.width];
    let pairs = out.chunks_exact_mut(2);
    if half.width <= 2 {
        for (pair, &value) in pairs.zip(near) {
            pair.fill(value);
        }
        return;
    }
    let far = match y % 2 {
        0 => (y / 2).saturating_sub(1),
        _ => (y / 2 + 1).min(half.height - 1),
    };
    let far = &half.row(far)[..half.width];
    let column = |x: usize| 3 * u16::from(near[x]) + u16::from(far[x]);
    let (mut left, mut here) = (column(0), column(0));
    for (x, pair) in pairs.enumerate() {
        // A plane's ends stand in for what is beyond them.
        let right = column((x + 1).min(half.width - 1));
        pair[0] = ((3 * here + left + 8) >> 4) as u8;
        pair[1] = ((3 * here + right + 7) >> 4) as u8;
        (left, here) = (here, right);
    }
}

fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    [
        clamp(y + ((91881 * cr + HALF) >> 16)),
        clamp(y + ((-22554 * cb - 46802 * cr + HALF) >> 16)),
        clamp(y + ((116_130 * cb + HALF) >> 16)),
    ]
}

fn clamp(value: i32) -> u8 {
    value.clamp(0, 255) as u8
}

/// The multiple of `step` nearest to an eighth of `coefficient` (the transform scales by 8), halves
/// away from zero.
fn round_to_step(coefficient: i32, step: i32) -> i32 {
    let divisor = 8 * step;
    // Exact: both are integers below 2^16, so a quotient just below an integer is far enough from
    // it not to round up in f32.
    let count = ((coefficient.abs() + divisor / 2) as f32 / divisor as f32) as i32;
    count * step * coefficient.signum()
}

/// Fractional bits of the constants.
const CONST_BITS: i32 = 13;
/// Extra bits kept between the two passes.
const PASS_BITS: i32 = 2;
const C0_298: i32 = 2446;
const C0_390: i32 = 3196;
const C0_541: i32 = 4433;
const C0_765: i32 = 6270;
const C0_899: i32 = 7373;
const C1_175: i32 = 9633;
const C1_501: i32 = 12299;
const C1_847: i32 = 15137;
const C1_961: i32 = 16069;
const C2_053: i32 = 16819;
const C2_562: i32 = 20995;
const C3_072: i32 = 25172;

/// Forward transform, scaled by 8: rows, then columns.
fn forward(block: &mut Block) {
    transpose(block);
    forward_columns(block, CONST_BITS - PASS_BITS, |sum| sum << PASS_BITS);
    transpose(block);
    forward_columns(block, CONST_BITS + PASS_BITS, |sum| descale(sum, PASS_BITS));
}

/// Inverse transform: columns, then rows.
fn inverse(block: &mut Block) {
    inverse_columns(block, CONST_BITS - PASS_BITS);
    transpose(block);
    inverse_columns(block, CONST_BITS + PASS_BITS + 3);
    transpose(block);
}

/// One-dimensional transform of each column; `even` scales the two coefficients that need no
/// multiplication.
#[expect(clippy::needless_range_loop, reason = "x runs along the second axis")]
fn forward_columns(block: &mut Block, bits: i32, even: impl Fn(i32) -> i32) {
    for x in 0..BLOCK {
        let [d0, d1, d2, d3, d4, d5, d6, d7] = std::array::from_fn(|y| block[y][x]);
        let (sum0, sum1, sum2, sum3) = (d0 + d7, d1 + d6, d2 + d5, d3 + d4);
        let (outer, inner) = (sum0 + sum3, sum1 + sum2);
        block[0][x] = even(outer + inner);
        block[4][x] = even(outer - inner);
        let (outer, inner) = (sum0 - sum3, sum1 - sum2);
        let turn = (outer + inner) * C0_541;
        block[2][x] = descale(turn + outer * C0_765, bits);
        block[6][x] = descale(turn - inner * C1_847, bits);
        let odd = rotate_odd([d3 - d4, d2 - d5, d1 - d6, d0 - d7]);
        for (y, value) in [7, 5, 3, 1].into_iter().zip(odd) {
            block[y][x] = descale(value, bits);
        }
    }
}

/// One-dimensional inverse of each column.
#[expect(clippy::needless_range_loop, reason = "x runs along the second axis")]
fn inverse_columns(block: &mut Block, bits: i32) {
    for x in 0..BLOCK {
        let [c0, c1, c2, c3, c4, c5, c6, c7] = std::array::from_fn(|y| block[y][x]);
        let turn = (c2 + c6) * C0_541;
        let (inner, outer) = (turn - c6 * C1_847, turn + c2 * C0_765);
        let (sum, difference) = ((c0 + c4) << CONST_BITS, (c0 - c4) << CONST_BITS);
        let even = [sum + outer, difference + inner, difference - inner, sum - outer];
        let odd = rotate_odd([c7, c5, c3, c1]);
        for (y, (even, odd)) in even.into_iter().zip(odd.into_iter().rev()).enumerate() {
            block[y][x] = descale(even + odd, bits);
            block[BLOCK - 1 - y][x] = descale(even - odd, bits);
        }
    }
}

/// The odd half, the same in both directions.
fn rotate_odd([a, b, c, d]: [i32; 4]) -> [i32; 4] {
    let (z1, z2) = (-C0_899 * (a + d), -C2_562 * (b + c));
    let turn = C1_175 * (a + b + c + d);
    let (z3, z4) = (turn - C1_961 * (a + c), turn - C0_390 * (b + d));
    [C0_298 * a + z1 + z3, C2_053 * b + z2 + z4, C3_072 * c + z2 + z3, C1_501 * d + z1 + z4]
}

/// Divides by 2^bits, rounded.
fn descale(value: i32, bits: i32) -> i32 {
    (value + (1 << (bits - 1))) >> bits
}

fn transpose(block: &mut Block) {
    *block = std::array::from_fn(|y| std::array::from_fn(|x| block[x][y]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transforms_are_inverse_within_rounding() {
        let mut block: Block = std::array::from_fn(|y| {
            std::array::from_fn(|x| i32::from((x * 37 + y * 91) as u8) - 128)
        });
        let before = block;
        forward(&mut block);
        // The first coefficient is eight times eight times the mean.
        assert_eq!(block[0][0], before.iter().flatten().sum::<i32>());
        for value in block.iter_mut().flatten() {
            *value = descale(*value, 3);
        }
        inverse(&mut block);
        for (a, b) in block.iter().flatten().zip(before.iter().flatten()) {
            assert!((a - b).abs() <= 2, "{a} for {b}");
        }
    }

    #[test]
    fn rounding_to_steps_is_to_the_nearest() {
        for step in [1, 3, 43, 99, 255] {
            for coefficient in -9000..9000 {
                let expect = (f64::from(coefficient) / f64::from(8 * step)).round() as i32 * step;
                assert_eq!(round_to_step(coefficient, step), expect, "{coefficient} / {step}");
            }
        }
    }

    #[test]
    fn a_flat_grey_image_stays() {
        let image = Rgb { width: 19, height: 9, pixels: vec![128; 19 * 9 * 3] };
        for severity in Severity::ALL {
            assert_eq!(jpeg(&image, severity), image);
        }
    }
}
