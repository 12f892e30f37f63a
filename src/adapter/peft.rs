//! PEFT's layout: a folder with `adapter_config.json` and `adapter_model.safetensors`, whose tensors
//! are named after the modules of Hugging Face's models; LoRA only.
//!
//! Written are the module names of transformers 5; those of transformers 4 are read too. There are
//! no fused SwiGLU gates in transformers 5: an update of both is written as two with one A, and two
//! with one A are read as an update of both.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::path::Path;

use bytemuck::cast_slice;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{About, AdapterFile, EncoderInfo, Error, Kind, Normalise, Stored, Tensors, sweep};
use crate::fs::write_atomic;
use crate::model::backbone::{self, Variant};
use crate::model::config::{DinoType, LoraConfig, LoraTarget, Scaling, TuneConfig};

const FORMAT: &str = "PEFT's layout";
const CONFIG: &str = "adapter_config.json";
const MODEL: &str = "adapter_model.safetensors";
const PREFIX: &str = "base_model.model.";

/// What decides numbers in `adapter_config.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Config {
    peft_type: String,
    #[serde(default)]
    task_type: Option<String>,
    #[serde(default)]
    base_model_name_or_path: Option<String>,
    r: NonZeroU32,
    lora_alpha: f64,
    #[serde(default)]
    lora_dropout: f64,
    #[serde(default)]
    use_rslora: bool,
    target_modules: Value,
    #[serde(default)]
    layers_to_transform: Option<Value>,
    #[serde(default)]
    layers_pattern: Option<Value>,
    #[serde(default = "none")]
    bias: String,
    #[serde(default)]
    inference_mode: bool,
}

/// Settings of PEFT that change what LoRA computes, and are not built here.
const REFUSED: &[&str] = &[
    "alpha_pattern",
    "fan_in_fan_out",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
];

fn none() -> String {
    "none".to_owned()
}

pub(super) fn read(folder: &Path) -> Result<AdapterFile, Error> {
    let format = |reason: String| Error::Format { path: folder.to_owned(), reason };
    let read = |name: &str| {
        let path = folder.join(name);
        fs_err::read(&path).map_err(|source| Error::Read { path, source })
    };
    let other = |error: serde_json::Error| format(format!("{CONFIG} is no LoRA's: {error}"));
    let json: Value = serde_json::from_slice(&read(CONFIG)?).map_err(other)?;
    refuse_unknown(&json).map_err(format)?;
    let config: Config = serde_json::from_value(json).map_err(other)?;
    let found = modules(&read(MODEL)?).map_err(format)?;
    let (tensors, family) = named(found).map_err(format)?;
    let layers = Layers::of(&tensors).map_err(format)?;
    if layers.rank != config.r.get() as usize {
        let (r, rank) = (config.r, layers.rank);
        return Err(format(format!("{CONFIG} says rank {r}, the tensors have {rank}")));
    }
    let everywhere = config.layers_to_transform.as_ref().is_none_or(Value::is_null);
    let [first, last] = layers.blocks;
    if everywhere && first > 0 {
        return Err(format(format!("block 0 is missing, and {CONFIG} says all are adapted")));
    }
    let lora = LoraConfig {
        rank: config.r,
        alpha: Some(config.lora_alpha),
        targets: layers.targets.into_iter().collect(),
        scaling: if config.use_rslora { Scaling::Rslora } else { Scaling::Standard },
        dropout: config.lora_dropout,
        blocks: (!everywhere).then_some([first as u32, last as u32]),
    };
    let encoder = match config.base_model_name_or_path.as_deref().and_then(variant_of) {
        Some(variant) if variant.dino_type == family => {
            EncoderInfo::of(variant.name, &variant.arch)
        }
        _ => EncoderInfo {
            dino_type: Some(family),
            dim: layers.dim,
            depth: everywhere.then_some(last + 1),
            ..EncoderInfo::default()
        },
    };
    let about = About {
        sweep: None,
        encoder,
        tune: TuneConfig::Lora(lora),
        decoder: None,
        n_classes: None,
        class_names: None,
        input_px: None,
        normalise: Normalise::Unknown {},
    };
    let path = folder.to_owned();
    Ok(AdapterFile { path, kind: Kind::Peft, about, run: None, step: None, tensors })
}

