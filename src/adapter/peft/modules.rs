//! The module names of Hugging Face's DINOs, after which PEFT names its tensors, and the layers
//! that they are here; one table for reading and writing.

use std::collections::BTreeMap;

use crate::adapter::stored::{Stored, Tensors};
use crate::model::config::{DinoType, LoraTarget};
use crate::weights::names::PREFIXES;

/// The prefix of every tensor's name in a PEFT file.
pub(super) const PREFIX: &str = "base_model.model.";

/// The names of one linear layer of a block.
struct Module {
    target: LoraTarget,
    dino_type: DinoType,
    /// Its name in transformers 5, which is the one written; empty where it has no such module.
    name: &'static str,
    /// Its name in transformers 4, where that differs.
    earlier: Option<&'static str>,
}

const fn v2(target: LoraTarget, name: &'static str, earlier: Option<&'static str>) -> Module {
    Module { target, dino_type: DinoType::Dinov2, name, earlier }
}

const fn v3(target: LoraTarget, name: &'static str) -> Module {
    Module { target, dino_type: DinoType::Dinov3, name, earlier: None }
}

const MODULES: &[Module] = &[
    v2(LoraTarget::Q, "attention.q_proj", Some("attention.attention.query")),
    v2(LoraTarget::K, "attention.k_proj", Some("attention.attention.key")),
    v2(LoraTarget::V, "attention.v_proj", Some("attention.attention.value")),
    v2(LoraTarget::Proj, "attention.o_proj", Some("attention.output.dense")),
    v2(LoraTarget::Fc1, "mlp.fc1", None),
    v2(LoraTarget::Fc2, "mlp.fc2", None),
    v2(LoraTarget::W1, "mlp.gate_proj", None),
    v2(LoraTarget::W2, "mlp.up_proj", None),
    // transformers 5 has no fused gates.
    v2(LoraTarget::W12, "", Some("mlp.weights_in")),
    v2(LoraTarget::W3, "mlp.down_proj", Some("mlp.weights_out")),
    v3(LoraTarget::Q, "attention.q_proj"),
    v3(LoraTarget::K, "attention.k_proj"),
    v3(LoraTarget::V, "attention.v_proj"),
    v3(LoraTarget::Proj, "attention.o_proj"),
    // Without gates the two layers have the names of two of the three with gates.
    v3(LoraTarget::Fc1, "mlp.up_proj"),
    v3(LoraTarget::Fc2, "mlp.down_proj"),
    v3(LoraTarget::W1, "mlp.gate_proj"),
    v3(LoraTarget::W2, "mlp.up_proj"),
    v3(LoraTarget::W3, "mlp.down_proj"),
];

/// A file's tensors under our names, and the family whose modules they were named after.
pub(super) struct Named {
    pub(super) tensors: Tensors,
    pub(super) dino_type: DinoType,
}

