//! From `devices = "auto"` and the machine to slots, or to a reason why not.

use std::num::NonZeroU32;
use std::str::FromStr;

use thiserror::Error;

use super::gpu::Gpus;
use super::{Device, Slot};

/// The build that can use GPUs, as printed to users.
pub const BUILD_LINE: &str = "cargo build --release --features cuda";

/// What a user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Every free GPU; the CPU where there is none.
    Auto,
    Listed(Vec<Choice>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    Cpu,
    Cuda(u32),
}

/// What the decision needs to know of this machine and binary.
#[derive(Debug, Clone, Copy)]
pub struct Host<'a> {
    pub cores: NonZeroU32,
    pub cuda: CudaSupport,
    pub gpus: &'a Gpus,
}

/// Whether this binary was built with the feature `cuda`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CudaSupport {
    BuiltIn,
    Missing,
}

/// The slots, and what the user should know about how they were chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub slots: Vec<Slot>,
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{text}` names no device: write `auto`, `cpu`, `cuda:N`, or several such as `cuda:0,cuda:1`"
)]
pub struct ParseError {
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    #[error(
        "a GPU is visible ({gpu}) but this binary was built without CUDA: build with \
         `{BUILD_LINE}`, or add `--device cpu` to use the CPU all the same"
    )]
    NotBuiltIn { gpu: String },
    #[error(
        "`{device}` was asked for but this binary was built without CUDA: build with `{BUILD_LINE}`"
    )]
    AskedButNotBuiltIn { device: String },
    #[error(
        "every visible GPU is in use: {gpus}; wait, or name devices, e.g. `--device cuda:0` or \
         `--device cpu`"
    )]
    AllInUse { gpus: String },
    #[error("there is no `{device}`: {found}")]
    NoSuchGpu { device: String, found: String },
}

impl CudaSupport {
    /// Of this binary.
    pub fn here() -> Self {
        if cfg!(feature = "cuda") { Self::BuiltIn } else { Self::Missing }
    }
}

impl Request {
    /// Whether GPUs need to be looked for.
    pub fn may_use_gpus(&self) -> bool {
        match self {
            Self::Auto => true,
            Self::Listed(choices) => choices.iter().any(|choice| *choice != Choice::Cpu),
        }
    }
}

impl FromStr for Request {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.trim() == "auto" {
            return Ok(Self::Auto);
        }
        let wrong = || ParseError { text: text.to_owned() };
        let mut choices = Vec::new();
        for token in text.split(',').map(str::trim) {
            let choice = match (token.strip_prefix("cuda:"), choices.last()) {
                (None, _) if token == "cpu" => Choice::Cpu,
                (Some(index), _) => Choice::Cuda(number(index).ok_or_else(wrong)?),
                // `cuda:0,1` goes on with bare numbers.
                (None, Some(Choice::Cuda(_))) => Choice::Cuda(number(token).ok_or_else(wrong)?),
                (None, _) => return Err(wrong()),
            };
            if choices.contains(&choice) {
                return Err(wrong());
            }
            choices.push(choice);
        }
        Ok(Self::Listed(choices))
    }
}

/// One slot a GPU, `jobs` slots on the CPU; `threads` 0 divides the cores among the slots.
pub fn slots(request: &Request, jobs: u32, threads: u32, host: Host<'_>) -> Result<Chosen, Error> {
    let mut notes: Vec<String> = Vec::new();
    let devices = match request {
        Request::Auto => automatic(jobs, host, &mut notes)?,
        Request::Listed(choices) => listed(choices, jobs, host, &mut notes)?,
    };
    let threads = NonZeroU32::new(threads)
        .or_else(|| NonZeroU32::new(host.cores.get() / devices.len() as u32))
        .unwrap_or(NonZeroU32::MIN);
    Ok(Chosen {
        slots: devices.into_iter().map(|device| Slot { device, threads }).collect(),
        notes,
    })
}

fn automatic(jobs: u32, host: Host<'_>, notes: &mut Vec<String>) -> Result<Vec<Device>, Error> {
    let Some(first) = host.gpus.visible.first() else {
        if let Some(problem) = &host.gpus.problem {
            notes.push(format!("using the CPU: the NVIDIA driver does not answer ({problem})"));
        }
        return Ok(cpus(jobs));
    };
    if host.cuda == CudaSupport::Missing {
        return Err(Error::NotBuiltIn { gpu: first.name.clone() });
    }
    let mut free = Vec::new();
    let mut taken = Vec::new();
    for (index, gpu) in host.gpus.visible.iter().enumerate() {
        match &gpu.in_use {
            None => free.push(cuda(index, &gpu.uuid)),
            Some(use_) => taken.push(format!("cuda:{index} ({}, {use_})", gpu.name)),
        }
    }
    if free.is_empty() {
        return Err(Error::AllInUse { gpus: taken.join(", ") });
    }
    notes.extend(taken.iter().map(|gpu| format!("skipping {gpu}")));
    Ok(free)
}

fn listed(
    choices: &[Choice],
    jobs: u32,
    host: Host<'_>,
    notes: &mut Vec<String>,
) -> Result<Vec<Device>, Error> {
    let mut devices = Vec::new();
    for choice in choices {
        let index = match choice {
            Choice::Cpu => {
                devices.extend(cpus(jobs));
                continue;
            }
            Choice::Cuda(index) => *index,
        };
        let device = format!("cuda:{index}");
        if host.cuda == CudaSupport::Missing {
            return Err(Error::AskedButNotBuiltIn { device });
        }
        let Some(gpu) = host.gpus.visible.get(index as usize) else {
            return Err(Error::NoSuchGpu { device, found: found(host.gpus) });
        };
        if let Some(use_) = &gpu.in_use {
            notes.push(format!("{device} ({}) is {use_}; used all the same, as asked", gpu.name));
        }
        devices.push(cuda(index as usize, &gpu.uuid));
    }
    Ok(devices)
}

fn found(gpus: &Gpus) -> String {
    match (gpus.visible.len(), &gpus.driver, &gpus.problem) {
        (_, _, Some(problem)) => format!("the NVIDIA driver does not answer ({problem})"),
        (0, None, None) => "no NVIDIA driver (libnvidia-ml) was found".to_owned(),
        (0, Some(_), None) => "no GPU is visible (see CUDA_VISIBLE_DEVICES)".to_owned(),
        (1, ..) => "only cuda:0 is visible".to_owned(),
        (n, ..) => format!("cuda:0 to cuda:{} are visible", n - 1),
    }
}

fn cpus(jobs: u32) -> Vec<Device> {
    vec![Device::Cpu; jobs.max(1) as usize]
}

fn cuda(index: usize, uuid: &str) -> Device {
    Device::Cuda { index: index as u32, visible: uuid.to_owned() }
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::gpu::Gpu;

    #[test]
    fn device_lists_parse() {
        let check = |text: &str, expect: &[Choice]| {
            assert_eq!(text.parse(), Ok(Request::Listed(expect.to_vec())), "{text}");
        };
        assert_eq!("auto".parse(), Ok(Request::Auto));
        check("cpu", &[Choice::Cpu]);
        check("cuda:0", &[Choice::Cuda(0)]);
        check("cuda:1, cuda:0", &[Choice::Cuda(1), Choice::Cuda(0)]);
        check("cuda:0,1", &[Choice::Cuda(0), Choice::Cuda(1)]);
        check("cuda:3,cpu", &[Choice::Cuda(3), Choice::Cpu]);
    }

    #[test]
    fn other_words_are_refused() {
        for text in [
            "", "gpu", "cuda", "cuda:", "cuda:x", "cuda:+1", "cpu,cpu", "auto,cpu", "cpu,1",
            "cuda:1,1",
        ] {
            assert!(text.parse::<Request>().is_err(), "{text}");
        }
    }

    /// GPUs as letters: `f` free, `u` in use.
    fn check(gpus: &str, cuda: CudaSupport, request: &str, expect: Result<&str, &str>) {
        let visible = gpus.chars().enumerate().map(|(i, state)| Gpu {
            name: "H100".to_owned(),
            uuid: format!("GPU-{i}"),
            memory_bytes: 80 << 30,
            in_use: (state == 'u').then(|| "in use by process 7".to_owned()),
        });
        let driver = (!gpus.is_empty()).then(|| "580.1".to_owned());
        let gpus = Gpus { driver, visible: visible.collect(), problem: None };
        let cores = NonZeroU32::new(8).unwrap();
        let host = Host { cores, cuda, gpus: &gpus };
        let got = slots(&request.parse().unwrap(), 2, 0, host).map_err(|error| error.to_string());
        match (&got, expect) {
            (Ok(chosen), Ok(expect)) => {
                let words: Vec<_> = chosen
                    .slots
                    .iter()
                    .map(|slot| format!("{}x{}", slot.device, slot.threads))
                    .chain(chosen.notes.iter().cloned())
                    .collect();
                assert_eq!(words.join(" "), expect);
            }
            (Err(message), Err(expect)) if message.contains(expect) => {}
            _ => panic!("{got:?}, not {expect:?}"),
        }
    }

    #[test]
    fn auto_takes_free_gpus_or_else_the_cpu() {
        use CudaSupport::{BuiltIn, Missing};
        check("", BuiltIn, "auto", Ok("cpux4 cpux4"));
        check("", Missing, "auto", Ok("cpux4 cpux4"));
        check("ff", BuiltIn, "auto", Ok("cuda:0x4 cuda:1x4"));
        check("uf", BuiltIn, "auto", Ok("cuda:1x8 skipping cuda:0 (H100, in use by process 7)"));
        check("uu", BuiltIn, "auto", Err("every visible GPU is in use: cuda:0"));
    }

    #[test]
    fn a_visible_gpu_without_cuda_stops_auto_and_names_the_build_line() {
        check("f", CudaSupport::Missing, "auto", Err("cargo build --release --features cuda"));
        check("u", CudaSupport::Missing, "auto", Err("--device cpu"));
        check("f", CudaSupport::Missing, "cpu", Ok("cpux4 cpux4"));
        check("f", CudaSupport::Missing, "cuda:0", Err("cargo build --release --features cuda"));
    }

    #[test]
    fn devices_asked_for_by_name_must_exist() {
        use CudaSupport::BuiltIn;
        check("ff", BuiltIn, "cuda:1", Ok("cuda:1x8"));
        check("ff", BuiltIn, "cuda:2", Err("cuda:0 to cuda:1 are visible"));
        check("", BuiltIn, "cuda:0", Err("no NVIDIA driver"));
        check("f", BuiltIn, "cuda:0,cpu", Ok("cuda:0x2 cpux2 cpux2"));
        check(
            "u",
            BuiltIn,
            "cuda:0",
            Ok("cuda:0x8 cuda:0 (H100) is in use by process 7; used all the same, as asked"),
        );
    }

    #[test]
    fn threads_are_those_asked_for_and_never_none() {
        let gpus = Gpus::default();
        let threads = |cores: u32, jobs, threads| {
            let cores = NonZeroU32::new(cores).unwrap();
            let host = Host { cores, cuda: CudaSupport::Missing, gpus: &gpus };
            slots(&Request::Auto, jobs, threads, host).unwrap().slots[0].threads.get()
        };
        assert_eq!(threads(2, 1, 0), 2);
        assert_eq!(threads(2, 5, 0), 1);
        assert_eq!(threads(2, 1, 7), 7);
    }
}
