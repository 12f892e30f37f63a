//! The reference project's `.pt` (RobvanGastel/dinov2-finetune d109d85,
//! `dino_finetune/model/dino.py`, `save_parameters`): `w_a_NNN` and `w_b_NNN`, two a block (q, v),
//! and the decoder's tensors under their own names.
//!
//! The format says neither which encoder a file is for nor how images were prepared: the reference
//! project feeds values in 0 to 1 as they are.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;

use super::stored::{Stored, Tensors};
use super::torch::{self, As};
use super::{About, AdapterFile, EncoderInfo, Error, Kind, Normalise};
use crate::fs::write_atomic;
use crate::model::DecoderConfig;
use crate::model::config::{LoraConfig, LoraTarget, TuneConfig};
use crate::model::decoder::Found;
use crate::weights::TensorFile;

const FORMAT: &str = "the reference project's format";

pub(super) fn read(file: &TensorFile) -> Result<AdapterFile, Error> {
    let path = file.path();
    let format = |reason: String| Error::Format { path: path.to_owned(), reason };
    let mut found = torch::read(file)?;
    let mut tensors = Tensors::new();
    let lora = take_lora(&mut found, &mut tensors).map_err(format)?;
    let Found { config, n_classes, dim } = decoder(&found).map_err(format)?;
    if lora.as_ref().is_some_and(|lora| lora.dim != dim) {
        return Err(format(format!("its decoder is for dim {dim}, its LoRA for another dim")));
    }
    tensors.extend(found.into_iter().map(|(name, stored)| (format!("decoder.{name}"), stored)));
    let depth = lora.as_ref().map(|lora| lora.depth);
    let about = About {
        sweep: None,
        encoder: EncoderInfo { dim: Some(dim), depth, ..EncoderInfo::default() },
        tune: lora.map_or(TuneConfig::Frozen {}, |lora| {
            TuneConfig::Lora(LoraConfig::reference(lora.rank))
        }),
        decoder: Some(config),
        n_classes: Some(n_classes),
        class_names: None,
        input_px: None,
        normalise: Normalise::None {},
    };
    let path = path.to_owned();
    Ok(AdapterFile { path, kind: Kind::Reference, about, run: None, step: None, tensors })
}

struct Sizes {
    rank: NonZeroU32,
    dim: usize,
    depth: usize,
}

/// Moves LoRA from `file` to `tensors`, under our names; `None` where the file has none.
fn take_lora(file: &mut Tensors, tensors: &mut Tensors) -> Result<Option<Sizes>, String> {
    let n = file.keys().filter(|name| name.starts_with("w_a_")).count();
    if n == 0 && !file.keys().any(|name| name.starts_with("w_b_")) {
        return Ok(None);
    }
    if n % 2 == 1 {
        return Err(format!("it has {n} tensors w_a_NNN, not two for each block"));
    }
    let mut sizes = None;
    for i in 0..n {
        for letter in ["a", "b"] {
            let name = format!("w_{letter}_{i:03}");
            let stored = file.remove(&name).ok_or_else(|| format!("{name} is missing"))?;
            let found = match (letter, stored.shape.as_slice()) {
                ("a", [rank, dim]) | (_, [dim, rank]) => (*rank, *dim),
                (_, shape) => {
                    return Err(format!("{name} has shape {shape:?} and is not a matrix"));
                }
            };
            if *sizes.get_or_insert(found) != found {
                return Err(format!("{name} has another rank or dim than w_a_000"));
            }
            tensors.insert(ours(i, letter), stored);
        }
    }
    let (rank, dim) = sizes.unwrap_or_default();
    let rank = u32::try_from(rank).ok().and_then(NonZeroU32::new);
    let rank = rank.ok_or("w_a_000 is missing or has no rank")?;
    if let Some(name) = file.keys().find(|name| name.starts_with("w_b_")) {
        return Err(format!("{name} has no w_a with the same number"));
    }
    Ok(Some(Sizes { rank, dim, depth: n / 2 }))
}

/// Our name of the tensor `w_<letter>_<i>`.
fn ours(i: usize, letter: &str) -> String {
    let layer = if i.is_multiple_of(2) { LoraTarget::Q } else { LoraTarget::V };
    format!("encoder.blocks.{}.{}.lora_{letter}", i / 2, layer.path())
}