/// Translates the tensors of a file to our names. Each A has its B, and each B its A.
pub(super) fn named(found: Tensors) -> Result<Named, String> {
    let is_gated = found.keys().any(|name| name.contains(".mlp.gate_proj."));
    let mut family = None;
    let mut tensors = Tensors::new();
    let mut theirs = BTreeMap::new();
    for name in found.keys() {
        let other = match name.strip_suffix("A.weight") {
            Some(stem) => Some(format!("{stem}B.weight")),
            None => name.strip_suffix("B.weight").map(|stem| format!("{stem}A.weight")),
        };
        if let Some(other) = other.filter(|other| !found.contains_key(other)) {
            return Err(format!("tensor {other} is missing"));
        }
    }
    for (name, stored) in found {
        let unknown = || format!("tensor {name} belongs to no layer of DINOv2 or DINOv3");
        let path = name.strip_prefix(PREFIX).ok_or_else(unknown)?;
        let (before, rest) = path.split_once("layer.").ok_or_else(unknown)?;
        let (owner, dino_type) = match before.strip_suffix("encoder.") {
            Some(owner) => (owner, DinoType::Dinov2),
            None => (before, DinoType::Dinov3),
        };
        if !owner.split_terminator('.').all(|segment| PREFIXES.contains(&segment)) {
            return Err(unknown());
        }
        if *family.get_or_insert(dino_type) != dino_type {
            return Err(format!("tensor {name} is named after another model than the others"));
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
        let ours = format!("encoder.blocks.{block}.{}.lora_{letter}", target.path());
        if let Some(other) = theirs.insert(ours.clone(), name.clone()) {
            return Err(format!("tensors {other} and {name} belong to the same layer"));
        }
        tensors.insert(ours, stored);
    }
    let dino_type = family.ok_or("it holds no tensors")?;
    if dino_type == DinoType::Dinov2 {
        fuse_gates(&mut tensors);
    }
    Ok(Named { tensors, dino_type })
}

/// The layer that a module is; `None` where the family has no such module.
fn target(module: &str, dino_type: DinoType, is_gated: bool) -> Option<LoraTarget> {
    let is_mlp = |target| matches!(target, LoraTarget::Fc1 | LoraTarget::Fc2);
    let is_gate = |target| matches!(target, LoraTarget::W1 | LoraTarget::W2 | LoraTarget::W3);
    let found = MODULES.iter().filter(|row| row.dino_type == dino_type).find(|row| {
        let excluded = if is_gated { is_mlp(row.target) } else { is_gate(row.target) };
        (row.name == module || row.earlier == Some(module))
            && !(excluded && dino_type == DinoType::Dinov3)
    });
    found.map(|row| row.target)
}

/// The module that a layer is written as.
fn module(target: LoraTarget, dino_type: DinoType) -> &'static str {
    let row = MODULES.iter().find(|row| row.target == target && row.dino_type == dino_type);
    row.map_or("", |row| row.name)
}

/// The tensors that PEFT's layout has for one of ours, each with its name.
pub(super) struct Written {
    pub(super) module: &'static str,
    pub(super) name: String,
    pub(super) stored: Stored,
}

/// Translates one of our tensors to the names of transformers 5; fused gates become two updates
/// with one A.
pub(super) fn written(place: Place, dino_type: DinoType, stored: &Stored) -> Vec<Written> {
    let Place { block, target, letter } = place;
    let layer = match dino_type {
        DinoType::Dinov2 => "encoder.layer",
        DinoType::Dinov3 => "model.layer",
    };
    let part = |target, stored| {
        let module = module(target, dino_type);
        let letter = letter.to_ascii_uppercase();
        let name = format!("{PREFIX}{layer}.{block}.{module}.lora_{letter}.weight");
        Written { module, name, stored }
    };
    match (target, letter) {
        (LoraTarget::W12, 'a') => {
            vec![part(LoraTarget::W1, stored.clone()), part(LoraTarget::W2, stored.clone())]
        }
        (LoraTarget::W12, _) => {
            let (first, second) = stored.values.split_at(stored.values.len() / 2);
            let shape = vec![stored.shape[0] / 2, stored.shape[1]];
            let half = |values: &[f32]| Stored { shape: shape.clone(), values: values.to_vec() };
            vec![part(LoraTarget::W1, half(first)), part(LoraTarget::W2, half(second))]
        }
        _ => vec![part(target, stored.clone())],
    }
}

/// The place of one of our LoRA tensors: block, layer, and A or B.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) block: usize,
    pub(super) target: LoraTarget,
    /// The matrix, `a` or `b`.
    pub(super) letter: char,
}

impl Place {
    /// Reads a place from a tensor's name: `encoder.blocks.3.attn.q.lora_a` -> (3, q, 'a').
    pub(super) fn of(name: &str) -> Option<Self> {
        let (block, rest) = name.strip_prefix("encoder.blocks.")?.split_once('.')?;
        let (path, letter) = rest.rsplit_once(".lora_")?;
        let target = MODULES.iter().map(|row| row.target).find(|target| target.path() == path)?;
        Some(Self { block: block.parse().ok()?, target, letter: letter.chars().next()? })
    }
}

/// Turns the updates of both gates into one where they have the same A in every block.
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
