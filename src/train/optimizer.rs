//! AdamW with PyTorch's defaults (betas 0.9 and 0.999, eps 1e-8), its moments kept by our own
//! parameter names so that they survive a restart.

use std::collections::BTreeMap;

use burn::optim::{AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer};
use burn::tensor::{Device, Gradients, Tensor, TensorData};

use crate::model::Network;

/// Learning rates of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    pub decoder: f64,
    pub encoder: f64,
}

pub struct AdamW {
    rule: burn::optim::AdamW,
    moments: BTreeMap<String, AdamWState<1>>,
}

/// The moments of one parameter, in memory order.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    pub first: Vec<f32>,
    pub second: Vec<f32>,
}

impl AdamW {
    /// An optimiser with decoupled `weight_decay` on every trained tensor, as PyTorch's AdamW has
    /// it.
    pub fn new(weight_decay: f64) -> Self {
        let config = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(weight_decay as f32);
        Self { rule: config.build(), moments: BTreeMap::new() }
    }

    /// Updates every trained tensor of `network` once; its gradients are used up.
    pub fn step(&mut self, network: &mut Network, gradients: &mut Gradients, rates: Rates) {
        network.each_changed(&mut |name, mut slot| {
            let Some(gradient) = slot.take_gradient(gradients) else { return };
            let rate = if name.starts_with("decoder.") { rates.decoder } else { rates.encoder };
            let (updated, state) =
                self.rule.step(rate, slot.flat(), gradient, self.moments.remove(name));
            slot.set_flat_trained(updated);
            if let Some(state) = state {
                self.moments.insert(name.to_owned(), state);
            }
        });
    }

    /// The moments by parameter name, and the number of steps they have seen.
    pub fn state(&self) -> (BTreeMap<String, Moments>, usize) {
        let values = |tensor: &Tensor<1>| -> Vec<f32> {
            tensor.to_data().convert::<f32>().try_into_vec().expect("converted to f32")
        };
        let moments = self.moments.iter().map(|(name, state)| {
            let first = values(&state.momentum.moment_1);
            (name.clone(), Moments { first, second: values(&state.momentum.moment_2) })
        });
        let time = self.moments.values().next().map_or(0, |state| state.momentum.time);
        (moments.collect(), time)
    }

    /// Restores moments that [`Self::state`] gave.
    pub fn restore(&mut self, moments: BTreeMap<String, Moments>, time: usize, device: &Device) {
        let tensor = |values: Vec<f32>| {
            let n = values.len();
            Tensor::from_data(TensorData::new(values, [n]), device)
        };
        self.moments = moments
            .into_iter()
            .map(|(name, moments)| {
                let momentum = AdaptiveMomentumState {
                    time,
                    moment_1: tensor(moments.first),
                    moment_2: tensor(moments.second),
                    max_moment_2: None,
                };
                (name, AdamWState { momentum })
            })
            .collect();
    }
}
