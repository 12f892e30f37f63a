//! Chooses devices from what a user asks for and what NVML reports, or gives the reason why none
//! can be used.
//!
//! The scheduler turns the answer into slots; verbs that compute in their own process take its
//! first device. Where a GPU is there but cannot be used, `auto` never falls back to the CPU: that
//! would be the same command a hundred times slower, with exit 0.

use thiserror::Error;

use super::nvml::{Answer, Gpu, Gpus, Problem};
use super::{BUILD_LINE, CudaSupport, Device, Request};

/// The devices to use, and what the user should know about how they were chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The devices, at least one.
    pub devices: Vec<Granted>,
    pub notes: Vec<String>,
}

/// A device that is present and may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    pub device: Device,
    /// The GPU's UUID: the value of `CUDA_VISIBLE_DEVICES` for a process that is to see this GPU
    /// alone.
    pub uuid: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    #[error(
        "a GPU is visible ({gpu}) but this binary was built without CUDA: build with \
         `{BUILD_LINE}`, or add `--device cpu` to use the CPU anyway"
    )]
    NotBuiltIn { gpu: String },
    #[error(
        "`{device}` was asked for but this binary was built without CUDA: build with `{BUILD_LINE}`"
    )]
    AskedButNotBuiltIn { device: Device },
    #[error(
        "every visible GPU is in use: {gpus}; wait, or name devices, e.g. `--device cuda:0` or \
         `--device cpu`"
    )]
    AllInUse { gpus: String },
    #[error(
        "no visible GPU can be used: {gpus}; fix that (`nvidia-smi` shows the same), or name \
         devices, e.g. `--device cuda:0` or `--device cpu`"
    )]
    NoneUsable { gpus: String },
    #[error("{problem}: fix that, or add `--device cpu` to use the CPU anyway")]
    NoneVisible { problem: String },
    #[error("there is no `{device}`: {found}")]
    NoSuchGpu { device: Device, found: String },
    #[error("`{device}` cannot be used, as it does not answer ({problem}): see `nvidia-smi`")]
    Silent { device: Device, problem: String },
}

/// Chooses the devices for `request` on a machine with these GPUs.
pub fn choose(request: &Request, cuda: CudaSupport, gpus: &Gpus) -> Result<Chosen, Error> {
    let mut chosen = match request {
        Request::Auto => automatic(cuda, gpus)?,
        Request::Listed(devices) => listed(devices, cuda, gpus)?,
    };
    let has_gpu = chosen.devices.iter().any(|granted| granted.device != Device::Cpu);
    if has_gpu && !gpus.is_order_certain && gpus.visible.len() > 1 {
        let words = "GPUs are numbered as in `nvidia-smi`, which may differ from CUDA's own order";
        chosen.notes.push(words.to_owned());
    }
    Ok(chosen)
}

fn automatic(cuda: CudaSupport, gpus: &Gpus) -> Result<Chosen, Error> {
    let Some(first) = gpus.visible.first() else {
        let notes = match &gpus.problem {
            None => Vec::new(),
            Some(problem @ Problem::NoDriver(_)) => vec![format!("using the CPU: {problem}")],
            Some(problem) => return Err(Error::NoneVisible { problem: problem.to_string() }),
        };
        return Ok(Chosen { devices: vec![Granted { device: Device::Cpu, uuid: None }], notes });
    };
    if cuda == CudaSupport::Missing {
        return Err(Error::NotBuiltIn { gpu: named(first) });
    }
    let mut devices = Vec::new();
    let mut skipped = Vec::new();
    for (index, gpu) in gpus.visible.iter().enumerate() {
        let device = Device::Cuda(index as u32);
        match gpu {
            Gpu::Answers(Answer { uuid, in_use: None, .. }) => {
                devices.push(Granted { device, uuid: Some(uuid.clone()) });
            }
            _ => skipped.push(format!("{device} ({})", described(gpu))),
        }
    }
    if !devices.is_empty() {
        let notes = skipped.iter().map(|gpu| format!("skipping {gpu}")).collect();
        return Ok(Chosen { devices, notes });
    }
    let gpus_named = skipped.join(", ");
    Err(if gpus.visible.iter().all(Gpu::is_in_use) {
        Error::AllInUse { gpus: gpus_named }
    } else {
        Error::NoneUsable { gpus: gpus_named }
    })
}