/// Refuses what would change numbers and is not built here; unknown keys are notes of PEFT's.
fn refuse_unknown(config: &Value) -> Result<(), String> {
    for (key, known) in [("peft_type", "LORA"), ("bias", "none")] {
        if let Some(value) = config.get(key).filter(|value| *value != known) {
            return Err(format!("{key} is {value}; only {known} can be read"));
        }
    }
    let is_set = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    match REFUSED.iter().find(|name| config.get(name).is_some_and(is_set)) {
        Some(name) => Err(format!("{CONFIG} sets {name}, which is not built here")),
        None => Ok(()),
    }
}

/// The variant that a Hugging Face id or folder names.
fn variant_of(id: &str) -> Option<&'static Variant> {
    let name = id.rsplit('/').next()?;
    backbone::variants().find(|variant| variant.folders.contains(&name))
}

/// Tensors by their names in the file.
fn modules(bytes: &[u8]) -> Result<BTreeMap<String, Stored>, String> {
    let broken = |error: &dyn std::fmt::Display| format!("{MODEL} is broken or cut short: {error}");
    let file = SafeTensors::deserialize(bytes).map_err(|error| broken(&error))?;
    let stored = |(name, view): (String, TensorView<'_>)| match sweep::stored(&view) {
        Ok(stored) => Ok((name, stored)),
        Err(reason) => Err(format!("tensor {name} {reason}")),
    };
    file.tensors().into_iter().map(stored).collect()
}

/// The tensors under our names, and whose modules they are named after.
fn named(found: BTreeMap<String, Stored>) -> Result<(Tensors, DinoType), String> {
    let is_gated = found.keys().any(|name| name.contains(".mlp.gate_proj."));
    let mut family = None;
    let mut tensors = Tensors::new();
    for (name, stored) in found {
        let unknown = || format!("tensor {name} is of no layer of DINOv2 or DINOv3");
        let path = name.strip_prefix(PREFIX).ok_or_else(unknown)?;
        let (before, rest) = path.split_once("layer.").ok_or_else(unknown)?;
        let v2 = before.ends_with("encoder.");
        let dino_type = if v2 { DinoType::Dinov2 } else { DinoType::Dinov3 };
        if *family.get_or_insert(dino_type) != dino_type {
            return Err(format!("tensor {name} is of another model than the others"));
        }
        let (block, rest) = rest.split_once('.').ok_or_else(unknown)?;
        let block: usize = block.parse().map_err(|_| unknown())?;
        let (module, letter) = rest
            .strip_suffix(".weight")
            .and_then(|rest| rest.rsplit_once(".lora_"))
            .ok_or_else(unknown)?;
        let letter = match letter {
            "A" => "a",
            "B" => "b",
            _ => return Err(unknown()),
        };
        let target = target(module, dino_type, is_gated).ok_or_else(unknown)?;
        tensors.insert(format!("encoder.blocks.{block}.{}.lora_{letter}", target.path()), stored);
    }
    let family = family.ok_or("it holds no tensors")?;
    if family == DinoType::Dinov2 {
        fuse_gates(&mut tensors);
    }
    Ok((tensors, family))
}

/// The layer that a module is, in the names of transformers 5 and 4.
fn target(module: &str, dino_type: DinoType, is_gated: bool) -> Option<LoraTarget> {
    Some(match (module, dino_type) {
        ("attention.q_proj", _) | ("attention.attention.query", DinoType::Dinov2) => LoraTarget::Q,
        ("attention.k_proj", _) | ("attention.attention.key", DinoType::Dinov2) => LoraTarget::K,
        ("attention.v_proj", _) | ("attention.attention.value", DinoType::Dinov2) => LoraTarget::V,
        ("attention.o_proj", _) | ("attention.output.dense", DinoType::Dinov2) => LoraTarget::Proj,
        ("mlp.fc1", DinoType::Dinov2) => LoraTarget::Fc1,
        ("mlp.fc2", DinoType::Dinov2) => LoraTarget::Fc2,
        ("mlp.weights_in", DinoType::Dinov2) => LoraTarget::W12,
        ("mlp.gate_proj", _) => LoraTarget::W1,
        ("mlp.up_proj", DinoType::Dinov3) if !is_gated => LoraTarget::Fc1,
        ("mlp.down_proj", DinoType::Dinov3) if !is_gated => LoraTarget::Fc2,
        ("mlp.up_proj", _) => LoraTarget::W2,
        ("mlp.weights_out", DinoType::Dinov2) | ("mlp.down_proj", _) => LoraTarget::W3,
        _ => return None,
    })
}

