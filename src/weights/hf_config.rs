//! Reads Hugging Face's `config.json` of a DINO: `Dinov2Model`, `Dinov2WithRegistersModel` and
//! `DINOv3ViTModel`.
//!
//! Called when a file is identified: the config gives the facts that no tensor's shape shows, and
//! is compared with those that the shapes show.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{Error, cause};
use crate::model::config::DinoType;
use crate::model::vit::{Arch, AttentionBias, Ffn, Position};

/// The fields that matter here; transformers omits those that have their default value.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct HfConfig {
    pub model_type: Option<String>,
    pub hidden_size: Option<usize>,
    pub num_hidden_layers: Option<usize>,
    pub num_attention_heads: Option<usize>,
    /// Patch size: a side, or height and width.
    pub patch_size: Option<Value>,
    pub image_size: Option<Value>,
    /// Inner width of the feed-forward network; DINOv3 only, DINOv2 has `mlp_ratio`.
    pub intermediate_size: Option<usize>,
    pub mlp_ratio: Option<f64>,
    pub hidden_act: Option<String>,
    /// Whether the feed-forward network is SwiGLU; DINOv2 only.
    pub use_swiglu_ffn: Option<bool>,
    /// Whether the feed-forward network is gated; DINOv3 only.
    pub use_gated_mlp: Option<bool>,
    pub num_register_tokens: Option<usize>,
    pub layer_norm_eps: Option<f64>,
    pub rope_theta: Option<f64>,
    pub qkv_bias: Option<bool>,
    pub query_bias: Option<bool>,
    pub key_bias: Option<bool>,
    pub value_bias: Option<bool>,
    pub proj_bias: Option<bool>,
    pub mlp_bias: Option<bool>,
}

impl HfConfig {
    /// Reads the config at `path`; `None` where it is not about a DINO of Hugging Face's (timm's
    /// have no `model_type`).
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        let failed = |reason: String| Error::Format { path: path.to_owned(), reason };
        let bytes =
            fs_err::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let config: Self = serde_json::from_slice(&bytes)
            .map_err(|error| failed(cause::of_json(path, &bytes, &error)))?;
        match config.model_type.as_deref() {
            None => Ok(None),
            Some("dinov2" | "dinov2_with_registers" | "dinov3_vit") => Ok(Some(config)),
            Some(other) => Err(failed(format!(
                "its model is a `{other}`; `dinov2`, `dinov2_with_registers` and `dinov3_vit` are \
                 known"
            ))),
        }
    }

    pub fn dino_type(&self) -> DinoType {
        match self.model_type.as_deref() {
            Some("dinov3_vit") => DinoType::Dinov3,
            _ => DinoType::Dinov2,
        }
    }

    /// Sets the facts of `arch` that no tensor's shape shows.
    pub fn complete(&self, arch: &mut Arch) {
        arch.heads = self.num_attention_heads.unwrap_or(arch.heads);
        arch.norm_eps = self.layer_norm_eps.unwrap_or(arch.norm_eps);
        arch.bias = self.bias().unwrap_or(arch.bias);
        if let (Position::Rotary { base }, Some(theta)) = (&mut arch.position, self.rope_theta) {
            *base = theta;
        }
    }

    /// The biases that the config asks for; `None` where it leaves them to its defaults or asks for
    /// biases that no DINO has.
    fn bias(&self) -> Option<AttentionBias> {
        match (self.qkv_bias, self.query_bias, self.key_bias, self.value_bias) {
            (Some(true), ..) | (_, Some(true), Some(true), Some(true)) => Some(AttentionBias::All),
            (_, Some(true), Some(false) | None, Some(true)) => Some(AttentionBias::QueryValue),
            (Some(false), ..) | (_, Some(false), Some(false) | None, Some(false)) => {
                Some(AttentionBias::None)
            }
            _ => None,
        }
    }

    /// The differences between the config and `arch`, in words.
    pub fn contradictions(&self, arch: &Arch) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |name: &str, says: Option<usize>, is: usize| {
            if let Some(says) = says.filter(|says| *says != is) {
                found.push(format!("{name} is {says}, not {is}"));
            }
        };
        check("hidden_size", self.hidden_size, arch.dim);
        check("num_hidden_layers", self.num_hidden_layers, arch.depth);
        check("num_attention_heads", self.num_attention_heads, arch.heads);
        check("patch_size", side(self.patch_size.as_ref()), arch.patch);
        if self.model_type.as_deref() != Some("dinov2") {
            check("num_register_tokens", self.num_register_tokens, arch.registers);
        }
        if let Position::Learned { side, .. } = arch.position {
            check("image_size", self::side(self.image_size.as_ref()), side * arch.patch);
        }
        let (is_gated, hidden) = match arch.ffn {
            Ffn::Mlp { hidden } => (false, hidden),
            Ffn::SwiGlu { hidden } => (true, hidden),
        };
        check("intermediate_size", self.intermediate_size, hidden);
        let says_gated = self.use_swiglu_ffn.or(self.use_gated_mlp);
        if says_gated.is_some_and(|says| says != is_gated) {
            found.push(format!("its feed-forward network is {}gated", not(!is_gated)));
        }
        self.unsupported(is_gated, &mut found);
        found
    }

    /// Adds to `found` the settings that no block here supports.
    fn unsupported(&self, is_gated: bool, found: &mut Vec<String>) {
        // DINOv2's SwiGLU is always SiLU, whatever `hidden_act` says.
        let wanted = if is_gated { "silu" } else { "gelu" };
        let is_fixed = is_gated && self.dino_type() == DinoType::Dinov2;
        if let Some(act) = self.hidden_act.as_deref().filter(|act| *act != wanted && !is_fixed) {
            found.push(format!("hidden_act is {act}; {wanted} is supported"));
        }
        for (name, value) in [("proj_bias", self.proj_bias), ("mlp_bias", self.mlp_bias)] {
            if value == Some(false) {
                found.push(format!("{name} is false; true is supported"));
            }
        }
        if self.query_bias.is_some() && self.query_bias != self.value_bias {
            found.push("query_bias differs from value_bias".to_owned());
        }
        if let Some(theta) = self.rope_theta.filter(|theta| *theta <= 0.0) {
            found.push(format!("rope_theta is {theta}"));
        }
    }
}

/// The side of a square that is given by one number or two; `None` if it is no square.
fn side(value: Option<&Value>) -> Option<usize> {
    let number = match value? {
        Value::Array(sides) if sides.iter().all(|side| Some(side) == sides.first()) => {
            sides.first()?.as_u64()
        }
        value => value.as_u64(),
    };
    usize::try_from(number?).ok()
}

fn not(is_negated: bool) -> &'static str {
    if is_negated { "not " } else { "" }
}
