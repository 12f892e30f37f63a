//! AdamW over all trained tensors of a network, its moments kept by our own parameter names so that
//! they survive a restart.

use std::collections::BTreeMap;

use burn::tensor::{Device, Gradients, Tensor};

use crate::kernel::adamw::{self, State};
use crate::model::Network;

/// Learning rates of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    pub decoder: f64,
    pub encoder: f64,
}

pub struct AdamW {
    weight_decay: f64,
    moments: BTreeMap<String, State>,
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
        Self { weight_decay, moments: BTreeMap::new() }
    }

    /// Updates every trained tensor of `network` once; its gradients, of which the parts are
    /// addends, are used up.
    pub fn step(&mut self, network: &mut Network, gradients: &mut [Gradients], rates: Rates) {
        network.each_changed(&mut |name, mut slot| {
            let found = gradients.iter_mut().filter_map(|part| slot.take_gradient(part));
            let found = found.reduce(|a, b| a + b);
            let Some(gradient) = found else { return };
            let rate = if name.starts_with("decoder.") { rates.decoder } else { rates.encoder };
            let (state, terms) = (self.moments.remove(name), (rate, self.weight_decay));
            let (updated, state) = adamw::update(slot.flat(), gradient, state, terms);
            slot.set_flat_trained(updated);
            self.moments.insert(name.to_owned(), state);
        });
    }

    /// The moments by parameter name, and the number of steps they have seen.
    pub fn state(&self) -> (BTreeMap<String, Moments>, usize) {
        let values = |tensor: &Tensor<1>| -> Vec<f32> {
            tensor.to_data().convert::<f32>().try_into_vec().expect("converted to f32")
        };
        let moments = self.moments.iter().map(|(name, state)| {
            let [first, second] = state.moments().map(values);
            (name.clone(), Moments { first, second })
        });
        let time = self.moments.values().next().map_or(0, State::time);
        (moments.collect(), time)
    }

    /// Restores moments that [`Self::state`] gave.
    pub fn restore(&mut self, moments: BTreeMap<String, Moments>, time: usize, device: &Device) {
        self.moments = moments
            .into_iter()
            .map(|(name, Moments { first, second })| {
                (name, State::new([first, second], time, device))
            })
            .collect();
    }
}
