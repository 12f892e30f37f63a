//! Dropout whose draws are keyed by (seed, step, name), so that neither a resume nor the number of
//! threads changes them.

mod cpu;

use burn::tensor::{Device, Tensor, TensorData};

use crate::rng;

/// The key of one draw within a run's dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// Seed of the run.
    pub seed: u64,
    /// Number of optimiser steps done.
    pub step: u64,
}

/// Draws `shape` factors: 0 with probability `rate`, else `1 / (1 - rate)`.
///
/// `name` tells apart the places of one network. The rate is kept to 1/65536. The host draws for
/// every device; a device that draws itself must give the same bits.
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
