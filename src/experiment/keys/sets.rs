//! One item of `eval.sets`: a split of the run's dataset, or of another one that a table describes
//! with the keys of `data`.

use serde_json::{Map, Value, json};

use super::data;
use super::forms::found;
use super::key::Key;
use super::value::{Accepted, EachPath, Form, Refusal, Type, all_or};
use crate::data::dataset::EvalSet;
use crate::experiment::text::problem::{nearest, quoted};
use crate::experiment::text::tree::shortened;

pub(super) static SET: Form = Form {
    allowed: || {
        format!(
            "a split name ({}), or a table of `kind`, `split` and other keys of `data`",
            Type::Name.allowed()
        )
    },
    accept,
    label: |value| {
        let set = serde_json::from_value::<EvalSet>(value.clone());
        set.map_or_else(|_| value.to_string(), |set| set.label())
    },
    paths,
    is_text: false,
};

fn accept(value: &Value) -> Accepted {
    if let Value::Object(table) = value {
        return set(table);
    }
    Type::Name
        .accept(value)
        .map_err(|_| vec![Refusal::new(format!("{}; allowed: {}", found(value), (SET.allowed)()))])
}

/// The keys of `data` that a table of this kind takes, by their names there.
fn keys_of(kind: Option<&str>) -> Vec<(&'static str, &'static Key)> {
    let keys = data::GROUP.keys.iter().filter(|key| key.applies(kind));
    let named = keys.filter_map(|key| Some((key.name.strip_prefix("data.")?, key)));
    // `train` means nothing where a set is scored only.
    named.filter(|(name, _)| *name != "kind" && *name != "train").collect()
}

fn set(table: &Map<String, Value>) -> Accepted {
    let kinds = &data::KIND.ty;
    let Some(kind) = table.get("kind") else {
        let message = format!("the table has no `kind`; allowed: {}", kinds.allowed());
        return Err(vec![Refusal::new(message)]);
    };
    let kind = kinds.accept(kind)?;
    let of_kind = keys_of(kind.as_str());
    let mut accepted = Map::from_iter([("kind".to_owned(), kind.clone())]);
    let mut refused = Vec::new();
    for (name, value) in table.iter().filter(|(name, _)| *name != "kind") {
        let ty = match (name.as_str(), of_kind.iter().find(|(known, _)| known == name)) {
            ("split", _) => Type::Name,
            (_, Some((_, key))) => key.ty,
            // Written by `EvalSet`, with its default.
            ("train", None) if *value == json!("train") => continue,
            (_, None) => {
                refused.push(unknown(name, &of_kind, &kind));
                continue;
            }
        };
        match ty.accept(value) {
            Ok(value) => {
                accepted.insert(name.clone(), value);
            }
            Err(of_key) => refused.extend(of_key.into_iter().map(|refusal| Refusal {
                message: format!("`{name}`: {}", refusal.message),
                ..refusal
            })),
        }
    }
    for (name, key) in
        of_kind.iter().filter(|(name, key)| key.required && !table.contains_key(*name))
    {
        let message = format!("the table has no `{name}`; allowed: {}", key.ty.allowed());
        refused.push(Refusal::new(message));
    }
    accepted.entry("split").or_insert_with(|| json!("val"));
    all_or(accepted.into(), refused).and_then(kept)
}

/// Those of the keys of `data` in the table of a set.
fn paths(value: &mut Value, each: &mut EachPath<'_>) {
    let Some(table) = value.as_object_mut() else { return };
    let of_kind = keys_of(table.get("kind").and_then(Value::as_str));
    for (name, key) in of_kind {
        if let Some(value) = table.get_mut(name) {
            key.ty.each_path(value, each);
        }
    }
}

fn unknown(name: &str, of_kind: &[(&'static str, &'static Key)], kind: &Value) -> Refusal {
    let known = || of_kind.iter().map(|(known, _)| *known).chain(["split", "kind"]);
    let message = format!(
        "`{}` is not a key of a set of kind `{}`; allowed: {}",
        shortened(name),
        kind.as_str().unwrap_or_default(),
        quoted(known())
    );
    Refusal { message, nearest: nearest(name, known()) }
}

/// In the one form that a set is kept in.
fn kept(table: Value) -> Accepted {
    let set: Result<EvalSet, _> = serde_json::from_value(table);
    set.map(Value::from).map_err(|error| vec![Refusal::new(format!("not a valid set: {error}"))])
}
