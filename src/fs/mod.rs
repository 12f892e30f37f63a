//! Files on disk: atomic writes, locks, hashes, and where everything in the results folder lies.

pub mod atomic;
pub mod claim;
pub mod hash;
pub mod hash_cache;
pub mod layout;
pub mod lock;
pub mod space;

pub use atomic::{write_atomic, write_atomic_with};
pub use claim::Claim;
pub use hash_cache::HashCache;
pub use layout::{ResultsDir, RunDir};
pub use lock::FileLock;
