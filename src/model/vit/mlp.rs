//! The two feed-forward networks: GELU MLP, and SwiGLU (`w3(silu(w1 x) * w2 x)`).

use burn::tensor::{Device, Tensor};

use super::linear::{Adapted, Bias, Lora, as_of};
use crate::kernel::product::linear;
use crate::kernel::swiglu::swiglu;
use crate::model::arch::{Arch, Ffn};
use crate::model::mode::Mode;
use crate::model::params::{Params, Slot};

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one a block: boxing would save nothing that counts")]
pub enum Mlp {
    Gelu {
        fc1: Adapted,
        fc2: Adapted,
    },
    SwiGlu {
        w1: Adapted,
        w2: Adapted,
        /// A single update of both gates, whose A they share: DINOv2 has them as one layer, w1's
        /// outputs first.
        w12: Option<Lora>,
        w3: Adapted,
    },
}

impl Mlp {
    pub fn zeros(arch: &Arch, device: &Device) -> Self {
        let layer = |d_in, d_out| Adapted::zeros(d_in, d_out, Bias::Yes, device);
        match arch.ffn {
            Ffn::Mlp { hidden } => {
                Self::Gelu { fc1: layer(arch.dim, hidden), fc2: layer(hidden, arch.dim) }
            }
            Ffn::SwiGlu { hidden } => Self::SwiGlu {
                w1: layer(arch.dim, hidden),
                w2: layer(arch.dim, hidden),
                w12: None,
                w3: layer(hidden, arch.dim),
            },
        }
    }

    /// Applies the network: `[batch, n_tokens, dim]` -> `[batch, n_tokens, dim]`.
    pub fn forward(&self, x: Tensor<3>, mode: Mode) -> Tensor<3> {
        match self {
            Self::Gelu { fc1, fc2 } => fc2.forward(fc1.forward_gelu(x, mode), mode),
            Self::SwiGlu { w1, w2, w12, w3 } => {
                let (mut gate, mut value) =
                    (w1.forward(x.clone(), mode), w2.forward(x.clone(), mode));
                if let Some(lora) = w12 {
                    let low = lora.down(x, mode);
                    let [first, second] = halves(&as_of(&lora.b, &low));
                    gate = gate + linear(low.clone(), first, None);
                    value = value + linear(low, second, None);
                }
                w3.forward(swiglu(gate, value), mode)
            }
        }
    }

    /// Adds all low-rank updates to the weights they belong to.
    pub fn merge(&mut self) {
        match self {
            Self::Gelu { fc1, fc2 } => {
                fc1.merge();
                fc2.merge();
            }
            Self::SwiGlu { w1, w2, w12, w3 } => {
                for layer in [&mut *w1, &mut *w2, w3] {
                    layer.merge();
                }
                if let Some(lora) = w12.take() {
                    let [first, second] = halves(&lora.product());
                    w1.linear.add(first);
                    w2.linear.add(second);
                }
            }
        }
    }
}

/// Splits a fused matrix `[in, 2 * out]` into two of `[in, out]`.
fn halves(fused: &Tensor<2>) -> [Tensor<2>; 2] {
    let hidden = fused.dims()[1] / 2;
    [0, hidden].map(|start| fused.clone().narrow(1, start, hidden))
}

impl Params for Mlp {
    fn each(&mut self, path: &str, f: &mut dyn FnMut(&str, Slot<'_>)) {
        match self {
            Self::Gelu { fc1, fc2 } => {
                fc1.each(&format!("{path}fc1."), f);
                fc2.each(&format!("{path}fc2."), f);
            }
            Self::SwiGlu { w1, w2, w12, w3 } => {
                w1.each(&format!("{path}w1."), f);
                w2.each(&format!("{path}w2."), f);
                w12.each(&format!("{path}w12."), f);
                w3.each(&format!("{path}w3."), f);
            }
        }
    }
}
