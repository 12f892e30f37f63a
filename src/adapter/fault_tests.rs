//! Adapter files that are incomplete, not finite, or not for the encoder that they name: each is
//! refused on opening, whatever the format and the verb.

use std::path::Path;

use serde_json::json;

use super::stored::{self, Stored};
use super::tests::{data, lora, made, said};
use super::torch::{self, As};
use super::*;
use crate::fs::write_atomic;
use crate::model::backbone;
use crate::model::config::LoraTarget;
use crate::model::decoder::{fpn, fpn_reference, linear};
use crate::model::network::tests::{archs, encoder};
use crate::model::vit::Arch;

fn stored(shape: &[usize]) -> Stored {
    let n = shape.iter().product();
    Stored { shape: shape.to_vec(), values: (0..n).map(|i| i as f32 / 8.0).collect() }
}

/// The architecture with the four blocks that a feature pyramid reads.
fn deep_enough(arch: Arch) -> Arch {
    Arch { depth: 4, ..arch }
}

/// The result of opening `adapter` after it was written in our format.
fn of_sweep(adapter: &AdapterFile) -> Result<AdapterFile, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    adapter.write(Kind::Sweep, &path).unwrap();
    AdapterFile::open(&path)
}

fn of_torch(entries: &[(&str, &Stored)]) -> Result<AdapterFile, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pt");
    let entries: Vec<_> =
        entries.iter().map(|(name, s)| ((*name).to_owned(), As::Parameter, *s)).collect();
    write_atomic(&path, &torch::encode(&entries).unwrap()).unwrap();
    AdapterFile::open(&path)
}

/// The tensors of a PEFT adapter of q and v, rank 2, for some blocks of an encoder of `dim`
/// channels.
fn peft_tensors(dim: usize, blocks: usize) -> Tensors {
    let mut tensors = Tensors::new();
    for block in 0..blocks {
        for module in ["query", "value"] {
            let layer = format!("encoder.layer.{block}.attention.attention.{module}");
            let name = |letter| format!("base_model.model.{layer}.lora_{letter}.weight");
            tensors.insert(name("A"), self::stored(&[2, dim]));
            tensors.insert(name("B"), self::stored(&[dim, 2]));
        }
    }
    tensors
}

fn write_peft(folder: &Path, tensors: &Tensors, settings: &serde_json::Value) {
    let named = tensors.iter().map(|(name, stored)| (name.clone(), stored));
    let bytes = stored::to_safetensors(named, ("format", "pt".to_owned()));
    write_atomic(&folder.join("adapter_model.safetensors"), &bytes).unwrap();
    let mut config = json!({ "peft_type": "LORA", "r": 2, "lora_alpha": 4 });
    for (key, value) in settings.as_object().unwrap() {
        config[key] = value.clone();
    }
    write_atomic(&folder.join("adapter_config.json"), config.to_string().as_bytes()).unwrap();
}

fn of_peft(tensors: &Tensors, settings: &serde_json::Value) -> Result<AdapterFile, Error> {
    let folder = tempfile::tempdir().unwrap();
    write_peft(folder.path(), tensors, settings);
    AdapterFile::open(folder.path())
}

