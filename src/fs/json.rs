//! JSON files that are read whole.

use std::path::Path;

use serde::de::DeserializeOwned;

/// Reads the JSON file at `path`, or says in words why it cannot be read.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let bytes = fs_err::read(path).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}
