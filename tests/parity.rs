//! Backbones, LoRA, decoders, gradients and optimiser steps against numbers made by the official
//! PyTorch code (tiny random models; `tests/data/README.md` says how they were made).
//!
//! With the full set of those numbers in a folder, `SWEEP_GOLDEN=<folder>` compares with all of it.
//! `SWEEP_TEST_DEVICE=wgpu:0` computes there instead of on the CPU.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "parity/steps.rs"]
mod steps;

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use dino_sweep::kernel::dropout::Draw;
use dino_sweep::kernel::{arg_max::arg_max, classes};
use dino_sweep::model::decoder::{Decoder, Sizes, fpn_reference, linear, linear_bn};
use dino_sweep::model::network::Parts;
use dino_sweep::model::params::{Params, is_buffer};
use dino_sweep::model::vit::pos_embed::Resize;
use dino_sweep::model::vit::{Arch, AttentionBias, Encoder, Features, Ffn, Position};
use dino_sweep::model::{DecoderConfig, LoraConfig, Mode, Network, TuneConfig};
use dino_sweep::train::optimizer::{AdamW, Rates};
use dino_sweep::weights::{self, TensorFile};
use safetensors::SafeTensors;
use serde_json::Value;

/// The device that is tested.
fn device() -> Device {
    let name = std::env::var("SWEEP_TEST_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    dino_sweep::device::open(name.parse().unwrap()).unwrap()
}

const DRAW: Draw = Draw { seed: 0, step: 0 };

const MODELS: [&str; 6] = ["v2_reg", "v2_noreg", "v2_giant_reg", "v3_mlp", "v3_swiglu", "v3_7b"];

/// Ten times the reference's own f32 error against f64, per kind.
struct Limits {
    logits: f32,
    loss: f64,
    /// Of the largest entry.
    gradients: f32,
    steps: f32,
    /// BatchNorm's running statistics, of the largest entry.
    statistics: f32,
}

const TOKENS: f32 = 1e-4;
const LINEAR: Limits =
    Limits { logits: 5e-5, loss: 5e-5, gradients: 6e-5, steps: 2e-6, statistics: 0.0 };
const FPN: Limits =
    Limits { logits: 1.1e-4, loss: 1.1e-4, gradients: 1.4e-3, steps: 4e-4, statistics: 1.3e-3 };

/// One of the reference project's networks with its numbers.
struct Case {
    model: &'static str,
    name: &'static str,
    decoder: DecoderConfig,
    limits: Limits,
}

fn cases() -> Vec<Case> {
    let linear = |model| Case {
        model,
        name: "linear",
        decoder: DecoderConfig::Linear(linear::Config {}),
        limits: LINEAR,
    };
    let fpn = |model, name, channels| Case {
        model,
        name,
        decoder: DecoderConfig::FpnReference(fpn_reference::Config { channels }),
        limits: FPN,
    };
    let mut cases: Vec<_> = MODELS.into_iter().map(linear).collect();
    cases.push(fpn("v2_reg", "fpn_small", 24));
    if full_set().is_some() {
        cases.push(fpn("v2_reg", "fpn", 128));
        cases.push(fpn("v3_mlp", "fpn_small", 24));
    }
    cases
}

/// The folder `tests/data`, which may be elsewhere than where the tests were built.
fn data() -> PathBuf {
    let here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    std::env::var_os("SWEEP_TEST_DATA").map_or_else(here, PathBuf::from)
}

fn full_set() -> Option<PathBuf> {
    std::env::var_os("SWEEP_GOLDEN").map(PathBuf::from)
}

fn dir(model: &str) -> PathBuf {
    full_set().unwrap_or_else(data).join("models").join(model)
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
    weights::load(&dir(model).join("backbone.safetensors"), (model, arch), &device()).unwrap()
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
    Tensor::from_data(TensorData::new(values, shape), &device())
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
        let encoder = encoder(model);
        let input = image(model, "backbone_io.safetensors", IMAGENET);
        let depth = encoder.arch.depth;
        let layers: Vec<_> = (depth - 4..depth).collect();
        let features = encoder.forward(input, &layers, Mode::Eval);
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

impl Case {
    fn what(&self) -> String {
        format!("{} {}", self.model, self.name)
    }

    fn meta(&self) -> Value {
        meta(self.model)["cases"][self.name].clone()
    }

    /// Summary of a tensor that is too large for its file, or the losses.
    fn summary(&self, name: &str) -> Value {
        self.meta()["scalars_and_summaries"][name].clone()
    }

    fn golden(&self) -> impl Fn(&str) -> Vec<f32> + use<> {
        golden(self.model, self.meta()["file"].as_str().unwrap())
    }

    /// File with the image and its labels.
    fn image_file(&self) -> String {
        self.meta()["image_and_target_in"].as_str().unwrap().to_owned()
    }

    /// The network, its trained tensors read from the adapter that the reference's own code wrote.
    fn network(&self) -> (Network, Tensor<4>) {
        let case = self.meta();
        let rank = u32::try_from(case["r"].as_u64().unwrap()).unwrap();
        let tune = TuneConfig::Lora(LoraConfig::reference(rank.try_into().unwrap()));
        let input = image(self.model, &self.image_file(), PLAIN);
        let mut network = Network::new(
            encoder(self.model),
            &Parts {
                tune: &tune,
                decoder: &self.decoder,
                n_classes: case["n_classes"].as_u64().unwrap() as usize,
                seed: 0,
            },
        );
        let adapter = dir(self.model).join(case["adapter"].as_str().unwrap());
        let adapter = TensorFile::open(&adapter).unwrap();
        network.each_changed(&mut |name, mut slot| {
            // A count of type i64, 0 here and there.
            if name.ends_with("num_batches_tracked") {
                return;
            }
            let trained = slot.is_trained();
            let theirs = reference_name(name);
            let theirs = theirs.strip_prefix("decoder.").unwrap_or(&theirs);
            slot.set_from_file(adapter.read(theirs).unwrap(), &device());
            if trained {
                slot.train();
            }
        });
        (network, input)
    }

    /// Compares with a tensor of the golden file, or with its summary where it is left out.
    fn compare(&self, name: &str, ours: &[f32], limit: f32) {
        let what = format!("{} {name}", self.what());
        let summary = self.summary(name);
        if summary.is_null() {
            return relative(&what, ours, &self.golden()(name), limit);
        }
        let step = summary["step"].as_u64().unwrap() as usize;
        let sampled: Vec<f32> = ours.iter().step_by(step).take(32).copied().collect();
        let expect = summary["samples"].as_array().unwrap();
        let expect: Vec<f32> = expect.iter().map(|x| x.as_f64().unwrap() as f32).collect();
        close(&what, &sampled, &expect, limit * summary["absmax"].as_f64().unwrap() as f32);
    }
}

#[test]
fn lora_and_the_decoders_give_the_references_logits() {
    for case in cases() {
        let (mut network, input) = case.network();
        let logits = network.without_gradients().logits(input.clone(), Mode::Eval);
        let golden = case.golden();
        let expect = golden("eval_logits_low");
        close(&case.what(), &values(logits.clone()), &expect, case.limits.logits);
        let tracked = network.logits(input, Mode::Eval);
        close(&case.what(), &values(tracked.inner()), &expect, case.limits.logits);
        assert_eq!(confusion(&case, logits), confusion_of_file(&case), "{}", case.what());
    }
}

/// Pixel counts of the predictions at the labels' size, rows are the truth.
fn confusion(case: &Case, logits: Tensor<4>) -> Vec<u64> {
    let [_, n_classes, _, _] = logits.dims();
    let (targets, shape) = bytes(case.model, &case.image_file(), "target_u8");
    let predicted = classes::to_vec(arg_max(logits, [shape[1], shape[2]]));
    let mut counts = vec![0; n_classes * n_classes];
    for (truth, predicted) in targets.iter().zip(predicted).filter(|(truth, _)| **truth != 255) {
        counts[usize::from(*truth) * n_classes + usize::from(predicted)] += 1;
    }
    counts
}

fn confusion_of_file(case: &Case) -> Vec<u64> {
    let file = case.meta()["file"].as_str().unwrap().to_owned();
    let (counts, _) = bytes(case.model, &file, "eval_confusion");
    counts
        .chunks_exact(4)
        .map(|b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])))
        .collect()
}

