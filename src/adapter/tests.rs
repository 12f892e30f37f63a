//! Files of all formats, written and read again, and files that must be refused.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};

use super::stored::Stored;
use super::torch::{self, As};
use super::*;
use crate::fs::write_atomic;
use crate::model::config::{LoraConfig, LoraTarget, Scaling};
use crate::model::decoder::{fpn_reference, linear, linear_bn};
use crate::model::network::Parts;
use crate::model::network::tests::{archs, encoder};
use crate::model::vit::{Arch, Encoder};
use crate::model::{Mode, Network, backbone};
use crate::rng;

const PX: [usize; 2] = [8, 12];

pub(super) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models").join(name)
}

fn stored(shape: &[usize], seed: u64) -> Stored {
    let mut rng = rng::keyed(seed, "values", &[]);
    let n = shape.iter().product();
    let values = (0..n).map(|_| rng::normal(&mut rng) as f32).collect();
    Stored { shape: shape.to_vec(), values }
}

/// An adapter in memory, as a run would have made it.
pub(super) fn made(arch: Arch, tune: TuneConfig, decoder: DecoderConfig) -> AdapterFile {
    let parts = Parts { tune: &tune, decoder: &decoder, n_classes: 3, seed: 1 };
    let mut network = Network::new(encoder(arch), &parts);
    let mut tensors = Tensors::new();
    network.each_changed(&mut |name, slot| {
        let seed = tensors.len() as u64;
        let shape = slot.file_shape();
        let is_count = name.ends_with("num_batches_tracked");
        let counted = Stored { shape: vec![1], values: vec![7.0] };
        tensors.insert(name.to_owned(), if is_count { counted } else { stored(&shape, seed) });
    });
    let sizes =
        EncoderInfo { dim: Some(arch.dim), depth: Some(arch.depth), ..EncoderInfo::default() };
    let about = About {
        sweep: Some("1.2.3".to_owned()),
        encoder: sizes,
        tune,
        decoder: Some(decoder),
        n_classes: Some(3),
        class_names: Some(["sky", "a \"b\"", "é"].map(str::to_owned).to_vec()),
        input_px: Some(PX),
        normalise: Normalise::MeanStd { mean: [0.485, 0.456, 0.406], std: [0.1, 0.2, 0.3] },
    };
    let run = RunId::parse("0123456789abcdef");
    let path = PathBuf::from("made");
    AdapterFile { path, kind: Kind::Sweep, about, run, step: Some(40), tensors }
}

pub(super) fn lora(targets: &[LoraTarget]) -> LoraConfig {
    let rank = 2.try_into().unwrap();
    LoraConfig { targets: targets.to_vec(), ..LoraConfig::reference(rank) }
}

fn bits(tensors: &Tensors) -> BTreeMap<&str, (&[usize], Vec<u32>)> {
    let bits = |stored: &Stored| stored.values.iter().map(|x| x.to_bits()).collect();
    tensors.iter().map(|(name, s)| (name.as_str(), (s.shape.as_slice(), bits(s)))).collect()
}

fn logits(network: &Network) -> Vec<f32> {
    let mut rng = rng::keyed(3, "images", &[]);
    let n = 3 * PX[0] * PX[1];
    let values: Vec<f32> = (0..n).map(|_| rng::normal(&mut rng) as f32).collect();
    let images = TensorData::new(values, [1, 3, PX[0], PX[1]]);
    let images = Tensor::from_data(images, &Device::flex());
    network.merged().logits(images, Mode::Eval).into_data().try_into_vec().unwrap()
}

