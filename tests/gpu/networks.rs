//! Whole networks: loss, each gradient and three steps of AdamW on a GPU against those on the CPU,
//! for both families, every decoder and every kind of tuning.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, FloatDType, Gradients};
use dino_sweep::data::VOID;
use dino_sweep::data::loader::Batch;
use dino_sweep::data::transform::{INSIDE, Normal};
use dino_sweep::kernel::dropout::Draw;
use dino_sweep::model::network::Parts;
use dino_sweep::model::params::is_buffer;
use dino_sweep::model::vit::Encoder;
use dino_sweep::model::{Activations, DecoderConfig, Mode, Network, TuneConfig, backbone, init};
use dino_sweep::rng;
use dino_sweep::train::optimizer::{AdamW, Rates};
use dino_sweep::train::step;
use serde_json::json;

use super::{arg_max, confusion, finite, gpu, normal, sums};

/// Difference of a gradient from the CPU's, of the tensor's largest.
const GRADIENT: f32 = 1e-4;

/// Difference of a gradient in f16 from that in f32, of its norm; an f16 has 11 bits.
const HALF: f32 = 1e-2;

/// Difference of a tensor's updates by AdamW from the CPU's, on average, of their size.
const UPDATES: f32 = 0.01;

const RATE: f64 = 1e-3;

/// Difference of BatchNorm's statistics after three steps, on average, of their largest.
const STATISTICS: f32 = 1e-3;

/// Biases of keys, which softmax does not see, and those before BatchNorm, which takes a constant
/// out. What rounding leaves of their gradient is made into full steps by AdamW.
fn has_no_gradient(name: &str) -> bool {
    let before_norm = name.starts_with("decoder.inter_conv") && name.ends_with("bias");
    before_norm || name.ends_with("attn.k.bias")
}

const N_CLASSES: usize = 5;

const DRAW: Draw = Draw { seed: 0, step: 0 };

/// A network of random weights.
pub(super) fn network(
    variant: &str,
    (tune, decoder): (&TuneConfig, &DecoderConfig),
    at: &Device,
) -> Network {
    let row = backbone::variants().find(|row| row.name == variant).unwrap();
    let mut encoder = Encoder::zeros(row.arch, at);
    init::encoder(&mut encoder, 0);
    let mut network =
        Network::new(encoder, &Parts { tune, decoder, n_classes: N_CLASSES, seed: 1 });
    // LoRA begins with zeros, at which half of its gradients are 0.
    let mut which = 100;
    network.each_changed(&mut |name, mut slot| {
        which += 1;
        if name.ends_with("lora_b") {
            let values = normal(slot.n_elements(), which).into_iter().map(|x| x * 0.05).collect();
            slot.set_from_file(values, at);
            slot.train();
        }
    });
    network
}

fn batch(px: usize) -> Batch {
    let mut rng = rng::keyed(3, "test", &[]);
    let mut below = |n| rng::below(&mut rng, n);
    let n = 2 * px * px;
    Batch {
        images: (0..n).map(|_| below(1 << 24) as u32 | INSIDE).collect(),
        targets: (0..n)
            .map(|i| if i % 7 == 0 { VOID } else { below(N_CLASSES as u64) as u8 })
            .collect(),
        ids: vec!["a".to_owned(), "b".to_owned()],
        n: 2,
    }
}

/// The numbers of a network's first steps, by name.
type Numbers = BTreeMap<String, Vec<f32>>;

fn gradients(network: &mut Network, parts: &[Gradients]) -> Numbers {
    let mut found = Numbers::new();
    network.each_changed(&mut |name, slot| {
        for gradient in parts.iter().filter_map(|part| slot.gradient_in_file_layout(part)) {
            let sum = found.entry(name.to_owned()).or_insert_with(|| vec![0.0; gradient.len()]);
            sum.iter_mut().zip(gradient).for_each(|(sum, part)| *sum += part);
        }
    });
    found
}

