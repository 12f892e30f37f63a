//! What the keys of `data` and `eval.sets` take that is more than a number or a word.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::data::VOID;
use crate::data::dataset::template::Template;
use crate::data::dataset::{EvalSet, KINDS};
use crate::data::labels::Raw;
use crate::experiment::keys::{self, KEYS, Refusal};
use crate::experiment::text::problem::{nearest, quoted};
use crate::experiment::text::tree::shortened;

/// A form of value that has more than one spelling; one of them is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `images/{split}/{stem}.jpg`
    Template,
    /// A list of names, or the path of a file of them.
    Classes,
    /// An id or a colour.
    Raw,
    /// Class of each id or colour.
    LabelMap,
    /// A file for each split.
    Files,
    /// A part of all images for each split.
    Fractions,
    /// A split of the run's dataset, or of another one.
    Set,
}

impl Form {
    pub(in crate::experiment) fn allowed(self) -> String {
        match self {
            Self::Template => "a path below `data.root` with `{stem}`, perhaps `{split}`, in it, \
                 such as \"images/{split}/{stem}.jpg\" (`.*`: jpg, jpeg or png)"
                .to_owned(),
            Self::Classes => {
                "a list of 1 to 255 names, or the path of a file with one a line".to_owned()
            }
            Self::Raw => "an id from 0 to 65535, or a colour such as \"128,64,0\"".to_owned(),
            Self::LabelMap => {
                "a table of ids or of colours, each with its class (255: void), such \
                 as { 7 = 0, 8 = 1 } or { \"128,64,0\" = 0 }"
                    .to_owned()
            }
            Self::Files => "a table of splits, each with its file of stems, such as \
                 { train = \"train.txt\", val = \"val.txt\" }"
                .to_owned(),
            Self::Fractions => "a table of splits, each with its part of all images, such as \
                 { train = 0.8, val = 0.2 }"
                .to_owned(),
            Self::Set => format!(
                "a split's name ({}), or a table of `kind`, `split` and what else `data` takes",
                keys::Type::Name.allowed()
            ),
        }
    }

    pub(in crate::experiment) fn accept(self, value: &Value) -> Result<Value, Refusal> {
        let accepted = match (self, value) {
            (Self::Template, Value::String(text)) => {
                text.parse::<Template>().map(|_| value.clone())
            }
            (Self::Classes, _) => classes(value),
            (Self::Raw, _) => raw(value).map(|raw| Value::from(raw.to_string())),
            (Self::LabelMap, Value::Object(table)) => label_map(table),
            (Self::Files, Value::Object(table)) => by_split(table, keys::Type::Path),
            (Self::Fractions, Value::Object(table)) => {
                by_split(table, keys::Type::Positive { max: 1.0 })
            }
            (Self::Set, Value::Object(table)) => return set(table),
            (Self::Set, _) => {
                return keys::Type::Name.accept(value).map_err(|_| self.refusal(value));
            }
            _ => return Err(self.refusal(value)),
        };
        accepted.map_err(|why| self.because(&why))
    }

    fn refusal(self, value: &Value) -> Refusal {
        self.because(&format!("found `{}`", shown(value)))
    }

    fn because(self, why: &str) -> Refusal {
        Refusal { message: format!("{why}; allowed: {}", self.allowed()), nearest: None }
    }
}

/// As the table shows a set of `eval.sets`.
pub(in crate::experiment) fn set_label(value: &Value) -> String {
    let set = serde_json::from_value::<EvalSet>(value.clone());
    set.map_or_else(|_| value.to_string(), |set| set.label())
}

fn classes(value: &Value) -> Result<Value, String> {
    let names = match value {
        Value::String(path) if !path.is_empty() => return Ok(json!({ "file": path })),
        // As it is kept.
        Value::Object(table) => match (table.get("file"), table.get("names"), table.len()) {
            (Some(Value::String(path)), None, 1) if !path.is_empty() => return Ok(value.clone()),
            (None, Some(Value::Array(names)), 1) => names,
            _ => return Err(format!("found `{}`", shown(value))),
        },
        Value::Array(names) => names,
        _ => return Err(format!("found `{}`", shown(value))),
    };
    if !(1..usize::from(VOID) + 1).contains(&names.len()) {
        return Err(format!("there are {} names", names.len()));
    }
    for (i, name) in names.iter().enumerate() {
        let is_name = name.as_str().is_some_and(|name| !name.trim().is_empty());
        if !is_name {
            return Err(format!("`{}` is no name", shown(name)));
        }
        if names[..i].contains(name) {
            return Err(format!("`{}` is listed twice", shown(name)));
        }
    }
    Ok(json!({ "names": names }))
}

