//! Draws the random numbers of a whole picture in bulk, in the order of the generator's stream.

use std::f64::consts::TAU;

use rand_core::Rng;

use crate::rng::ChaCha8Rng;

/// The next `n` 32-bit words, the same as `n` calls of `next_u32`.
pub(super) fn words(rng: &mut ChaCha8Rng, n: usize) -> Vec<u32> {
    let mut words = vec![0u32; n];
    rng.fill_bytes(bytemuck::cast_slice_mut(&mut words));
    for word in &mut words {
        *word = u32::from_le(*word);
    }
    words
}

/// `n` values uniform in [-1, 1), 32 random bits each.
pub(super) fn signed_units(rng: &mut ChaCha8Rng, n: usize) -> Vec<f64> {
    let unit = 1.0 / f64::from(1u32 << 31);
    words(rng, n).into_iter().map(|word| f64::from(word.cast_signed()) * unit).collect()
}

/// `n` standard normal values by Box-Muller, two from each pair of words.
///
/// 32 bits reach 6.7 standard deviations: beyond them lies one value in 5e10.
pub(super) fn normals(rng: &mut ChaCha8Rng, n: usize) -> Vec<f64> {
    let unit = 1.0 / f64::from(1u32 << 31) / 2.0;
    let words = words(rng, n.next_multiple_of(2));
    let mut values = Vec::with_capacity(words.len());
    for pair in words.chunks_exact(2) {
        let radius = (-2.0 * ((f64::from(pair[0]) + 1.0) * unit).ln()).sqrt();
        let (sin, cos) = (f64::from(pair[1]) * unit * TAU).sin_cos();
        values.extend([radius * cos, radius * sin]);
    }
    values.truncate(n);
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::keyed;

    #[test]
    fn words_are_those_of_single_draws() {
        let (mut bulk, mut single) = (keyed(1, "draw", &[]), keyed(1, "draw", &[]));
        for n in [1, 300, 7] {
            let expect: Vec<_> = (0..n).map(|_| single.next_u32()).collect();
            assert_eq!(words(&mut bulk, n), expect);
        }
    }

    #[test]
    fn normals_have_normal_moments() {
        let values = normals(&mut keyed(1, "draw", &[]), 100_001);
        let moment = |k: i32| values.iter().map(|x| x.powi(k)).sum::<f64>() / values.len() as f64;
        for (k, expect, spread) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let off = (moment(k) - expect).abs();
            assert!(off < 5.0 * (spread / values.len() as f64).sqrt(), "moment {k} off by {off}");
        }
        // Neighbours come from one pair: they must not go together.
        let pairs = values.chunks_exact(2).map(|pair| pair[0] * pair[1]).sum::<f64>();
        assert!(pairs.abs() < 5.0 * (values.len() as f64 / 2.0).sqrt(), "{pairs}");
    }

    #[test]
    fn signed_units_fill_their_range_evenly() {
        let values = signed_units(&mut keyed(1, "draw", &[]), 10_000);
        assert!(values.iter().all(|x| (-1.0..1.0).contains(x)));
        let mean = values.iter().sum::<f64>() / 10_000.0;
        let square = values.iter().map(|x| x * x).sum::<f64>() / 10_000.0;
        assert!(mean.abs() < 0.03 && (square - 1.0 / 3.0).abs() < 0.02, "{mean} {square}");
    }
}
