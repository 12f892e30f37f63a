//! Chooses the implementation of an operation, here for all of them.
//!
//! An operation's `mod.rs` calls [`path`] with its tensors and matches on the result. A new kind of
//! device is a variant here; the exhaustive matches then point at each operation that needs a line.

use burn::tensor::{DType, Device, Int, Tensor};

/// An implementation of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// Our implementation for the CPU, on f32.
    Cpu,
    /// Our implementation for GPUs, on any type.
    #[cfg(feature = "cube")]
    Cube,
    /// The implementation that runs anywhere: Burn's operations composed, or the host's processor.
    Any,
}

/// A tensor's device and element type, whatever its number of dimensions.
pub(super) trait Placed {
    fn device(&self) -> Device;
    fn dtype(&self) -> DType;
}

impl<const D: usize> Placed for Tensor<D> {
    fn device(&self) -> Device {
        Tensor::device(self).inner()
    }

    fn dtype(&self) -> DType {
        Tensor::dtype(self)
    }
}

impl<const D: usize> Placed for Tensor<D, Int> {
    fn device(&self) -> Device {
        Tensor::device(self).inner()
    }

    fn dtype(&self) -> DType {
        Tensor::dtype(self)
    }
}

/// Stands for f32 tensors on the device.
impl Placed for Device {
    fn device(&self) -> Device {
        self.clone().inner()
    }

    fn dtype(&self) -> DType {
        DType::F32
    }
}

/// The implementation for an operation on `tensors`.
pub(super) fn path(tensors: &[&dyn Placed]) -> Path {
    let is_cpu = |tensor: &&dyn Placed| tensor.device() == Device::flex();
    if tensors.iter().all(|tensor| is_cpu(tensor) && tensor.dtype() == DType::F32) {
        return Path::Cpu;
    }
    #[cfg(feature = "cube")]
    if !tensors.iter().any(is_cpu) {
        return Path::Cube;
    }
    Path::Any
}

/// Brings a tensor's values to the host's memory as f32; they are shared where they are already
/// there.
pub(super) fn on_host<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let tensor = tensor.inner();
    if path(&[&tensor]) == Path::Cpu {
        return tensor;
    }
    tensor.to_device(&Device::flex()).cast(DType::F32)
}