/// Makes one update of both gates where they have one A in every block.
fn fuse_gates(tensors: &mut Tensors) {
    let firsts: Vec<_> =
        tensors.keys().filter(|name| name.ends_with("mlp.w1.lora_a")).cloned().collect();
    let second = |first: &str| first.replace(".w1.", ".w2.");
    let n_seconds = tensors.keys().filter(|name| name.ends_with("mlp.w2.lora_a")).count();
    let shared = |first: &String| tensors.get(&second(first)) == tensors.get(first);
    if firsts.is_empty() || n_seconds != firsts.len() || !firsts.iter().all(shared) {
        return;
    }
    for a in firsts {
        let b = a.replace("lora_a", "lora_b");
        let halves = (tensors.remove(&b), tensors.remove(&second(&b)));
        if let (Some(mut first), Some(other)) = halves
            && first.shape == other.shape
            && !first.shape.is_empty()
        {
            first.shape[0] *= 2;
            first.values.extend(other.values);
            tensors.insert(b.replace(".w1.", ".w12."), first);
        }
        tensors.remove(&second(&a));
        if let Some(shared) = tensors.remove(&a) {
            tensors.insert(a.replace(".w1.", ".w12."), shared);
        }
    }
}

/// What the tensors say of the adapted layers.
struct Layers {
    targets: BTreeSet<LoraTarget>,
    /// First and last.
    blocks: [usize; 2],
    rank: usize,
    /// Of the encoder, where an adapted layer shows it.
    dim: Option<usize>,
}

impl Layers {
    fn of(tensors: &Tensors) -> Result<Self, String> {
        let mut by_block: BTreeMap<usize, BTreeSet<LoraTarget>> = BTreeMap::new();
        let (mut rank, mut dim) = (None, None);
        for (name, stored) in tensors {
            let (block, target, letter) = parts(name).expect("named on reading");
            by_block.entry(block).or_default().insert(target);
            let &[rows, columns] = stored.shape.as_slice() else {
                return Err(format!("{name} is {:?}, no matrix", stored.shape));
            };
            let (found, outer) = if letter == 'a' { (rows, columns) } else { (columns, rows) };
            if *rank.get_or_insert(found) != found {
                return Err(format!("{name} has rank {found}, others another"));
            }
            let is_output = matches!(target, LoraTarget::Fc2 | LoraTarget::W3);
            if is_output == (letter == 'b') {
                dim = dim.or(Some(outer));
            }
        }
        let mut blocks = by_block.keys().copied();
        let first = blocks.next().ok_or("it holds no tensors")?;
        let last = blocks.next_back().unwrap_or(first);
        let targets = by_block[&first].clone();
        let alike = |block| by_block.get(&block) == Some(&targets);
        if !(first..=last).all(alike) {
            return Err("its blocks have LoRA on different layers".to_owned());
        }
        let rank = rank.ok_or("it holds no tensors")?;
        Ok(Self { targets, blocks: [first, last], rank, dim })
    }
}

/// `encoder.blocks.3.attn.q.lora_a` -> (3, q, 'a').
fn parts(name: &str) -> Option<(usize, LoraTarget, char)> {
    const TARGETS: [LoraTarget; 10] = [
        LoraTarget::Q,
        LoraTarget::K,
        LoraTarget::V,
        LoraTarget::Proj,
        LoraTarget::Fc1,
        LoraTarget::Fc2,
        LoraTarget::W1,
        LoraTarget::W2,
        LoraTarget::W12,
        LoraTarget::W3,
    ];
    let (block, rest) = name.strip_prefix("encoder.blocks.")?.split_once('.')?;
    let (path, letter) = rest.rsplit_once(".lora_")?;
    let target = TARGETS.into_iter().find(|target| target.path() == path)?;
    Some((block.parse().ok()?, target, letter.chars().next()?))
}