fn listed(devices: &[Device], cuda: CudaSupport, gpus: &Gpus) -> Result<Chosen, Error> {
    let mut chosen = Chosen { devices: Vec::new(), notes: Vec::new() };
    for &device in devices {
        let granted = match device {
            Device::Cpu => Granted { device, uuid: None },
            Device::Cuda(_) if cuda == CudaSupport::Missing => {
                return Err(Error::AskedButNotBuiltIn { device });
            }
            Device::Cuda(index) => {
                let Some(gpu) = gpus.visible.get(index as usize) else {
                    return Err(Error::NoSuchGpu { device, found: found(gpus) });
                };
                chosen.notes.extend(reservation(device, gpu));
                Granted { device, uuid: Some(uuid(device, gpu)?) }
            }
        };
        chosen.devices.push(granted);
    }
    Ok(chosen)
}

/// The warning about a GPU that was asked for by name and is in use or does not answer; `None`
/// where nothing is wrong.
fn reservation(device: Device, gpu: &Gpu) -> Option<String> {
    match gpu {
        Gpu::Answers(Answer { name, in_use, .. }) => in_use
            .as_ref()
            .map(|use_| format!("{device} ({name}) is {use_}; used anyway, as asked")),
        Gpu::Silent { .. } => Some(format!("{device} {}; used anyway, as asked", described(gpu))),
    }
}

fn uuid(device: Device, gpu: &Gpu) -> Result<String, Error> {
    match gpu {
        Gpu::Answers(Answer { uuid, .. }) | Gpu::Silent { uuid: Some(uuid), .. } => {
            Ok(uuid.clone())
        }
        Gpu::Silent { uuid: None, problem } => {
            Err(Error::Silent { device, problem: problem.clone() })
        }
    }
}

fn named(gpu: &Gpu) -> String {
    match gpu {
        Gpu::Answers(answer) => answer.name.clone(),
        Gpu::Silent { .. } => described(gpu),
    }
}

/// The reason why a GPU is passed over: `H100, in use by process 7`, or `does not answer: lost`.
fn described(gpu: &Gpu) -> String {
    match gpu {
        Gpu::Answers(Answer { name, in_use: Some(use_), .. }) => format!("{name}, {use_}"),
        Gpu::Answers(Answer { name, in_use: None, .. }) => format!("{name}, free"),
        Gpu::Silent { problem, .. } => format!("does not answer: {problem}"),
    }
}

