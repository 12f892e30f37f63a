//! The forms of value of `data` keys that are more than a number or a word.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::value::{Accepted, EachPath, Form, Refusal, Type, all_or, all_texts, no_paths};
use crate::data::VOID;
use crate::data::dataset::template::Template;
use crate::data::labels::Raw;
use crate::experiment::text::tree::{label_of, shortened};

/// A path template, such as `images/{split}/{stem}.jpg`.
pub(super) static TEMPLATE: Form = Form {
    allowed: || {
        "a path below `data.root` with `{stem}`, optionally `{split}`, in it, such as \
         \"images/{split}/{stem}.jpg\" (`.*`: jpg, jpeg or png)"
            .to_owned()
    },
    accept: |value| {
        because(
            &TEMPLATE,
            match value {
                Value::String(text) => match text.parse::<Template>() {
                    Ok(_) => Ok(value.clone()),
                    Err(why) => Err(vec![why]),
                },
                _ => Err(vec![found(value)]),
            },
        )
    },
    label: label_of,
    paths: all_texts,
    is_text: true,
};

/// A list of names, or the path of a file of them.
pub(super) static CLASSES: Form = Form {
    allowed: || "a list of 1 to 255 names, or the path of a file with one per line".to_owned(),
    accept: |value| because(&CLASSES, classes(value)),
    label: label_of,
    paths: file_of_classes,
    is_text: true,
};

/// An id or a colour.
pub(super) static RAW: Form = Form {
    allowed: || "an id from 0 to 65535, or a colour such as \"128,64,0\"".to_owned(),
    accept: |value| {
        let raw = raw(value).map(|raw| Value::from(raw.to_string()));
        because(&RAW, raw.map_err(|why| vec![why]))
    },
    label: label_of,
    paths: no_paths,
    is_text: true,
};

/// A table with the class of each id or colour.
pub(super) static LABEL_MAP: Form = Form {
    allowed: || {
        "a table of ids or of colours, each with its class (255: void), such as \
         { 7 = 0, 8 = 1 } or { \"128,64,0\" = 0 }"
            .to_owned()
    },
    accept: |value| because(&LABEL_MAP, table(value).and_then(label_map)),
    label: label_of,
    paths: no_paths,
    is_text: false,
};

/// A file for each split.
pub(super) static FILES: Form = Form {
    allowed: || {
        "a table of splits, each with its file of stems, such as \
         { train = \"train.txt\", val = \"val.txt\" }"
            .to_owned()
    },
    accept: |value| because(&FILES, table(value).and_then(|table| by_split(table, &Type::Path))),
    label: label_of,
    paths: all_texts,
    is_text: false,
};

/// For each split, a fraction of all images.
pub(super) static FRACTIONS: Form = Form {
    allowed: || {
        "a table of splits, each with its fraction of all images, such as \
         { train = 0.8, val = 0.2 }"
            .to_owned()
    },
    accept: |value| {
        let part = Type::Positive { max: 1.0 };
        because(&FRACTIONS, table(value).and_then(|table| by_split(table, &part)))
    },
    label: label_of,
    paths: no_paths,
    is_text: false,
};

/// The problems, each with what is allowed.
fn because(form: &Form, read: Result<Value, Vec<String>>) -> Accepted {
    read.or_else(|whys| {
        let refused = |why| Refusal::new(format!("{why}; allowed: {}", (form.allowed)()));
        all_or(Value::Null, whys.into_iter().map(refused).collect())
    })
}

fn table(value: &Value) -> Result<&Map<String, Value>, Vec<String>> {
    match value.as_object() {
        Some(table) if table.is_empty() => Err(vec!["the table is empty".to_owned()]),
        Some(table) => Ok(table),
        None => Err(vec![found(value)]),
    }
}

fn classes(value: &Value) -> Result<Value, Vec<String>> {
    let names = match value {
        Value::String(path) if !path.is_empty() => return Ok(json!({ "file": path })),
        // As it is kept.
        Value::Object(table) => match (table.get("file"), table.get("names"), table.len()) {
            (Some(Value::String(path)), None, 1) if !path.is_empty() => return Ok(value.clone()),
            (None, Some(Value::Array(names)), 1) => names,
            _ => return Err(vec![found(value)]),
        },
        Value::Array(names) => names,
        _ => return Err(vec![found(value)]),
    };
    if !(1..usize::from(VOID) + 1).contains(&names.len()) {
        return Err(vec![format!("there are {} names", names.len())]);
    }
    let mut whys = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let is_name = name.as_str().is_some_and(|name| !name.trim().is_empty());
        if !is_name {
            whys.push(format!("`{}` is not a valid name", shown(name)));
        } else if names[..i].contains(name) {
            whys.push(format!("`{}` is listed twice", shown(name)));
        }
    }
    if whys.is_empty() { Ok(json!({ "names": names })) } else { Err(whys) }
}

/// The names are no paths.
fn file_of_classes(value: &mut Value, each: &mut EachPath<'_>) {
    if let Some(file) = value.get_mut("file") {
        all_texts(file, each);
    }
}

fn raw(value: &Value) -> Result<Raw, String> {
    match value {
        Value::String(text) => text.parse(),
        Value::Number(number) => number.to_string().parse(),
        Value::Array(_) => {
            let colour = serde_json::from_value(value.clone());
            colour.map(Raw::Colour).map_err(|_| format!("`{}` is not a colour", shown(value)))
        }
        _ => Err(found(value)),
    }
}

fn label_map(table: &Map<String, Value>) -> Result<Value, Vec<String>> {
    let mut whys = Vec::new();
    let mut map: BTreeMap<Raw, u64> = BTreeMap::new();
    for (key, class) in table {
        let class_of = class.as_u64().filter(|class| *class <= u64::from(VOID));
        match (key.parse::<Raw>(), class_of) {
            (Ok(raw), Some(class)) => {
                if map.insert(raw, class).is_some() {
                    whys.push(format!("{raw} is listed twice"));
                }
            }
            (Ok(_), None) => whys.push(format!("{key} has the class `{}`", shown(class))),
            (Err(why), _) => whys.push(why),
        }
    }
    let n_ids = map.keys().filter(|raw| matches!(raw, Raw::Id(_))).count();
    if n_ids != 0 && n_ids != map.len() {
        whys.push("ids and colours are mixed".to_owned());
    }
    if !whys.is_empty() {
        return Err(whys);
    }
    Ok(map.into_iter().map(|(raw, class)| (raw.to_string(), Value::from(class))).collect())
}

fn by_split(table: &Map<String, Value>, ty: &Type) -> Result<Value, Vec<String>> {
    let mut whys = Vec::new();
    let mut accepted = Map::new();
    for (split, value) in table {
        if Type::Name.accept(&Value::from(split.as_str())).is_err() {
            whys.push(format!("`{}` is not a split name", shortened(split)));
        }
        match ty.accept(value) {
            Ok(value) => {
                accepted.insert(split.clone(), value);
            }
            Err(refused) => {
                whys.extend(refused.into_iter().map(|why| format!("{split}: {}", why.message)));
            }
        }
    }
    if whys.is_empty() { Ok(accepted.into()) } else { Err(whys) }
}

/// The value that was found, for messages.
pub(super) fn found(value: &Value) -> String {
    format!("found `{}`", shown(value))
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => shortened(text),
        other => shortened(&other.to_string()),
    }
}