pub(super) fn write(adapter: &AdapterFile, folder: &Path) -> Result<Vec<String>, Error> {
    let refuse = |reason: &str| Err(adapter.inexpressible(FORMAT, reason.to_owned()));
    let lora = match &adapter.about.tune {
        TuneConfig::Lora(lora) => lora,
        TuneConfig::Frozen {} => return refuse("it has LoRA only, and there is none here"),
        TuneConfig::Full {} => return refuse("it has LoRA only, this is a whole encoder"),
    };
    let info = &adapter.about.encoder;
    let Some(dino_type) = info.dino_type else {
        return refuse(
            "modules are named differently in DINOv2 and DINOv3, and the adapter does not say which \
             it is for: name it with `--backbone`",
        );
    };
    let mut out: BTreeMap<String, Stored> = BTreeMap::new();
    let mut target_modules = BTreeSet::new();
    for (name, stored) in &adapter.tensors {
        let Some((block, target, letter)) = parts(name) else { continue };
        let layer = match dino_type {
            DinoType::Dinov2 => "encoder.layer",
            DinoType::Dinov3 => "model.layer",
        };
        let letter_up = letter.to_ascii_uppercase();
        for (module, part) in modules_of(target, dino_type, (letter, stored)) {
            target_modules.insert(module.rsplit('.').next().unwrap_or(module));
            let name = format!("{PREFIX}{layer}.{block}.{module}.lora_{letter_up}.weight");
            out.insert(name, part);
        }
    }
    let variant = backbone::variants().find(|v| Some(v.name) == info.name.as_deref());
    let folder_name = variant.and_then(|variant| variant.folders.first());
    let is_part = |[first, last]: &[u32; 2]| {
        *first > 0 || info.depth.is_none_or(|depth| *last as usize + 1 < depth)
    };
    let blocks = lora.blocks.filter(is_part);
    let config = Config {
        peft_type: "LORA".to_owned(),
        task_type: None,
        base_model_name_or_path: folder_name.map(|name| format!("facebook/{name}")),
        r: lora.rank,
        lora_alpha: lora.alpha.unwrap_or_else(|| f64::from(lora.rank.get())),
        lora_dropout: lora.dropout,
        use_rslora: lora.scaling == Scaling::Rslora,
        target_modules: serde_json::to_value(target_modules).expect("plain data"),
        layers_to_transform: blocks.map(|[first, last]| (first..=last).collect::<Vec<_>>().into()),
        layers_pattern: blocks.map(|_| Value::from("layer")),
        bias: none(),
        inference_mode: true,
    };
    save(folder, &config, &out)?;
    let decoder = adapter.about.decoder.as_ref();
    Ok(decoder
        .map(|_| "the decoder is left out: PEFT's layout has LoRA only".to_owned())
        .into_iter()
        .collect())
}

fn save(folder: &Path, config: &Config, tensors: &BTreeMap<String, Stored>) -> Result<(), Error> {
    let views = tensors.iter().map(|(name, stored)| {
        let view = TensorView::new(Dtype::F32, stored.shape.clone(), cast_slice(&stored.values));
        (name.as_str(), view.expect("shapes are the tensors' own"))
    });
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(views, Some(metadata)).expect("names are unique");
    let text = serde_json::to_vec_pretty(config).expect("plain data");
    for (name, bytes) in [(MODEL, bytes), (CONFIG, text)] {
        let path = folder.join(name);
        write_atomic(&path, &bytes).map_err(|source| Error::Write { path, source })?;
    }
    Ok(())
}

/// The modules of transformers 5 that a tensor of ours is for, and its part in each.
fn modules_of(
    target: LoraTarget,
    dino_type: DinoType,
    (letter, stored): (char, &Stored),
) -> Vec<(&'static str, Stored)> {
    let whole = |module| vec![(module, stored.clone())];
    match (target, dino_type) {
        (LoraTarget::Q, _) => whole("attention.q_proj"),
        (LoraTarget::K, _) => whole("attention.k_proj"),
        (LoraTarget::V, _) => whole("attention.v_proj"),
        (LoraTarget::Proj, _) => whole("attention.o_proj"),
        (LoraTarget::Fc1, DinoType::Dinov2) => whole("mlp.fc1"),
        (LoraTarget::Fc2, DinoType::Dinov2) => whole("mlp.fc2"),
        (LoraTarget::W1, _) => whole("mlp.gate_proj"),
        (LoraTarget::Fc1, DinoType::Dinov3) | (LoraTarget::W2, _) => whole("mlp.up_proj"),
        (LoraTarget::Fc2, DinoType::Dinov3) | (LoraTarget::W3, _) => whole("mlp.down_proj"),
        (LoraTarget::W12, _) if letter == 'a' => {
            vec![("mlp.gate_proj", stored.clone()), ("mlp.up_proj", stored.clone())]
        }
        (LoraTarget::W12, _) => {
            let (first, second) = stored.values.split_at(stored.values.len() / 2);
            let shape = vec![stored.shape[0] / 2, stored.shape[1]];
            let half = |values: &[f32]| Stored { shape: shape.clone(), values: values.to_vec() };
            vec![("mlp.gate_proj", half(first)), ("mlp.up_proj", half(second))]
        }
        (LoraTarget::All, _) => unreachable!("no tensor is of `all`"),
    }
}
