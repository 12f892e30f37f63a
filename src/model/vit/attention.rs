//! Multi-head self-attention with separate q, k and v products.
//!
//! The official code has one fused `qkv`; three products give the same numbers, and no slice of a
//! fused result has to be taken apart in the backward pass.

use burn::tensor::{Device, Tensor};

use super::linear::{Adapted, Bias, Linear};
use super::{Arch, AttentionBias};
use crate::kernel::attention::{Rotation, attention};
use crate::model::params::{Params, Slot};

#[derive(Debug, Clone)]
pub struct Attention {
    pub q: Adapted,
    pub k: Linear,
    pub v: Adapted,
    pub proj: Linear,
    heads: usize,
}

impl Attention {
    pub fn zeros(arch: &Arch, device: &Device) -> Self {
        let d = arch.dim;
        let (query_value, key) = match arch.bias {
            AttentionBias::All => (Bias::Yes, Bias::Yes),
            AttentionBias::QueryValue => (Bias::Yes, Bias::No),
            AttentionBias::None => (Bias::No, Bias::No),
        };
        Self {
            q: Adapted::plain(Linear::zeros(d, d, query_value, device)),
            k: Linear::zeros(d, d, key, device),
            v: Adapted::plain(Linear::zeros(d, d, query_value, device)),
            proj: Linear::zeros(d, d, Bias::Yes, device),
            heads: arch.heads,
        }
    }

    /// `[batch, n_tokens, dim]` -> `[batch, n_tokens, dim]`.
    pub fn forward(&self, x: Tensor<3>, rope: Option<&Rotation>) -> Tensor<3> {
        let q = self.q.forward(x.clone());
        let k = self.k.forward(x.clone());
        let v = self.v.forward(x);
        self.proj.forward(attention([q, k, v], self.heads, rope))
    }
}

impl Params for Attention {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        self.q.each(&format!("{path}q."), f);
        self.k.each(&format!("{path}k."), f);
        self.v.each(&format!("{path}v."), f);
        self.proj.each(&format!("{path}proj."), f);
    }
}
