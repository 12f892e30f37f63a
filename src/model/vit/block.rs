//! A pre-norm transformer block with LayerScale.

use burn::tensor::{Device, Tensor};

use super::Arch;
use super::attention::Attention;
use super::mlp::Mlp;
use crate::kernel::attention::Rotation;
use crate::kernel::norm::layer_norm;
use crate::kernel::residual::add_scaled;
use crate::model::params::{Params, Slot};

/// Layer normalisation over the last dimension.
#[derive(Debug, Clone)]
pub struct Norm {
    pub weight: Tensor<1>,
    pub bias: Tensor<1>,
    eps: f64,
}

impl Norm {
    pub fn ones(arch: &Arch, device: &Device) -> Self {
        Self {
            weight: Tensor::ones([arch.dim], device),
            bias: Tensor::zeros([arch.dim], device),
            eps: arch.norm_eps,
        }
    }

    /// Shape unchanged.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        layer_norm(x, [self.weight.clone(), self.bias.clone()], self.eps)
    }
}

impl Params for Norm {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        f(&format!("{path}weight"), Slot::Vector(&mut self.weight));
        f(&format!("{path}bias"), Slot::Vector(&mut self.bias));
    }
}

#[derive(Debug, Clone)]
pub struct Block {
    pub norm1: Norm,
    pub attn: Attention,
    /// LayerScale of the attention, `[dim]`.
    pub ls1: Tensor<1>,
    pub norm2: Norm,
    pub mlp: Mlp,
    /// LayerScale of the feed-forward network, `[dim]`.
    pub ls2: Tensor<1>,
}

impl Block {
    pub fn zeros(arch: &Arch, device: &Device) -> Self {
        let scale = || Tensor::full([arch.dim], arch.layer_scale, device);
        Self {
            norm1: Norm::ones(arch, device),
            attn: Attention::zeros(arch, device),
            ls1: scale(),
            norm2: Norm::ones(arch, device),
            mlp: Mlp::zeros(arch, device),
            ls2: scale(),
        }
    }

    /// `[batch, n_tokens, dim]` -> `[batch, n_tokens, dim]`.
    pub fn forward(&self, x: Tensor<3>, rope: Option<&Rotation>) -> Tensor<3> {
        let update = self.attn.forward(self.norm1.forward(x.clone()), rope);
        let x = add_scaled(x, update, self.ls1.clone());
        let update = self.mlp.forward(self.norm2.forward(x.clone()));
        add_scaled(x, update, self.ls2.clone())
    }
}

impl Params for Block {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.norm1.each(&format!("{path}norm1."), f);
        self.attn.each(&format!("{path}attn."), f);
        f(&format!("{path}ls1.gamma"), Slot::Vector(&mut self.ls1));
        self.norm2.each(&format!("{path}norm2."), f);
        self.mlp.each(&format!("{path}mlp."), f);
        f(&format!("{path}ls2.gamma"), Slot::Vector(&mut self.ls2));
    }
}
