//! Backbones, LoRA, the linear decoder, gradients and optimiser steps against numbers made by the
//! official PyTorch code (tiny random models; `tests/data/README.md` says how they were made).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "parity/steps.rs"]
mod steps;

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use dino_sweep::kernel::dropout::Draw;
use dino_sweep::kernel::upsampled::{self, Logits};
use dino_sweep::model::network::Parts;
use dino_sweep::model::params::Params;
use dino_sweep::model::vit::pos_embed::Resize;
use dino_sweep::model::vit::{Arch, AttentionBias, Encoder, Ffn, Position};
use dino_sweep::model::weights::{self, TensorFile};
use dino_sweep::model::{DecoderConfig, LoraConfig, LoraTarget, Mode, Network, TuneConfig};
use dino_sweep::train::optimizer::{AdamW, Rates};
use safetensors::SafeTensors;
use serde_json::Value;

const DRAW: Draw = Draw { seed: 0, step: 0 };

const MODELS: [&str; 6] = ["v2_reg", "v2_noreg", "v2_giant_reg", "v3_mlp", "v3_swiglu", "v3_7b"];

// Ten times the reference's own f32 error against f64, per kind.
const TOKENS: f32 = 1e-4;
const LOGITS: f32 = 5e-5;
const GRADIENTS: f32 = 6e-5;
const STEPS: f32 = 2e-6;

fn dir(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models").join(model)
}

fn meta(model: &str) -> Value {
    serde_json::from_slice(&fs_err::read(dir(model).join("meta.json")).unwrap()).unwrap()
}

fn arch(meta: &Value) -> Arch {
    let number = |key: &str| meta[key].as_u64().unwrap() as usize;
    let (dim, hidden) = (number("embed_dim"), number("ffn_hidden"));
    let v3 = meta["family"] == "dinov3";
    let registers = if v3 { 4 } else { meta["config"]["reg"].as_u64().unwrap() as usize };
    let ffn = match meta["config"]["ffn"].as_str().unwrap() {
        "mlp" => Ffn::Mlp { hidden },
        _ => Ffn::SwiGlu { hidden },
    };
    let bias = match (v3, meta["name"].as_str()) {
        (true, Some("v3_7b")) => AttentionBias::None,
        (true, _) => AttentionBias::QueryValue,
        (false, _) => AttentionBias::All,
    };
    let position = if v3 {
        Position::Rotary { base: 100.0 }
    } else {
        let resize = if registers > 0 { Resize::Antialias } else { Resize::Offset(0.1) };
        Position::Learned { side: 37, resize }
    };
    Arch {
        patch: number("patch_size"),
        dim,
        depth: number("depth"),
        heads: number("num_heads"),
        ffn,
        registers,
        norm_eps: meta["norm_eps"].as_f64().unwrap(),
        bias,
        layer_scale: 1.0,
        init_std: 0.02,
        position,
    }
}

fn encoder(model: &str) -> Encoder {
    let arch = arch(&meta(model));
    weights::load(&dir(model).join("backbone.safetensors"), (model, arch), &Device::flex()).unwrap()
}

/// Floats of a golden file by name.
fn golden(model: &str, file: &str) -> impl Fn(&str) -> Vec<f32> + use<> {
    let file = TensorFile::open(&dir(model).join(file)).unwrap();
    move |name| file.read(name).unwrap()
}

/// Bytes and shape of a u8 tensor of a golden file.
fn bytes(model: &str, file: &str, name: &str) -> (Vec<u8>, Vec<usize>) {
    let content = fs_err::read(dir(model).join(file)).unwrap();
    let tensors = SafeTensors::deserialize(&content).unwrap();
    let view = tensors.tensor(name).unwrap();
    (view.data().to_vec(), view.shape().to_vec())
}