/// The decoder that the file's tensors belong to, its number of classes, and the encoder's dim.
fn decoder(file: &Tensors) -> Result<Found<DecoderConfig>, String> {
    let shape = |name: &str| file.get(name).map(|stored| stored.shape.as_slice());
    DecoderConfig::of_reference(&shape).ok_or_else(|| {
        let known: Vec<_> =
            DecoderConfig::in_reference().into_iter().map(|(_, tensor)| tensor).collect();
        let names: Vec<_> = file.keys().take(4).map(String::as_str).collect();
        format!(
            "it holds no decoder of the reference project, {} (beside LoRA it has: {})",
            known.join(" or "),
            if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
        )
    })
}

pub(super) fn write(adapter: &AdapterFile, path: &Path) -> Result<Vec<String>, Error> {
    let refuse = |reason: String| adapter.inexpressible(FORMAT, reason);
    let scale = expressible(adapter).map_err(refuse)?;
    let mut notes = vec![];
    let mut entries = vec![];
    let mut folded = BTreeMap::new();
    for letter in ["a", "b"] {
        for i in 0.. {
            let Some(stored) = adapter.tensors.get(&ours(i, letter)) else { break };
            let name = format!("w_{letter}_{i:03}");
            #[expect(clippy::float_cmp, reason = "exactly 1 when alpha equals the rank")]
            if letter == "b" && scale != 1.0 {
                let values = stored.values.iter().map(|x| (f64::from(*x) * scale) as f32);
                let values = values.collect();
                folded.insert(name, Stored { shape: stored.shape.clone(), values });
            } else {
                entries.push((name, As::Parameter, stored));
            }
        }
    }
    if !folded.is_empty() {
        notes.push(format!("the scale {scale} is multiplied into w_b, as the format holds none"));
        entries.extend(folded.iter().map(|(name, stored)| (name.clone(), As::Parameter, stored)));
    }
    for (name, stored) in &adapter.tensors {
        if let Some(name) = name.strip_prefix("decoder.") {
            let is_count = name.ends_with("num_batches_tracked");
            let kind = if is_count { As::Counter } else { As::Tensor };
            entries.push((name.to_owned(), kind, stored));
        }
    }
    if let Normalise::MeanStd { .. } = adapter.about.normalise {
        notes.push(
            "the images it was trained on were normalised by mean and standard deviation; the \
             reference project does not do that, and the format cannot say so"
                .to_owned(),
        );
    }
    let bytes = torch::encode(&entries).map_err(refuse)?;
    write_atomic(path, &bytes).map_err(|source| Error::Write { path: path.to_owned(), source })?;
    Ok(notes)
}

/// The scale of the adapter's LoRA; an error where the format cannot hold the adapter.
fn expressible(adapter: &AdapterFile) -> Result<f64, String> {
    let scale = match &adapter.about.tune {
        TuneConfig::Frozen {} => 1.0,
        TuneConfig::Full {} => return Err("it has no place for a fine-tuned encoder".to_owned()),
        TuneConfig::Lora(lora) => {
            let mut targets = lora.targets.clone();
            targets.sort_unstable();
            if targets != [LoraTarget::Q, LoraTarget::V] {
                let names: Vec<_> = targets.iter().map(|target| target.name()).collect();
                return Err(format!(
                    "it holds LoRA on q and v only, and this adapter's is on {}",
                    names.join(", ")
                ));
            }
            let n = adapter.tensors.keys().filter(|name| name.ends_with("lora_a")).count();
            let all = (0..n).all(|i| adapter.tensors.contains_key(&ours(i, "a")));
            if !all || adapter.about.encoder.depth.is_some_and(|depth| 2 * depth != n) {
                return Err(
                    "it holds LoRA on all blocks only, and this adapter's is on some".to_owned()
                );
            }
            lora.scale()
        }
    };
    let Some(decoder) = &adapter.about.decoder else {
        return Err("its loader needs a decoder, and this adapter has none".to_owned());
    };
    let known: Vec<_> = DecoderConfig::in_reference().into_iter().map(|(kind, _)| kind).collect();
    if known.contains(&decoder.kind()) {
        return Ok(scale);
    }
    Err(format!(
        "it holds the decoders `{}` only, and this adapter's is {}",
        known.join("` and `"),
        serde_json::to_string(decoder).expect("plain data")
    ))
}
