//! Recomputed activations against kept ones, bit by bit.

use std::collections::BTreeMap;

use burn::tensor::{Device, TensorData};
use serde_json::json;

use super::*;
use crate::kernel::classes;
use crate::kernel::dropout::Draw;
use crate::model::network::Parts;
use crate::model::{DecoderConfig, TuneConfig, backbone, init};
use crate::rng;

const DRAW: Draw = Draw { seed: 4, step: 7 };

fn network(variant: &str, tune: &TuneConfig, decoder: &str) -> Network {
    let row = backbone::variants().find(|row| row.name == variant).unwrap();
    let mut encoder = Encoder::zeros(row.arch, &Device::flex());
    init::encoder(&mut encoder, 1);
    let decoder: DecoderConfig = serde_json::from_value(json!({ "kind": decoder })).unwrap();
    let mut network =
        Network::new(encoder, &Parts { tune, decoder: &decoder, n_classes: 5, seed: 1 });
    network.each_changed(&mut |name, mut slot| {
        // At zero, half of LoRA's gradients are zero.
        if name.ends_with("lora_b") {
            slot.set_from_file(normal(slot.n_elements(), name), &Device::flex());
            slot.train();
        }
    });
    network
}

fn normal(n: usize, name: &str) -> Vec<f32> {
    let mut rng = rng::keyed(9, name, &[]);
    (0..n).map(|_| (0.3 * rng::normal(&mut rng)) as f32).collect()
}

/// The bits of the loss, of each gradient and of the decoder's buffers after the step, by name.
fn bits(mut network: Network, px: usize, activations: Activations) -> BTreeMap<String, Vec<u32>> {
    let images = TensorData::new(normal(2 * 3 * px * px, "images"), [2, 3, px, px]);
    let labels = (0..2 * px * px).map(|i| (i * i % 5) as u8).collect();
    let labels = classes::tensor(labels, [2, px, px], &Device::flex());
    let sample = (Tensor::from_data(images, &Device::flex()), labels);
    let (loss, mut parts) = network.backward(sample, Mode::Train(DRAW), activations);
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    let mut found = BTreeMap::from([("loss".to_owned(), bits(vec![loss.into_scalar()]))]);
    network.each_changed(&mut |name, slot| {
        let gradient = parts.iter_mut().filter_map(|part| slot.take_gradient(part));
        let values = gradient.reduce(|a, b| a + b).map_or_else(
            || slot.to_file(),
            |gradient| gradient.into_data().try_into_vec().unwrap(),
        );
        found.insert(format!("{name} {}", slot.is_trained()), bits(values));
    });
    found
}

fn check(tune: &serde_json::Value) {
    let tune: TuneConfig = serde_json::from_value(tune.clone()).unwrap();
    for (variant, patch) in [("dinov2_tiny14_reg", 14), ("dinov3_tiny16", 16)] {
        for decoder in ["linear", "fpn", "linear_bn"] {
            let [kept, again] = [Activations::Keep, Activations::Recompute]
                .map(|activations| bits(network(variant, &tune, decoder), 8 * patch, activations));
            assert!(kept.keys().eq(again.keys()), "{variant}, {decoder}");
            for (name, kept) in &kept {
                assert_eq!(kept, &again[name], "{variant}, {decoder}: {name}");
            }
        }
    }
}

#[test]
fn recomputing_changes_no_bit_with_lora() {
    let lora = json!({ "kind": "lora", "rank": 2, "targets": ["all"], "dropout": 0.2 });
    check(&lora);
}

#[test]
fn recomputing_changes_no_bit_with_lora_on_the_upper_blocks() {
    check(&json!({ "kind": "lora", "rank": 2, "targets": ["q", "v"], "blocks": [2, 3] }));
}

#[test]
fn recomputing_changes_no_bit_of_a_full_tuning() {
    check(&json!({ "kind": "full" }));
}

#[test]
fn recomputing_changes_no_bit_with_a_frozen_encoder() {
    check(&json!({ "kind": "frozen" }));
}
