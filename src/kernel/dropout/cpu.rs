//! Dropout's draws on the host.

use rand_core::Rng;
use rayon::prelude::*;

/// Number of elements of one task; each task has a generator of its own.
const CHUNK: usize = 1 << 14;

/// The number of values of 65536 that are dropped, and the factor of the others.
pub(super) fn threshold(rate: f64) -> (u32, f32) {
    ((rate * 65536.0).round() as u32, 1.0 / (1.0 - rate) as f32)
}

/// Draws `n` factors; `stream` gives a task's generator, of which four factors share 64 bits.
pub(super) fn factors<R: Rng>(n: usize, rate: f64, stream: impl Fn(u64) -> R + Sync) -> Vec<f32> {
    let (threshold, kept) = threshold(rate);
    let mut values = vec![0.0f32; n];
    values.par_chunks_mut(CHUNK).enumerate().for_each(|(task, values)| {
        let mut rng = stream(task as u64);
        for four in values.chunks_mut(4) {
            let bits = rng.next_u64();
            for (i, value) in four.iter_mut().enumerate() {
                let drawn = (bits >> (16 * i)) as u32 & 0xffff;
                *value = if drawn < threshold { 0.0 } else { kept };
            }
        }
    });
    values
}
