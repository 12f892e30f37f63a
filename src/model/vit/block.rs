//! A pre-norm transformer block with LayerScale.

use burn::tensor::{Device, Tensor};

use super::attention::Attention;
use super::linear::{Adapted, Lora};
use super::mlp::Mlp;
use crate::kernel::attention::Rotation;
use crate::kernel::norm::layer_norm;
use crate::kernel::residual::add_scaled;
use crate::model::arch::Arch;
use crate::model::config::LoraTarget;
use crate::model::mode::Mode;
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

    /// Normalises the tokens; shape unchanged.
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

    /// Applies the block: `[batch, n_tokens, dim]` -> `[batch, n_tokens, dim]`.
    pub fn forward(&self, x: Tensor<3>, rope: Option<&Rotation>, mode: Mode) -> Tensor<3> {
        let update = self.attn.forward(self.norm1.forward(x.clone()), rope, mode);
        let x = add_scaled(x, update, self.ls1.clone());
        let update = self.mlp.forward(self.norm2.forward(x.clone()), mode);
        add_scaled(x, update, self.ls2.clone())
    }
}

/// The place of a low-rank update, and the sizes of the layer it is for.
#[derive(Debug)]
pub struct LoraPlace<'a> {
    pub lora: &'a mut Option<Lora>,
    pub d_in: usize,
    pub d_out: usize,
}

impl<'a> LoraPlace<'a> {
    fn of(layer: &'a mut Adapted) -> Self {
        let [d_in, d_out] = layer.linear.weight.dims();
        Self { lora: &mut layer.lora, d_in, d_out }
    }
}

impl Block {
    /// The place of `target`; `None` where this kind of block has no such layer.
    pub fn lora_place(&mut self, target: LoraTarget) -> Option<LoraPlace<'_>> {
        let attn = &mut self.attn;
        let layer = match (target, &mut self.mlp) {
            (LoraTarget::Q, _) => &mut attn.q,
            (LoraTarget::K, _) => &mut attn.k,
            (LoraTarget::V, _) => &mut attn.v,
            (LoraTarget::Proj, _) => &mut attn.proj,
            (LoraTarget::Fc1, Mlp::Gelu { fc1, .. }) => fc1,
            (LoraTarget::Fc2, Mlp::Gelu { fc2, .. }) => fc2,
            (LoraTarget::W1, Mlp::SwiGlu { w1, .. }) => w1,
            (LoraTarget::W2, Mlp::SwiGlu { w2, .. }) => w2,
            (LoraTarget::W3, Mlp::SwiGlu { w3, .. }) => w3,
            (LoraTarget::W12, Mlp::SwiGlu { w1, w12, .. }) => {
                let [d_in, hidden] = w1.linear.weight.dims();
                return Some(LoraPlace { lora: w12, d_in, d_out: 2 * hidden });
            }
            _ => return None,
        };
        Some(LoraPlace::of(layer))
    }

    /// Adds all low-rank updates to the weights they belong to; those become constants of their
    /// own.
    pub fn merge(&mut self) {
        for layer in [&mut self.attn.q, &mut self.attn.k, &mut self.attn.v, &mut self.attn.proj] {
            layer.merge();
        }
        self.mlp.merge();
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
