//! Turns the chosen devices into slots: places where one worker runs at a time.
//!
//! Called by `sweep run` and `sweep plan`.

use std::num::NonZeroU32;

use super::Slot;
use crate::device::{self, Chosen, Device, Granted, Hardware, Request};

/// The facts of this machine and binary that the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Host<'a> {
    pub cores: NonZeroU32,
    pub hardware: &'a Hardware,
}

/// The slots, and what the user should know about how they were chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The slots, at least one.
    pub slots: Vec<Slot>,
    pub notes: Vec<String>,
}

/// Makes one slot for each GPU, or `jobs` slots on the CPU; `threads` 0 divides the cores among the
/// slots.
pub fn slots(
    request: &Request,
    jobs: u32,
    threads: u32,
    host: Host<'_>,
) -> Result<Places, device::Error> {
    let Chosen { devices, notes } = device::choose(request, host.hardware)?;
    let places: Vec<Granted> = devices
        .into_iter()
        .flat_map(|granted| {
            let n = if granted.device == Device::Cpu { jobs.max(1) } else { 1 };
            std::iter::repeat_n(granted, n as usize)
        })
        .collect();
    let threads = NonZeroU32::new(threads)
        .or_else(|| NonZeroU32::new(host.cores.get() / places.len() as u32))
        .unwrap_or(NonZeroU32::MIN);
    let slot = |Granted { device, uuid }| Slot { device, visible: uuid, threads };
    Ok(Places { slots: places.into_iter().map(slot).collect(), notes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Api;
    use crate::device::nvml::{Answer, Gpu, Gpus};

    fn free_gpus(n: usize) -> Hardware {
        let gpu = |i| {
            Gpu::Answers(Answer {
                name: "H100".to_owned(),
                uuid: format!("GPU-{i}"),
                memory_bytes: None,
                in_use: None,
            })
        };
        let visible = (0..n).map(gpu).collect();
        let gpus = Gpus { visible, is_order_certain: true, ..Gpus::default() };
        Hardware { apis: vec![Api::Cuda], gpus, ..Hardware::default() }
    }

    fn check(n_gpus: usize, request: &str, expect: &str) {
        let hardware = free_gpus(n_gpus);
        let host = Host { cores: NonZeroU32::new(8).unwrap(), hardware: &hardware };
        let places = slots(&request.parse().unwrap(), 2, 0, host).unwrap();
        let words = places.slots.iter().map(|slot| {
            let visible = slot.visible.as_ref().map_or(String::new(), |uuid| format!("={uuid}"));
            format!("{}{visible}x{}", slot.device, slot.threads)
        });
        assert_eq!(words.collect::<Vec<_>>().join(" "), expect);
        assert_eq!(places.notes, [""; 0]);
    }

    #[test]
    fn a_gpu_is_one_slot_and_the_cpu_one_for_each_job() {
        check(0, "auto", "cpux4 cpux4");
        check(2, "auto", "cuda:0=GPU-0x4 cuda:1=GPU-1x4");
        check(2, "cuda:1", "cuda:1=GPU-1x8");
        check(1, "cuda:0,cpu", "cuda:0=GPU-0x2 cpux2 cpux2");
        check(1, "cpu", "cpux4 cpux4");
    }

    #[test]
    fn threads_are_those_asked_for_and_never_none() {
        let hardware = Hardware::default();
        let threads = |cores: u32, jobs, threads| {
            let cores = NonZeroU32::new(cores).unwrap();
            let host = Host { cores, hardware: &hardware };
            slots(&Request::Auto, jobs, threads, host).unwrap().slots[0].threads.get()
        };
        assert_eq!(threads(2, 1, 0), 2);
        assert_eq!(threads(2, 5, 0), 1);
        assert_eq!(threads(2, 1, 7), 7);
    }
}
