//! Draws all random numbers: ChaCha8 keyed by (seed, purpose, indices), so that position in a
//! stream, thread count and resuming never change what is drawn.

pub use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// A generator for one purpose, e.g. `keyed(seed, "shuffle", &[epoch])`.
pub fn keyed(seed: u64, purpose: &str, indices: &[u64]) -> ChaCha8Rng {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update((purpose.len() as u64).to_le_bytes());
    hasher.update(purpose.as_bytes());
    for index in indices {
        hasher.update(index.to_le_bytes());
    }
    ChaCha8Rng::from_seed(hasher.finalize().into())
}

/// Draws a value uniform in [0, 1), 53 random bits.
pub fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Draws an integer uniform in `0..n`; the bias of the multiply-shift is below n / 2^64.
pub fn below(rng: &mut ChaCha8Rng, n: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(n)) >> 64) as u64
}

/// Draws a standard normal value by Box-Muller (the sine half is discarded, so one call is one
/// draw).
pub fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(rng)).cos()
}

/// Shuffles `items` (Fisher-Yates).
pub fn shuffle<T>(rng: &mut ChaCha8Rng, items: &mut [T]) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(rng, i as u64 + 1) as usize);
    }
}
