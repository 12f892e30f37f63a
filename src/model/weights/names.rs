//! Our tensor names (the official ones, with q, k, v and SwiGLU's halves apart) in the namings
//! that files use.

use super::Error;
use super::file::TensorFile;

/// Who named a file's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// facebookresearch/dinov2 and dinov3.
    Official,
    /// Hugging Face's `Dinov2Model` and `Dinov2WithRegistersModel`.
    HuggingFaceV2,
    /// Hugging Face's `DINOv3ViTModel`.
    HuggingFaceV3,
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
    /// Not stored in this naming: the value it is built with holds (RoPE periods by formula).
    Default,
}

/// The naming of a file, by its class token's name.
pub fn detect(file: &TensorFile) -> Option<Naming> {
    let has = |name: &str| file.shape(name).is_some();
    if has("cls_token") {
        Some(Naming::Official)
    } else if has("embeddings.cls_token") {
        let v2 = file.names().iter().any(|name| name.starts_with("encoder.layer."));
        Some(if v2 { Naming::HuggingFaceV2 } else { Naming::HuggingFaceV3 })
    } else {
        None
    }
}

/// Tensors of released files that an encoder in eval mode has no use for.
pub fn is_unused(name: &str) -> bool {
    name == "mask_token"
        || name == "embeddings.mask_token"
        || name.ends_with("attn.qkv.bias_mask")
        || name.starts_with("local_cls_norm.")
}

impl Naming {
    /// Where our tensor `internal` is in `file`; `None` where it is missing.
    pub fn source(self, file: &TensorFile, internal: &str) -> Option<Source> {
        let source = self.candidate(file, internal);
        match &source {
            Source::Whole(name) | Source::Part { name, .. } if file.shape(name).is_none() => {
                (internal == "rope_embed.periods").then_some(Source::Default)
            }
            _ => Some(source),
        }
    }

    /// The name under which this naming would have our tensor, for messages.
    pub fn expected(self, internal: &str) -> String {
        match self {
            Self::Official if internal == "register_tokens" => internal.to_owned(),
            Self::Official => match qkv(internal) {
                Some((name, _)) => name,
                None => internal.to_owned(),
            },
            Self::HuggingFaceV2 => hugging_face_v2(internal),
            Self::HuggingFaceV3 => hugging_face_v3(internal),
        }
    }

    fn candidate(self, file: &TensorFile, internal: &str) -> Source {
        match self {
            Self::Official => official(file, internal),
            Self::HuggingFaceV2 => halves(&hugging_face_v2(internal)),
            Self::HuggingFaceV3 => Source::Whole(hugging_face_v3(internal)),
        }
    }
}

impl Source {
    /// Tensors of the file that are used up.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::Whole(name) | Self::Part { name, .. } => Some(name.as_str()),
            Self::Default => None,
        }
        .into_iter()
    }

    /// # Panics
    /// If the file lacks the tensor: [`Naming::source`] has looked.
    pub fn shape(&self, file: &TensorFile) -> Vec<usize> {
        match self {
            Self::Whole(name) => file.shape(name).expect("looked up when the source was made"),
            Self::Part { name, of, .. } => {
                let mut shape = file.shape(name).expect("looked up when the source was made");
                if let Some(rows) = shape.first_mut() {
                    *rows /= of;
                }
                shape
            }
            Self::Default => vec![],
        }
    }

    pub fn read(&self, file: &TensorFile) -> Result<Vec<f32>, Error> {
        match self {
            Self::Whole(name) => file.read(name),
            Self::Part { name, index, of } => {
                let all = file.read(name)?;
                let n = all.len() / of;
                Ok(all[index * n..(index + 1) * n].to_vec())
            }
            Self::Default => Ok(vec![]),
        }
    }
}

/// `blocks.i.attn.{q,k,v}.x` -> (`blocks.i.attn.qkv.x`, third).
fn qkv(internal: &str) -> Option<(String, usize)> {
    ["q", "k", "v"].iter().enumerate().find_map(|(i, part)| {
        let infix = format!(".attn.{part}.");
        internal.contains(&infix).then(|| (internal.replace(&infix, ".attn.qkv."), i))
    })
}

fn official(file: &TensorFile, internal: &str) -> Source {
    if let Some((name, index)) = qkv(internal) {
        return Source::Part { name, index, of: 3 };
    }
    // DINOv3 calls its registers storage tokens.
    if internal == "register_tokens" && file.shape(internal).is_none() {
        return Source::Whole("storage_tokens".to_owned());
    }
    // DINOv2's giant has the two gates fused.
    for (index, gate) in ["mlp.w1.", "mlp.w2."].iter().enumerate() {
        let fused = internal.replace(gate, "mlp.w12.");
        if fused != internal && file.shape(&fused).is_some() {
            return Source::Part { name: fused, index, of: 2 };
        }
    }
    Source::Whole(internal.to_owned())
}

fn hugging_face_v2(internal: &str) -> String {
    let name = match internal {
        "cls_token" | "register_tokens" => format!("embeddings.{internal}"),
        "pos_embed" => "embeddings.position_embeddings".to_owned(),
        "norm.weight" | "norm.bias" => internal.replace("norm.", "layernorm."),
        _ => internal.replace("patch_embed.proj.", "embeddings.patch_embeddings.projection."),
    };
    name.replace("blocks.", "encoder.layer.")
        .replace(".attn.q.", ".attention.attention.query.")
        .replace(".attn.k.", ".attention.attention.key.")
        .replace(".attn.v.", ".attention.attention.value.")
        .replace(".attn.proj.", ".attention.output.dense.")
        .replace(".ls1.gamma", ".layer_scale1.lambda1")
        .replace(".ls2.gamma", ".layer_scale2.lambda1")
}

/// The SwiGLU gates of Hugging Face's DINOv2 are fused into `weights_in`.
fn halves(name: &str) -> Source {
    for (index, gate) in [".mlp.w1.", ".mlp.w2."].iter().enumerate() {
        if name.contains(gate) {
            return Source::Part { name: name.replace(gate, ".mlp.weights_in."), index, of: 2 };
        }
    }
    Source::Whole(name.replace(".mlp.w3.", ".mlp.weights_out."))
}

fn hugging_face_v3(internal: &str) -> String {
    let name = match internal {
        "cls_token" | "register_tokens" => format!("embeddings.{internal}"),
        _ => internal.replace("patch_embed.proj.", "embeddings.patch_embeddings."),
    };
    name.replace("blocks.", "layer.")
        .replace(".attn.q.", ".attention.q_proj.")
        .replace(".attn.k.", ".attention.k_proj.")
        .replace(".attn.v.", ".attention.v_proj.")
        .replace(".attn.proj.", ".attention.o_proj.")
        .replace(".mlp.fc1.", ".mlp.up_proj.")
        .replace(".mlp.fc2.", ".mlp.down_proj.")
        .replace(".mlp.w1.", ".mlp.gate_proj.")
        .replace(".mlp.w2.", ".mlp.up_proj.")
        .replace(".mlp.w3.", ".mlp.down_proj.")
        .replace(".ls1.gamma", ".layer_scale1.lambda1")
        .replace(".ls2.gamma", ".layer_scale2.lambda1")
}