#[test]
fn a_file_that_lacks_one_matrix_is_refused_on_opening() {
    let [arch, ..] = archs();
    let tunes = [TuneConfig::Lora(lora(&[LoraTarget::All])), TuneConfig::Full {}];
    for (tune, lacks) in tunes.into_iter().zip(["attn.proj.lora_b", "mlp.fc2.weight"]) {
        let mut file = made(arch, tune, DecoderConfig::Linear(linear::Config {}));
        assert!(of_sweep(&file).is_ok());
        let name = format!("encoder.blocks.1.{lacks}");
        file.tensors.remove(&name).unwrap();
        let text = said(of_sweep(&file));
        let expect = format!("differs from its own description in 1 tensor: {name} is missing");
        assert!(text.ends_with(&expect), "{text}");
    }
    let fpn = DecoderConfig::Fpn(fpn::Config { channels: 8 });
    let mut file = made(deep_enough(arch), TuneConfig::Frozen {}, fpn);
    assert!(of_sweep(&file).is_ok());
    file.tensors.remove("decoder.stages.1.norm.running_var").unwrap_or_else(|| {
        let names: Vec<_> = file.tensors.keys().collect();
        panic!("{names:?}")
    });
    assert!(said(of_sweep(&file)).contains("running_var is missing"));

    let (a, b, weight, bias) = (
        self::stored(&[2, 16]),
        self::stored(&[16, 2]),
        self::stored(&[5, 16, 1, 1]),
        self::stored(&[5]),
    );
    let mut entries = vec![("w_a_000", &a), ("w_b_000", &b), ("w_a_001", &a), ("w_b_001", &b)];
    entries.extend([("classifier.weight", &weight), ("classifier.bias", &bias)]);
    assert!(of_torch(&entries).is_ok());
    for (i, expect) in ["w_b_001", "w_b_000", "w_b_001"].into_iter().enumerate() {
        let mut fewer = entries.clone();
        // Without one B; without an A, of which there must be two a block.
        let lacks = ["w_b_001", "w_b_000", "w_a_001"][i];
        fewer.retain(|(name, _)| *name != lacks);
        let text = said(of_torch(&fewer));
        assert!(text.contains(expect) || text.contains("not two for each block"), "{text}");
    }
    entries.pop();
    assert!(said(of_torch(&entries)).contains("decoder.classifier.bias is missing"));

    let mut tensors = peft_tensors(16, 3);
    assert!(of_peft(&tensors, &json!({})).is_ok());
    let lacks = "base_model.model.encoder.layer.1.attention.attention.value.lora_B.weight";
    tensors.remove(lacks).unwrap();
    assert!(said(of_peft(&tensors, &json!({}))).ends_with(&format!("tensor {lacks} is missing")));
}

#[test]
fn a_file_whose_tensors_are_not_of_the_base_it_names_is_refused_on_opening() {
    let base = |id: &str| json!({ "base_model_name_or_path": id });
    let small = peft_tensors(384, 12);
    assert_eq!(
        of_peft(&small, &base("facebook/dinov2-small")).unwrap().about.encoder.name.as_deref(),
        Some("dinov2_vits14")
    );
    // Not a name of the tables: what the tensors show is all that is known.
    assert!(of_peft(&small, &base("runs/best")).unwrap().about.encoder.name.is_none());
    let text = said(of_peft(&small, &base("facebook/dinov2-base")));
    let expect = "does not fit dinov2_vitb14 (ViT-B/14), which it names, in 48 tensors: \
                  encoder.blocks.0.attn.q.lora_a is [2, 384], not [2, 768]";
    assert!(text.contains(expect), "{text}");
    let text = said(of_peft(&small, &base("facebook/dinov3-vits16-pretrain-lvd1689m")));
    assert!(text.contains("which is a DINOv3; its tensors are named after DINOv2"), "{text}");
    let text = said(of_peft(&peft_tensors(384, 11), &base("facebook/dinov2-small")));
    assert!(text.contains("encoder.blocks.11.attn.q.lora_a is missing"), "{text}");
    let blocks = json!({ "layers_to_transform": [0, 2] });
    let text = said(of_peft(&peft_tensors(384, 3), &blocks));
    assert!(text.contains("blocks {0, 2} are adapted, the tensors are of 0 to 2"), "{text}");

    let [arch, ..] = archs();
    let mut file = made(
        arch,
        TuneConfig::Lora(lora(&[LoraTarget::Q])),
        DecoderConfig::Linear(linear::Config {}),
    );
    let row = backbone::variants().find(|row| row.name == "dinov2_vits14").unwrap();
    file.about.encoder.name = Some(row.name.to_owned());
    let text = said(of_sweep(&file));
    let expect = "names dinov2_vits14 (ViT-S/14) as its encoder, whose dim is 384, and says that it \
                  is 16";
    assert!(text.contains(expect), "{text}");
    file.about.encoder = EncoderInfo::of(row.name, &row.arch);
    let text = said(of_sweep(&file));
    assert!(text.contains("does not fit dinov2_vits14 (ViT-S/14), which it names, in"), "{text}");
    file.about.encoder.dino_type = Some(DinoType::Dinov3);
    assert!(said(of_sweep(&file)).contains("says that it is a DINOv3"));
}