fn raw(value: &Value) -> Result<Raw, String> {
    match value {
        Value::String(text) => text.parse(),
        Value::Number(number) => number.to_string().parse(),
        Value::Array(_) => {
            let colour = serde_json::from_value(value.clone());
            colour.map(Raw::Colour).map_err(|_| format!("`{}` is no colour", shown(value)))
        }
        _ => Err(format!("found `{}`", shown(value))),
    }
}

fn label_map(table: &Map<String, Value>) -> Result<Value, String> {
    let mut map: BTreeMap<Raw, u64> = BTreeMap::new();
    for (key, class) in table {
        let raw: Raw = key.parse()?;
        let class = class.as_u64().filter(|class| *class <= u64::from(VOID));
        let class = class.ok_or_else(|| format!("{key} has the class `{}`", shown(&table[key])))?;
        if map.insert(raw, class).is_some() {
            return Err(format!("{raw} is listed twice"));
        }
    }
    let n_ids = map.keys().filter(|raw| matches!(raw, Raw::Id(_))).count();
    if n_ids != 0 && n_ids != map.len() {
        return Err("there are ids and colours".to_owned());
    }
    if map.is_empty() {
        return Err("the table is empty".to_owned());
    }
    Ok(map.into_iter().map(|(raw, class)| (raw.to_string(), Value::from(class))).collect())
}

fn by_split(table: &Map<String, Value>, ty: keys::Type) -> Result<Value, String> {
    if table.is_empty() {
        return Err("the table is empty".to_owned());
    }
    let mut accepted = Map::new();
    for (split, value) in table {
        let is_name = keys::Type::Name.accept(&Value::from(split.as_str())).is_ok();
        if !is_name {
            return Err(format!("`{}` is no split's name", shortened(split)));
        }
        let value = ty.accept(value).map_err(|refusal| format!("{split}: {}", refusal.message))?;
        accepted.insert(split.clone(), value);
    }
    Ok(accepted.into())
}

/// A table of `eval.sets`: `split`, and the keys of `data` without their group.
fn set(table: &Map<String, Value>) -> Result<Value, Refusal> {
    let refused = |message: String| Refusal { message, nearest: None };
    let kind_key = keys::find("data.kind").expect("in the table");
    let Some(kind) = table.get("kind") else {
        return Err(refused(format!(
            "the table has no `kind`; allowed: {}",
            quoted(KINDS.iter().copied())
        )));
    };
    let kind = kind_key.ty.accept(kind)?;
    // `train` means nothing where a set is scored only.
    let own = |name: &str| name != "kind" && name != "train";
    let of_kind: Vec<_> = KEYS
        .iter()
        .filter(|key| key.applies(kind.as_str()))
        .filter_map(|key| Some((key.name.strip_prefix("data.")?, key)))
        .filter(|(name, _)| own(name))
        .collect();
    let mut accepted = Map::new();
    for (name, value) in table {
        let ty = match (name.as_str(), of_kind.iter().find(|(known, _)| known == name)) {
            ("kind", _) => kind_key.ty,
            ("split", _) => keys::Type::Name,
            (_, Some((_, key))) => key.ty,
            // Written by `EvalSet`, with its default.
            ("train", None) if *value == json!("train") => continue,
            (_, None) => {
                let known = || of_kind.iter().map(|(known, _)| *known).chain(["split", "kind"]);
                let kind = kind.as_str().unwrap_or_default();
                return Err(Refusal {
                    message: format!(
                        "`{}` is no key of a set of kind `{kind}`; allowed: {}",
                        shortened(name),
                        quoted(known())
                    ),
                    nearest: nearest(name, known()),
                });
            }
        };
        let value = ty.accept(value).map_err(|refusal| Refusal {
            message: format!("`{name}`: {}", refusal.message),
            ..refusal
        })?;
        accepted.insert(name.clone(), value);
    }
    let is_missing = |key: &keys::Key, name: &str| key.required && !accepted.contains_key(name);
    if let Some((name, key)) = of_kind.iter().find(|(name, key)| is_missing(key, name)) {
        return Err(refused(format!("the table has no `{name}`; allowed: {}", key.ty.allowed())));
    }
    accepted.entry("split").or_insert_with(|| json!("val"));
    // In the one form that a set is kept in.
    let set: Result<EvalSet, _> = serde_json::from_value(accepted.into());
    let set = set.map_err(|error| refused(format!("no set: {error}")))?;
    Ok(set.into())
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => shortened(text),
        other => shortened(&other.to_string()),
    }
}
