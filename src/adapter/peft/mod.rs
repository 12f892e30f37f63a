//! PEFT's layout: a folder with `adapter_config.json` and `adapter_model.safetensors`, whose
//! tensors are named after the modules of Hugging Face's models; LoRA only.
//!
//! Written are the module names of transformers 5; those of transformers 4 are read too. There are
//! no fused SwiGLU gates in transformers 5: an update of both is written as two with one A, and two
//! with one A are read as an update of both.

mod config;
mod modules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::stored::{self, Tensors};
use super::{About, AdapterFile, EncoderInfo, Error, Kind, Normalise};
use crate::fs::write_atomic;
use crate::model::backbone::{self, Variant};
use crate::model::config::{DinoType, LoraConfig, LoraTarget, Scaling, TuneConfig};
use crate::weights::cause::{self, Listing};
use crate::weights::{TensorFile, folder};
use config::{Blocks, CONFIG, Config};
use modules::{Named, Place, Written};

const FORMAT: &str = "PEFT's layout";
const MODEL: &str = "adapter_model.safetensors";
/// Name of the weight file that PEFT wrote before safetensors, and still writes on request.
const PICKLE: &str = "adapter_model.bin";

/// The folder of the PEFT adapter that `path` is a file of; `None` where it is none.
pub(super) fn folder_of(path: &Path) -> Option<&Path> {
    let name = path.file_name()?.to_str()?;
    let folder = path.parent()?;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    [CONFIG, MODEL, PICKLE].contains(&name).then_some(folder)
}