#[test]
fn sizes_that_are_made_up_allocate_nothing() {
    let [arch, ..] = archs();
    let check = |change: &dyn Fn(&mut AdapterFile), expect: &str| {
        let tune = TuneConfig::Lora(lora(&[LoraTarget::Q]));
        let fpn = DecoderConfig::Fpn(fpn::Config { channels: 8 });
        let mut file = made(deep_enough(arch), tune, fpn);
        change(&mut file);
        let text = said(of_sweep(&file));
        assert!(text.contains(expect), "{text}");
    };
    check(&|f| f.about.n_classes = Some(usize::MAX), "says that its decoder has");
    check(&|f| f.about.encoder.dim = Some(1 << 40), "says that its decoder has");
    check(&|f| f.about.encoder.depth = Some(1 << 40), "are adapted, and has");
    check(
        &|f| {
            f.about.decoder =
                Some(DecoderConfig::FpnReference(fpn_reference::Config { channels: u32::MAX }));
        },
        "says that its decoder has",
    );
    check(&|f| f.about.class_names = Some(vec![]), "has a decoder for 3 classes, and names 0");
}

#[test]
fn values_that_are_not_finite_are_named_in_every_format() {
    let spoiled = |shape: &[usize]| {
        let mut stored = self::stored(shape);
        stored.values[1] = f32::NAN;
        stored.values[2] = f32::INFINITY;
        stored
    };
    let expect = |name: &str| format!("{name} (1 NaN and 1 infinite of ");
    let [arch, ..] = archs();
    let mut file = made(
        arch,
        TuneConfig::Lora(lora(&[LoraTarget::V])),
        DecoderConfig::Linear(linear::Config {}),
    );
    let name = "encoder.blocks.2.attn.v.lora_b";
    file.tensors.insert(name.to_owned(), spoiled(&[16, 2]));
    let text = said(of_sweep(&file));
    assert!(text.contains(&expect(name)), "{text}");

    let (a, b, bias) = (self::stored(&[2, 16]), spoiled(&[16, 2]), self::stored(&[5]));
    let weight = spoiled(&[5, 16, 1, 1]);
    let entries = [("w_a_000", &a), ("w_b_000", &b), ("w_a_001", &a), ("w_b_001", &a)];
    let decoder = [("classifier.weight", &weight), ("classifier.bias", &bias)];
    let text = said(of_torch(&[entries.as_slice(), &decoder].concat()));
    assert!(text.contains("2 tensors with values that are not finite"), "{text}");
    assert!(
        text.contains(&expect("classifier.weight")) && text.contains(&expect("w_b_000")),
        "{text}"
    );

    let mut tensors = peft_tensors(16, 2);
    let name = "base_model.model.encoder.layer.1.attention.attention.query.lora_A.weight";
    tensors.insert(name.to_owned(), spoiled(&[2, 16]));
    let text = said(of_peft(&tensors, &json!({})));
    assert!(text.contains(&expect(name)), "{text}");
}