pub(super) fn said<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn the_references_files_survive_every_way_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (other, back) = (folder.path().join("a.safetensors"), folder.path().join("b.pt"));
    for (name, dim, depth, n_classes) in [
        ("v2_reg/adapter_linear.pt", 30, 4, 6),
        ("v2_reg/adapter_fpn_small.pt", 30, 4, 6),
        ("v3_7b/adapter_linear.pt", 24, 4, 5),
    ] {
        let first = AdapterFile::open(&data(name)).unwrap();
        assert_eq!(first.kind, Kind::Reference);
        assert_eq!(first.normalise(), Normalise::None {});
        assert_eq!(first.lora(), Some(&LoraConfig::reference(3.try_into().unwrap())));
        let info = &first.about.encoder;
        assert_eq!((info.dim, info.depth), (Some(dim), Some(depth)), "{name}");
        assert_eq!(first.about.n_classes, Some(n_classes));
        assert_eq!(first.write(Kind::Sweep, &other).unwrap(), [""; 0]);
        let second = AdapterFile::open(&other).unwrap();
        assert_eq!(second.kind, Kind::Sweep);
        assert_eq!(second.about, first.about);
        assert_eq!(second.write(Kind::Reference, &back).unwrap(), [""; 0]);
        let third = AdapterFile::open(&back).unwrap();
        assert_eq!(third.about, first.about);
        assert_eq!(bits(&third.tensors), bits(&first.tensors), "{name}");
    }
    let fpn = AdapterFile::open(&data("v2_reg/adapter_fpn_small.pt")).unwrap();
    assert_eq!(
        fpn.decoder(),
        Some(&DecoderConfig::FpnReference(fpn_reference::Config { channels: 24 }))
    );
    let decoder_only = folder.path().join("c.pt");
    let (weight, bias) = (stored(&[5, 30, 1, 1], 0), stored(&[5], 1));
    let entries = [
        ("classifier.weight".to_owned(), As::Tensor, &weight),
        ("classifier.bias".to_owned(), As::Tensor, &bias),
    ];
    write_atomic(&decoder_only, &torch::encode(&entries).unwrap()).unwrap();
    let decoder_only = AdapterFile::open(&decoder_only).unwrap();
    assert_eq!(decoder_only.about.tune, TuneConfig::Frozen {});
    assert_eq!(decoder_only.about.n_classes, Some(5));
}

#[test]
fn a_built_network_has_the_files_tensors() {
    for arch in archs() {
        let tunes = [
            TuneConfig::Frozen {},
            TuneConfig::Full {},
            TuneConfig::Lora(lora(&[LoraTarget::All])),
            TuneConfig::Lora(LoraConfig {
                blocks: Some([1, 2]),
                alpha: Some(5.0),
                scaling: Scaling::Rslora,
                dropout: 0.25,
                ..lora(&[LoraTarget::K, LoraTarget::Proj])
            }),
        ];
        for tune in tunes {
            let file = made(arch, tune, DecoderConfig::Linear(linear::Config {}));
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.safetensors");
            file.write(Kind::Sweep, &path).unwrap();
            let read = AdapterFile::open(&path).unwrap();
            assert_eq!((&read.about, &read.run, read.step), (&file.about, &file.run, file.step));
            let mut network = read.build(encoder(arch)).unwrap();
            let mut seen = Tensors::new();
            network.each_changed(&mut |name, slot| {
                let (shape, values) = (slot.file_shape(), slot.to_file());
                seen.insert(name.to_owned(), Stored { shape, values });
            });
            assert_eq!(seen, file.tensors);
            let adapted = read.adapt(encoder(arch)).unwrap();
            check_encoder(adapted, &file);
        }
    }
}

/// Checks that the tensors of the file's encoder part are those of `encoder`.
fn check_encoder(mut encoder: Encoder, file: &AdapterFile) {
    use crate::model::params::Params;
    let mut n = 0;
    encoder.each("encoder.", &mut |name, slot| {
        if let Some(stored) = file.tensors.get(name) {
            assert_eq!(slot.to_file(), stored.values, "{name}");
            n += 1;
        }
    });
    assert_eq!(n, file.tensors.keys().filter(|name| name.starts_with("encoder.")).count());
}

#[test]
fn what_the_reference_cannot_hold_is_refused_with_the_reason() {
    let [arch, ..] = archs();
    let folder = tempfile::tempdir().unwrap();
    let refused = |tune: TuneConfig, decoder: DecoderConfig| {
        said(made(arch, tune, decoder).write(Kind::Reference, &folder.path().join("a.pt")))
    };
    let linear = DecoderConfig::Linear(linear::Config {});
    let tune = |config| TuneConfig::Lora(config);
    let text = refused(tune(lora(&[LoraTarget::Q, LoraTarget::K])), linear.clone());
    assert!(text.contains("LoRA on q and v only, and this adapter's is on q, k"), "{text}");
    let q_v = lora(&[LoraTarget::Q, LoraTarget::V]);
    let some = LoraConfig { blocks: Some([0, 1]), ..q_v.clone() };
    assert!(refused(tune(some), linear.clone()).contains("on all blocks only"));
    let some = LoraConfig { blocks: Some([1, 2]), ..q_v.clone() };
    assert!(refused(tune(some), linear.clone()).contains("on all blocks only"));
    assert!(refused(TuneConfig::Full {}, linear.clone()).contains("fine-tuned encoder"));
    let bn = DecoderConfig::LinearBn(linear_bn::Config { layers: 1, dropout: 0.1 });
    let text = refused(tune(q_v.clone()), bn);
    assert!(
        text.contains(
            "`linear` and `fpn_reference` only, and this adapter's is {\"kind\":\"linear_bn\""
        ),
        "{text}"
    );
    // A scale is expressible: it goes into B.
    let scaled = LoraConfig { alpha: Some(1.0), ..q_v };
    let file = made(arch, tune(scaled), linear);
    let path = folder.path().join("a.pt");
    let notes = file.write(Kind::Reference, &path).unwrap();
    assert!(notes[0].contains("the scale 0.5") && notes[1].contains("normalised"), "{notes:?}");
    let read = AdapterFile::open(&path).unwrap();
    let [ours, theirs] = [&file, &read].map(|file| logits(&file.build(encoder(arch)).unwrap()));
    assert_eq!(ours, theirs);
}

