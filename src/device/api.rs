//! The ways to compute on GPUs that a binary can be built with.

use std::fmt;

/// An interface to GPUs; each is a feature of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// NVIDIA's.
    Cuda,
    /// Vulkan, or Metal on a Mac: GPUs of any vendor.
    Wgpu,
}

impl Api {
    pub const ALL: [Self; 2] = [Self::Cuda, Self::Wgpu];

    /// Tells whether this binary was built with it.
    pub fn is_built_in(self) -> bool {
        match self {
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Wgpu => cfg!(feature = "wgpu"),
        }
    }

    /// The command that builds a binary with it, as printed to users.
    pub fn build_line(self) -> &'static str {
        match self {
            Self::Cuda => "cargo build --release --features cuda",
            Self::Wgpu => "cargo build --release --features wgpu",
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cuda => "CUDA",
            Self::Wgpu => "wgpu",
        })
    }
}