/// The lateral's biases of the reference's FPN have no gradient in train mode: BatchNorm takes a
/// constant out. What rounding leaves is made into full steps by AdamW.
fn has_no_gradient(name: &str) -> bool {
    name.starts_with("decoder.inter_conv") && name.ends_with("bias")
}

#[test]
fn losses_gradients_and_three_adamw_steps_are_the_references() {
    for case in cases() {
        let (mut network, input) = case.network();
        let what = case.what();
        let (targets, shape) = bytes(case.model, &case.image_file(), "target_u8");
        let losses = case.summary("train_losses");
        let mut optimizer = AdamW::new(0.01);
        for step in 0..3 {
            let output = network.forward(input.clone(), Mode::Train(DRAW));
            let labels = [shape[0], shape[1], shape[2]];
            let labels = classes::tensor(targets.clone(), labels, &device());
            let loss = network.loss(output, labels);
            let mut gradients = loss.backward();
            let (loss, expect): (f64, _) = (loss.into_scalar(), losses[step].as_f64().unwrap());
            assert!((loss - expect).abs() < case.limits.loss, "{what}: {loss} {expect}");
            if step == 0 {
                compare_gradients(&case, &mut network, &gradients);
            }
            optimizer.step(
                &mut network,
                std::slice::from_mut(&mut gradients),
                Rates { decoder: 3e-4, encoder: 3e-4 },
            );
        }
        compare_after(&case, &mut network);
        if case.name.starts_with("fpn") {
            let logits = network.without_gradients().logits(input, Mode::Eval);
            let expect = case.golden()("after_eval_logits_low");
            // Weights and statistics differ by up to their own limits by now.
            relative(&what, &values(logits), &expect, case.limits.statistics);
        }
    }
}

