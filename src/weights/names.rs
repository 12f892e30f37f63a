//! A weight file whose naming is known: where each of our tensors is in it.

use super::Error;
use super::file::TensorFile;
use super::maps::{fused, hugging_face_v2, hugging_face_v3, is_query_value_bias, qkv, timm_v3};

/// Who named a file's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// facebookresearch/dinov2 and dinov3.
    Official,
    /// Hugging Face's `Dinov2Model` and `Dinov2WithRegistersModel`.
    HuggingFaceV2,
    /// Hugging Face's `DINOv3ViTModel`.
    HuggingFaceV3,
    /// timm's `vit_*_patch14_dinov2` and `vit_*_patch14_reg4_dinov2`.
    TimmV2,
    /// timm's `vit_*_patch16_dinov3` and `vit_*_patch16_dinov3_qkvb`.
    TimmV3,
}

/// Where the values of one of our tensors come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Whole(String),
    /// Rows `index / of` to `(index + 1) / of` of the tensor.
    Part {
        name: String,
        index: usize,
        of: usize,
    },
    /// The tensor `[1, n, dim]` after one row of zeros.
    AfterZeros(String),
    /// Not stored in this naming: the value it is built with holds.
    Default(Default),
}

/// What a tensor is where files of a naming do not store it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Default {
    /// RoPE periods by their formula.
    Formula,
    /// Biases of q and v that were trained to zero and dropped.
    ZeroBias,
}

/// A file whose naming is known, seen without the prefix of its names.
pub struct Named {
    pub file: TensorFile,
    pub naming: Naming,
    /// What all names of the model begin with; empty or ending in a dot.
    pub prefix: String,
    /// Tensors beside the model (optimiser state, the heads of pre-training): not looked at.
    pub beside: Vec<String>,
    /// Tensors outside the prefix that nothing accounts for.
    pub outside: Vec<String>,
}

/// What names may begin with.
const PREFIXES: &[&str] = &[
    "backbone",
    "teacher",
    "student",
    "module",
    "model",
    "model_ema",
    "state_dict",
    "dinov2",
    "dinov2_with_registers",
    "dinov3_vit",
];
/// Keys of a checkpoint's outer dictionary; what lies beside them is no part of the model.
const WRAPPERS: &[&str] = &["teacher", "model_ema", "state_dict", "model", "module"];
/// Heads that only pre-training uses.
const HEADS: &[&str] = &["dino_head.", "ibot_head."];

impl Naming {
    pub fn label(self) -> &'static str {
        match self {
            Self::Official => "official",
            Self::HuggingFaceV2 => "Hugging Face (DINOv2)",
            Self::HuggingFaceV3 => "Hugging Face (DINOv3)",
            Self::TimmV2 => "timm (DINOv2)",
            Self::TimmV3 => "timm (DINOv3)",
        }
    }
}

impl Default {
    pub fn words(self) -> &'static str {
        match self {
            Self::Formula => "RoPE periods: not stored, the formula's in f32",
            Self::ZeroBias => "biases of q and v: not stored in this naming, zero",
        }
    }
}

impl Named {
    /// Opens the file and finds out how its tensors are named.
    pub fn open(path: &std::path::Path) -> Result<Self, Error> {
        let file = TensorFile::open(path)?;
        let names = file.names();
        let prefix = match prefix(&names) {
            Ok(prefix) => prefix,
            Err(reason) => return Err(Error::Format { path: file.path().to_owned(), reason }),
        };
        let wrapper = WRAPPERS
            .iter()
            .map(|key| format!("{key}."))
            .find(|key| prefix.starts_with(key.as_str()))
            .filter(|key| file.is_wrapper(&key[..key.len() - 1]));
        let others = names.iter().filter(|name| !name.starts_with(&prefix)).cloned();
        let is_beside = |name: &String| match &wrapper {
            Some(wrapper) if !name.starts_with(wrapper.as_str()) => true,
            _ => HEADS.iter().any(|head| name.contains(head)),
        };
        let (beside, outside) = others.partition(is_beside);
        let mut named = Self { file, naming: Naming::Official, prefix, beside, outside };
        named.naming = named.detect();
        Ok(named)
    }

