//! Multi-head self-attention with separate q, k and v products.
//!
//! The official code has one fused `qkv`; three products give the same numbers, and no slice of a
//! fused result has to be taken apart in the backward pass.

use burn::tensor::{Device, Tensor};

use super::linear::{Adapted, Bias};
use crate::kernel::attention::{Rotation, attention};
use crate::model::arch::{Arch, AttentionBias};
use crate::model::mode::Mode;
use crate::model::params::{Params, Slot};

#[derive(Debug, Clone)]
pub struct Attention {
    pub q: Adapted,
    pub k: Adapted,
    pub v: Adapted,
    pub proj: Adapted,
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
            q: Adapted::zeros(d, d, query_value, device),
            k: Adapted::zeros(d, d, key, device),
            v: Adapted::zeros(d, d, query_value, device),
            proj: Adapted::zeros(d, d, Bias::Yes, device),
            heads: arch.heads,
        }
    }

    /// Applies attention: `[batch, n_tokens, dim]` -> `[batch, n_tokens, dim]`.
    pub fn forward(&self, x: Tensor<3>, rope: Option<&Rotation>, mode: Mode) -> Tensor<3> {
        let q = self.q.forward(x.clone(), mode);
        let k = self.k.forward(x.clone(), mode);
        let v = self.v.forward(x, mode);
        self.proj.forward(attention([q, k, v], self.heads, rope), mode)
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
