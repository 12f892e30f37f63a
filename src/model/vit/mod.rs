//! The vision transformer that both DINOs share; families differ by their [`Arch`] only.

pub mod linear;
pub mod attention;
pub mod mlp;
pub mod block;
pub mod pos_embed;
pub mod rope;
pub mod layout;
pub mod encoder;

pub use super::arch::{Arch, AttentionBias, Ffn, Position};
pub use encoder::{Encoder, Features, FinalNorm};
pub use layout::Layout;
