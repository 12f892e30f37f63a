//! One item of `eval.sets`: a split of the run's own dataset, or of another one.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Config;

/// The split of a table that names none.
const SPLIT: &str = "val";

/// A set to score, written `"val"` or `{ kind = "acdc", split = "val_fog" }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum EvalSet {
    /// A split of the run's own dataset.
    Own(String),
    /// A split of another dataset with the same classes.
    Other { data: Config, split: String },
}

impl EvalSet {
    pub fn split(&self) -> &str {
        match self {
            Self::Own(split) | Self::Other { split, .. } => split,
        }
    }

    /// The set as a cell of a grid shows it.
    pub fn label(&self) -> String {
        match self {
            Self::Own(split) => split.clone(),
            Self::Other { data, split } => {
                let root = data.root().map(|root| format!(" {}", root.display()));
                format!("{}/{split}{}", data.kind(), root.unwrap_or_default())
            }
        }
    }
}

impl From<&str> for EvalSet {
    fn from(split: &str) -> Self {
        Self::Own(split.to_owned())
    }
}

impl TryFrom<Value> for EvalSet {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::String(split) => Ok(Self::Own(split)),
            Value::Object(mut fields) => {
                let split = match fields.remove("split") {
                    None => SPLIT.to_owned(),
                    Some(Value::String(split)) => split,
                    Some(other) => return Err(format!("`{other}` is not a split name")),
                };
                let data = serde_json::from_value(Value::Object(fields));
                Ok(Self::Other { data: data.map_err(|error| error.to_string())?, split })
            }
            other => Err(format!("`{other}` is neither a split name nor a table")),
        }
    }
}

impl From<EvalSet> for Value {
    fn from(set: EvalSet) -> Self {
        match set {
            EvalSet::Own(split) => Self::from(split),
            EvalSet::Other { data, split } => {
                let mut fields = Map::new();
                if let Ok(Self::Object(data)) = serde_json::to_value(&data) {
                    // TOML has no null.
                    fields.extend(data.into_iter().filter(|(_, value)| !value.is_null()));
                }
                fields.insert("split".to_owned(), Self::from(split));
                Self::from(fields)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_survives_being_written() {
        let check = |json: &str| {
            let set: EvalSet = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&set).unwrap(), json);
            set
        };
        assert_eq!(check("\"val\""), EvalSet::Own("val".to_owned()));
        let fog = check(r#"{"kind":"acdc","split":"val_fog","train":"train"}"#);
        assert_eq!((fog.split(), fog.label().as_str()), ("val_fog", "acdc/val_fog"));
        let voc = check(r#"{"kind":"voc","root":"CCP8","split":"val","train":"train"}"#);
        assert_eq!(voc.label(), "voc/val CCP8");
        serde_json::from_str::<EvalSet>("3").unwrap_err();
        serde_json::from_str::<EvalSet>(r#"{"kind":"none"}"#).unwrap_err();
    }
}
