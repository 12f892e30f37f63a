//! Files on disk: atomic writes, lists, locks, hashes and caches of them, and where everything in
//! the results folder lies. The ground floor: it knows of files only.

pub mod atomic;
pub mod claim;
pub mod list;
pub mod hash;
pub mod sealed;
pub mod hash_cache;
pub mod layout;
pub mod lock;
pub mod space;

pub use atomic::{write_atomic, write_atomic_with};
pub use claim::Claim;
pub use hash_cache::{HashCache, Stamp};
pub use layout::{ResultsDir, RunDir};
pub use lock::FileLock;
