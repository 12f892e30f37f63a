//! The two feed-forward networks: GELU MLP, and SwiGLU (`w3(silu(w1 x) * w2 x)`).

use burn::tensor::{Device, Tensor};

use super::linear::{Bias, Linear};
use super::{Arch, Ffn};
use crate::kernel::gelu::gelu;
use crate::kernel::swiglu::swiglu;
use crate::model::params::{Params, Slot};

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one a block: boxing would save nothing that counts")]
pub enum Mlp {
    Gelu { fc1: Linear, fc2: Linear },
    SwiGlu { w1: Linear, w2: Linear, w3: Linear },
}

impl Mlp {
    pub fn zeros(arch: &Arch, device: &Device) -> Self {
        let layer = |d_in, d_out| Linear::zeros(d_in, d_out, Bias::Yes, device);
        match arch.ffn {
            Ffn::Mlp { hidden } => {
                Self::Gelu { fc1: layer(arch.dim, hidden), fc2: layer(hidden, arch.dim) }
            }
            Ffn::SwiGlu { hidden } => Self::SwiGlu {
                w1: layer(arch.dim, hidden),
                w2: layer(arch.dim, hidden),
                w3: layer(hidden, arch.dim),
            },
        }
    }

    /// `[batch, n_tokens, dim]` -> `[batch, n_tokens, dim]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Gelu { fc1, fc2 } => fc2.forward(gelu(fc1.forward(x))),
            Self::SwiGlu { w1, w2, w3 } => w3.forward(swiglu(w1.forward(x.clone()), w2.forward(x))),
        }
    }
}

impl Params for Mlp {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        match self {
            Self::Gelu { fc1, fc2 } => {
                fc1.each(&format!("{path}fc1."), f);
                fc2.each(&format!("{path}fc2."), f);
            }
            Self::SwiGlu { w1, w2, w3 } => {
                w1.each(&format!("{path}w1."), f);
                w2.each(&format!("{path}w2."), f);
                w3.each(&format!("{path}w3."), f);
            }
        }
    }
}
