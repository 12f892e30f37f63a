//! Opens a weight file and translates its tensors' names to those of a naming scheme, without the
//! parts that the program which trained and saved it added.
//!
//! Used by everything in this module that looks at a backbone's file. Names may begin with the
//! parts of a training program that held the model (`PREFIXES`), have wrappers in between
//! (`WRAPPERS`), and number blocks by chunks, as Meta's own training does: `blocks.C.I.` is block
//! I (facebookresearch/dinov2 b8931f7, `models/vision_transformer.py`, `block_chunks`).

use std::collections::BTreeMap;
use std::path::Path;

use super::scheme::{Naming, Shapes};
use super::source::Source;
use super::{Error, TensorFile, cause};

/// A weight file whose naming is known, with the prefix of its names removed.
pub struct Named {
    pub file: TensorFile,
    pub naming: Naming,
    /// Prefix of all names of the model; empty or ending in a dot.
    pub prefix: String,
    /// Tensors beside the model (optimiser state, the heads of pre-training), which are ignored.
    pub beside: Vec<String>,
    /// Tensors outside the prefix that nothing accounts for.
    pub outside: Vec<String>,
    /// Shapes of the model's tensors, by their names in the scheme.
    shapes: Shapes,
    /// Names of the same tensors in the file.
    stored: BTreeMap<String, String>,
}

/// Prefixes that names may have.
pub(crate) const PREFIXES: &[&str] = &[
    "backbone",
    "teacher",
    "student",
    "gram_teacher",
    "module",
    "model",
    "model_ema",
    "ema",
    "state_dict",
    "dinov2",
    "dinov2_with_registers",
    "dinov3_vit",
];
/// Names of the model that is released, in a training checkpoint that holds several; best first.
const RELEASED: &[&str] = &["teacher", "model_ema", "ema"];
/// Keys of a checkpoint's outer dictionary that hold a model; tensors beside them are no part of
/// it.
const OUTER_KEYS: &[&str] = &["teacher", "model_ema", "ema", "state_dict", "model", "module"];
/// Prefixes of heads that only pre-training uses.
const HEADS: &[&str] = &["dino_head.", "ibot_head."];
/// Segments that PyTorch's wrappers of a module put into names.
const WRAPPERS: &[&str] = &["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

impl Named {
    /// Opens the file and determines its naming.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = TensorFile::open(path)?;
        let failed = |reason: String| Error::Format { path: file.path().to_owned(), reason };
        let names = file.names();
        if names.is_empty() {
            return Err(failed(cause::without_tensors(file.path())));
        }
        let Found { prefix, others } = find_prefix(&names).map_err(failed)?;
        let outer = OUTER_KEYS
            .iter()
            .map(|key| format!("{key}."))
            .find(|key| prefix.starts_with(key.as_str()))
            .filter(|key| file.is_wrapper(&key[..key.len() - 1]));
        let is_beside = |name: &String| {
            outer.as_ref().is_some_and(|outer| !name.starts_with(outer.as_str()))
                || others.iter().any(|other| name.starts_with(other.as_str()))
                || HEADS.iter().any(|head| name.contains(head))
        };
        let (inside, rest): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| name.starts_with(&prefix));
        let (beside, outside) = rest.into_iter().partition(is_beside);
        let stored = by_scheme_name(inside, &prefix).map_err(failed)?;
        let shape = |(name, stored): (&String, &String)| (name.clone(), file.shape(stored));
        let shapes = stored.iter().map(shape).map(|(name, s)| (name, s.unwrap_or_default()));
        let shapes = Shapes(shapes.collect());
        let naming = Naming::of(&shapes);
        Ok(Self { file, naming, prefix, beside, outside, shapes, stored })
    }

    /// Names of the model's tensors in the scheme.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.stored.keys().map(String::as_str)
    }

    /// The name that the file has for a tensor; for one that it lacks, the name that it would have.
    pub fn in_file(&self, name: &str) -> String {
        self.stored.get(name).cloned().unwrap_or_else(|| format!("{}{name}", self.prefix))
    }

    pub fn has(&self, name: &str) -> bool {
        self.shapes.has(name)
    }

    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.shapes.get(name)
    }

    pub fn dtype(&self, name: &str) -> Option<String> {
        self.file.dtype(&self.in_file(name))
    }

    /// The values of a tensor.
    ///
    /// # Panics
    /// If the file has no such tensor: callers ask [`Self::has`] first.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        self.file.read(&self.in_file(name))
    }

    /// The source of our tensor `internal`, present or not.
    pub fn source(&self, internal: &str) -> Source {
        self.naming.source(&self.shapes, internal)
    }

    /// Tells whether any block stores a bias of q, k or v: a file has all of them or none.
    pub fn stores_bias(&self) -> bool {
        self.shapes.stores_bias()
    }

    /// The shape of our tensor as this file has it; `None` where it is absent or has its value by
    /// default.
    pub fn internal_shape(&self, internal: &str) -> Option<Vec<usize>> {
        let source = self.source(internal);
        source.shape(self.shape(source.name()?)?)
    }
}

