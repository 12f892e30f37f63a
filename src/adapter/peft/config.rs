//! Reads and writes PEFT's settings, `adapter_config.json`, and refuses those that are not
//! understood.
//!
//! Opening a PEFT folder passes the file's JSON in; the settings that come out decide rank, scale
//! and blocks. A setting that is not listed must be off. The list is of PEFT 0.21
//! (`peft/tuners/lora/config.py`), checked against what its LoRA layers compute
//! (`peft/tuners/lora/layer.py`).

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Name of the settings file in a PEFT folder.
pub(super) const CONFIG: &str = "adapter_config.json";

/// The settings that are read and written.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Config {
    pub(super) peft_type: String,
    #[serde(default)]
    pub(super) task_type: Option<String>,
    #[serde(default)]
    pub(super) base_model_name_or_path: Option<String>,
    pub(super) r: NonZeroU32,
    pub(super) lora_alpha: f64,
    #[serde(default)]
    pub(super) lora_dropout: f64,
    #[serde(default)]
    pub(super) use_rslora: bool,
    /// The modules that PEFT was told to adapt; not used, as the tensors show which modules have an
    /// update.
    #[serde(default)]
    pub(super) target_modules: Value,
    #[serde(default)]
    pub(super) layers_to_transform: Option<Blocks>,
    #[serde(default)]
    pub(super) layers_pattern: Option<Value>,
    #[serde(default = "none")]
    pub(super) bias: Option<String>,
    #[serde(default)]
    pub(super) inference_mode: bool,
}

/// Indices of blocks; written as one number or as a list.
#[derive(Debug, Clone)]
pub(super) struct Blocks(pub(super) BTreeSet<usize>);

/// The treatment of one of PEFT's settings.
enum Rule {
    /// The setting is read into [`Config`].
    Read,
    /// The setting is ignored: it changes nothing that saved matrices compute.
    Note,
    /// The setting must have a value that changes nothing: a test for such values, and the advice
    /// for others.
    Only(fn(&Value) -> bool, &'static str),
}

const PLAIN: &str = "such an adapter needs base weights that were changed when it was made, and \
                     does not contain them; save it with PEFT as plain LoRA \
                     (`save_pretrained` with `path_initial_model_for_weight_conversion`)";
const OTHER: &str = "it changes what the adapter computes, and sweep does not support it";

const RULES: &[(&str, Rule)] = &[
    ("peft_type", Rule::Only(|value| value == "LORA", "only LoRA is read (`LORA`)")),
    ("bias", Rule::Only(|value| value.is_null() || value == "none", "only `none` is read")),
    ("init_lora_weights", Rule::Only(leaves_base_alone, PLAIN)),
    ("layers_pattern", Rule::Only(is_layer, "only `layer` is read")),
    ("base_model_name_or_path", Rule::Read),
    ("layers_to_transform", Rule::Read),
    ("lora_alpha", Rule::Read),
    ("lora_dropout", Rule::Read),
    ("r", Rule::Read),
    ("target_modules", Rule::Read),
    ("use_rslora", Rule::Read),
    ("auto_mapping", Rule::Note),
    ("inference_mode", Rule::Note),
    // Without `megatron_config` it is not used.
    ("megatron_core", Rule::Note),
    ("peft_version", Rule::Note),
    // Without `use_qalora` it is not used.
    ("qalora_group_size", Rule::Note),
    ("revision", Rule::Note),
    // PEFT does not read it back.
    ("runtime_config", Rule::Note),
    ("task_type", Rule::Note),
];

/// Largest number of characters of a value that a message shows.
const SHOWN: usize = 80;

impl Config {
    /// The settings of a file; an error where one of them is not understood.
    pub(super) fn of(json: Value) -> Result<Self, String> {
        let refused: Vec<_> = json.as_object().into_iter().flatten().filter_map(refusal).collect();
        if !refused.is_empty() {
            return Err(format!("{CONFIG} {}", refused.join("; ")));
        }
        let config: Self = serde_json::from_value(json)
            .map_err(|error| format!("{CONFIG} does not describe a LoRA adapter: {error}"))?;
        if !(0.0..1.0).contains(&config.lora_dropout) {
            let dropout = config.lora_dropout;
            return Err(format!("{CONFIG} sets lora_dropout to {dropout}, which is not in [0, 1)"));
        }
        Ok(config)
    }
}

/// The reason why a setting with this value is refused; `None` where it is accepted.
fn refusal((key, value): (&String, &Value)) -> Option<String> {
    let rule = RULES.iter().find(|(name, _)| name == key).map(|(_, rule)| rule);
    let reason = match rule {
        Some(Rule::Only(allows, reason)) if !allows(value) => reason,
        None if is_set(value) => OTHER,
        Some(Rule::Read | Rule::Note | Rule::Only(..)) | None => return None,
    };
    let mut shown = value.to_string();
    if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
        shown.truncate(end);
        shown.push('…');
    }
    Some(format!("sets {key} to {shown}: {reason}"))
}

/// Tells whether a setting that some version of PEFT added is switched on.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

/// Tells whether this way of initialising LoRA leaves the base weights unchanged. Others (`pissa`,
/// `pissa_niter_…`, `olora`, `corda`, `lora_ga`, `loftq`) subtract from them; what newer versions
/// add is not known.
fn leaves_base_alone(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) => true,
        Value::String(name) => name.eq_ignore_ascii_case("gaussian"),
        _ => false,
    }
}

