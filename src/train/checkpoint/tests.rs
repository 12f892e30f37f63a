//! Tests of adapter files of runs: their content, and that older ones can still be read.

use serde_json::json;

use super::*;
use crate::adapter::{AdapterFile, EncoderInfo, Normalise};
use crate::model::decoder::linear;
use crate::model::network::Parts;
use crate::model::params::Params;
use crate::model::vit::Encoder;
use crate::model::{DecoderConfig, LoraConfig, TuneConfig, backbone, init};

const PX: [usize; 2] = [28, 28];

fn tiny() -> &'static backbone::Variant {
    backbone::variants().find(|variant| variant.name == "dinov2_tiny14").unwrap()
}

fn encoder() -> Encoder {
    let mut encoder = Encoder::zeros(tiny().arch, &burn::tensor::Device::flex());
    init::encoder(&mut encoder, 0);
    encoder
}

fn tune() -> TuneConfig {
    TuneConfig::Lora(LoraConfig {
        alpha: Some(6.0),
        ..LoraConfig::reference(2.try_into().unwrap())
    })
}

fn network(seed: u64) -> Network {
    let (tune, decoder) = (tune(), DecoderConfig::Linear(linear::Config {}));
    let parts = Parts { tune: &tune, decoder: &decoder, n_classes: 3, seed };
    Network::new(encoder(), &parts)
}

fn about() -> About {
    About {
        sweep: None,
        encoder: EncoderInfo::of(tiny().name, &tiny().arch),
        tune: tune(),
        decoder: Some(DecoderConfig::Linear(linear::Config {})),
        n_classes: Some(3),
        class_names: None,
        input_px: Some(PX),
        normalise: Normalise::None {},
    }
}

fn changed(network: &mut Network) -> Vec<(String, Vec<f32>)> {
    let mut tensors = vec![];
    network.each_changed(&mut |name, slot| tensors.push((name.to_owned(), slot.to_file())));
    tensors
}

fn run() -> RunId {
    RunId::parse("0123456789abcdef").unwrap()
}

#[test]
fn an_adapter_can_be_built_from_its_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter.safetensors");
    let mut saved = network(1);
    save_adapter(&path, (&run(), 7), &about(), &mut saved).unwrap();
    let file = AdapterFile::open(&path).unwrap();
    assert_eq!((&file.about, file.run.clone(), file.step), (&about(), Some(run()), Some(7)));
    let mut built = file.build(encoder()).unwrap();
    assert_eq!(changed(&mut built), changed(&mut saved));
    let mut scales = vec![];
    built.each("", &mut |name, _| scales.extend(name.ends_with("lora_a").then_some(())));
    assert_eq!(scales.len(), 2 * tiny().arch.depth);
    let mut loaded = network(2);
    assert_ne!(changed(&mut loaded), changed(&mut saved));
    assert_eq!(load_adapter(&path, &run(), &mut loaded).unwrap().step, 7);
    assert_eq!(changed(&mut loaded), changed(&mut saved));
    // Written twice, the same bytes: the header holds nothing of the moment.
    let again = folder.path().join("again.safetensors");
    save_adapter(&again, (&run(), 7), &about(), &mut saved).unwrap();
    assert_eq!(fs_err::read(&path).unwrap(), fs_err::read(&again).unwrap());
}

#[test]
fn adapters_of_version_1_load_for_their_run_and_say_what_they_lack_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter.safetensors");
    let mut saved = network(1);
    save_adapter(&path, (&run(), 7), &about(), &mut saved).unwrap();
    let bytes = fs_err::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    // The metadata as version 1 wrote it.
    let header = r#"{"version":1,"run":"0123456789abcdef","step":7,"position":null,"adam_time":0}"#;
    let metadata = HashMap::from([("sweep".to_owned(), header.to_owned())]);
    let old = safetensors::serialize(file.tensors(), Some(metadata)).unwrap();
    write(&path, &old).unwrap();
    let mut loaded = network(2);
    assert_eq!(load_adapter(&path, &run(), &mut loaded).unwrap().step, 7);
    assert_eq!(changed(&mut loaded), changed(&mut saved));
    let text = AdapterFile::open(&path).unwrap_err().to_string();
    assert!(text.contains("only the run that wrote it"), "{text}");
    let newer = header.replace("\"version\":1", "\"version\":3");
    let metadata = HashMap::from([("sweep".to_owned(), newer)]);
    write(&path, &safetensors::serialize(file.tensors(), Some(metadata)).unwrap()).unwrap();
    let text = load_adapter(&path, &run(), &mut loaded).unwrap_err().to_string();
    assert!(text.contains("newer sweep (version 3)"), "{text}");
}

#[test]
fn what_an_adapter_is_made_of_is_written_like_this() {
    let text = serde_json::to_value(about()).unwrap();
    let expect = json!({
        "sweep": null,
        "encoder": {
            "name": "dinov2_tiny14", "dino_type": "dinov2", "patch": 14, "dim": 64, "depth": 4, "heads": 4, "hidden": 256,
            "registers": 0, "weights_sha256": null
        },
        "tune": {
            "kind": "lora", "rank": 2, "alpha": 6.0, "targets": ["q", "v"]
        },
        "decoder": { "kind": "linear" },
        "n_classes": 3,
        "class_names": null,
        "input_px": [28, 28],
        "normalise": { "kind": "none" }
    });
    assert_eq!(text, expect);
}

#[test]
fn values_that_are_not_finite_are_neither_written_nor_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter.safetensors");
    let mut network = self::network(1);
    save_adapter(&path, (&run(), 7), &about(), &mut network).unwrap();
    // As an earlier version would have written it.
    let bytes = fs_err::read(&path).unwrap();
    let mut damaged = bytes.clone();
    let end = damaged.len();
    damaged[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    damaged[end - 8..end - 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    write(&path, &damaged).unwrap();
    let expect = "lora_b (1 NaN and 1 infinite of 128 values)";
    let text = load_adapter(&path, &run(), &mut network).unwrap_err().to_string();
    assert!(text.contains("training diverged") && text.contains(expect), "{text}");
    let text = AdapterFile::open(&path).unwrap_err().to_string();
    assert!(text.contains(expect), "{text}");
    let device = network.device();
    network.each_changed(&mut |name, mut slot| {
        if name.ends_with("classifier.bias") {
            slot.set_from_file(vec![f32::NAN, 0.0, 1.0], &device);
            slot.train();
        }
    });
    let at = (&run(), 7);
    let text = save_adapter(&path, at, &about(), &mut network).unwrap_err().to_string();
    assert!(text.contains("classifier.bias (1 NaN and 0 infinite of 3 values)"), "{text}");
    assert_eq!(fs_err::read(&path).unwrap(), damaged);
}
