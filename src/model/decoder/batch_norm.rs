//! Batch normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167) with PyTorch's running statistics
//! (momentum 0.1, unbiased running variance).

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
    /// `[1]`: batches seen, for files that keep PyTorch's `num_batches_tracked`. It changes no
    /// number. As f32, exact up to 16 million.
    n_batches: Option<Tensor<1>>,
}

impl BatchNorm {
    pub fn new(channels: usize, device: &Device) -> Self {
        Self {
            weight: Tensor::ones([channels], device),
            bias: Tensor::zeros([channels], device),
            running_mean: Tensor::zeros([channels], device),
            running_var: Tensor::ones([channels], device),
            n_batches: None,
        }
    }

    /// A layer that counts its batches, as PyTorch's does.
    pub fn counting(channels: usize, device: &Device) -> Self {
        Self { n_batches: Some(Tensor::zeros([1], device)), ..Self::new(channels, device) }
    }

    /// Normalises `[n, channels, ..]`; shape unchanged.
    pub fn forward<const D: usize>(&mut self, x: Tensor<D>, mode: Mode) -> Tensor<D> {
        let (weight, bias) = (self.weight.clone(), self.bias.clone());
        if mode == Mode::Eval {
            let (mean, var) = (self.running_mean.clone(), self.running_var.clone());
            return module::batch_norm(x, weight, bias, mean, var, EPS);
        }
        let [channels] = self.weight.dims();
        let n = (x.dims().iter().product::<usize>() / channels) as f64;
        let out = module::batch_norm_train(x, weight, bias, EPS);
        // PyTorch normalises by the biased variance but keeps the unbiased one.
        let unbiased = out.variance.inner().mul_scalar(n / (n - 1.0).max(1.0));
        self.running_mean = moved(&self.running_mean, out.mean.inner());
        self.running_var = moved(&self.running_var, unbiased);
        self.n_batches = self.n_batches.as_ref().map(|n| n.clone().inner().add_scalar(1.0));
        out.output
    }
}

/// Refuses a training step on `n_images` of `grid` patches that gives a channel a single value: its
/// variance is 0 and the result the bias, whatever the image. PyTorch refuses to train on that as
/// well.
pub(super) fn check_batch(n_images: usize, [rows, columns]: [usize; 2]) -> Result<(), String> {
    if n_images * rows * columns > 1 {
        return Ok(());
    }
    Err(format!(
        "batch normalisation needs more than one value per channel, and a batch of {n_images} \
         image of {rows}x{columns} patches has one"
    ))
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
        if let Some(n_batches) = &mut self.n_batches {
            f(&format!("{path}num_batches_tracked"), Slot::Vector(n_batches));
        }
    }
}
