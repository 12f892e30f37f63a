//! A linear layer, and one with a low-rank update.

use burn::tensor::{Device, FloatDType, Tensor};

use crate::kernel::product::{from_right, linear, linear_plus};
use crate::kernel::{dropout, gelu};
use crate::model::mode::Mode;
use crate::model::params::{Params, Slot};

/// A linear layer `x W + b` with W `[in, out]`.
#[derive(Debug, Clone)]
pub struct Linear {
    pub weight: Tensor<2>,
    pub bias: Option<Tensor<1>>,
}

/// `weight` in the type of `x`: what is trained is kept in f32, whatever is computed in.
pub(super) fn as_of<const D: usize, const E: usize>(
    weight: &Tensor<D>,
    x: &Tensor<E>,
) -> Tensor<D> {
    let dtype = x.dtype();
    if weight.dtype() == dtype {
        return weight.clone();
    }
    weight.clone().cast(FloatDType::from(dtype))
}

/// The choice whether a [`Linear`] has a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    Yes,
    No,
}

impl Linear {
    /// A layer of zeros, to be filled by a weight file or an initialiser.
    pub fn zeros(d_in: usize, d_out: usize, bias: Bias, device: &Device) -> Self {
        Self {
            weight: Tensor::zeros([d_in, d_out], device),
            bias: (bias == Bias::Yes).then(|| Tensor::zeros([d_out], device)),
        }
    }

    /// Applies the layer: `[.., in]` -> `[.., out]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (weight, bias) = self.as_of(&x);
        linear(x, weight, bias)
    }

    /// Weight and bias in the type of `x`.
    fn as_of<const D: usize>(&self, x: &Tensor<D>) -> (Tensor<2>, Option<Tensor<1>>) {
        (as_of(&self.weight, x), self.bias.as_ref().map(|bias| as_of(bias, x)))
    }

    /// Applies the layer and adds `update`, of the result's shape.
    fn forward_plus<const D: usize>(&self, x: Tensor<D>, update: Tensor<D>) -> Tensor<D> {
        let (weight, bias) = self.as_of(&x);
        linear_plus(x, weight, bias, update)
    }

    /// Adds `update` `[in, out]` to the weight, which becomes a constant of its own.
    pub fn add(&mut self, update: Tensor<2>) {
        self.weight = self.weight.clone().inner() + update;
    }
}

impl Params for Linear {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        f(&format!("{path}weight"), Slot::Matrix(&mut self.weight));
        if let Some(bias) = &mut self.bias {
            f(&format!("{path}bias"), Slot::Vector(bias));
        }
    }
}

/// A low-rank update `scale * (x A) B` (Hu et al. 2021, arXiv:2106.09685).
#[derive(Debug, Clone)]
pub struct Lora {
    /// Matrix A, `[in, rank]`; `[rank, in]` in files.
    pub a: Tensor<2>,
    /// Matrix B, `[rank, out]`; `[out, rank]` in files.
    pub b: Tensor<2>,
    /// Factor on the update: `alpha / rank`, or `alpha / √rank` for rsLoRA.
    pub scale: f64,
    pub dropout: Option<Dropout>,
}

/// Dropout of LoRA's input, in training only.
#[derive(Debug, Clone)]
pub struct Dropout {
    pub rate: f64,
    /// Name of the layer, which keys the draws.
    pub place: String,
}

impl Lora {
    /// Computes the update: `[batch, n_tokens, in]` -> `[batch, n_tokens, out]`.
    pub fn forward(&self, x: Tensor<3>, mode: Mode) -> Tensor<3> {
        let low = self.down(x, mode);
        let b = as_of(&self.b, &low);
        linear(low, b, None)
    }

    /// Computes `scale * x A`: `[batch, n_tokens, in]` -> `[batch, n_tokens, rank]`.
    pub fn down(&self, x: Tensor<3>, mode: Mode) -> Tensor<3> {
        let x = match (&self.dropout, mode) {
            (Some(Dropout { rate, place }), Mode::Train(draw)) => {
                dropout::apply(x, *rate, draw, place)
            }
            (Some(_), Mode::Eval) | (None, _) => x,
        };
        let a = as_of(&self.a, &x);
        let low = linear(x, a, None);
        // A product by 1 would only cost time: the reference project has no scale.
        #[expect(clippy::float_cmp, reason = "exactly 1 when alpha equals the rank")]
        if self.scale == 1.0 { low } else { low.mul_scalar(self.scale) }
    }

    /// Computes `scale * A B`, `[in, out]`, without autodiff.
    pub fn product(&self) -> Tensor<2> {
        let scaled = self.a.clone().inner().mul_scalar(self.scale);
        from_right(scaled, self.b.clone().inner())
    }
}

impl Params for Lora {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        f(&format!("{path}lora_a"), Slot::Matrix(&mut self.a));
        f(&format!("{path}lora_b"), Slot::Matrix(&mut self.b));
    }
}

/// A linear layer that may carry a low-rank update.
#[derive(Debug, Clone)]
pub struct Adapted {
    pub linear: Linear,
    pub lora: Option<Lora>,
}

impl Adapted {
    pub fn zeros(d_in: usize, d_out: usize, bias: Bias, device: &Device) -> Self {
        Self { linear: Linear::zeros(d_in, d_out, bias, device), lora: None }
    }

    /// Applies layer and update: `[batch, n_tokens, in]` -> `[batch, n_tokens, out]`.
    pub fn forward(&self, x: Tensor<3>, mode: Mode) -> Tensor<3> {
        let Some(lora) = &self.lora else { return self.linear.forward(x) };
        let update = lora.forward(x.clone(), mode);
        self.linear.forward_plus(x, update)
    }

    /// Applies layer, update and GELU.
    pub fn forward_gelu(&self, x: Tensor<3>, mode: Mode) -> Tensor<3> {
        if self.lora.is_some() {
            return gelu::gelu(self.forward(x, mode));
        }
        let (weight, bias) = self.linear.as_of(&x);
        gelu::of_linear(x, weight, bias)
    }

    /// Adds the update to the weight, which becomes a constant of its own.
    pub fn merge(&mut self) {
        if let Some(lora) = self.lora.take() {
            self.linear.add(lora.product());
        }
    }
}

impl Params for Adapted {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.linear.each(path, f);
        self.lora.each(path, f);
    }
}
