//! Reading and writing of an [`Order`]: today's form, and those of before some of its fields.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::Order;

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

/// Brings the fields of an order to today's form: orders of before [`super::schedule::Terms`] have
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