#[test]
fn peft_there_and_back_keeps_every_bit() {
    for arch in archs() {
        let (v2, gated) =
            (matches!(arch.position, crate::model::vit::Position::Learned { .. }), arch.ffn);
        let folder = tempfile::tempdir().unwrap();
        for (scaling, dropout, blocks) in
            [(Scaling::Standard, 0.0, None), (Scaling::Rslora, 0.1, Some([1, 2]))]
        {
            let config = LoraConfig { scaling, dropout, blocks, ..lora(&[LoraTarget::All]) };
            let mut file = made(
                arch,
                TuneConfig::Lora(config.clone()),
                DecoderConfig::Linear(linear::Config {}),
            );
            let notes = said(file.write(Kind::Peft, folder.path()));
            assert!(notes.contains("--backbone"), "{notes}");
            file.about.encoder.dino_type =
                Some(if v2 { DinoType::Dinov2 } else { DinoType::Dinov3 });
            let notes = file.write(Kind::Peft, folder.path()).unwrap();
            assert!(notes[0].contains("the decoder is left out"), "{notes:?}");
            let read = AdapterFile::open(folder.path()).unwrap();
            let file_of = AdapterFile::open(&folder.path().join("adapter_config.json")).unwrap();
            assert_eq!((read.kind, &read.about), (Kind::Peft, &file_of.about));
            let mut expect = file.tensors.clone();
            expect.retain(|name, _| name.starts_with("encoder."));
            assert_eq!(bits(&read.tensors), bits(&expect), "{gated:?}");
            let lora = read.lora().unwrap();
            assert_eq!(lora.targets, LoraTarget::of(&arch), "{gated:?}");
            assert_eq!((lora.blocks, lora.dropout, lora.scaling), (blocks, dropout, scaling));
            assert!((lora.scale() - config.scale()).abs() < 1e-12);
            check_encoder(read.adapt(encoder(arch)).unwrap(), &read);
            let text = said(read.build(encoder(arch)));
            assert!(text.contains("holds no decoder"), "{text}");
        }
    }
}

/// Writes a PEFT folder of q's LoRA in one block and opens it.
fn open_peft(module: &str, config: &str) -> Result<AdapterFile, Error> {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = ([0u8; 4 * 2 * 16], [1u8; 4 * 16 * 2]);
    let view = |bytes, shape| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, bytes).unwrap()
    };
    let tensors = [
        (format!("base_model.model.{module}.lora_A.weight"), view(&a, vec![2, 16])),
        (format!("base_model.model.{module}.lora_B.weight"), view(&b, vec![16, 2])),
    ];
    let bytes = safetensors::serialize(tensors, None).unwrap();
    write_atomic(&folder.path().join("adapter_model.safetensors"), &bytes).unwrap();
    write_atomic(&folder.path().join("adapter_config.json"), config.as_bytes()).unwrap();
    AdapterFile::open(folder.path())
}

#[test]
fn peft_files_of_others_are_read_or_refused_with_the_reason() {
    let config = |more: &str| {
        format!(
            "{{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"target_modules\": [\"x\"], \
             \"loftq_config\": {{}}{more}}}"
        )
    };
    for (module, name) in [
        ("encoder.layer.0.attention.attention.query", "attn.q"),
        ("dinov2.encoder.layer.0.attention.output.dense", "attn.proj"),
        ("layer.0.attention.o_proj", "attn.proj"),
        ("model.layer.0.mlp.gate_proj", "mlp.w1"),
    ] {
        let read = open_peft(module, &config("")).unwrap();
        let names: Vec<_> = read.tensors().map(|(name, _)| name.to_owned()).collect();
        let expect = ["a", "b"].map(|letter| format!("encoder.blocks.0.{name}.lora_{letter}"));
        assert_eq!(names, expect, "{module}");
        assert!((read.lora().unwrap().scale() - 2.0).abs() < 1e-12);
    }
    let q = "encoder.layer.0.attention.q_proj";
    let refused = |module: &str, more: &str| said(open_peft(module, &config(more)));
    assert!(refused(q, ", \"use_dora\": true").contains("sets use_dora to true"));
    assert!(refused(q, ", \"rank_pattern\": {\"q\": 3}").contains("sets rank_pattern to {"));
    assert!(refused(q, ", \"bias\": \"all\"").contains("sets bias to \"all\""));
    assert!(refused("encoder.layer.0.norm1", "").contains("to no layer of DINOv2 or DINOv3"));
    assert!(refused("encoder.layer.1.attention.q_proj", "").contains("block 0 is missing"));
    assert!(said(open_peft(q, "{\"r\": 2}")).contains("not describe a LoRA adapter"));
    assert!(said(open_peft(q, "[]")).contains("not describe a LoRA adapter"));
    let other_rank = config("").replace("\"r\": 2", "\"r\": 3");
    assert!(said(open_peft(q, &other_rank)).contains("says rank 3, the tensors have 2"));
}