fn image(model: &str, file: &str, mean_std: ([f32; 3], [f32; 3])) -> Tensor<4> {
    let (image, shape) = bytes(model, file, "image_u8");
    let plane = shape[2] * shape[3];
    let values: Vec<f32> = image
        .iter()
        .enumerate()
        .map(|(i, u)| {
            let c = (i / plane) % 3;
            (f32::from(*u) / 255.0 - mean_std.0[c]) / mean_std.1[c]
        })
        .collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
const PLAIN: ([f32; 3], [f32; 3]) = ([0.0; 3], [1.0; 3]);

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// Largest difference, over `scale`.
fn close(what: &str, ours: &[f32], expect: &[f32], limit: f32) {
    assert_eq!(ours.len(), expect.len(), "{what}");
    let worst = ours.iter().zip(expect).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(worst <= limit, "{what}: differs by {worst}, limit {limit}");
}

fn relative(what: &str, ours: &[f32], expect: &[f32], limit: f32) {
    let largest = expect.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    close(what, ours, expect, limit * largest.max(1e-12));
}

#[test]
fn tokens_equal_the_official_codes() {
    for model in MODELS {
        let mut encoder = encoder(model);
        let input = image(model, "backbone_io.safetensors", IMAGENET);
        let [_, _, h, w] = input.dims();
        encoder.prepare([h, w]);
        let depth = encoder.arch.depth;
        let layers: Vec<_> = (depth - 4..depth).collect();
        let features = encoder.forward(input, &layers);
        let golden = golden(model, "backbone_io.safetensors");
        let last = features.patches.last().unwrap().clone();
        close(model, &values(last), &golden("x_norm_patchtokens"), TOKENS);
        let class = features.class.last().unwrap().clone();
        close(model, &values(class), &golden("x_norm_clstoken"), TOKENS);
        for (i, tokens) in features.patches.iter().enumerate() {
            // [b, n, d] -> [b, d, n]
            let ours = values(tokens.clone().swap_dims(1, 2));
            close(model, &ours, &golden(&format!("inter4_{i}_patch_BCHW")), TOKENS);
        }
    }
}

/// Our name of a reference parameter: `w_a_NNN` counts 2 * block (q) and 2 * block + 1 (v).
fn reference_name(ours: &str) -> String {
    let Some(rest) = ours.strip_prefix("encoder.blocks.") else { return ours.to_owned() };
    let mut parts = rest.split('.');
    let block: usize = parts.next().unwrap().parse().unwrap();
    let v = usize::from(rest.contains("attn.v."));
    let letter = if rest.ends_with("lora_a") { "a" } else { "b" };
    format!("w_{letter}_{:03}", 2 * block + v)
}

/// The network of the golden `linear` case, its trained tensors read from the reference's own
/// `adapter_linear.pt`.
fn network(model: &str) -> (Network, Tensor<4>) {
    let meta = meta(model);
    let case = &meta["cases"]["linear"];
    let rank = u32::try_from(case["r"].as_u64().unwrap()).unwrap();
    let tune = TuneConfig::Lora(LoraConfig {
        rank: rank.try_into().unwrap(),
        alpha: None,
        targets: vec![LoraTarget::Q, LoraTarget::V],
    });
    let input = image(model, "seed_linear.safetensors", PLAIN);
    let [_, _, h, w] = input.dims();
    let mut network = Network::new(
        encoder(model),
        &Parts {
            tune: &tune,
            decoder: &DecoderConfig::Linear {},
            n_classes: case["n_classes"].as_u64().unwrap() as usize,
            input_px: [h, w],
            seed: 0,
        },
    );
    let adapter = TensorFile::open(&dir(model).join("adapter_linear.pt")).unwrap();
    network.each("", &mut |name, mut slot| {
        if slot.is_trained() {
            let theirs = reference_name(name);
            let theirs = theirs.strip_prefix("decoder.").unwrap_or(&theirs);
            slot.set_from_file(adapter.read(theirs).unwrap(), &Device::flex());
            slot.train();
        }
    });
    (network, input)
}

#[test]
fn lora_and_the_linear_decoder_give_the_references_logits() {
    for model in MODELS {
        let (mut network, input) = network(model);
        let logits = network.without_gradients().forward(input.clone(), Mode::Eval);
        let golden = golden(model, "seed_linear.safetensors");
        close(model, &values(logits), &golden("eval_logits_low"), LOGITS);
        let tracked = network.forward(input, Mode::Eval);
        close(model, &values(tracked.inner()), &golden("eval_logits_low"), LOGITS);
    }
}

#[test]
fn losses_gradients_and_three_adamw_steps_are_the_references() {
    for model in MODELS {
        let (mut network, input) = network(model);
        let golden = golden(model, "seed_linear.safetensors");
        let (targets, shape) = bytes(model, "seed_linear.safetensors", "target_u8");
        let meta = meta(model);
        let losses = &meta["cases"]["linear"]["scalars_and_summaries"]["train_losses"];
        let mut optimizer = AdamW::new(0.01);
        for step in 0..3 {
            let logits = network.forward(input.clone(), Mode::Train(DRAW));
            let [_, n_classes, rows, columns] = logits.dims();
            let data = values(logits.clone().inner());
            let grid = [rows, columns];
            let ce = upsampled::cross_entropy(
                Logits { values: &data, n_classes, grid },
                &targets,
                [shape[1], shape[2]],
            );
            let expect = losses[step].as_f64().unwrap();
            assert!((ce.loss - expect).abs() < 5e-5, "{model}: loss {} {expect}", ce.loss);
            let mut gradients = dino_sweep::train::step::backward(logits, ce.gradient);
            if step == 0 {
                network.each("", &mut |name, slot| {
                    // Taken and compared in file layout, through a slot of the same kind.
                    if slot.is_trained() {
                        let expect = golden(&format!("grad.{}", reference_name(name)));
                        let ours = slot.gradient_in_file_layout(&gradients).unwrap();
                        relative(&format!("{model} {name}"), &ours, &expect, GRADIENTS);
                    }
                });
            }
            optimizer.step(&mut network, &mut gradients, Rates { decoder: 3e-4, encoder: 3e-4 });
        }
        network.each("", &mut |name, slot| {
            if slot.is_trained() {
                let expect = golden(&format!("after.{}", reference_name(name)));
                close(&format!("{model} {name}"), &slot.to_file(), &expect, STEPS);
            }
        });
    }
}