/// The loss and the gradients of the first step, and what three steps make of the tensors.
fn numbers(mut network: Network, px: usize, activations: Activations) -> (f64, Numbers, Numbers) {
    let device = network.device();
    let batch = batch(px);
    let images = step::images(&batch, [px; 2], Normal { mean: [0.5; 3], std: [0.25; 3] }, &device);
    let mut optimizer = AdamW::new(0.01);
    let mut first = None;
    for _ in 0..3 {
        let sample = (images.clone(), step::labels(&batch, [px; 2], &device));
        let (loss, mut found) = network.backward(sample, Mode::Train(DRAW), activations);
        first.get_or_insert_with(|| {
            (loss.clone().into_scalar::<f64>(), gradients(&mut network, &found))
        });
        optimizer.step(&mut network, &mut found, Rates { decoder: RATE, encoder: RATE });
    }
    let (loss, first) = first.unwrap();
    let mut after = Numbers::new();
    network.each_changed(&mut |name, slot| {
        after.insert(name.to_owned(), slot.to_file());
    });
    (loss, first, after)
}

fn close(what: &str, gpu: &Numbers, cpu: &Numbers) {
    assert!(gpu.keys().eq(cpu.keys()), "{what}");
    for (name, cpu) in cpu {
        let largest = cpu.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        let worst = differences(&gpu[name], cpu).fold(0.0f32, f32::max);
        let limit = if has_no_gradient(name) { 1e-6 } else { GRADIENT * largest };
        assert!(worst <= limit, "{what}: {name} differs by {worst}, its largest is {largest}");
    }
}

/// Compares weights on average: where a gradient is near 0, AdamW makes a step of its sign alone.
fn close_on_average(what: &str, gpu: &Numbers, cpu: &Numbers) {
    assert!(gpu.keys().eq(cpu.keys()), "{what}");
    for (name, cpu) in cpu.iter().filter(|(name, _)| !has_no_gradient(name)) {
        let mean = differences(&gpu[name], cpu).sum::<f32>() / cpu.len() as f32;
        let largest = cpu.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        // BatchNorm's statistics gather what the steps make of the activations.
        let limit = if is_buffer(name) {
            STATISTICS * largest
        } else {
            UPDATES * 3.0 * RATE as f32 + 1e-6 * largest
        };
        assert!(mean <= limit, "{what}: after three steps {name} differs by {mean} on average");
    }
}

fn differences(a: &[f32], b: &[f32]) -> impl Iterator<Item = f32> {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs())
}

/// Side of the images: well above the decoder's least, as statistics of a few places are at the mercy
/// of rounding.
fn side_px(variant: &str, decoder: &DecoderConfig) -> usize {
    decoder.grid_min().map_or(4, |min| 2 * min.side) * patch_px(variant)
}

fn patch_px(variant: &str) -> usize {
    backbone::variants().find(|row| row.name == variant).unwrap().arch.patch
}

fn check(variant: &str, tune: &serde_json::Value, decoder: &str, activations: Activations) {
    let what = format!("{variant}, {tune}, {decoder}");
    let tune: TuneConfig = serde_json::from_value(tune.clone()).unwrap();
    let decoder: DecoderConfig = serde_json::from_value(json!({ "kind": decoder })).unwrap();
    let px = side_px(variant, &decoder);
    let [gpu, cpu] = [gpu().unwrap(), Device::flex()]
        .map(|device| numbers(network(variant, (&tune, &decoder), &device), px, activations));
    assert!((gpu.0 - cpu.0).abs() < 1e-5, "{what}: loss {}, on the CPU {}", gpu.0, cpu.0);
    close(&what, &gpu.1, &cpu.1);
    close_on_average(&what, &gpu.2, &cpu.2);
}

#[test]
fn both_families_with_every_decoder_have_the_cpus_gradients() {
    if gpu().is_none() {
        return;
    }
    let lora = json!({ "kind": "lora", "rank": 2, "targets": ["all"] });
    for variant in ["dinov2_tiny14_reg", "dinov3_tiny16"] {
        for decoder in DecoderConfig::KINDS {
            check(variant, &lora, decoder, Activations::Keep);
        }
    }
}

#[test]
fn every_kind_of_tuning_has_the_cpus_gradients() {
    if gpu().is_none() {
        return;
    }
    for tune in [json!({ "kind": "full" }), json!({ "kind": "frozen" })] {
        check("dinov2_tiny14_reg", &tune, "linear", Activations::Keep);
        check("dinov3_tiny16", &tune, "linear", Activations::Keep);
    }
}