    fn detect(&self) -> Naming {
        if self.has("embeddings.cls_token") {
            let is_v2 = self.names().any(|name| name.starts_with("encoder.layer."));
            return if is_v2 { Naming::HuggingFaceV2 } else { Naming::HuggingFaceV3 };
        }
        let official = ["mask_token", "register_tokens", "storage_tokens", "rope_embed.periods"];
        if self.has("blocks.0.gamma_1") {
            Naming::TimmV3
        } else if self.has("reg_token") || !official.iter().any(|name| self.has(name)) {
            Naming::TimmV2
        } else {
            Naming::Official
        }
    }

    /// Names of the model's tensors, without the prefix.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let names = self.file.names().into_iter();
        names.filter_map(|name| name.strip_prefix(&self.prefix).map(str::to_owned))
    }

    pub fn has(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }

    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.file.shape(&format!("{}{name}", self.prefix))
    }

    pub fn dtype(&self, name: &str) -> Option<String> {
        self.file.dtype(&format!("{}{name}", self.prefix))
    }

    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        self.file.read(&format!("{}{name}", self.prefix))
    }

    /// Where our tensor `internal` is, present or not.
    pub fn source(&self, internal: &str) -> Source {
        let source = match self.naming {
            Naming::Official => self.official(internal),
            Naming::HuggingFaceV2 => fused(&hugging_face_v2(internal), "weights_in", "weights_out"),
            Naming::HuggingFaceV3 => Source::Whole(hugging_face_v3(internal)),
            Naming::TimmV2 => self.timm_v2(internal),
            Naming::TimmV3 => timm_v3(internal),
        };
        if source.name().is_some_and(|name| self.has(name)) {
            return source;
        }
        if internal == "rope_embed.periods" {
            return Source::Default(Default::Formula);
        }
        let may_lack = matches!(self.naming, Naming::HuggingFaceV3 | Naming::TimmV3);
        if may_lack && is_query_value_bias(internal) && !self.stores_bias() {
            return Source::Default(Default::ZeroBias);
        }
        source
    }

    /// Whether any block stores a bias of q, k or v: a file has all of them or none.
    pub fn stores_bias(&self) -> bool {
        self.names().any(|name| {
            let leaf = name.rsplit('.').next().unwrap_or_default();
            ["bias", "q_bias", "v_bias"].contains(&leaf) && QKV.iter().any(|q| name.contains(q))
        })
    }

    /// The shape of our tensor as this file has it; `None` where it is absent or by default.
    pub fn internal_shape(&self, internal: &str) -> Option<Vec<usize>> {
        let source = self.source(internal);
        source.shape(&self.shape(source.name()?)?)
    }

    fn official(&self, internal: &str) -> Source {
        if let Some((name, index)) = qkv(internal) {
            return Source::Part { name, index, of: 3 };
        }
        // DINOv3 calls its registers storage tokens.
        if internal == "register_tokens" && !self.has(internal) {
            return Source::Whole("storage_tokens".to_owned());
        }
        // DINOv2's giant has the two gates fused.
        for (index, gate) in ["mlp.w1.", "mlp.w2."].iter().enumerate() {
            let fused = internal.replace(gate, "mlp.w12.");
            if fused != internal && self.has(&fused) {
                return Source::Part { name: fused, index, of: 2 };
            }
        }
        Source::Whole(internal.to_owned())
    }

    fn timm_v2(&self, internal: &str) -> Source {
        if let Some((name, index)) = qkv(internal) {
            return Source::Part { name, index, of: 3 };
        }
        match internal {
            "register_tokens" => Source::Whole("reg_token".to_owned()),
            "pos_embed" if self.has("reg_token") => Source::AfterZeros(internal.to_owned()),
            _ if internal.contains(".mlp.w") && !self.has_fused_fc1() => {
                Source::Whole(internal.to_owned())
            }
            _ => fused(internal, "fc1", "fc2"),
        }
    }

    /// Whether `fc1` holds both gates of a SwiGLU: twice as wide as `fc2`'s input.
    fn has_fused_fc1(&self) -> bool {
        let side = |name: &str, axis: usize| self.shape(name).and_then(|s| s.get(axis).copied());
        let outer = side("blocks.0.mlp.fc1.weight", 0);
        outer.is_some() && outer == side("blocks.0.mlp.fc2.weight", 1).map(|inner| 2 * inner)
    }
}