/// Tells whether the list of blocks is called `layer`, as in Hugging Face's DINOs.
fn is_layer(value: &Value) -> bool {
    match value {
        Value::Array(names) => names.iter().all(|name| name == "layer"),
        value => value.is_null() || value == "layer" || value == "",
    }
}

#[expect(clippy::unnecessary_wraps, reason = "serde's default has the field's type")]
fn none() -> Option<String> {
    Some("none".to_owned())
}

impl Serialize for Blocks {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Blocks {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let items = match &value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        let number = |item: &Value| item.as_u64().and_then(|n| usize::try_from(n).ok());
        let blocks: Option<BTreeSet<_>> = items.iter().map(number).collect();
        blocks.map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "layers_to_transform: {value} is neither a block nor a list of blocks"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(key: &str, value: Value) -> Result<Config, String> {
        let mut json = json!({ "peft_type": "LORA", "r": 2, "lora_alpha": 4 });
        json[key] = value;
        Config::of(json)
    }

    /// The settings that PEFT 0.21.2 writes where nothing but rank and modules was chosen.
    fn defaults() -> Value {
        json!({
            "alora_invocation_tokens": null, "alpha_pattern": {}, "arrow_config": null,
            "auto_mapping": { "base_model_class": "Dinov2Model", "parent_library": "x" },
            "base_model_name_or_path": "facebook/dinov2-small", "bias": "none",
            "corda_config": null, "ensure_weight_tying": false, "eva_config": null,
            "exclude_modules": null, "fan_in_fan_out": false, "inference_mode": true,
            "init_lora_weights": true, "kasa_config": null, "layer_replication": null,
            "layers_pattern": null, "layers_to_transform": null, "loftq_config": {},
            "lora_alpha": 8, "lora_bias": false, "lora_dropout": 0.0, "lora_ga_config": null,
            "megatron_config": null, "megatron_core": "megatron.core", "modules_to_save": null,
            "monteclora_config": null, "peft_type": "LORA", "peft_version": "0.21.2",
            "qalora_group_size": 16, "r": 8, "rank_pattern": {}, "revision": null,
            "target_modules": ["query", "value"], "target_parameters": null, "task_type": null,
            "trainable_token_indices": null, "use_bdlora": null, "use_dora": false,
            "use_qalora": false, "use_rslora": false, "velora_config": null
        })
    }

    #[test]
    fn defaults_of_peft_are_read() {
        assert_eq!(Config::of(defaults()).unwrap().r.get(), 8);
    }

    #[test]
    fn every_other_setting_is_refused_by_name_and_value() {
        let check = |key: &str, value: Value| {
            let text = config(key, value.clone()).unwrap_err();
            assert!(text.contains(&format!("sets {key} to {value}: ")), "{text}");
        };
        for init in ["pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga", "eva", "new"] {
            check("init_lora_weights", json!(init));
            let text = config("init_lora_weights", json!(init)).unwrap_err();
            assert!(text.contains("path_initial_model_for_weight_conversion"), "{text}");
        }
        check("peft_type", json!("LOHA"));
        check("bias", json!("all"));
        check("bias", json!("lora_only"));
        check("layers_pattern", json!(["blocks"]));
        for (key, value) in [
            ("use_dora", json!(true)),
            ("lora_bias", json!(true)),
            ("fan_in_fan_out", json!(true)),
            ("use_qalora", json!(true)),
            ("rank_pattern", json!({ "query": 3 })),
            ("alpha_pattern", json!({ "query": 3 })),
            ("modules_to_save", json!(["classifier"])),
            ("trainable_token_indices", json!([1])),
            ("layer_replication", json!([[0, 2], [1, 3]])),
            ("exclude_modules", json!("key")),
            ("target_parameters", json!(["w"])),
            ("megatron_config", json!({ "a": 1 })),
            ("loftq_config", json!({ "loftq_bits": 4 })),
            ("kasa_config", json!({ "beta": 1.0 })),
            ("a_setting_of_tomorrow", json!(1)),
        ] {
            check(key, value);
        }
        let mut several = defaults();
        several["use_dora"] = json!(true);
        several["init_lora_weights"] = json!("pissa");
        let text = Config::of(several).unwrap_err();
        assert!(text.contains("init_lora_weights") && text.contains("; sets use_dora"), "{text}");
    }

    #[test]
    fn what_changes_nothing_is_read() {
        for (key, value) in [
            ("init_lora_weights", json!(false)),
            ("init_lora_weights", json!("gaussian")),
            ("layers_pattern", json!("layer")),
            ("a_setting_of_tomorrow", json!(null)),
            ("a_setting_of_tomorrow", json!([])),
            ("runtime_config", json!({ "ephemeral_gpu_offload": false })),
        ] {
            assert!(config(key, value.clone()).is_ok(), "{key} {value}");
        }
        let blocks = |value| config("layers_to_transform", value).unwrap().layers_to_transform;
        assert_eq!(blocks(json!(3)).unwrap().0, BTreeSet::from([3]));
        assert_eq!(blocks(json!([2, 1])).unwrap().0, BTreeSet::from([1, 2]));
        assert!(
            config("layers_to_transform", json!("all")).unwrap_err().contains("a list of blocks")
        );
        assert!(config("lora_dropout", json!(1.5)).unwrap_err().contains("not in [0, 1)"));
    }
}