#[test]
fn an_encoder_that_differs_in_anything_is_another() {
    let [arch, ..] = archs();
    let mut file = made(
        arch,
        TuneConfig::Lora(lora(&[LoraTarget::Q])),
        DecoderConfig::Linear(linear::Config {}),
    );
    file.about.encoder = EncoderInfo { name: None, ..EncoderInfo::of("", &arch) };
    assert!(file.adapt(encoder(arch)).is_ok());
    let other = Arch { registers: arch.registers + 1, ..arch };
    let text = said(file.adapt(encoder(other)));
    assert!(text.contains("whose number of registers is"), "{text}");
    let other = Arch { heads: 2 * arch.heads, ..arch };
    let text = said(file.adapt(encoder(other)));
    assert!(text.contains("whose number of heads is"), "{text}");
}

#[test]
fn modules_of_another_model_are_none_of_a_dino() {
    let named = |before: &str| {
        let tensors = peft_tensors(16, 1).into_iter();
        let named =
            |name: String| name.replace("model.encoder.", &format!("model.{before}encoder."));
        tensors.map(|(name, stored)| (named(name), stored)).collect::<Tensors>()
    };
    assert!(of_peft(&named("dinov2."), &json!({})).is_ok());
    let text = said(of_peft(&named("vit."), &json!({})));
    assert!(
        text.contains("base_model.model.vit.") && text.contains("to no layer of DINOv2"),
        "{text}"
    );
    let mut twice = named("");
    twice.extend(named("dinov2."));
    assert!(said(of_peft(&twice, &json!({}))).contains("belong to the same layer"));
}

#[test]
fn folders_that_are_no_adapters_say_what_they_are() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    let open = || said(AdapterFile::open(folder));
    let put = |name: &str, content: &str| fs_err::write(folder.join(name), content).unwrap();
    assert!(
        open().ends_with("it lacks adapter_config.json and adapter_model.safetensors; it is empty")
    );
    put("model.safetensors", "x");
    assert!(open().contains("the weights of a whole model (model.safetensors)"), "{}", open());
    put("adapter_model.bin", "x");
    assert!(open().contains("it lacks adapter_config.json, without which rank and scale"));
    put("adapter_config.json", "{}");
    assert!(open().contains("in adapter_model.bin, a pickle, which is not read"), "{}", open());
    assert!(open().contains("safe_serialization=True"));
    for name in ["adapter_model.bin", "adapter_config.json"] {
        assert_eq!(said(AdapterFile::open(&folder.join(name))), open());
    }
    write_peft(folder, &peft_tensors(16, 1), &json!({}));
    assert!(AdapterFile::open(folder).is_ok());
    put("adapter_config.json", "version https://git-lfs.github.com/spec/v1\n");
    assert!(open().contains("git lfs pull"), "{}", open());
    put("adapter_config.json", "{\"peft_type\":");
    assert!(open().contains("a broken adapter_config.json, or cut short"), "{}", open());
    write_peft(folder, &peft_tensors(16, 1), &json!({}));
    for (content, expect) in [
        ("", "it is empty"),
        ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("<!DOCTYPE html><html>", "HTML page"),
    ] {
        put("adapter_model.safetensors", content);
        assert!(open().contains(expect), "{}", open());
    }
    let whole = fs_err::read(data("v2_reg/adapter_linear.pt")).unwrap();
    fs_err::write(folder.join("cut.pt"), &whole[..whole.len() / 2]).unwrap();
    let text = said(AdapterFile::open(&folder.join("cut.pt")));
    assert!(text.contains("cut short: its end is missing"), "{text}");
    let text = said(AdapterFile::open(&folder.join("none.pt")));
    assert!(text.contains("no such file or folder; beside it are `adapter_model.bin`"), "{text}");
    // PEFT saves an adapter with a name of its own into a folder of that name.
    let outer = tempfile::tempdir().unwrap();
    let inner = outer.path().join("mine");
    fs_err::create_dir_all(&inner).unwrap();
    write_peft(&inner, &peft_tensors(16, 1), &json!({}));
    assert!(said(AdapterFile::open(outer.path())).contains("its folder `mine` holds some"));
}
