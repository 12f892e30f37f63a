//! The order that the coordinator gives a worker, as a file. The current form is written; older
//! forms, from before some of its fields, are read too.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Facts, ScoreRequest, schedule};
use crate::device::Device;

/// The content of `order.<attempt>.json`: what the coordinator asks of one attempt.
///
/// The worker trains unless `adapter.safetensors` is there, then makes each score that no earlier
/// attempt has journalled. Orders from before [`schedule::Terms`] are read too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Order {
    pub version: u32,
    pub attempt: u32,
    pub device: Device,
    /// CPU threads of the worker.
    pub threads: u32,
    #[serde(deserialize_with = "schedule::read_terms")]
    pub terms: schedule::Terms,
    pub facts: Facts,
    pub scores: Vec<ScoreRequest>,
}

impl Serialize for Order {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The derived one, which is no part of the trait.
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Order {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        gather_terms(&mut fields);
        Self::deserialize(Value::from(fields)).map_err(D::Error::custom)
    }
}

/// Converts the fields of an order to the current form: orders from before [`schedule::Terms`] have
/// its values beside the others.
fn gather_terms(order: &mut Map<String, Value>) {
    if order.contains_key("terms") {
        return;
    }
    let cache = order.remove("cache").unwrap_or_default();
    let old = [
        ("checkpoint_every_s", order.remove("checkpoint_every_s")),
        ("cache_mb", cache.get("memory_mb").cloned()),
        ("cache_disk_mb", cache.get("disk_mb").cloned()),
    ];
    let given = old.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    order.insert("terms".to_owned(), given.collect());
}
