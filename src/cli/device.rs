//! The one device of a verb that computes in its own process, and the look at this machine's GPUs.

use burn::tensor::Device;

use super::fault::{Exit, OrExit, fault};
use super::printer;
use crate::device::nvml::{self, Gpus};
use crate::device::{self, Granted, Hardware, Request};

/// The GPUs of this machine, if `request` may use them.
pub fn hardware(request: &Request) -> Hardware {
    if request.may_use_gpus() { Hardware::here() } else { Hardware::default() }
}

/// The device that `request` names: of several the first.
pub fn open(request: &Request) -> anyhow::Result<Device> {
    let hardware = hardware(request);
    let chosen = device::choose(request, &hardware).or_exit(Exit::Environment)?;
    for note in &chosen.notes {
        printer::aside(&format_args!("note: {note}"));
    }
    let granted = chosen.devices.first().expect("a request that is granted gives a device");
    refuse_an_uncertain_place(granted, &hardware.gpus)?;
    device::open(granted.device).or_exit(Exit::Environment)
}

/// Refuses a GPU that CUDA may number differently: this process opens it by index, and a wrong one
/// might be in use by others.
fn refuse_an_uncertain_place(granted: &Granted, gpus: &Gpus) -> anyhow::Result<()> {
    match &granted.uuid {
        Some(uuid) if !gpus.is_order_certain => Err(fault(
            Exit::Environment,
            format_args!(
                "`{}` is {uuid} here, but CUDA may number this machine's GPUs in another order: \
                 run the same command with {}={uuid} before it and `--device cuda:0`",
                granted.device,
                nvml::VISIBLE
            ),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_whose_place_cuda_may_count_otherwise_is_not_opened() {
        let check = |device: &str, uuid: Option<&str>, is_order_certain| {
            let device = device.parse().unwrap();
            let granted = Granted { device, uuid: uuid.map(str::to_owned) };
            let gpus = Gpus { is_order_certain, ..Gpus::default() };
            refuse_an_uncertain_place(&granted, &gpus).map_err(|error| error.to_string())
        };
        assert_eq!(check("cpu", None, false), Ok(()));
        assert_eq!(check("cuda:1", Some("GPU-7"), true), Ok(()));
        let error = check("cuda:1", Some("GPU-7"), false).unwrap_err();
        assert!(error.contains("CUDA_VISIBLE_DEVICES=GPU-7"), "{error}");
    }
}
