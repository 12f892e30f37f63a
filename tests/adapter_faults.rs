//! Adapters that no verb may take for something else: what is refused by one is refused by all.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use std::path::{Path, PathBuf};

use safetensors::serialize;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models").join(name)
}

/// PEFT's folder of q's LoRA in the blocks of the model `v2_reg`, with `settings`.
fn write_peft(folder: &Path, settings: &serde_json::Value) {
    let (dim, rank, depth) = (30, 2, 4);
    let bytes = vec![0x3c; 4 * dim * rank];
    let mut tensors = vec![];
    for block in 0..depth {
        let module = format!("base_model.model.encoder.layer.{block}.attention.attention.query");
        for (letter, shape) in [("A", [rank, dim]), ("B", [dim, rank])] {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes).unwrap();
            tensors.push((format!("{module}.lora_{letter}.weight"), view));
        }
    }
    fs_err::create_dir_all(folder).unwrap();
    let file = serialize(tensors, None).unwrap();
    fs_err::write(folder.join("adapter_model.safetensors"), file).unwrap();
    let mut config = json!({ "peft_type": "LORA", "r": rank, "lora_alpha": 4, "bias": "none" });
    for (key, value) in settings.as_object().unwrap() {
        config[key] = value.clone();
    }
    fs_err::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
}

/// A Hugging Face folder of the model `v2_reg`, and an input for it.
fn write_inputs(dir: &Path) {
    let folder = dir.join("weights");
    fs_err::create_dir_all(&folder).unwrap();
    let config = json!({ "model_type": "dinov2_with_registers", "num_attention_heads": 3 });
    fs_err::write(folder.join("config.json"), config.to_string()).unwrap();
    let backbone = model("v2_reg").join("backbone.safetensors");
    fs_err::copy(backbone, folder.join("model.safetensors")).unwrap();
    let bytes = vec![0; 4 * 3 * 28 * 28];
    let view = TensorView::new(Dtype::F32, vec![1, 3, 28, 28], &bytes).unwrap();
    fs_err::write(dir.join("x.safetensors"), serialize([("input", view)], None).unwrap()).unwrap();
}

/// Exit code and messages of every verb that reads an adapter, on `adapter`.
fn every_verb(dir: &Path, adapter: &str) -> Vec<(&'static str, Option<i32>, String)> {
    let verbs = [
        (
            "features",
            "features x.safetensors --device cpu --weights weights --output out.safetensors --adapter",
        ),
        ("eval", "eval --device cpu --weights weights --set data.kind=shapes --adapter"),
        ("inspect", "adapter inspect"),
        ("convert", "adapter convert --to sweep --output out.safetensors"),
    ];
    let run = |words: &str| {
        let output =
            program::sweep(dir).args(words.split_whitespace()).arg(adapter).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    verbs
        .map(|(verb, words)| (run(words), verb))
        .map(|((code, said), verb)| (verb, code, said))
        .into()
}

#[test]
fn settings_that_are_not_plain_lora_are_refused_by_every_verb() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_inputs(dir);
    write_peft(&dir.join("plain"), &json!({ "init_lora_weights": true }));
    for (verb, code, said) in every_verb(dir, "plain") {
        // It has no decoder, so that nothing can be scored.
        let expect = if verb == "eval" { 2 } else { 0 };
        assert_eq!(code, Some(expect), "{verb}: {said}");
        assert!(verb != "eval" || said.contains("has no decoder"), "{said}");
    }
    for (settings, expect) in [
        (json!({ "init_lora_weights": "pissa" }), "sets init_lora_weights to \"pissa\""),
        (json!({ "init_lora_weights": "olora" }), "sets init_lora_weights to \"olora\""),
        (json!({ "use_dora": true }), "sets use_dora to true"),
        (json!({ "rank_pattern": { "query": 4 } }), "sets rank_pattern to {\"query\":4}"),
    ] {
        write_peft(&dir.join("other"), &settings);
        for (verb, code, said) in every_verb(dir, "other") {
            assert!(code == Some(2) && said.contains(expect), "{verb}: {code:?} {said}");
        }
    }
}

#[test]
fn an_adapter_that_lacks_a_matrix_is_refused_by_every_verb() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_inputs(dir);
    let file = fs_err::read(model("v2_reg").join("adapter_linear.pt")).unwrap();
    fs_err::write(dir.join("whole.pt"), &file).unwrap();
    let convert = program::sweep(dir)
        .args(["adapter", "convert", "whole.pt", "--to", "sweep", "--output", "a.safetensors"])
        .output()
        .unwrap();
    assert!(convert.status.success());
    let bytes = fs_err::read(dir.join("a.safetensors")).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let lacks = "param.encoder.blocks.2.attn.v.lora_b";
    let rest: Vec<_> = tensors.tensors().into_iter().filter(|(name, _)| name != lacks).collect();
    let fewer = serialize(rest, header.metadata().clone()).unwrap();
    fs_err::write(dir.join("fewer.safetensors"), fewer).unwrap();
    for (verb, code, said) in every_verb(dir, "fewer.safetensors") {
        let expect = "encoder.blocks.2.attn.v.lora_b is missing";
        assert!(code == Some(2) && said.contains(expect), "{verb}: {code:?} {said}");
    }
}
