//! Opens the Burn device that a [`Device`] stands for: the only place that asks how this binary was
//! built.

use thiserror::Error;

use super::Device;

/// The command that builds a binary with CUDA, as printed to users.
pub const BUILD_LINE: &str = "cargo build --release --features cuda";

/// Whether this binary was built with the feature `cuda`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CudaSupport {
    BuiltIn,
    Missing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this binary cannot use `{device}`: it was built without CUDA; build with `{BUILD_LINE}`")]
pub struct NotBuiltIn {
    device: Device,
}

impl CudaSupport {
    /// The CUDA support of this binary.
    pub fn here() -> Self {
        if cfg!(feature = "cuda") { Self::BuiltIn } else { Self::Missing }
    }
}

impl Device {
    /// The name of this device in a process that sees no other GPU, as workers do: `cuda:3` is
    /// `cuda:0` there.
    #[must_use]
    pub fn seen_alone(self) -> Self {
        match self {
            Self::Cpu => Self::Cpu,
            Self::Cuda(_) => Self::Cuda(0),
        }
    }
}

/// Opens Burn's device for `device` in this process.
pub fn open(device: Device) -> Result<burn::tensor::Device, NotBuiltIn> {
    match device {
        Device::Cpu => Ok(burn::tensor::Device::flex()),
        #[cfg(feature = "cuda")]
        Device::Cuda(index) => Ok(burn::tensor::Device::cuda(index as usize)),
        #[cfg(not(feature = "cuda"))]
        Device::Cuda(_) => Err(NotBuiltIn { device }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_opens_in_every_build() {
        assert!(open(Device::Cpu).is_ok());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_cuda_names_the_one_with_it() {
        let error = open(Device::Cuda(1)).unwrap_err().to_string();
        assert!(error.contains("`cuda:1`") && error.contains(BUILD_LINE), "{error}");
    }

    #[test]
    fn the_only_visible_gpu_is_the_first() {
        assert_eq!(Device::Cuda(3).seen_alone(), Device::Cuda(0));
        assert_eq!(Device::Cpu.seen_alone(), Device::Cpu);
    }
}
