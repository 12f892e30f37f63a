//! The naming schemes of weight files, one table row each: how a file of the scheme is recognised,
//! and where it has each of our tensors.
//!
//! Our names are the official ones, with q, k, v and SwiGLU's halves apart. timm's are read off its
//! `vision_transformer.py` (`_convert_dinov2`) and `eva.py` (`checkpoint_filter_fn`), 1.0.31:
//! DINOv2 with registers has the class token's position added to the token and left out of the
//! embedding; plain DINOv2 keeps the official names.

use std::collections::BTreeMap;

use super::source::{Implied, Source};

/// The projects whose names weight files use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// The names of facebookresearch/dinov2 and dinov3.
    Official,
    /// The names of Hugging Face's `Dinov2Model` and `Dinov2WithRegistersModel`.
    HuggingFaceV2,
    /// The names of Hugging Face's `DINOv3ViTModel`.
    HuggingFaceV3,
    /// The names of timm's `vit_*_patch14_dinov2` and `vit_*_patch14_reg4_dinov2`.
    TimmV2,
    /// The names of timm's `vit_*_patch16_dinov3` and `vit_*_patch16_dinov3_qkvb`.
    TimmV3,
}

/// The shapes of the model's tensors in a file, by their names in its scheme.
#[derive(Debug, Default)]
pub struct Shapes(pub BTreeMap<String, Vec<usize>>);

/// A naming scheme: how it is recognised and how its names translate.
struct Scheme {
    naming: Naming,
    label: &'static str,
    /// Tells whether a file is of the scheme; asked in the order of [`SCHEMES`].
    holds: fn(&Shapes) -> bool,
    /// The source of one of our tensors, present or not.
    source: fn(&Shapes, &str) -> Source,
    /// Whether files may lack the biases of q and v, which are zero then.
    may_lack_bias: bool,
}

/// All schemes; a file has the first of them that [`Scheme::holds`] is true for.
const SCHEMES: &[Scheme] = &[
    Scheme {
        naming: Naming::HuggingFaceV2,
        label: "Hugging Face (DINOv2)",
        holds: |shapes| shapes.has("embeddings.cls_token") && shapes.has_below(&["encoder.layer."]),
        source: |_, internal| fused(&hugging_face_v2(internal), "weights_in", "weights_out"),
        may_lack_bias: false,
    },
    Scheme {
        naming: Naming::HuggingFaceV3,
        label: "Hugging Face (DINOv3)",
        holds: |shapes| shapes.has("embeddings.cls_token"),
        source: |_, internal| Source::Whole(hugging_face_v3(internal)),
        may_lack_bias: true,
    },
    Scheme {
        naming: Naming::TimmV3,
        label: "timm (DINOv3)",
        holds: |shapes| shapes.has("blocks.0.gamma_1"),
        source: |_, internal| timm_v3(internal),
        may_lack_bias: true,
    },
    Scheme {
        naming: Naming::TimmV2,
        label: "timm (DINOv2)",
        holds: |shapes| {
            shapes.has("reg_token") || !OFFICIAL_ONLY.iter().any(|name| shapes.has(name))
        },
        source: timm_v2,
        may_lack_bias: false,
    },
    Scheme {
        naming: Naming::Official,
        label: "official",
        holds: |_| true,
        source: official,
        may_lack_bias: false,
    },
];

/// Tensors of official files that timm's do not have.
const OFFICIAL_ONLY: &[&str] =
    &["mask_token", "register_tokens", "storage_tokens", "rope_embed.periods"];

/// Parts of the names of the biases of q, k and v, in all schemes.
const QKV: &[&str] = &[
    ".attn.qkv.",
    ".attn.q_bias",
    ".attn.v_bias",
    ".attention.attention.",
    ".attention.q_proj.",
    ".attention.k_proj.",
    ".attention.v_proj.",
];

impl Naming {
    /// The scheme of a file.
    pub fn of(shapes: &Shapes) -> Self {
        let scheme = SCHEMES.iter().find(|scheme| (scheme.holds)(shapes));
        scheme.expect("the last scheme holds for every file").naming
    }

    pub fn label(self) -> &'static str {
        self.scheme().label
    }

    /// The source of our tensor `internal` in a file of this naming, present or not.
    pub fn source(self, shapes: &Shapes, internal: &str) -> Source {
        let scheme = self.scheme();
        let source = (scheme.source)(shapes, internal);
        if source.name().is_some_and(|name| shapes.has(name)) {
            return source;
        }
        if internal == "rope_embed.periods" {
            return Source::Default(Implied::Formula);
        }
        if scheme.may_lack_bias && is_query_value_bias(internal) && !shapes.stores_bias() {
            return Source::Default(Implied::ZeroBias);
        }
        source
    }

    fn scheme(self) -> &'static Scheme {
        let scheme = SCHEMES.iter().find(|scheme| scheme.naming == self);
        scheme.expect("every naming has its row: held by a test")
    }
}

