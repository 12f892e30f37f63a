//! BatchNorm with PyTorch's running statistics (momentum 0.1, unbiased running variance).

use burn::tensor::{Device, Tensor, module};

use crate::model::mode::Mode;
use crate::model::params::{Params, Slot};

const EPS: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

#[derive(Debug, Clone)]
pub struct BatchNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    running_mean: Tensor<1>,
    running_var: Tensor<1>,
}

impl BatchNorm {
    pub fn new(channels: usize, device: &Device) -> Self {
        Self {
            weight: Tensor::ones([channels], device),
            bias: Tensor::zeros([channels], device),
            running_mean: Tensor::zeros([channels], device),
            running_var: Tensor::ones([channels], device),
        }
    }

    /// `[batch, channels, rows, columns]`, shape unchanged.
    pub fn forward(&mut self, x: Tensor<4>, mode: Mode) -> Tensor<4> {
        let (weight, bias) = (self.weight.clone(), self.bias.clone());
        if mode == Mode::Eval {
            let (mean, var) = (self.running_mean.clone(), self.running_var.clone());
            return module::batch_norm(x, weight, bias, mean, var, EPS);
        }
        let [batch, _, rows, columns] = x.dims();
        let n = (batch * rows * columns) as f64;
        let out = module::batch_norm_train(x, weight, bias, EPS);
        // PyTorch normalises by the biased variance but keeps the unbiased one.
        let unbiased = out.variance.inner().mul_scalar(n / (n - 1.0).max(1.0));
        self.running_mean = moved(&self.running_mean, out.mean.inner());
        self.running_var = moved(&self.running_var, unbiased);
        out.output
    }
}

/// One step of an exponential moving average.
fn moved(running: &Tensor<1>, batch: Tensor<1>) -> Tensor<1> {
    running.clone().inner().mul_scalar(1.0 - MOMENTUM) + batch.mul_scalar(MOMENTUM)
}

impl Params for BatchNorm {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        f(&format!("{path}weight"), Slot::Vector(&mut self.weight));
        f(&format!("{path}bias"), Slot::Vector(&mut self.bias));
        f(&format!("{path}running_mean"), Slot::Vector(&mut self.running_mean));
        f(&format!("{path}running_var"), Slot::Vector(&mut self.running_var));
    }
}
