//! Works out which encoder a weight file holds, from its tensors' shapes and the `config.json`
//! beside it.
//!
//! Called where no variant is named: by the verbs with `--weights`, by inspection, and for a spec's
//! `size = "custom"`. Only headers are read.

use std::path::Path;

use super::hf_config::HfConfig;
use super::names::Named;
use super::{Error, Naming, folder};
use crate::model::backbone::{self, Backbone, Config, IMAGENET, SAT_493M, Variant};
use crate::model::config::{DinoType, Pretraining};
use crate::model::vit::pos_embed::Resize;
use crate::model::vit::{Arch, AttentionBias, Ffn, Position};

/// The encoder that a weight file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Identified {
    /// The variant's official name, or one made of the dimensions.
    pub name: String,
    pub arch: Arch,
    /// The table row of this architecture; `None` where no row has it.
    ///
    /// DINOv3's SAT and LVD rows have the same shapes. SAT is what has `sat493m` in its file's or
    /// folder's name or in its `config.json`, or SAT's mean in `preprocessor_config.json`; of
    /// ViT-L also what has `local_cls_norm` (official files; the 7B has it in both). Everything
    /// else is taken for LVD.
    pub variant: Option<&'static Variant>,
    pub dino_type: DinoType,
    pub naming: Naming,
    /// Mean of the pre-training images, RGB, 0 to 1, which is to be subtracted from the encoder's
    /// input.
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// Number of folders above a file whose names may say what it is; Hugging Face's cache has the
/// model's name three levels up (`models--…/snapshots/<commit>/model.safetensors`).
const NAMED_ABOVE: usize = 4;
/// Largest number of blocks that are looked for; the 7B has 40.
const DEPTH_MAX: usize = 1024;
/// The word by which files, folders and configs of SAT weights are recognised.
const SAT: &str = "sat493m";

/// Works out the architecture of the encoder in a file, folder or index.
pub fn identify(path: &Path) -> Result<Identified, Error> {
    identify_named(&Named::open(path)?, path)
}

/// The encoder of `size = "custom"`: that of a Hugging Face folder; an error where the spec's other
/// keys contradict it.
pub fn custom(config: &Config, folder: &Path) -> Result<Backbone, Error> {
    let failed = |reason: String| Error::Unfit { path: folder.to_owned(), reason };
    let hf = folder::config(folder).map(|path| HfConfig::read(&path)).transpose()?.flatten();
    if hf.is_none() {
        let reason = "`size = \"custom\"` needs a Hugging Face folder with a `config.json`";
        return Err(failed(reason.to_owned()));
    }
    let found = identify(folder)?;
    if found.dino_type != config.dino_type {
        let family = found.dino_type.label();
        return Err(failed(format!("it holds a {family}, and `model.dino_type` is another")));
    }
    let patch = backbone::patch_px(config.dino_type) as usize;
    if found.arch.patch != patch {
        let has = found.arch.patch;
        return Err(failed(format!(
            "its patch is {has}, that of {} here is {patch}",
            config.dino_type.label()
        )));
    }
    let registers = backbone::registers(config) as usize;
    if found.arch.registers != registers {
        let has = found.arch.registers;
        return Err(failed(format!(
            "it has {has} registers, a spec's `model` has {registers} (`model.registers` chooses \
             0 or 4 for DINOv2)"
        )));
    }
    Ok(Backbone { name: found.name, arch: found.arch, mean: found.mean, std: found.std })
}

pub(super) fn identify_named(named: &Named, path: &Path) -> Result<Identified, Error> {
    let config = folder::config(path).map(|path| HfConfig::read(&path)).transpose()?.flatten();
    let failed = |reason: String| Error::Format { path: named.file.path().to_owned(), reason };
    let (arch, dino_type) = arch(named, config.as_ref()).map_err(failed)?;
    let is_sat = dino_type == DinoType::Dinov3 && is_sat(named, path, &arch);
    let pretraining = if is_sat { Pretraining::Sat493m } else { Pretraining::Lvd1689m };
    let variant = backbone::variants().find(|v| {
        v.pretraining == pretraining && v.dino_type == dino_type && is_row(&v.arch, &arch)
    });
    let (mean, std) = if is_sat { SAT_493M } else { IMAGENET };
    let name = variant.map_or_else(|| custom_name(dino_type, &arch), |v| v.name.to_owned());
    let arch = variant.map_or(arch, |v| v.arch);
    Ok(Identified { name, arch, variant, dino_type, naming: named.naming, mean, std })
}

/// Tells whether the architecture found in a file is that of a table row: the biases of q and v may
/// be left out of a file, and how weights are drawn is in none.
fn is_row(row: &Arch, found: &Arch) -> bool {
    let drawn = Arch { layer_scale: row.layer_scale, init_std: row.init_std, ..*found };
    [row.bias, AttentionBias::None].contains(&found.bias)
        && Arch { bias: row.bias, ..drawn } == *row
}

