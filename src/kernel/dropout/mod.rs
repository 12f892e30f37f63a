//! Dropout whose draws are keyed by (seed, step, name), so that neither a resume nor the number of
//! threads changes them.

mod cpu;
#[cfg(feature = "cube")]
mod cube;

use burn::tensor::{Device, Tensor, TensorData};
#[cfg(feature = "cube")]
use rand_core::Rng;

#[cfg(feature = "cube")]
use super::dispatch::{Path, path};
use crate::rng;

/// The key of one draw within a run's dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// Seed of the run.
    pub seed: u64,
    /// Number of optimiser steps done.
    pub step: u64,
}

/// The factors of one draw on a GPU.
#[cfg(feature = "cube")]
#[derive(Debug, Clone, Copy)]
struct Factors {
    key: u64,
    step: u64,
    /// Values that are dropped, of 65536.
    threshold: u32,
    /// Factor of the others.
    kept: f32,
}

/// Multiplies each value by 0 with probability `rate`, else by `1 / (1 - rate)`.
///
/// `name` tells apart the places of one network. The rate is kept to 1/65536. GPUs draw by a
/// generator of their own, so that other values are dropped there than on the CPU.
///
/// # Panics
/// As [`mask`].
pub fn apply<const D: usize>(x: Tensor<D>, rate: f64, draw: Draw, name: &str) -> Tensor<D> {
    #[cfg(feature = "cube")]
    if path(&[&x]) == Path::Cube {
        let mut key = rng::keyed(draw.seed, &format!("dropout/{name}"), &[]);
        let (key, step) = (key.next_u64(), draw.step);
        let (threshold, kept) = cpu::threshold(rate);
        return cube::apply(x, Factors { key, step, threshold, kept });
    }
    let device = x.device().inner();
    let mask = mask(x.dims(), rate, draw, name, &device);
    x * mask
}

/// Draws `shape` factors: 0 with probability `rate`, else `1 / (1 - rate)`. The host draws for
/// every device; [`apply`] is for large tensors.
///
/// `name` tells apart the places of one network. The rate is kept to 1/65536.
///
/// # Panics
/// If `rate` is not in 0..1: configurations are checked when read.
pub fn mask<const D: usize>(
    shape: [usize; D],
    rate: f64,
    draw: Draw,
    name: &str,
    device: &Device,
) -> Tensor<D> {
    assert!((0.0..1.0).contains(&rate), "checked when the configuration was read");
    let purpose = format!("dropout/{name}");
    let stream = |task| rng::keyed(draw.seed, &purpose, &[draw.step, task]);
    let factors = cpu::factors(shape.iter().product(), rate, stream);
    Tensor::from_data(TensorData::new(factors, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(rate: f64, step: u64, name: &str) -> Vec<f32> {
        let draw = Draw { seed: 3, step };
        let mask = mask([2, 50_000], rate, draw, name, &Device::flex());
        mask.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn the_mean_is_kept_and_the_rate_is_the_one_asked_for() {
        for rate in [0.1, 0.5, 0.9] {
            let values = values(rate, 0, "a");
            let n = values.len() as f64;
            let dropped = values.iter().filter(|value| **value == 0.0).count() as f64 / n;
            // 5 standard deviations of a mean of n draws.
            assert!((dropped - rate).abs() < 5.0 * (rate * (1.0 - rate) / n).sqrt(), "{dropped}");
            let kept = values.iter().copied().fold(0.0, f32::max);
            assert!((f64::from(kept) * (1.0 - rate) - 1.0).abs() < 1e-6);
        }
        assert!(values(0.0, 0, "a").iter().all(|value| (value - 1.0).abs() < 1e-6));
    }

    #[test]
    fn draws_differ_by_step_and_name_and_repeat() {
        assert_eq!(values(0.5, 1, "a"), values(0.5, 1, "a"));
        assert_ne!(values(0.5, 1, "a"), values(0.5, 2, "a"));
        assert_ne!(values(0.5, 1, "a"), values(0.5, 1, "b"));
    }
}