impl Source {
    /// The tensor of the file that is used.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Whole(name) | Self::Part { name, .. } | Self::AfterZeros(name) => Some(name),
            Self::Default(_) => None,
        }
    }

    /// The shape it gives of a tensor that is `stored` in this shape; `None` if it cannot be taken
    /// apart so.
    pub fn shape(&self, stored: &[usize]) -> Option<Vec<usize>> {
        let mut shape = stored.to_vec();
        match self {
            Self::Whole(_) => {}
            Self::Part { of, .. } => match shape.first_mut() {
                Some(rows) if *rows % of == 0 => *rows /= of,
                _ => return None,
            },
            Self::AfterZeros(_) => *shape.get_mut(1)? += 1,
            Self::Default(_) => return None,
        }
        Some(shape)
    }
}

/// What all of a model's names begin with, by its class token; or why that cannot be told.
fn prefix(names: &[String]) -> Result<String, String> {
    let prefix_of = |name: &String| {
        let rest = name.strip_suffix("cls_token")?;
        let rest = rest.strip_suffix("embeddings.").unwrap_or(rest);
        (rest.is_empty() || rest.ends_with('.')).then(|| rest.to_owned())
    };
    let mut found: Vec<String> = names.iter().filter_map(prefix_of).collect();
    // A training checkpoint holds the student too; the teacher is what is released.
    if found.len() > 1 && found.iter().any(|p| p.starts_with("teacher.")) {
        found.retain(|p| !p.starts_with("student."));
    }
    let is_known =
        |prefix: &str| prefix.split_terminator('.').all(|segment| PREFIXES.contains(&segment));
    match found.as_slice() {
        [prefix] if is_known(prefix) => Ok(prefix.clone()),
        [prefix] => Err(format!(
            "its names begin with `{prefix}`; known beginnings: {}",
            PREFIXES.join(", ")
        )),
        [] => Err(no_backbone(names)),
        many => Err(format!("it holds several models: {}", many.join(", "))),
    }
}

/// What a file without a class token is.
fn no_backbone(names: &[String]) -> String {
    let any = |test: fn(&str) -> bool| names.iter().any(|name| test(name));
    if names.is_empty() {
        return "it holds no tensors".to_owned();
    }
    let is_lora = |name: &str| {
        name.starts_with("w_a_")
            || ["lora_a", "lora_b", "lora_A", "lora_B"].iter().any(|part| name.contains(part))
    };
    if any(is_lora) {
        return "it is an adapter (LoRA), not a backbone".to_owned();
    }
    if any(|name| name.starts_with("classifier.") || name.starts_with("decoder.")) {
        return "it is a decoder, not a backbone".to_owned();
    }
    format!(
        "its names are neither the official ones nor Hugging Face's nor timm's (first: {})",
        names[0]
    )
}

/// Tensors of released files that an encoder in eval mode has no use for.
pub fn is_unused(name: &str) -> bool {
    name == "mask_token"
        || name == "embeddings.mask_token"
        || name.ends_with("attn.qkv.bias_mask")
        || name.starts_with("local_cls_norm.")
}

/// What the biases of q, k and v are part of, in all namings.
const QKV: &[&str] = &[
    ".attn.qkv.",
    ".attn.q_bias",
    ".attn.v_bias",
    ".attention.attention.",
    ".attention.q_proj.",
    ".attention.k_proj.",
    ".attention.v_proj.",
];
