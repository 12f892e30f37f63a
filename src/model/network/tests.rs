//! LoRA on all layers of all families: counts, gradients, graph, dropout and merging.

use std::collections::BTreeSet;

use burn::tensor::TensorData;

use super::*;
use crate::kernel::dropout::Draw;
use crate::model::backbone;
use crate::model::config::{LoraConfig, LoraTarget, Scaling};
use crate::model::decoder::linear;
use crate::model::vit::pos_embed::Resize;
use crate::model::vit::{Arch, AttentionBias, Ffn, Position};
use crate::rng;

const PX: [usize; 2] = [8, 12];

/// The architectures of DINOv2 and DINOv3 with either feed-forward network.
pub(crate) fn archs() -> [Arch; 4] {
    let v2 = Arch {
        patch: 4,
        dim: 16,
        depth: 3,
        heads: 2,
        ffn: Ffn::Mlp { hidden: 24 },
        registers: 2,
        norm_eps: 1e-6,
        bias: AttentionBias::All,
        layer_scale: 1.0,
        init_std: 0.25,
        position: Position::Learned { side: 3, resize: Resize::Antialias },
    };
    let v3 =
        Arch { bias: AttentionBias::QueryValue, position: Position::Rotary { base: 100.0 }, ..v2 };
    let gated = |arch| Arch { ffn: Ffn::SwiGlu { hidden: 20 }, ..arch };
    [v2, gated(v2), v3, gated(v3)]
}

pub(crate) fn encoder(arch: Arch) -> Encoder {
    let mut encoder = Encoder::zeros(arch, &Device::flex());
    init::encoder(&mut encoder, 5);
    encoder
}

fn lora(targets: &[LoraTarget]) -> LoraConfig {
    let rank = 2.try_into().unwrap();
    LoraConfig { alpha: Some(3.0), targets: targets.to_vec(), ..LoraConfig::reference(rank) }
}

fn network(arch: Arch, tune: &TuneConfig) -> Network {
    let decoder = &DecoderConfig::Linear(linear::Config {});
    let parts = Parts { tune, decoder, n_classes: 3, seed: 1 };
    Network::new(encoder(arch), &parts)
}

/// A network whose B is not zero, as after some training.
fn trained(arch: Arch, config: LoraConfig) -> Network {
    let mut network = network(arch, &TuneConfig::Lora(config));
    network.each("", &mut |name, mut slot| {
        if name.ends_with("lora_b") {
            let mut rng = rng::keyed(9, name, &[]);
            let n = slot.n_elements();
            let values = (0..n).map(|_| (0.3 * rng::normal(&mut rng)) as f32).collect();
            slot.set_from_file(values, &Device::flex());
            slot.train();
        }
    });
    network
}

fn images() -> Tensor<4> {
    let mut rng = rng::keyed(3, "images", &[]);
    let n = 2 * 3 * PX[0] * PX[1];
    let values: Vec<f32> = (0..n).map(|_| rng::normal(&mut rng) as f32).collect();
    Tensor::from_data(TensorData::new(values, [2, 3, PX[0], PX[1]]), &Device::flex())
}

fn train(step: u64) -> Mode {
    Mode::Train(Draw { seed: 4, step })
}

