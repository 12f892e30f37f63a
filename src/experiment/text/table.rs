//! Reads and sets fields of JSON tables by their dotted names.

use serde_json::{Map, Value};

/// The field of that dotted name; `None` where it is missing or null.
pub(in crate::experiment) fn field<'a>(table: &'a Value, name: &str) -> Option<&'a Value> {
    let found = name.split('.').try_fold(table, |table, part| table.get(part));
    found.filter(|value| !value.is_null())
}

/// [`field`], mutable.
pub(in crate::experiment) fn field_mut<'a>(
    table: &'a mut Value,
    name: &str,
) -> Option<&'a mut Value> {
    name.split('.').try_fold(table, |table, part| table.get_mut(part))
}

/// Sets the field of that dotted name; the tables around it are made where they are missing.
pub(in crate::experiment) fn insert(table: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        None => {
            table.insert(name.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| Value::from(Map::new()));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}