#[test]
fn a_file_for_another_encoder_says_which() {
    let [arch, gated, ..] = archs();
    let file = made(
        arch,
        TuneConfig::Lora(lora(&[LoraTarget::Fc1])),
        DecoderConfig::Linear(linear::Config {}),
    );
    let text = said(file.build(encoder(Arch { depth: 2, ..arch })));
    assert!(
        text.ends_with(
            "is for an encoder of DINO (dim 16, 3 blocks); this DINOv2 encoder has dim 16 and 2 blocks"
        ),
        "{text}"
    );
    let text = said(file.build(encoder(gated)));
    assert!(
        text.contains("adapts the layer fc1; this encoder's blocks have q, k, v, proj, w"),
        "{text}"
    );
    // As the published ones: rank 1 here.
    let (a, b, c) = (stored(&[1, 1024], 0), stored(&[1024, 1], 1), stored(&[2, 1024, 1, 1], 2));
    let bias = stored(&[2], 3);
    let mut entries = vec![];
    for i in 0..48 {
        entries.push((format!("w_a_{i:03}"), As::Parameter, &a));
        entries.push((format!("w_b_{i:03}"), As::Parameter, &b));
    }
    entries.push(("classifier.weight".to_owned(), As::Tensor, &c));
    entries.push(("classifier.bias".to_owned(), As::Tensor, &bias));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.pt");
    write_atomic(&path, &torch::encode(&entries).unwrap()).unwrap();
    let mut large = AdapterFile::open(&path).unwrap();
    let text = said(large.build(encoder(arch)));
    for part in
        ["is for ViT-L", "ViT-L/14 or ViT-L/16", "(dim 1024, 24 blocks); this DINOv2 encoder"]
    {
        assert!(text.contains(part), "{text}");
    }
    let named = |name: &str| backbone::variants().find(|variant| variant.name == name).unwrap();
    let text = said(large.set_variant(named("dinov2_vitb14")));
    assert!(text.contains("ViT-L/14 or ViT-L/16"), "{text}");
    large.set_variant(named("dinov3_vitl16")).unwrap();
    let text = said(large.set_variant(named("dinov2_vitl14")));
    assert!(text.contains("is for ViT-L/16 (dim 1024, 24 blocks); this DINOv2"), "{text}");
    let text = said(large.set_variant(named("dinov3_vitl16_sat493m")));
    assert!(text.ends_with("is for dinov3_vitl16, not for dinov3_vitl16_sat493m"), "{text}");
    assert_eq!(large.write(Kind::Peft, &folder.path().join("peft")).unwrap().len(), 1);
    let peft = AdapterFile::open(&folder.path().join("peft")).unwrap();
    assert_eq!(peft.about.encoder.name.as_deref(), Some("dinov3_vitl16"));
}

