//! Files on disk: atomic writes, locks, hashes, and where everything in the results folder lies.

pub mod atomic;
pub mod hash;
pub mod hash_cache;
pub mod layout;
pub mod lock;

pub use atomic::{write_atomic, write_atomic_with};
pub use hash_cache::HashCache;
pub use layout::{ResultsDir, RunDir};
pub use lock::FileLock;