#[test]
fn activations_computed_again_give_the_cpus_gradients() {
    if gpu().is_none() {
        return;
    }
    let lora = json!({ "kind": "lora", "rank": 2, "targets": ["all"], "blocks": [1, 2] });
    check("dinov2_tiny14_reg", &lora, "fpn", Activations::Recompute);
    check("dinov3_tiny16", &json!({ "kind": "full" }), "linear", Activations::Recompute);
}

/// The casts of `train.precision`, by the one narrow type that lavapipe computes in.
#[test]
fn a_network_in_f16_has_the_cpus_gradients_but_for_rounding() {
    let Some(gpu) = gpu() else { return };
    if !gpu.supports_dtype(DType::F16) {
        return;
    }
    let lora = json!({ "kind": "lora", "rank": 2, "targets": ["all"] });
    let tune: TuneConfig = serde_json::from_value(lora).unwrap();
    let decoder: DecoderConfig = serde_json::from_value(json!({ "kind": "linear" })).unwrap();
    for (variant, px) in [("dinov2_tiny14_reg", 56), ("dinov3_tiny16", 64)] {
        let on_cpu = network(variant, (&tune, &decoder), &Device::flex());
        let expect = numbers(on_cpu, px, Activations::Keep);
        let mut network = network(variant, (&tune, &decoder), &gpu);
        network.compute_in(FloatDType::F16);
        let found = numbers(network, px, Activations::Recompute);
        assert!((found.0 - expect.0).abs() < 1e-3, "{variant}: loss {} {}", found.0, expect.0);
        for (name, cpu) in expect.1.iter().filter(|(name, _)| !has_no_gradient(name)) {
            let norm = |values: &[f32]| values.iter().map(|x| x * x).sum::<f32>().sqrt();
            let difference: Vec<f32> = differences(&found.1[name], cpu).collect();
            let relative = norm(&difference) / norm(cpu);
            println!("{variant} {name}: {relative:.1e}");
            assert!(relative < HALF, "{variant}: {name} differs by {relative} of its norm");
        }
    }
}

/// Runs every kernel of training and scoring once, whatever comes out: `scripts/cuda_check.sh`
/// compiles them for CUDA so, where a stand-in takes the place of the driver and computes nothing.
#[test]
fn every_kernel_compiles() {
    let Some(gpu) = gpu().filter(|_| std::env::var_os("CUDA_STAND_IN_REPORT").is_some()) else {
        return;
    };
    let all = json!({ "kind": "lora", "rank": 2, "targets": ["all"], "dropout": 0.1 });
    for (variant, tune, decoder) in [
        ("dinov2_tiny14_reg", &all, "linear"),
        ("dinov2_tiny14_reg", &json!({ "kind": "full" }), "fpn"),
        ("dinov3_tiny16", &all, "linear_bn"),
        ("dinov3_tiny16", &json!({ "kind": "full" }), "fpn_reference"),
    ] {
        let tune: TuneConfig = serde_json::from_value(tune.clone()).unwrap();
        let decoder: DecoderConfig = serde_json::from_value(json!({ "kind": decoder })).unwrap();
        let px = side_px(variant, &decoder);
        for dtype in [FloatDType::F32, FloatDType::BF16] {
            let mut network = network(variant, (&tune, &decoder), &gpu);
            network.compute_in(dtype);
            let mut scored = network.merged();
            numbers(network, px, Activations::Keep);
            let batch = batch(px);
            let images = step::images(&batch, [px; 2], Normal::NONE, &gpu);
            let logits = scored.logits(images, Mode::Eval);
            let predicted = arg_max::arg_max(logits.clone(), [px; 2]);
            let truth = step::labels(&batch, [px; 2], &gpu);
            let counts = confusion::counts(truth, predicted, N_CLASSES);
            assert_eq!(confusion::to_vec(counts).len(), N_CLASSES * N_CLASSES);
            assert_eq!(finite::counts(logits).into_data().num_elements(), 2);
            sums::predict_anything(&mut scored, [px, patch_px(variant)].map(|px| px as u32));
        }
    }
}