fn custom_name(dino_type: DinoType, arch: &Arch) -> String {
    let family = match dino_type {
        DinoType::Dinov2 => "dinov2",
        DinoType::Dinov3 => "dinov3",
    };
    format!("{family}_custom_{}x{}", arch.dim, arch.depth)
}

/// Works out the architecture from the tensors' shapes, and from the config where they do not show
/// it.
fn arch(named: &Named, config: Option<&HfConfig>) -> Result<(Arch, DinoType), String> {
    let side = |internal: &str, axis: usize| side(named, internal, axis);
    let dim = side("patch_embed.proj.weight", 0)?;
    let patch = side("patch_embed.proj.weight", 3)?;
    let depth = (0..DEPTH_MAX)
        .take_while(|i| named.internal_shape(&format!("blocks.{i}.norm1.weight")).is_some())
        .count();
    if depth == 0 {
        return Err(format!(
            "it holds no block 0: {} is missing, and no other naming has one",
            named.in_file(named.source("blocks.0.norm1.weight").name().unwrap_or_default())
        ));
    }
    let registers = side("register_tokens", 1).unwrap_or(0);
    let ffn = match side("blocks.0.mlp.w1.weight", 0) {
        Ok(hidden) => Ffn::SwiGlu { hidden },
        Err(_) => Ffn::Mlp { hidden: side("blocks.0.mlp.fc1.weight", 0)? },
    };
    let learned = side("pos_embed", 1).ok();
    let dino_type = if learned.is_some() { DinoType::Dinov2 } else { DinoType::Dinov3 };
    let position = match learned {
        Some(n_tokens) => {
            let side = (n_tokens - 1).isqrt();
            if side * side + 1 != n_tokens {
                return Err(format!(
                    "its {n_tokens} position embeddings are not a square number and one"
                ));
            }
            let resize = if registers == 0 { Resize::Offset(0.1) } else { Resize::Antialias };
            Position::Learned { side, resize }
        }
        None => Position::Rotary { base: backbone::dinov3::BASE_PERIOD },
    };
    let mut arch = Arch {
        patch,
        dim,
        depth,
        heads: 0,
        ffn,
        registers,
        norm_eps: if learned.is_some() { 1e-6 } else { 1e-5 },
        bias: bias(named, dino_type),
        layer_scale: 1.0,
        init_std: 0.02,
        position,
    };
    arch.heads = heads(named, config, &arch)?;
    if let Some(config) = config {
        config.complete(&mut arch);
        let wrong = config.contradictions(&arch);
        if !wrong.is_empty() {
            return Err(format!("its config.json does not fit: {}", wrong.join("; ")));
        }
    }
    let width = if learned.is_some() { 1 } else { 4 };
    if arch.heads == 0
        || !arch.dim.is_multiple_of(arch.heads)
        || !arch.head_dim().is_multiple_of(width)
    {
        return Err(format!("{} channels cannot be split into {} heads", arch.dim, arch.heads));
    }
    Ok((arch, dino_type))
}

/// Length of side `axis` of our tensor `internal` as the file has it.
fn side(named: &Named, internal: &str, axis: usize) -> Result<usize, String> {
    let side = named.internal_shape(internal).and_then(|shape| shape.get(axis).copied());
    side.filter(|side| *side > 0).ok_or_else(|| {
        let source = named.source(internal);
        let name = named.in_file(source.name().unwrap_or(internal));
        format!(
            "{name} is missing or of an unexpected shape: the architecture is unknown without it"
        )
    })
}

/// The biases of q, k and v that the file stores.
fn bias(named: &Named, dino_type: DinoType) -> AttentionBias {
    let has = |internal: &str| named.internal_shape(internal).is_some();
    let has_query = has("blocks.0.attn.q.bias");
    match (dino_type, has_query) {
        (_, false) => AttentionBias::None,
        (DinoType::Dinov2, true) => AttentionBias::All,
        (DinoType::Dinov3, true) => {
            // The official files store a key's bias and mask it.
            let has_key = named.naming == Naming::HuggingFaceV3 && has("blocks.0.attn.k.bias");
            if has_key { AttentionBias::All } else { AttentionBias::QueryValue }
        }
    }
}