/// The prefix of the model to use, found among those of a file.
struct Found {
    prefix: String,
    /// Prefixes of the file's other models; none is empty.
    others: Vec<String>,
}

/// Finds the prefix of the model's names by its class token; an error where it is not clear which
/// model is meant.
fn find_prefix(names: &[String]) -> Result<Found, String> {
    let prefix_of = |name: &String| {
        let rest = name.strip_suffix("cls_token")?;
        let rest = rest.strip_suffix("embeddings.").unwrap_or(rest);
        (rest.is_empty() || rest.ends_with('.')).then(|| rest.to_owned())
    };
    let mut found: Vec<String> = names.iter().filter_map(prefix_of).collect();
    let mut others = vec![];
    if found.len() > 1 && found.iter().all(|prefix| !prefix.is_empty()) {
        let is_of = |prefix: &str, key: &str| prefix.split('.').any(|segment| segment == key);
        let key = RELEASED.iter().find(|key| found.iter().any(|prefix| is_of(prefix, key)));
        if let Some(key) = key {
            (found, others) = found.into_iter().partition(|prefix| is_of(prefix, key));
        }
    }
    let is_known = |segment: &str| PREFIXES.contains(&segment) || WRAPPERS.contains(&segment);
    match found.as_slice() {
        [prefix] if prefix.split_terminator('.').all(is_known) => {
            Ok(Found { prefix: prefix.clone(), others })
        }
        [prefix] => Err(format!(
            "its names begin with `{prefix}`; known beginnings: {}",
            PREFIXES.join(", ")
        )),
        [] => Err(no_backbone(names)),
        many => Err(format!(
            "it holds several models, and it is unclear which to use: {}",
            many.join(", ")
        )),
    }
}

/// The error message about a file without a class token.
fn no_backbone(names: &[String]) -> String {
    let any = |test: fn(&str) -> bool| names.iter().any(|name| test(name));
    let is_lora = |name: &str| {
        name.starts_with("w_a_")
            || ["lora_a", "lora_b", "lora_A", "lora_B"].iter().any(|part| name.contains(part))
    };
    if any(is_lora) {
        return "it is an adapter (LoRA), not a backbone".to_owned();
    }
    if any(|name| name.starts_with("classifier.") || name.starts_with("decoder.")) {
        return "it is a decoder, not a backbone".to_owned();
    }
    format!(
        "its names are neither the official ones nor Hugging Face's nor timm's (first: {})",
        names[0]
    )
}

