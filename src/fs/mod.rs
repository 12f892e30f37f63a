//! Files on disk: atomic writes, lists, locks, hashes and their caches, and the paths of the
//! results folder. It is the lowest layer and knows nothing of what the files mean.

pub mod atomic;
pub mod claim;
pub mod list;
pub mod hash;
pub mod json;
pub mod sealed;
pub mod hash_cache;
pub mod layout;
pub mod lock;
pub mod space;
pub mod scratch;

pub use atomic::{write_atomic, write_atomic_with};
pub use claim::Claim;
pub use hash_cache::{HashCache, Stamp};
pub use json::read_json;
pub use layout::{ResultsDir, RunDir};
pub use lock::FileLock;
pub use scratch::Scratch;
