//! One update of a tensor by AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), with PyTorch's
//! defaults: betas 0.9 and 0.999, eps 1e-8.

#[cfg(feature = "cube")]
mod cube;

use burn::optim::{AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer};
use burn::tensor::{Device, Tensor, TensorData};

#[cfg(feature = "cube")]
use super::dispatch::{Path, path};

#[cfg(feature = "cube")]
const BETAS: [f64; 2] = [0.9, 0.999];

const EPS: f32 = 1e-8;

/// The moments of one tensor, and the number of updates they have seen.
#[derive(Clone)]
pub struct State(AdamWState<1>);

impl State {
    /// A state of these moments, on `device`.
    pub fn new([first, second]: [Vec<f32>; 2], time: usize, device: &Device) -> Self {
        let tensor = |values: Vec<f32>| {
            let n = values.len();
            Tensor::from_data(TensorData::new(values, [n]), device)
        };
        Self::of([tensor(first), tensor(second)], time)
    }

    fn of([moment_1, moment_2]: [Tensor<1>; 2], time: usize) -> Self {
        let momentum = AdaptiveMomentumState { time, moment_1, moment_2, max_moment_2: None };
        Self(AdamWState { momentum })
    }

    /// First and second moment.
    pub fn moments(&self) -> [&Tensor<1>; 2] {
        [&self.0.momentum.moment_1, &self.0.momentum.moment_2]
    }

    /// Number of updates.
    pub fn time(&self) -> usize {
        self.0.momentum.time
    }
}

/// Updates `x` by its `gradient` at learning rate `rate`; `weight_decay` is decoupled. There is no
/// state before the first update.
pub fn update(
    x: Tensor<1>,
    gradient: Tensor<1>,
    state: Option<State>,
    (rate, weight_decay): (f64, f64),
) -> (Tensor<1>, State) {
    #[cfg(feature = "cube")]
    if path(&[&x, &gradient]) == Path::Cube {
        let state = state.unwrap_or_else(|| State::of([x.zeros_like(), x.zeros_like()], 0));
        let time = state.time() + 1;
        let [first, second] = state.moments().map(Clone::clone);
        let factors = Factors::new(rate, weight_decay, time);
        let (x, moments) = cube::update([x, gradient, first, second], factors);
        return (x, State::of(moments, time));
    }
    let config = AdamWConfig::new().with_epsilon(EPS).with_weight_decay(weight_decay as f32);
    let (x, state) = config.build().step(rate, x, gradient, state.map(|State(state)| state));
    (x, State(state.expect("AdamW always has a state after a step")))
}

/// The numbers of one update.
#[cfg(feature = "cube")]
#[derive(Debug, Clone, Copy)]
struct Factors {
    /// Factor of the tensor's values, for weight decay.
    kept: f32,
    /// Learning rate over the bias correction of the first moment.
    rate: f32,
    /// Square root of the bias correction of the second moment.
    correction: f32,
}

#[cfg(feature = "cube")]
impl Factors {
    fn new(rate: f64, weight_decay: f64, time: usize) -> Self {
        let time = i32::try_from(time).unwrap_or(i32::MAX);
        let [first, second] = BETAS.map(|beta| 1.0 - beta.powi(time));
        Self {
            kept: (1.0 - rate * weight_decay) as f32,
            rate: (rate / first) as f32,
            correction: second.sqrt() as f32,
        }
    }
}