fn values(tensor: Tensor<4>) -> Vec<f32> {
    tensor.inner().into_data().try_into_vec().unwrap()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Number of LoRA's parameters by the layers' sizes alone: the encoder is not built.
fn count(arch: &Arch, config: &LoraConfig) -> usize {
    let (Ffn::Mlp { hidden } | Ffn::SwiGlu { hidden }) = arch.ffn;
    let mut shrunk = Encoder::zeros(Arch { depth: 1, ..*arch }, &Device::flex());
    let rank = config.rank.get() as usize;
    let mut sum = 0;
    for target in config.targets_in(arch) {
        let place = shrunk.blocks[0].lora_place(target).unwrap();
        assert!(place.d_in == arch.dim || place.d_in == hidden);
        sum += rank * (place.d_in + place.d_out);
    }
    sum * config.blocks_in(arch).count()
}

#[test]
fn counts_are_those_of_the_formulas() {
    let rank = 3;
    let reference = LoraConfig::reference(rank.try_into().unwrap());
    let all = LoraConfig { targets: vec![LoraTarget::All], ..reference.clone() };
    let r = rank as usize;
    for variant in backbone::variants().filter(|variant| variant.arch.dim < 1536) {
        let Arch { dim, depth, ffn, .. } = variant.arch;
        assert_eq!(count(&variant.arch, &reference), 4 * depth * dim * r, "{}", variant.name);
        let (Ffn::Mlp { hidden } | Ffn::SwiGlu { hidden }) = ffn;
        let mlp = match (ffn, variant.arch.has_fused_gates()) {
            (Ffn::Mlp { .. }, _) => 2 * (dim + hidden),
            (Ffn::SwiGlu { .. }, false) => 3 * (dim + hidden),
            (Ffn::SwiGlu { .. }, true) => 2 * dim + 3 * hidden,
        };
        assert_eq!(count(&variant.arch, &all), depth * r * (8 * dim + mlp), "{}", variant.name);
    }
    // DINOv2-g's fused gates, at the tests' size.
    let [_, giant, _, _] = archs();
    assert_eq!(count(&giant, &all), 3 * 3 * (8 * 16 + 2 * 16 + 3 * 20));
    let large = backbone::variants().find(|variant| variant.name == "dinov2_vitl14_reg").unwrap();
    assert_eq!(count(&large.arch, &reference), 294_912);
    // What the network holds is what was counted.
    for arch in archs() {
        let (_, frozen) = network(arch, &TuneConfig::Frozen {}).count();
        let (_, trained) = network(arch, &TuneConfig::Lora(all.clone())).count();
        assert_eq!((trained - frozen) as usize, count(&arch, &all));
    }
}

#[test]
fn merging_keeps_the_logits() {
    for arch in archs() {
        let mut sets: Vec<Vec<_>> = LoraTarget::of(&arch).iter().map(|t| vec![*t]).collect();
        sets.push(vec![LoraTarget::All]);
        for targets in sets {
            let mut adapted = trained(arch, lora(&targets));
            let mut merged = adapted.merged();
            merged.each("", &mut |name, slot| {
                assert!(!slot.is_trained() && !is_lora(name), "{name}");
            });
            let expect = values(adapted.logits(images(), Mode::Eval));
            let ours = values(merged.logits(images(), Mode::Eval));
            assert!(distance(&ours, &expect) < 1e-4, "{targets:?}: {}", distance(&ours, &expect));
            // The update is there to be merged, and the original is as it was.
            let plain = values(network(arch, &TuneConfig::Frozen {}).logits(images(), Mode::Eval));
            assert!(distance(&expect, &plain) > 1e-3, "{targets:?}");
            assert_eq!(values(adapted.logits(images(), Mode::Eval)), expect);
        }
    }
}

#[test]
fn one_update_of_fused_gates_is_two_with_one_a() {
    let [_, arch, _, _] = archs();
    let mut fused = trained(arch, lora(&[LoraTarget::W12]));
    let mut apart = trained(arch, lora(&[LoraTarget::W1, LoraTarget::W2]));
    let mut tensors = std::collections::BTreeMap::new();
    fused.each("", &mut |name, slot| {
        tensors.insert(name.to_owned(), slot.to_file());
    });
    apart.each("", &mut |name, mut slot| {
        if !is_lora(name) {
            return;
        }
        let whole = &tensors[&name.replace(".w1.", ".w12.").replace(".w2.", ".w12.")];
        let values = match (name.ends_with("lora_a"), name.contains(".w1.")) {
            (true, _) => whole.clone(),
            (false, true) => whole[..whole.len() / 2].to_vec(),
            (false, false) => whole[whole.len() / 2..].to_vec(),
        };
        slot.set_from_file(values, &Device::flex());
    });
    let (ours, expect) =
        [&mut fused, &mut apart].map(|n| values(n.logits(images(), Mode::Eval))).into();
    assert!(distance(&ours, &expect) < 1e-5);
}

#[test]
fn gradients_are_lora_s_and_the_decoder_s_only() {
    for arch in archs() {
        let config = LoraConfig { dropout: 0.1, ..lora(&[LoraTarget::All]) };
        let mut network = trained(arch, config);
        let logits = network.logits(images(), train(0));
        let gradients = logits.powf_scalar(2.0).sum().backward();
        let mut with = BTreeSet::new();
        network.each("", &mut |name, slot| {
            let gradient = slot.gradient_in_file_layout(&gradients);
            assert_eq!(gradient.is_some(), is_lora(name) || name.starts_with("decoder."), "{name}");
            if let Some(gradient) = gradient {
                assert!(gradient.iter().any(|g| *g != 0.0), "{name}");
                with.insert(name.to_owned());
            }
        });
        let n_targets = LoraTarget::of(&arch).len();
        assert_eq!(with.len(), 2 + 2 * n_targets * arch.depth);
    }
}

#[test]
fn no_graph_is_built_below_the_first_adapted_block() {
    for arch in archs() {
        let tracked = |tune: &TuneConfig| -> Vec<bool> {
            let network = network(arch, tune);
            let features = network.encoder().forward(images(), &[0, 1, 2], train(0));
            features.patches.iter().map(Tensor::is_tracked).collect()
        };
        assert_eq!(tracked(&TuneConfig::Frozen {}), [false; 3]);
        let blocks = |blocks| TuneConfig::Lora(LoraConfig { blocks, ..lora(&[LoraTarget::Q]) });
        assert_eq!(tracked(&blocks(Some([2, 2]))), [false, false, true]);
        assert_eq!(tracked(&blocks(Some([1, 1]))), [false, true, true]);
        assert_eq!(tracked(&blocks(None)), [true; 3]);
        assert_eq!(tracked(&TuneConfig::Full {}), [true; 3]);
        let merged = network(arch, &blocks(None)).merged();
        let features = merged.encoder().forward(images(), &[2], Mode::Eval);
        assert!(!features.patches[0].is_tracked());
    }
}

#[test]
fn a_block_range_adapts_those_blocks_only() {
    let [arch, ..] = archs();
    let config = LoraConfig { blocks: Some([1, 2]), ..lora(&[LoraTarget::Fc2]) };
    let mut names = vec![];
    network(arch, &TuneConfig::Lora(config)).each("", &mut |name, slot| {
        if slot.is_trained() && is_lora(name) {
            names.push(format!("{name} {:?}", slot.file_shape()));
        }
    });
    assert_eq!(
        names,
        [
            "encoder.blocks.1.mlp.fc2.lora_a [2, 24]",
            "encoder.blocks.1.mlp.fc2.lora_b [16, 2]",
            "encoder.blocks.2.mlp.fc2.lora_a [2, 24]",
            "encoder.blocks.2.mlp.fc2.lora_b [16, 2]",
        ]
    );
}

#[test]
fn dropout_acts_in_training_only_and_is_keyed_by_step() {
    for arch in archs() {
        let config = LoraConfig { dropout: 0.5, ..lora(&[LoraTarget::All]) };
        let mut dropping = trained(arch, config);
        let mut plain = trained(arch, lora(&[LoraTarget::All]));
        let expect = values(plain.logits(images(), Mode::Eval));
        assert_eq!(values(plain.logits(images(), train(0))), expect);
        assert_eq!(values(dropping.logits(images(), Mode::Eval)), expect);
        let first = values(dropping.logits(images(), train(0)));
        assert!(distance(&first, &expect) > 1e-3);
        assert_eq!(values(dropping.logits(images(), train(0))), first);
        assert!(distance(&values(dropping.logits(images(), train(1))), &first) > 1e-3);
    }
}

#[test]
fn scales_are_alpha_over_rank_or_its_root() {
    let scale = |alpha, scaling| {
        let rank = 16.try_into().unwrap();
        LoraConfig { alpha, scaling, ..LoraConfig::reference(rank) }.scale()
    };
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    close(scale(None, Scaling::Standard), 1.0);
    close(scale(Some(8.0), Scaling::Standard), 0.5);
    close(scale(Some(8.0), Scaling::Rslora), 2.0);
    close(scale(None, Scaling::Rslora), 4.0);
}

/// Checks full fine-tuning: positions are resized in the graph at every step, so a step sees what
/// the one before changed.
#[test]
fn trained_positions_reach_the_logits_without_being_told() {
    let [arch, ..] = archs();
    let mut network = network(arch, &TuneConfig::Full {});
    let before = values(network.logits(images(), Mode::Eval));
    network.each_changed(&mut |name, mut slot| {
        if name == "encoder.pos_embed" {
            let moved = slot.to_file().iter().map(|value| value * 3.0).collect();
            slot.set_from_file(moved, &Device::flex());
            slot.train();
        }
    });
    let after = values(network.logits(images(), Mode::Eval));
    assert!(distance(&before, &after) > 1e-3);
    // As constants they are what they were in the graph, whatever was asked for in between.
    let mut frozen = network.without_gradients();
    assert_eq!(values(frozen.logits(images(), Mode::Eval)), after);
    frozen.logits(Tensor::ones([1, 3, 16, 16], &Device::flex()), Mode::Eval);
    frozen.count();
    frozen.each("", &mut |_, _| {});
    assert_eq!(values(frozen.logits(images(), Mode::Eval)), after);
}

#[test]
fn positions_that_are_loaded_by_name_reach_the_logits_without_being_told() {
    for arch in archs() {
        let mut network = network(arch, &TuneConfig::Frozen {});
        let before = values(network.logits(images(), Mode::Eval));
        network.each("", &mut |name, mut slot| {
            if ["encoder.pos_embed", "encoder.rope_embed.periods"].contains(&name) {
                let moved = slot.to_file().iter().map(|value| value * 2.0 + 1.0).collect();
                slot.set_from_file(moved, &Device::flex());
            }
        });
        assert!(distance(&before, &values(network.logits(images(), Mode::Eval))) > 1e-4);
    }
}

#[test]
fn any_size_that_the_patch_divides_is_taken_and_layouts_are_few() {
    for arch in archs() {
        let mut network = network(arch, &TuneConfig::Frozen {});
        for rows in 1..=2 * LAYOUTS_MAX {
            let images = Tensor::ones([1, 3, rows * arch.patch, 3 * arch.patch], &Device::flex());
            assert_eq!(network.logits(images.clone(), Mode::Eval).dims(), [1, 3, rows, 3]);
            assert!(network.layouts.len() <= LAYOUTS_MAX);
            let kept = values(network.logits(images.clone(), Mode::Eval));
            network.layouts.clear();
            assert_eq!(values(network.logits(images, Mode::Eval)), kept);
        }
    }
}

#[test]
#[should_panic(expected = "multiples of the patch")]
fn a_side_that_the_patch_does_not_divide_is_a_bug() {
    let [arch, ..] = archs();
    let images = Tensor::ones([1, 3, arch.patch, arch.patch + 1], &Device::flex());
    network(arch, &TuneConfig::Frozen {}).logits(images, Mode::Eval);
}