/// The tensors behind `prefix` by their names in a scheme: without wrappers, blocks by their own
/// numbers. The error names what would be one tensor, or one block, twice.
fn by_scheme_name(inside: Vec<String>, prefix: &str) -> Result<BTreeMap<String, String>, String> {
    let mut stored = BTreeMap::<String, String>::new();
    let mut places = BTreeMap::<String, String>::new();
    for in_file in inside {
        let name = Cleaned::of(&in_file[prefix.len()..]);
        if let Some((block, place)) = name.place {
            let earlier = places.entry(block.clone()).or_insert_with(|| place.clone());
            if *earlier != place {
                return Err(format!(
                    "it has block {block} twice, as `{earlier}` and as `{place}`: it is \
                     unclear which to use"
                ));
            }
        }
        if let Some(other) = stored.insert(name.name.clone(), in_file.clone()) {
            return Err(format!("`{other}` and `{in_file}` are both {}", name.name));
        }
    }
    Ok(stored)
}

/// A name without the parts that a training program added.
struct Cleaned {
    name: String,
    /// Number of the block, and its position in the name.
    place: Option<(String, String)>,
}

impl Cleaned {
    fn of(behind_prefix: &str) -> Self {
        let mut segments: Vec<_> =
            behind_prefix.split('.').filter(|segment| !WRAPPERS.contains(segment)).collect();
        let is_number = |segment: &str| segment.parse::<usize>().is_ok();
        let mut place = None;
        if let ["blocks", first, second, ..] = segments[..]
            && is_number(first)
        {
            if is_number(second) {
                place = Some((second.to_owned(), format!("blocks.{first}.{second}")));
                segments.remove(1);
            } else {
                place = Some((first.to_owned(), format!("blocks.{first}")));
            }
        }
        Self { name: segments.join("."), place }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str], prefix: &str) -> Result<Vec<String>, String> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(by_scheme_name(names, prefix)?.into_keys().collect())
    }

    #[test]
    fn chunks_and_wrappers_are_taken_out_of_names() {
        let found =
            named(&["blocks.0.0.norm1.weight", "blocks.1.12.norm1.weight", "norm.bias"], "");
        assert_eq!(
            found.unwrap(),
            ["blocks.0.norm1.weight", "blocks.12.norm1.weight", "norm.bias"]
        );
        let found = named(&["m.blocks.3._orig_mod._checkpoint_wrapped_module.ls1.gamma"], "m.");
        assert_eq!(found.unwrap(), ["blocks.3.ls1.gamma"]);
        // A number that is no block's.
        assert_eq!(named(&["mlp.0.1.weight"], "").unwrap(), ["mlp.0.1.weight"]);
    }

    #[test]
    fn a_block_that_is_there_twice_is_an_error() {
        let text = named(&["blocks.0.1.a", "blocks.1.1.b"], "").unwrap_err();
        assert!(text.contains("block 1 twice, as `blocks.0.1` and as `blocks.1.1`"), "{text}");
        let text = named(&["blocks.0.1.a", "blocks.1.b"], "").unwrap_err();
        assert!(text.contains("block 1 twice"), "{text}");
        let text = named(&["norm.bias", "_orig_mod.norm.bias"], "").unwrap_err();
        assert!(text.contains("are both norm.bias"), "{text}");
    }

    fn prefix(names: &[&str]) -> Result<(String, Vec<String>), String> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        find_prefix(&names).map(|found| (found.prefix, found.others))
    }

    #[test]
    fn the_released_model_of_a_training_checkpoint_is_meant() {
        let check = |names: &[&str], expect: &str| {
            assert_eq!(prefix(names).unwrap().0, expect, "{names:?}");
        };
        check(&["cls_token"], "");
        check(&["teacher.backbone.cls_token", "student.backbone.cls_token"], "teacher.backbone.");
        check(
            &["model.model_ema.backbone.cls_token", "model.student.backbone.cls_token"],
            "model.model_ema.backbone.",
        );
        check(&["module._orig_mod.cls_token"], "module._orig_mod.");
        check(&["dinov2.embeddings.cls_token"], "dinov2.");
        assert!(prefix(&["visual.cls_token"]).unwrap_err().contains("begin with `visual.`"));
        assert!(prefix(&["a.cls_token", "cls_token"]).unwrap_err().contains("several models"));
        let two = prefix(&["teacher.backbone.cls_token", "teacher.module.cls_token"]);
        assert!(two.unwrap_err().contains("several models"));
    }
}