/// Number of heads: from the config, the length of the stored RoPE periods, a table row of this
/// width (of this depth, if there is one), or 64 channels a head.
fn heads(named: &Named, config: Option<&HfConfig>, arch: &Arch) -> Result<usize, String> {
    if let Some(heads) = config.and_then(|config| config.num_attention_heads) {
        return Ok(heads);
    }
    let periods = named.internal_shape("rope_embed.periods").and_then(|s| s.first().copied());
    if let Some(n) = periods.filter(|n| *n > 0) {
        return Ok(arch.dim / (4 * n));
    }
    let of_width = || backbone::variants().filter(|row| row.arch.dim == arch.dim);
    let row = of_width().find(|row| row.arch.depth == arch.depth);
    match row.or_else(|| of_width().next()) {
        Some(row) => Ok(row.arch.heads),
        None if arch.dim.is_multiple_of(64) => Ok(arch.dim / 64),
        None => Err(format!(
            "the number of heads of its {} channels is unknown; a Hugging Face folder with a \
             config.json would give it",
            arch.dim
        )),
    }
}

/// Tells whether these are DINOv3's weights from satellite images; see [`Identified::variant`].
fn is_sat(named: &Named, path: &Path, arch: &Arch) -> bool {
    let is_large = arch.dim == backbone::dinov3::LARGE_DIM;
    if is_large && named.has("local_cls_norm.weight") {
        return true;
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut names = absolute.components().rev().take(NAMED_ABOVE);
    if names.any(|name| name.as_os_str().to_string_lossy().contains(SAT)) {
        return true;
    }
    let Some(config) = folder::config(path) else { return false };
    // A file that cannot be read says nothing; `config.json` itself was read before.
    let text = |name: &str| fs_err::read_to_string(config.with_file_name(name)).unwrap_or_default();
    text("config.json").contains(SAT) || has_mean_of_sat(&text("preprocessor_config.json"))
}

fn has_mean_of_sat(preprocessor: &str) -> bool {
    let Ok(json) = serde_json::from_str::<serde_json::Value>(preprocessor) else { return false };
    let mean = |i: usize| json["image_mean"][i].as_f64();
    let expected = SAT_493M.0;
    (0..3).all(|i| mean(i).is_some_and(|m| (m - f64::from(expected[i])).abs() < 1e-4))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::weights::plan;
    use crate::weights::scheme::Shapes;
    use crate::weights::source::Source;

    /// Writes a safetensors file in Hugging Face's names without content: its data is a hole.
    fn write_hollow(path: &Path, row: &Variant) {
        // With any bias in it, none is left out by default.
        let bias = "layer.0.attention.q_proj.bias".to_owned();
        let stores_bias = Shapes(BTreeMap::from([(bias, vec![])]));
        let mut shapes = BTreeMap::new();
        for (internal, mut shape) in plan::expected(&row.arch) {
            let naming = match row.dino_type {
                DinoType::Dinov2 => Naming::HuggingFaceV2,
                DinoType::Dinov3 => Naming::HuggingFaceV3,
            };
            let source = naming.source(&stores_bias, &internal);
            if matches!(source, Source::Default(_)) {
                continue;
            }
            if let Source::Part { of, .. } = source {
                shape[0] *= of;
            }
            shapes.insert(source.name().unwrap().to_owned(), shape);
        }
        let mut end = 0;
        let entry = |(name, shape): (String, Vec<usize>)| {
            let start = end;
            end += 2 * shape.iter().product::<usize>();
            (name, json!({ "dtype": "BF16", "shape": shape, "data_offsets": [start, end] }))
        };
        let header: serde_json::Value = shapes.into_iter().map(entry).collect();
        let header = header.to_string();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.bytes());
        crate::fs::write_atomic(path, &bytes).unwrap();
        let file = fs_err::OpenOptions::new().write(true).open(path).unwrap();
        file.file().set_len((bytes.len() + end) as u64).unwrap();
    }

    #[test]
    fn every_row_is_known_by_its_shapes_and_satellites_by_name() {
        let temp = tempfile::tempdir().unwrap();
        for row in backbone::variants() {
            let folder = temp.path().join(row.folders.first().unwrap_or(&row.name));
            let path = folder.join("any.safetensors");
            write_hollow(&path, row);
            let found = identify(&path).unwrap();
            assert_eq!(found.variant.map(|v| v.name), Some(row.name));
            assert_eq!((found.arch, found.mean, found.std), (row.arch, row.mean, row.std));
            fs_err::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn satellites_are_known_by_the_mean_beside_them() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("model.safetensors");
        let row = |name: &str| backbone::variants().find(|v| v.name == name).unwrap();
        write_hollow(&path, row("dinov3_vitl16"));
        let name = || identify(&path).unwrap().name;
        assert_eq!(name(), "dinov3_vitl16");
        fs_err::write(temp.path().join("config.json"), "{}").unwrap();
        let mean = json!({ "image_mean": [0.43, 0.411, 0.296] }).to_string();
        fs_err::write(temp.path().join("preprocessor_config.json"), mean).unwrap();
        assert_eq!(name(), "dinov3_vitl16_sat493m");
    }
}
