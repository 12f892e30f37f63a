//! Checks which tensors are in an autodiff graph and which are in none.

use std::num::NonZeroU32;

use super::*;
use crate::kernel::dropout::Draw;
use crate::model::backbone;
use crate::model::config::{LoraConfig, LoraTarget, Scaling};
use crate::model::decoder::{fpn, linear};

fn network(tune: &TuneConfig, decoder: &DecoderConfig) -> Network {
    let variant = backbone::variants().find(|v| v.name == "dinov2_tiny14_reg").unwrap();
    let mut encoder = Encoder::zeros(variant.arch, &Device::flex());
    init::encoder(&mut encoder, 1);
    Network::new(encoder, &Parts { tune, decoder, n_classes: 5, seed: 1 })
}

fn lora() -> TuneConfig {
    TuneConfig::Lora(LoraConfig {
        rank: NonZeroU32::MIN,
        alpha: None,
        targets: vec![LoraTarget::Q, LoraTarget::V],
        scaling: Scaling::Standard,
        dropout: 0.0,
        blocks: None,
    })
}

fn images() -> Tensor<4> {
    Tensor::ones([2, 3, 28, 42], &Device::flex())
}

/// Names of the parameters that the backward pass found a gradient for.
fn with_gradients(tune: &TuneConfig, decoder: &DecoderConfig) -> Vec<String> {
    let mut network = network(tune, decoder);
    let logits = network.logits(images(), Mode::Train(Draw { seed: 0, step: 0 }));
    let mut gradients = logits.sum().backward();
    let mut names = Vec::new();
    network.each("", &mut |name, slot| {
        if slot.take_gradient(&mut gradients).is_some() {
            names.push(name.to_owned());
        }
    });
    names
}

#[test]
fn only_what_is_trained_gets_a_gradient() {
    for decoder in
        [DecoderConfig::Linear(linear::Config {}), DecoderConfig::Fpn(fpn::Config { channels: 16 })]
    {
        let names = with_gradients(&TuneConfig::Frozen {}, &decoder);
        assert!(!names.is_empty());
        assert!(names.iter().all(|name| name.starts_with("decoder.")), "{names:?}");
        let names = with_gradients(&lora(), &decoder);
        let of_encoder: Vec<_> = names.iter().filter(|n| n.starts_with("encoder.")).collect();
        // A and B of q and v in each of the 4 blocks.
        assert_eq!(of_encoder.len(), 16);
        assert!(of_encoder.iter().all(|name| is_lora(name)), "{of_encoder:?}");
        assert!(names.iter().any(|name| name.starts_with("decoder.")));
    }
}

#[test]
fn a_frozen_tensor_is_no_node_of_any_graph() {
    network(&lora(), &DecoderConfig::Linear(linear::Config {})).each("", &mut |name, slot| {
        assert_eq!(slot.is_trained(), slot.is_autodiff(), "{name}");
        assert_eq!(slot.is_trained(), is_lora(name) || name.starts_with("decoder."), "{name}");
    });
}

#[test]
fn a_frozen_encoder_builds_no_graph() {
    let network = network(&TuneConfig::Frozen {}, &DecoderConfig::Linear(linear::Config {}));
    let features = network.encoder.forward(images(), &network.layers, Mode::Eval);
    for tokens in features.patches.iter().chain(&features.class) {
        assert!(!tokens.is_autodiff());
    }
}

#[test]
fn evaluation_builds_no_graph() {
    let mut network =
        network(&lora(), &DecoderConfig::Linear(linear::Config {})).without_gradients();
    assert!(!network.logits(images(), Mode::Eval).is_autodiff());
}