fn found(gpus: &Gpus) -> String {
    match (gpus.visible.len(), &gpus.driver, &gpus.problem) {
        (_, _, Some(problem)) => problem.to_string(),
        (0, None, None) => "no NVIDIA driver (libnvidia-ml) was found".to_owned(),
        (0, Some(_), None) => "no GPU is visible (see CUDA_VISIBLE_DEVICES)".to_owned(),
        (1, ..) => "only cuda:0 is visible".to_owned(),
        (n, ..) => format!("cuda:0 to cuda:{} are visible", n - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CudaSupport::{BuiltIn, Missing};

    /// A fake machine's GPUs, described by letters: `f` free, `u` in use, `s` silent with a UUID,
    /// `x` silent without.
    fn gpus(letters: &str) -> Gpus {
        let gpu = |(i, state): (usize, char)| {
            let uuid = format!("GPU-{i}");
            let lost = || "GPU is lost".to_owned();
            match state {
                's' => Gpu::Silent { uuid: Some(uuid), problem: lost() },
                'x' => Gpu::Silent { uuid: None, problem: lost() },
                _ => Gpu::Answers(Answer {
                    name: "H100".to_owned(),
                    uuid,
                    memory_bytes: Some(80 << 30),
                    in_use: (state == 'u').then(|| "in use by process 7".to_owned()),
                }),
            }
        };
        let driver = (!letters.is_empty()).then(|| "580.1".to_owned());
        let visible = letters.chars().enumerate().map(gpu).collect();
        Gpus { driver, visible, problem: None, is_order_certain: true }
    }

    fn check_on(gpus: &Gpus, cuda: CudaSupport, request: &str, expect: Result<&str, &str>) {
        let chosen = choose(&request.parse().unwrap(), cuda, gpus);
        let words = |chosen: Chosen| {
            let devices = chosen.devices.iter().map(|granted| {
                let uuid = granted.uuid.as_ref().map_or(String::new(), |uuid| format!("={uuid}"));
                format!("{}{uuid}", granted.device)
            });
            devices.chain(chosen.notes.iter().cloned()).collect::<Vec<_>>().join("; ")
        };
        match (chosen.map(words).map_err(|error| error.to_string()), expect) {
            (Ok(got), Ok(expect)) => assert_eq!(got, expect),
            (Err(got), Err(expect)) => assert!(got.contains(expect), "{got}"),
            (got, expect) => panic!("{got:?}, not {expect:?}"),
        }
    }

    fn check(letters: &str, cuda: CudaSupport, request: &str, expect: Result<&str, &str>) {
        check_on(&gpus(letters), cuda, request, expect);
    }

    #[test]
    fn auto_takes_free_gpus_or_else_the_cpu() {
        check("", BuiltIn, "auto", Ok("cpu"));
        check("", Missing, "auto", Ok("cpu"));
        check("ff", BuiltIn, "auto", Ok("cuda:0=GPU-0; cuda:1=GPU-1"));
        let expect = "cuda:1=GPU-1; skipping cuda:0 (H100, in use by process 7)";
        check("uf", BuiltIn, "auto", Ok(expect));
        check("uu", BuiltIn, "auto", Err("every visible GPU is in use: cuda:0"));
    }

    #[test]
    fn a_gpu_that_cannot_be_asked_is_skipped_by_name() {
        let expect = "cuda:0=GPU-0; skipping cuda:1 (does not answer: GPU is lost)";
        check("fs", BuiltIn, "auto", Ok(expect));
        check("fx", BuiltIn, "auto", Ok(expect));
        let none = "no visible GPU can be used: cuda:0 (H100, in use by process 7), cuda:1 (does";
        check("ux", BuiltIn, "auto", Err(none));
    }

    #[test]
    fn auto_never_takes_the_cpu_where_a_gpu_is_there_and_says_how_to_go_on() {
        for (letters, cuda) in [("s", BuiltIn), ("xx", BuiltIn), ("x", Missing), ("s", Missing)] {
            check(letters, cuda, "auto", Err("--device cpu"));
            check(letters, cuda, "cpu", Ok("cpu"));
        }
        let names_none = Problem::NamesNone { value: "4".to_owned(), n_gpus: 2 };
        for problem in [Problem::Silent("driver/library mismatch".to_owned()), names_none] {
            let gpus = Gpus { problem: Some(problem), ..gpus("") };
            for cuda in [BuiltIn, Missing] {
                check_on(&gpus, cuda, "auto", Err("--device cpu"));
                check_on(&gpus, cuda, "cpu", Ok("cpu"));
            }
        }
        let unused = Problem::NoDriver("NVIDIA driver is not loaded".to_owned());
        let gpus = Gpus { problem: Some(unused), ..gpus("") };
        let expect = "cpu; using the CPU: the NVIDIA driver does not answer (NVIDIA driver is not \
                      loaded)";
        check_on(&gpus, BuiltIn, "auto", Ok(expect));
    }

    #[test]
    fn a_visible_gpu_without_cuda_stops_auto_and_names_the_build_line() {
        check("f", Missing, "auto", Err("cargo build --release --features cuda"));
        check("u", Missing, "auto", Err("--device cpu"));
        check("f", Missing, "cpu", Ok("cpu"));
        check("f", Missing, "cuda:0", Err("cargo build --release --features cuda"));
    }

    #[test]
    fn devices_asked_for_by_name_must_exist() {
        check("ff", BuiltIn, "cuda:1", Ok("cuda:1=GPU-1"));
        check("ff", BuiltIn, "cuda:2", Err("cuda:0 to cuda:1 are visible"));
        check("", BuiltIn, "cuda:0", Err("no NVIDIA driver"));
        check("f", BuiltIn, "cuda:0,cpu", Ok("cuda:0=GPU-0; cpu"));
        let expect = "cuda:0=GPU-0; cuda:0 (H100) is in use by process 7; used anyway, as asked";
        check("u", BuiltIn, "cuda:0", Ok(expect));
        let expect = "cuda:1=GPU-1; cuda:1 does not answer: GPU is lost; used anyway, as asked";
        check("fs", BuiltIn, "cuda:1", Ok(expect));
        check("fx", BuiltIn, "cuda:1", Err("`cuda:1` cannot be used"));
    }

    #[test]
    fn a_count_that_may_not_be_cudas_is_said() {
        let gpus = Gpus { is_order_certain: false, ..gpus("ff") };
        let expect = "cuda:1=GPU-1; GPUs are numbered as in `nvidia-smi`, which may differ from \
                      CUDA's own order";
        check_on(&gpus, BuiltIn, "cuda:1", Ok(expect));
        check_on(&gpus, BuiltIn, "cpu", Ok("cpu"));
    }
}
