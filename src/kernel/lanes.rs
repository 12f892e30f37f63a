//! Arithmetic over slices in a fixed order that compilers turn into vector instructions.

/// Number of partial sums that run side by side.
const LANES: usize = 32;

/// Added to a value, leaves the nearest integer in the low bits of the mantissa.
const ROUND: f32 = 12_582_912.0;

/// e^x for x <= 0 (or barely above): 2^n by its bits, 2^f on [-1/2, 1/2] by a polynomial; within
/// 3e-7. What is below 2^-125 is 2^-125.
#[expect(clippy::inline_always, reason = "vectorised within the dispatched loop only if inlined")]
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let t = (x * std::f32::consts::LOG2_E).max(-125.0);
    let shifted = t + ROUND;
    let f = t - (shifted - ROUND);
    let poly = 1.0
        + f * (std::f32::consts::LN_2
            + f * (0.240_226_5
                + f * (0.055_504_11 + f * (0.009_618_13 + f * (0.001_333_356 + f * 0.000_154_0)))));
    f32::from_bits(poly.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// Sum of `f(a[i], b[i])`, in an order that depends on the length alone.
#[expect(clippy::inline_always, reason = "vectorised within the dispatched loop only if inlined")]
#[inline(always)]
pub(super) fn sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(*a, *b);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| f(*a, *b)).sum();
    lanes.iter().sum::<f32>() + rest
}