/// In file layout, through slots of the same kind.
fn compare_gradients(case: &Case, network: &mut Network, gradients: &Gradients) {
    network.each("", &mut |name, slot| {
        if !slot.is_trained() {
            return;
        }
        let ours = slot.gradient_in_file_layout(gradients).unwrap();
        if has_no_gradient(name) {
            assert!(ours.iter().all(|g| g.abs() < 1e-6), "{} {name}: {ours:?}", case.what());
        } else {
            let name = format!("grad.{}", reference_name(name));
            case.compare(&name, &ours, case.limits.gradients);
        }
    });
}

fn compare_after(case: &Case, network: &mut Network) {
    network.each_changed(&mut |name, slot| {
        if has_no_gradient(name) {
            return;
        }
        let ours = slot.to_file();
        if name.ends_with("num_batches_tracked") {
            return assert_eq!(ours, [3.0], "{name}");
        }
        let limit = if slot.is_trained() { case.limits.steps } else { case.limits.statistics };
        case.compare(&format!("after.{}", reference_name(name)), &ours, limit);
    });
}

/// `tests/reference/linear_bn.py` makes the numbers.
#[test]
fn the_bn_head_is_pytorchs() {
    let file = TensorFile::open(&data().join("decoders/linear_bn.safetensors")).unwrap();
    for layers in [1, 4] {
        let named = |name: &str| format!("layers{layers}.{name}");
        let expect = |name: &str| file.read(&named(name)).unwrap();
        let config = DecoderConfig::LinearBn(linear_bn::Config { layers, dropout: 0.0 });
        let sizes = Sizes { dim: 6, n_classes: 3 };
        let mut head = Decoder::new(&config, sizes, 0, &device());
        head.each("", &mut |name, mut slot| {
            let shape = file.shape(&named(&format!("start.{name}"))).unwrap();
            assert_eq!(slot.file_shape(), shape, "{name}");
            slot.set_from_file(expect(&format!("start.{name}")), &device());
            if !is_buffer(name) {
                slot.train();
            }
        });
        let tokens = expect("tokens");
        let layer = |values: &[f32]| {
            Tensor::from_data(TensorData::new(values.to_vec(), [2, 12, 6]), &device())
        };
        let patches = tokens.chunks(2 * 12 * 6).map(layer).collect();
        let features = Features { patches, class: vec![], grid: [3, 4] };
        let output = head.forward(&features, Mode::Eval);
        close("eval", &values(head.predict(output).inner()), &expect("eval_logits"), 1e-5);
        let output = head.forward(&features, Mode::Train(DRAW));
        let logits = head.predict(output);
        close("train", &values(logits.clone().inner()), &expect("train_logits"), 1e-5);
        let weights = TensorData::new(expect("weights"), logits.dims());
        let gradients = (logits * Tensor::<4>::from_data(weights, &device())).sum().backward();
        head.each("", &mut |name, slot| {
            if is_buffer(name) {
                close(name, &slot.to_file(), &expect(&format!("after.{name}")), 1e-6);
            } else {
                let ours = slot.gradient_in_file_layout(&gradients).unwrap();
                relative(name, &ours, &expect(&format!("grad.{name}")), 1e-5);
            }
        });
    }
}
