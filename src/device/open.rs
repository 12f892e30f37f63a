//! Opens the Burn device that a [`Device`] stands for.

use burn::tensor::FloatDType;
use thiserror::Error;

use super::nvml::{self, Gpu};
use super::{Api, Device};
use crate::host;

/// The error of a device that this process cannot open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotOpened {
    #[error(
        "this binary cannot use `{device}`: it was built without {api}; build with `{}`",
        api.build_line()
    )]
    NotBuiltIn { device: Device, api: Api },
    #[error("`{device}` is gone: this process does not see that graphics adapter")]
    Gone { device: Device },
}

impl Device {
    /// The interface through which it is reached; `None` for the CPU.
    pub fn api(self) -> Option<Api> {
        match self {
            Self::Cpu => None,
            Self::Cuda(_) => Some(Api::Cuda),
            Self::Wgpu(_) => Some(Api::Wgpu),
        }
    }

    /// Tells whether devices of this kind compute in `dtype`; one device may lack it still.
    pub fn computes_in(self, dtype: FloatDType) -> bool {
        dtype == FloatDType::F32 || self.api() == Some(Api::Cuda)
    }

    /// The name of this device in a process that sees no other CUDA GPU, as workers do: `cuda:3` is
    /// `cuda:0` there.
    #[must_use]
    pub fn seen_alone(self) -> Self {
        match self {
            Self::Cuda(_) => Self::Cuda(0),
            Self::Cpu | Self::Wgpu(_) => self,
        }
    }
}

/// Opens Burn's device for `device` in this process.
pub fn open(device: Device) -> Result<burn::tensor::Device, NotOpened> {
    if let Some(api) = device.api().filter(|api| !api.is_built_in()) {
        return Err(NotOpened::NotBuiltIn { device, api });
    }
    match device {
        Device::Cpu => Ok(burn::tensor::Device::flex()),
        #[cfg(feature = "cuda")]
        Device::Cuda(index) => Ok(burn::tensor::Device::cuda(index as usize)),
        #[cfg(feature = "wgpu")]
        Device::Wgpu(index) => {
            super::adapters::devices().nth(index as usize).ok_or(NotOpened::Gone { device })
        }
        // Refused above.
        #[cfg(not(feature = "cuda"))]
        Device::Cuda(_) => Err(NotOpened::Gone { device }),
        #[cfg(not(feature = "wgpu"))]
        Device::Wgpu(_) => Err(NotOpened::Gone { device }),
    }
}

/// The name of the hardware behind `device` as this process counts devices, for journals, tables and
/// verbs; opens the device where it is a graphics adapter. A GPU that cannot be asked is called by
/// its place.
pub fn name(device: Device) -> String {
    match device {
        Device::Cpu => host::cpu_model(),
        Device::Cuda(index) => {
            let gpus = nvml::discover(&nvml::Environment::here());
            match gpus.visible.get(index as usize) {
                Some(Gpu::Answers(answer)) => answer.name.clone(),
                _ => device.to_string(),
            }
        }
        #[cfg(feature = "wgpu")]
        Device::Wgpu(_) => {
            let identity = open(device).ok().and_then(|device| device.identity());
            identity.map_or_else(|| device.to_string(), |identity| identity.name)
        }
        #[cfg(not(feature = "wgpu"))]
        Device::Wgpu(_) => device.to_string(),
    }
}

/// Memory that this process holds on a GPU, in bytes: what is in use, and what is kept for later use;
/// `None` for the CPU. Waits for what was handed to the device.
pub fn held_bytes(device: &burn::tensor::Device) -> Option<u64> {
    device.memory_pool_usage().map(|usage| usage.bytes_reserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_opens_in_every_build_and_holds_no_memory_of_a_gpu() {
        assert_eq!(held_bytes(&open(Device::Cpu).unwrap()), None);
    }

    #[test]
    fn a_build_without_an_interface_names_the_one_with_it() {
        for device in [Device::Cuda(1), Device::Wgpu(1)] {
            let api = device.api().unwrap();
            if !api.is_built_in() {
                let error = open(device).unwrap_err().to_string();
                let (name, line) = (format!("`{device}`"), api.build_line());
                assert!(error.contains(&name) && error.contains(line), "{error}");
            }
        }
    }

    #[test]
    fn the_only_visible_gpu_is_the_first() {
        assert_eq!(Device::Cuda(3).seen_alone(), Device::Cuda(0));
        assert_eq!(Device::Wgpu(3).seen_alone(), Device::Wgpu(3));
        assert_eq!(Device::Cpu.seen_alone(), Device::Cpu);
    }
}
