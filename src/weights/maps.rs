//! Our tensor names (the official ones, with q, k, v and SwiGLU's halves apart) in the namings
//! that files use.
//!
//! timm's are read off its `vision_transformer.py` (`_convert_dinov2`) and `eva.py`
//! (`checkpoint_filter_fn`), 1.0.31: DINOv2 with registers has the class token's position added to
//! the token and left out of the embedding; plain DINOv2 keeps the official names.

use super::names::Source;

pub(super) fn is_query_value_bias(internal: &str) -> bool {
    internal.ends_with(".attn.q.bias") || internal.ends_with(".attn.v.bias")
}

/// `blocks.i.attn.{q,k,v}.x` -> (`blocks.i.attn.qkv.x`, third).
pub(super) fn qkv(internal: &str) -> Option<(String, usize)> {
    ["q", "k", "v"].iter().enumerate().find_map(|(i, part)| {
        let infix = format!(".attn.{part}.");
        internal.contains(&infix).then(|| (internal.replace(&infix, ".attn.qkv."), i))
    })
}

/// SwiGLU's gates in one tensor `into`, its last layer `out_of`.
pub(super) fn fused(name: &str, into: &str, out_of: &str) -> Source {
    for (index, gate) in [".mlp.w1.", ".mlp.w2."].iter().enumerate() {
        if name.contains(gate) {
            let name = name.replace(gate, &format!(".mlp.{into}."));
            return Source::Part { name, index, of: 2 };
        }
    }
    Source::Whole(name.replace(".mlp.w3.", &format!(".mlp.{out_of}.")))
}

pub(super) fn hugging_face_v2(internal: &str) -> String {
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

pub(super) fn hugging_face_v3(internal: &str) -> String {
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

pub(super) fn timm_v3(internal: &str) -> Source {
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
