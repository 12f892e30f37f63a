//! Run and score ids: the first 16 hex digits of the sha256 of canonical JSON.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fs::hash::sha256_bytes;

/// Number of digits kept of the sha256: 64 bits, so 100,000 runs collide with probability 3e-10.
const DIGITS: usize = 16;

/// Identity of a training run, made of everything that changes its numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

/// Identity of a score, made of run, checkpoint, protocol, evaluation set, and one corruption or
/// clean.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScoreId(String);

impl RunId {
    pub fn of(identity: &Value) -> Self {
        Self(digest(identity))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads an id from its printed form; `None` unless it is 16 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        is_digest(text).then(|| Self(text.to_owned()))
    }
}

impl ScoreId {
    pub fn of(identity: &Value) -> Self {
        Self(digest(identity))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for RunId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ScoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `value` as JSON with sorted keys and no white space.
///
/// Numbers print as `serde_json` prints them (shortest form that round-trips); an integral float
/// prints as an integer, so `1` and `1.0` are one value.
pub fn canonical_json(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.keys().collect();
            keys.sort();
            let fields: Vec<_> = keys
                .into_iter()
                .map(|key| format!("{}:{}", Value::from(key.as_str()), canonical_json(&map[key])))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(canonical_json).collect();
            format!("[{}]", items.join(","))
        }
        Value::Number(number) => match number.as_f64() {
            Some(x) if number.is_f64() && x.fract() == 0.0 && x.abs() < 2f64.powi(53) => {
                format!("{}", x as i64)
            }
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

fn digest(identity: &Value) -> String {
    let mut hex = sha256_bytes(canonical_json(identity).as_bytes());
    hex.truncate(DIGITS);
    hex
}

fn is_digest(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