pub(super) fn read(folder: &Path) -> Result<AdapterFile, Error> {
    let format = |reason: String| Error::Format { path: folder.to_owned(), reason };
    if let Some(lack) = lack(folder)? {
        return Err(format(lack));
    }
    let config = read_config(&folder.join(CONFIG))?;
    let model = TensorFile::open(&folder.join(MODEL))?;
    let Named { tensors, dino_type } = modules::named(stored::read(&model)?).map_err(format)?;
    let layers = Layers::of(&tensors).map_err(format)?;
    layers.check(&config).map_err(format)?;
    let everywhere = config.layers_to_transform.is_none();
    let [first, last] = layers.blocks;
    let encoder = base(&config, dino_type).map_err(format)?;
    let encoder = encoder.unwrap_or_else(|| EncoderInfo {
        dino_type: Some(dino_type),
        dim: layers.dim,
        depth: everywhere.then_some(last + 1),
        ..EncoderInfo::default()
    });
    let lora = LoraConfig {
        rank: config.r,
        alpha: Some(config.lora_alpha),
        targets: layers.targets.into_iter().collect(),
        scaling: if config.use_rslora { Scaling::Rslora } else { Scaling::Standard },
        dropout: config.lora_dropout,
        blocks: (!everywhere).then_some([first as u32, last as u32]),
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

/// The reason why a folder is no complete PEFT adapter: the file it lacks and what it has instead;
/// `None` where both are there.
fn lack(path: &Path) -> Result<Option<String>, Error> {
    let has = |name: &str| !cause::is_absent(&path.join(name));
    if has(CONFIG) && has(MODEL) {
        return Ok(None);
    }
    if has(CONFIG) && has(PICKLE) {
        return Ok(Some(format!(
            "its weights are in {PICKLE}, a pickle, which is not read: save the adapter again with \
             `save_pretrained(…, safe_serialization=True)`, which writes {MODEL}"
        )));
    }
    if has(MODEL) || has(PICKLE) {
        return Ok(Some(format!(
            "it lacks {CONFIG}, without which rank and scale are not known: copy it from the \
             folder that the weights come from"
        )));
    }
    if let Some(name) = folder::FILES.iter().find(|name| has(name)) {
        return Ok(Some(format!(
            "it holds the weights of a whole model ({name}): name it with `--weights`"
        )));
    }
    let listing =
        Listing::of(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let lacks = if has(CONFIG) { MODEL.to_owned() } else { format!("{CONFIG} and {MODEL}") };
    Ok(Some(format!("it lacks {lacks}; {}", listing.instead(path, &[CONFIG, MODEL]))))
}

fn read_config(path: &Path) -> Result<Config, Error> {
    let format = |reason: String| Error::Format { path: path.to_owned(), reason };
    let bytes =
        fs_err::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let json: Value = serde_json::from_slice(&bytes)
        .map_err(|error| format(cause::of_json(path, &bytes, &error)))?;
    Config::of(json).map_err(format)
}

/// The encoder that the settings name; `None` where it is not in the tables.
fn base(config: &Config, dino_type: DinoType) -> Result<Option<EncoderInfo>, String> {
    let Some(id) = config.base_model_name_or_path.as_deref() else { return Ok(None) };
    let Some(variant) = variant_of(id) else { return Ok(None) };
    if variant.dino_type != dino_type {
        return Err(format!(
            "{CONFIG} names the base `{id}`, which is a {}; its tensors are named after {}",
            variant.dino_type.label(),
            dino_type.label()
        ));
    }
    Ok(Some(EncoderInfo::of(variant.name, &variant.arch)))
}

/// The variant that a Hugging Face id or a folder's name stands for.
fn variant_of(id: &str) -> Option<&'static Variant> {
    let name = id.trim_end_matches('/').rsplit('/').next()?;
    backbone::variants().find(|variant| variant.folders.contains(&name))
}

/// The adapted layers, as the tensors show them.
struct Layers {
    targets: BTreeSet<LoraTarget>,
    /// The first and the last adapted block.
    blocks: [usize; 2],
    rank: usize,
    /// Channels of the encoder; `None` where no adapted layer shows them.
    dim: Option<usize>,
}

impl Layers {
    fn of(tensors: &Tensors) -> Result<Self, String> {
        let mut by_block: BTreeMap<usize, BTreeSet<LoraTarget>> = BTreeMap::new();
        let (mut rank, mut dim) = (None, None);
        for (name, stored) in tensors {
            let Place { block, target, letter } = Place::of(name).expect("named on reading");
            by_block.entry(block).or_default().insert(target);
            let &[rows, columns] = stored.shape.as_slice() else {
                return Err(format!("{name} has shape {:?} and is not a matrix", stored.shape));
            };
            let (found, outer) = if letter == 'a' { (rows, columns) } else { (columns, rows) };
            if *rank.get_or_insert(found) != found {
                return Err(format!("{name} has rank {found}, other tensors have another"));
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
        let none = BTreeSet::new();
        for block in first..=last {
            let here = by_block.get(&block).unwrap_or(&none);
            if let Some(target) = targets.symmetric_difference(here).next() {
                let name = target.name();
                return Err(format!(
                    "its blocks have LoRA on different layers: of blocks {first} and {block}, one \
                     has it on {name} and one does not"
                ));
            }
        }
        let rank = rank.ok_or("it holds no tensors")?;
        Ok(Self { targets, blocks: [first, last], rank, dim })
    }

    /// Checks that the tensors agree with the settings.
    fn check(&self, config: &Config) -> Result<(), String> {
        let (r, rank, [first, last]) = (config.r.get() as usize, self.rank, self.blocks);
        if rank != r {
            return Err(format!("{CONFIG} says rank {r}, the tensors have {rank}"));
        }
        match &config.layers_to_transform {
            None if first > 0 => {
                Err(format!("block 0 is missing, and {CONFIG} says all are adapted"))
            }
            Some(Blocks(blocks)) if *blocks != (first..=last).collect() => Err(format!(
                "{CONFIG} says that blocks {blocks:?} are adapted, the tensors are of {first} to {last}"
            )),
            _ => Ok(()),
        }
    }
}

pub(super) fn write(adapter: &AdapterFile, folder: &Path) -> Result<Vec<String>, Error> {
    let refuse = |reason: &str| Err(adapter.inexpressible(FORMAT, reason.to_owned()));
    let lora = match &adapter.about.tune {
        TuneConfig::Lora(lora) => lora,
        TuneConfig::Frozen {} => return refuse("it holds LoRA only, and this adapter has none"),
        TuneConfig::Full {} => {
            return refuse("it holds LoRA only, and this adapter is a fine-tuned encoder");
        }
    };
    let info = &adapter.about.encoder;
    let Some(dino_type) = info.dino_type else {
        return refuse(
            "modules are named differently in DINOv2 and DINOv3, and the adapter does not say which \
             it is for: name it with `--backbone`",
        );
    };
    let mut out = Tensors::new();
    let mut target_modules = BTreeSet::new();
    for (name, stored) in &adapter.tensors {
        let Some(place) = Place::of(name) else { continue };
        for Written { module, name, stored } in modules::written(place, dino_type, stored) {
            target_modules.insert(module.rsplit('.').next().unwrap_or(module));
            out.insert(name, stored);
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
        layers_to_transform: blocks
            .map(|[first, last]| Blocks((first..=last).map(|block| block as usize).collect())),
        layers_pattern: blocks.map(|_| Value::from("layer")),
        bias: Some("none".to_owned()),
        inference_mode: true,
    };
    save(folder, &config, &out)?;
    let decoder = adapter.about.decoder.as_ref();
    Ok(decoder
        .map(|_| "the decoder is left out: PEFT's layout holds LoRA only".to_owned())
        .into_iter()
        .collect())
}

fn save(folder: &Path, config: &Config, tensors: &Tensors) -> Result<(), Error> {
    let named = tensors.iter().map(|(name, stored)| (name.clone(), stored));
    let bytes = stored::to_safetensors(named, ("format", "pt".to_owned()));
    let text = serde_json::to_vec_pretty(config).expect("plain data");
    for (name, bytes) in [(MODEL, bytes), (CONFIG, text)] {
        let path = folder.join(name);
        write_atomic(&path, &bytes).map_err(|source| Error::Write { path, source })?;
    }
    Ok(())
}
