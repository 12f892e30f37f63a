//! Lists the graphics adapters of this machine: the GPUs that Vulkan or Metal show.
//!
//! [`super::choose`] decides with the list. A binary without the feature `wgpu` sees none, nor does
//! a machine without a Vulkan loader or a driver.

/// A graphics adapter, at its place in the list: the N of `wgpu:N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// Whether it is a GPU; else it is a driver that draws on the CPU, such as Mesa's lavapipe.
    pub is_gpu: bool,
}

/// Lists the adapters of this machine, in the order in which they are reported to every process.
pub fn list() -> Vec<Adapter> {
    #[cfg(feature = "wgpu")]
    return devices().map(|device| Adapter { is_gpu: !is_cpu(&device) }).collect();
    #[cfg(not(feature = "wgpu"))]
    Vec::new()
}

/// The devices of Burn behind the list.
#[cfg(feature = "wgpu")]
pub(super) fn devices() -> impl Iterator<Item = burn::tensor::Device> {
    use burn::tensor::DeviceType;
    burn::tensor::Device::enumerate(DeviceType::Wgpu).into_iter()
}

#[cfg(feature = "wgpu")]
fn is_cpu(device: &burn::tensor::Device) -> bool {
    *device == burn::tensor::Device::wgpu(burn::tensor::DeviceKind::Cpu)
}
