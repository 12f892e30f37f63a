//! Weight files of encoders: finds them, identifies them, maps their names to ours, and fills
//! encoders from them.
//!
//! Workers and the verbs call it with a path, or with a variant to be found in folders and caches;
//! it returns an encoder, or a description of the file. Every tensor of the file and of the encoder
//! is accounted for: what is missing, unexpected, of another shape or not finite is an error that
//! names it.

pub mod values;
pub(crate) mod cause;
pub mod folder;
pub mod file;
pub mod parts;
pub mod source;
pub mod scheme;
pub mod names;
pub mod hf_config;
pub mod plan;
mod load;
pub mod identify;
pub mod digest;
pub mod inspect;
pub mod locate;

use std::path::PathBuf;

pub use digest::{check_release, digest};
pub use file::TensorFile;
pub use identify::{Identified, custom, identify};
pub use inspect::{Inspection, inspect};
pub use load::{check, load};
pub use locate::locate;
pub use parts::PartsWriter;
pub use scheme::Naming;
pub use values::NotFinite;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read weights `{path}`")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot read weights `{path}`: {reason}")]
    Absent { path: PathBuf, reason: String },
    #[error("`{path}` is not a weight file: {reason}")]
    Format { path: PathBuf, reason: String },
    #[error("`{path}` does not fit the spec: {reason}")]
    Unfit { path: PathBuf, reason: String },
    #[error("`{path}` is not {variant}:{problems}")]
    Mismatch { path: PathBuf, variant: String, problems: String },
    #[error(
        "`{path}` is damaged, or was saved by a training that diverged: {}; fetch or export it again",
        NotFinite::listed(tensors)
    )]
    NotFinite { path: PathBuf, tensors: Vec<NotFinite> },
    #[error("weights of {variant} not found; looked in {looked}; {advice}")]
    NotFound { variant: String, looked: String, advice: String },
    #[error(
        "`{path}` is not the released file: its sha256 is {found}, it should begin with {expected}; \
         fetch it again, or, to use it anyway, name it with \
         weights = {{ kind = \"file\", path = \"…\" }}"
    )]
    Checksum { path: PathBuf, expected: String, found: String },
}
