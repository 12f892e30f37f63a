//! The one device of a verb that computes in its own process.

use std::num::NonZeroU32;

use burn::tensor::Device;

use super::fault::{Exit, OrExit};
use super::printer;
use crate::schedule;
use crate::schedule::devices::{self, CudaSupport, Host, Request};
use crate::schedule::gpu::{self, Gpus};

/// The device that `text` (`auto`, `cpu`, `cuda:N`) names: of several the first.
pub fn open(text: &str) -> anyhow::Result<Device> {
    let request: Request = text.parse().or_exit(Exit::Usage)?;
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let gpus =
        if request.may_use_gpus() { gpu::discover(visible.as_deref()) } else { Gpus::default() };
    let host = Host { cores: NonZeroU32::MIN, cuda: CudaSupport::here(), gpus: &gpus };
    let chosen = devices::slots(&request, 1, 1, host).or_exit(Exit::Environment)?;
    for note in &chosen.notes {
        printer::aside(&format_args!("note: {note}"));
    }
    let slot = chosen.slots.first().expect("a request that is granted gives a slot");
    Ok(match slot.device {
        schedule::Device::Cpu => Device::flex(),
        #[cfg(feature = "cuda")]
        schedule::Device::Cuda { index, .. } => Device::cuda(index as usize),
        #[cfg(not(feature = "cuda"))]
        schedule::Device::Cuda { .. } => unreachable!("refused where CUDA is not built in"),
    })
}