impl Shapes {
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn get(&self, name: &str) -> Option<&[usize]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Tells whether any block stores a bias of q, k or v: a file has all of them or none.
    pub fn stores_bias(&self) -> bool {
        self.0.keys().any(|name| {
            let leaf = name.rsplit('.').next().unwrap_or_default();
            ["bias", "q_bias", "v_bias"].contains(&leaf) && QKV.iter().any(|q| name.contains(q))
        })
    }

    fn has_below(&self, beginnings: &[&str]) -> bool {
        self.0.keys().any(|name| beginnings.iter().any(|beginning| name.starts_with(beginning)))
    }

    /// Tells whether `fc1` holds both gates of a SwiGLU: twice as wide as `fc2`'s input.
    fn has_fused_fc1(&self) -> bool {
        let side = |name: &str, axis: usize| self.get(name).and_then(|s| s.get(axis).copied());
        let outer = side("blocks.0.mlp.fc1.weight", 0);
        outer.is_some() && outer == side("blocks.0.mlp.fc2.weight", 1).map(|inner| 2 * inner)
    }
}

/// Tells whether an encoder in eval mode does not use this tensor of a released file.
pub fn is_unused(name: &str) -> bool {
    name == "mask_token"
        || name == "embeddings.mask_token"
        || name.ends_with("attn.qkv.bias_mask")
        || name.starts_with("local_cls_norm.")
}

fn is_query_value_bias(internal: &str) -> bool {
    internal.ends_with(".attn.q.bias") || internal.ends_with(".attn.v.bias")
}

/// The fused tensor that a part of q, k or v belongs to, and which third it is:
/// `blocks.i.attn.{q,k,v}.x` -> (`blocks.i.attn.qkv.x`, third).
fn qkv(internal: &str) -> Option<(String, usize)> {
    ["q", "k", "v"].iter().enumerate().find_map(|(i, part)| {
        let infix = format!(".attn.{part}.");
        internal.contains(&infix).then(|| (internal.replace(&infix, ".attn.qkv."), i))
    })
}

/// The source of SwiGLU's gates, which the file has in one tensor `into`; `out_of` is its last
/// layer.
fn fused(name: &str, into: &str, out_of: &str) -> Source {
    for (index, gate) in [".mlp.w1.", ".mlp.w2."].iter().enumerate() {
        if name.contains(gate) {
            let name = name.replace(gate, &format!(".mlp.{into}."));
            return Source::Part { name, index, of: 2 };
        }
    }
    Source::Whole(name.replace(".mlp.w3.", &format!(".mlp.{out_of}.")))
}

fn official(shapes: &Shapes, internal: &str) -> Source {
    if let Some((name, index)) = qkv(internal) {
        return Source::Part { name, index, of: 3 };
    }
    // DINOv3 calls its registers storage tokens.
    if internal == "register_tokens" && !shapes.has(internal) {
        return Source::Whole("storage_tokens".to_owned());
    }
    // DINOv2's giant has the two gates fused.
    for (index, gate) in ["mlp.w1.", "mlp.w2."].iter().enumerate() {
        let fused = internal.replace(gate, "mlp.w12.");
        if fused != internal && shapes.has(&fused) {
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

fn timm_v2(shapes: &Shapes, internal: &str) -> Source {
    if let Some((name, index)) = qkv(internal) {
        return Source::Part { name, index, of: 3 };
    }
    match internal {
        "register_tokens" => Source::Whole("reg_token".to_owned()),
        "pos_embed" if shapes.has("reg_token") => Source::AfterZeros(internal.to_owned()),
        _ if internal.contains(".mlp.w") && !shapes.has_fused_fc1() => {
            Source::Whole(internal.to_owned())
        }
        _ => fused(internal, "fc1", "fc2"),
    }
}

fn timm_v3(internal: &str) -> Source {
    if is_query_value_bias(internal) || internal.ends_with(".attn.k.bias") {
        return Source::Whole(["q", "k", "v"].iter().fold(internal.to_owned(), |name, part| {
            name.replace(&format!(".attn.{part}.bias"), &format!(".attn.{part}_bias"))
        }));
    }
    if let Some((name, index)) = qkv(internal) {
        return Source::Part { name, index, of: 3 };
    }
    if internal == "register_tokens" {
        return Source::Whole("reg_token".to_owned());
    }
    let name = internal
        .replace(".mlp.w1.", ".mlp.fc1_g.")
        .replace(".mlp.w2.", ".mlp.fc1_x.")
        .replace(".mlp.w3.", ".mlp.fc2.")
        .replace(".ls1.gamma", ".gamma_1")
        .replace(".ls2.gamma", ".gamma_2");
    Source::Whole(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_naming_has_its_row() {
        use Naming::{HuggingFaceV2, HuggingFaceV3, Official, TimmV2, TimmV3};
        let all = [HuggingFaceV2, HuggingFaceV3, TimmV3, TimmV2, Official];
        for naming in all {
            // A new naming does not compile until it is listed here and above.
            match naming {
                HuggingFaceV2 | HuggingFaceV3 | TimmV3 | TimmV2 | Official => {}
            }
        }
        let rows: Vec<_> = SCHEMES.iter().map(|scheme| scheme.naming).collect();
        assert_eq!(rows, all);
    }
}
