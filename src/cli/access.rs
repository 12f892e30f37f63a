//! The index, for verbs that only look.

use crate::files::{FileLock, ResultsDir};
use crate::store::{Error, Store};

/// The index, brought up to date with the journals unless a coordinator is at it.
///
/// A folder that does not exist is not made.
pub async fn fresh(results: &ResultsDir) -> Result<Store, Error> {
    let lock = if results.root().is_dir() {
        // A folder that cannot be written is read as it is.
        FileLock::try_acquire(&results.lock()).unwrap_or_default()
    } else {
        None
    };
    if lock.is_none() {
        return Store::open_read_only(results).await;
    }
    let store = Store::open(results).await?;
    store.ingest_all().await?;
    Ok(store)
}
