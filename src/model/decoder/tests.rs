use serde_json::json;

use super::*;
use crate::kernel::classes;
use crate::kernel::dropout::Draw;
use crate::model::params::is_buffer;

const DIM: usize = 16;
const SIZES: Sizes = Sizes { dim: DIM, n_classes: 3 };

/// The configs of every kind with its defaults.
fn configs() -> Vec<DecoderConfig> {
    let parsed = |kind: &&str| serde_json::from_value(json!({ "kind": kind })).unwrap();
    DecoderConfig::KINDS.iter().map(parsed).collect()
}

#[test]
fn kinds_are_those_of_specs() {
    for (config, kind) in configs().iter().zip(DecoderConfig::KINDS) {
        assert_eq!(config.kind(), *kind);
        assert_eq!(serde_json::to_value(config).unwrap()["kind"], *kind);
    }
    let labels: std::collections::BTreeSet<_> =
        configs().iter().map(DecoderConfig::label).collect();
    assert_eq!(labels.len(), DecoderConfig::KINDS.len(), "a table tells decoders apart");
}

/// Checks decoder configs as specs and adapter files of earlier versions have them.
#[test]
fn json_is_as_it_was() {
    let same = |text: &str| {
        let config: DecoderConfig = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&config).unwrap(), text);
        config
    };
    same(r#"{"kind":"linear"}"#);
    same(r#"{"kind":"linear_bn","layers":4,"dropout":0.25}"#);
    same(r#"{"kind":"fpn","channels":128}"#);
    let config = same(r#"{"kind":"fpn_reference","channels":24}"#);
    assert_eq!(config, DecoderConfig::FpnReference(fpn_reference::Config { channels: 24 }));
    let refused = |text: &str| serde_json::from_str::<DecoderConfig>(text).unwrap_err().to_string();
    assert!(refused(r#"{"kind":"linear","channels":8}"#).starts_with("unknown field `channels`"));
    assert!(refused(r#"{"kind":"mask"}"#).contains("expected one of `linear`, `linear_bn`"));
}

#[test]
fn every_decoder_learns_and_gives_logits() {
    for config in configs() {
        let mut decoder = Decoder::new(&config, SIZES, 0, &Device::flex());
        decoder.each("", &mut |name, mut slot| {
            if !is_buffer(name) {
                slot.train();
            }
        });
        let n_layers = config.layers();
        assert!(config.check_depth(n_layers).is_ok(), "{config:?}");
        assert!(config.check_depth(n_layers - 1).is_err(), "{config:?}");
        assert_eq!(config.blocks_in(n_layers + 1).first(), Some(&1), "{config:?}");
        let side = config.grid_min().map_or(2, |min| min.side);
        let features = check::features(n_layers, [side, side + 1], DIM);
        let mode = Mode::Train(Draw { seed: 0, step: 0 });
        let output = decoder.forward(&features, mode);
        let labels = (0..2 * 20 * 30).map(|i| [0, 1, 2, 255][i % 4]).collect();
        let labels = classes::tensor(labels, [2, 20, 30], &Device::flex());
        let loss = decoder.loss(output.clone(), labels);
        let gradients = loss.backward();
        assert!((loss.into_scalar::<f64>() - 3f64.ln()).abs() < 1.0, "{config:?}");
        decoder.each("", &mut |name, slot| {
            if !is_buffer(name) {
                let gradient = slot.gradient_in_file_layout(&gradients).unwrap();
                assert!(gradient.iter().all(|g| g.is_finite()), "{config:?} {name}");
            }
        });
        let [batch, n_classes, rows, columns] = decoder.predict(output).dims();
        assert_eq!([batch, n_classes], [2, 3], "{config:?}");
        assert!(rows * columns >= 16.min(side * (side + 1)), "{config:?}");
        let output = decoder.forward(&features, Mode::Eval);
        assert_eq!(decoder.predict(output).dims(), [2, 3, rows, columns], "{config:?}");
    }
}

#[test]
fn one_value_a_channel_is_refused_by_what_normalises_batches() {
    let refused = |n, grid| {
        let refuses = |config: &DecoderConfig| config.check_batch(n, grid).is_err();
        let kinds = configs().into_iter().filter(refuses).map(|config| config.kind());
        kinds.collect::<Vec<_>>()
    };
    assert_eq!(refused(1, [1, 1]), ["linear_bn", "fpn"]);
    assert!(refused(2, [1, 1]).is_empty() && refused(1, [1, 2]).is_empty());
}

#[test]
fn files_of_the_reference_project_show_their_decoder() {
    let find = |shapes: &[(&str, &'static [usize])]| {
        DecoderConfig::of_reference(&|name| {
            shapes.iter().find(|(named, _)| *named == name).map(|(_, shape)| *shape)
        })
    };
    let linear = find(&[("classifier.weight", &[21, 384, 1, 1])]).unwrap();
    assert_eq!((linear.config.kind(), linear.n_classes, linear.dim), ("linear", 21, 384));
    let fpn = find(&[("conv1.0.weight", &[128, 384, 3, 3]), ("conv5.0.weight", &[21, 21, 3, 3])]);
    let fpn = fpn.unwrap();
    assert_eq!((fpn.config.kind(), fpn.n_classes, fpn.dim), ("fpn_reference", 21, 384));
    assert_eq!(find(&[("norm.weight", &[384])]), None);
    let expect = [("linear", "classifier.weight"), ("fpn_reference", "conv1.0.weight")];
    assert_eq!(DecoderConfig::in_reference(), expect);
}