#[test]
fn files_that_are_cut_short_or_no_adapters_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter.pt");
    let open = |bytes: &[u8]| {
        write_atomic(&path, bytes).unwrap();
        said(AdapterFile::open(&path))
    };
    assert!(open(b"").contains("it is empty"));
    assert!(open(b"<!DOCTYPE html><html>").contains("HTML page"));
    assert!(open(b"nonsense").contains("cut short"));
    let whole = fs_err::read(data("v2_reg/adapter_linear.pt")).unwrap();
    for cut in (1..whole.len()).step_by(97) {
        open(&whole[..cut]);
    }
    let [arch, ..] = archs();
    let sweep_path = folder.path().join("a.safetensors");
    let file = made(arch, TuneConfig::Frozen {}, DecoderConfig::Linear(linear::Config {}));
    file.write(Kind::Sweep, &sweep_path).unwrap();
    let whole = fs_err::read(&sweep_path).unwrap();
    for cut in (1..whole.len()).step_by(53) {
        open(&whole[..cut]);
    }
    let text = String::from_utf8_lossy(&whole).into_owned();
    assert!(text.contains("\\\"version\\\":2"), "{text}");
    let newer: Vec<u8> = replaced(&whole, b"\\\"version\\\":2", b"\\\"version\\\":9");
    assert!(open(&newer).contains("newer sweep (version 9)"));
    let foreign =
        safetensors::serialize(Vec::<(&str, safetensors::tensor::TensorView<'_>)>::new(), None);
    assert!(open(&foreign.unwrap()).contains("not written by sweep"));
    let missing = AdapterFile::open(&folder.path().join("absent.pt"));
    assert!(matches!(missing, Err(Error::Absent { .. })));
}

#[test]
fn changed_bytes_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let sweep_path = folder.path().join("a.safetensors");
    AdapterFile::open(&data("v2_reg/adapter_linear.pt"))
        .unwrap()
        .write(Kind::Sweep, &sweep_path)
        .unwrap();
    let mut rng = rng::keyed(0, "bytes", &[]);
    let mut refused = 0;
    for path in [data("v2_reg/adapter_linear.pt"), sweep_path] {
        let whole = fs_err::read(&path).unwrap();
        // Where the pickle and the header are, values matter less.
        for at in (0..2000).chain(whole.len().saturating_sub(1500)..whole.len()).step_by(7) {
            let mut bytes = whole.clone();
            bytes[at] = rng::below(&mut rng, 256) as u8;
            let path = folder.path().join("changed");
            fs_err::write(&path, &bytes).unwrap();
            refused += u32::from(AdapterFile::open(&path).is_err());
        }
    }
    assert!(refused > 300, "{refused}");
}

/// The bytes with `from` replaced by `to`; both have one length.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    let mut bytes = bytes.to_vec();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

#[test]
fn tensors_that_are_missing_or_left_over_are_named() {
    let [arch, ..] = archs();
    let whole = made(
        arch,
        TuneConfig::Lora(lora(&[LoraTarget::V])),
        DecoderConfig::Linear(linear::Config {}),
    );
    let check = |change: &dyn Fn(&mut Tensors), expect: &str| {
        let mut file = whole.clone();
        change(&mut file.tensors);
        let text = said(file.build(encoder(arch)));
        assert!(text.contains(expect), "{text}");
    };
    check(&|t| drop(t.remove("decoder.classifier.bias")), "decoder.classifier.bias is missing");
    check(
        &|t| drop(t.insert("encoder.norm.weight".to_owned(), stored(&[16], 0))),
        "encoder.norm.weight is unexpected",
    );
    check(
        &|t| drop(t.insert("encoder.blocks.0.attn.v.lora_a".to_owned(), stored(&[3, 16], 0))),
        "encoder.blocks.0.attn.v.lora_a is [3, 16], not [2, 16]",
    );
}

#[test]
fn reference_files_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter.pt");
    let (a, b) = (stored(&[2, 16], 0), stored(&[16, 2], 1));
    let (weight, bias) = (stored(&[5, 16, 1, 1], 0), stored(&[5], 1));
    let other = stored(&[3, 16], 2);
    let refused = |entries: &[(&str, &Stored)]| {
        let entries: Vec<_> =
            entries.iter().map(|(name, s)| ((*name).to_owned(), As::Parameter, *s)).collect();
        write_atomic(&path, &torch::encode(&entries).unwrap()).unwrap();
        said(AdapterFile::open(&path))
    };
    assert!(refused(&[("w_a_000", &a), ("w_b_000", &b)]).contains("not two for each block"));
    let two = [("w_a_000", &a), ("w_b_000", &b), ("w_a_002", &a), ("w_b_002", &b)];
    assert!(refused(&two).contains("w_a_001 is missing"));
    let two = [("w_a_000", &a), ("w_b_000", &b), ("w_a_001", &other), ("w_b_001", &b)];
    assert!(refused(&two).contains("w_a_001 has another rank"));
    let two = [("w_a_000", &a), ("w_b_000", &b), ("w_a_001", &a), ("w_b_001", &b)];
    assert!(refused(&two).contains("no decoder of the reference project"));
    assert!(refused(&[("fc.weight", &a)]).contains("it has: fc.weight"));
    let read =
        refused(&[("w_a_000", &a), ("classifier.weight", &weight), ("classifier.bias", &bias)]);
    assert!(read.contains("not two for each block"), "{read}");
}
