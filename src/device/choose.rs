//! Chooses devices from what a user asks for and what this machine and binary have, or gives the
//! reason why none can be used.
//!
//! The scheduler turns the answer into slots; verbs that compute in their own process take its
//! first device. Where a GPU is there but cannot be used, `auto` never falls back to the CPU: that
//! would be the same command a hundred times slower, with exit 0.

use thiserror::Error;

use super::adapters::{self, Adapter};
use super::nvml::{self, Answer, Gpu, Gpus, Problem};
use super::{Api, Device, Request, toolkit};

/// The GPUs of this machine, and what this binary can do with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hardware {
    /// The interfaces that this binary was built with.
    pub apis: Vec<Api>,
    /// NVIDIA's GPUs.
    pub gpus: Gpus,
    /// What Vulkan or Metal show.
    pub adapters: Vec<Adapter>,
    /// What is missing for CUDA kernels to be compiled.
    pub toolkit_problem: Option<String>,
}

impl Hardware {
    /// Looks at this machine.
    pub fn here() -> Self {
        Self {
            apis: Api::ALL.into_iter().filter(|api| api.is_built_in()).collect(),
            gpus: nvml::discover(&nvml::Environment::here()),
            adapters: adapters::list(),
            toolkit_problem: toolkit::problem(),
        }
    }

    fn has(&self, api: Api) -> bool {
        self.apis.contains(&api)
    }
}

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
        "a GPU is visible ({gpu}) but this binary was built without CUDA: build with `{}`, or add \
         `--device cpu` to use the CPU anyway",
        Api::Cuda.build_line()
    )]
    NotBuiltIn { gpu: String },
    #[error(
        "`{device}` was asked for but this binary was built without {api}: build with `{}`",
        api.build_line()
    )]
    AskedButNotBuiltIn { device: Device, api: Api },
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
    #[error("CUDA cannot be used: {problem}")]
    Toolkit { problem: String },
    #[error("`{device}` cannot be used, as it does not answer ({problem}): see `nvidia-smi`")]
    Silent { device: Device, problem: String },
}

/// Chooses the devices for `request` on a machine with this hardware.
pub fn choose(request: &Request, hardware: &Hardware) -> Result<Chosen, Error> {
    let mut chosen = match request {
        Request::Auto => automatic(hardware)?,
        Request::Listed(devices) => listed(devices, hardware)?,
    };
    let gpus = &hardware.gpus;
    let has_cuda = chosen.devices.iter().any(|granted| matches!(granted.device, Device::Cuda(_)));
    if let (true, Some(problem)) = (has_cuda, &hardware.toolkit_problem) {
        return Err(Error::Toolkit { problem: problem.clone() });
    }
    if has_cuda && !gpus.is_order_certain && gpus.visible.len() > 1 {
        let words = "GPUs are numbered as in `nvidia-smi`, which may differ from CUDA's own order";
        chosen.notes.push(words.to_owned());
    }
    Ok(chosen)
}

fn automatic(hardware: &Hardware) -> Result<Chosen, Error> {
    let gpus = &hardware.gpus;
    if !gpus.visible.is_empty() && hardware.has(Api::Cuda) {
        return free(gpus);
    }
    let adapters = (0..).zip(&hardware.adapters).filter(|(_, adapter)| adapter.is_gpu);
    let devices: Vec<_> =
        adapters.map(|(i, _)| Granted { device: Device::Wgpu(i), uuid: None }).collect();
    // Neither the CPU nor another GPU replaces the one that was meant without a word.
    if let Some(problem @ (Problem::Silent(_) | Problem::NamesNone { .. })) = &gpus.problem
        && (devices.is_empty() || hardware.has(Api::Cuda))
    {
        return Err(Error::NoneVisible { problem: problem.to_string() });
    }
    if !devices.is_empty() {
        return Ok(Chosen { devices, notes: Vec::new() });
    }
    if let Some(first) = gpus.visible.first() {
        return Err(Error::NotBuiltIn { gpu: named(first) });
    }
    let notes = gpus.problem.iter().map(|problem| format!("using the CPU: {problem}")).collect();
    Ok(Chosen { devices: vec![Granted { device: Device::Cpu, uuid: None }], notes })
}

/// The visible GPUs of NVIDIA that answer and that nobody else uses: at least one.
fn free(gpus: &Gpus) -> Result<Chosen, Error> {
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

fn listed(devices: &[Device], hardware: &Hardware) -> Result<Chosen, Error> {
    let gpus = &hardware.gpus;
    let mut chosen = Chosen { devices: Vec::new(), notes: Vec::new() };
    for &device in devices {
        if let Some(api) = device.api().filter(|api| !hardware.has(*api)) {
            return Err(Error::AskedButNotBuiltIn { device, api });
        }
        let granted = match device {
            Device::Cuda(index) => {
                let Some(gpu) = gpus.visible.get(index as usize) else {
                    return Err(Error::NoSuchGpu { device, found: found(gpus) });
                };
                chosen.notes.extend(reservation(device, gpu));
                Granted { device, uuid: Some(uuid(device, gpu)?) }
            }
            Device::Wgpu(index) if index as usize >= hardware.adapters.len() => {
                let found = found_adapters(hardware.adapters.len());
                return Err(Error::NoSuchGpu { device, found });
            }
            Device::Cpu | Device::Wgpu(_) => Granted { device, uuid: None },
        };
        chosen.devices.push(granted);
    }
    Ok(chosen)
}

fn found_adapters(n: usize) -> String {
    match n {
        0 => "no graphics adapter was found: install the Vulkan loader (libvulkan1) and your \
              GPU's Vulkan driver; `sweep doctor` lists what is there"
            .to_owned(),
        1 => "only wgpu:0 was found".to_owned(),
        n => format!("wgpu:0 to wgpu:{} were found", n - 1),
    }
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

    const BUILT_IN: &[Api] = &[Api::Cuda];
    const MISSING: &[Api] = &[];

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

    fn check_on(gpus: &Gpus, apis: &[Api], request: &str, expect: Result<&str, &str>) {
        let gpus = gpus.clone();
        let hardware = Hardware { apis: apis.to_vec(), gpus, ..Hardware::default() };
        let chosen = choose(&request.parse().unwrap(), &hardware);
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

    fn check(letters: &str, apis: &[Api], request: &str, expect: Result<&str, &str>) {
        check_on(&gpus(letters), apis, request, expect);
    }

    #[test]
    fn auto_takes_free_gpus_or_else_the_cpu() {
        check("", BUILT_IN, "auto", Ok("cpu"));
        check("", MISSING, "auto", Ok("cpu"));
        check("ff", BUILT_IN, "auto", Ok("cuda:0=GPU-0; cuda:1=GPU-1"));
        let expect = "cuda:1=GPU-1; skipping cuda:0 (H100, in use by process 7)";
        check("uf", BUILT_IN, "auto", Ok(expect));
        check("uu", BUILT_IN, "auto", Err("every visible GPU is in use: cuda:0"));
    }

    #[test]
    fn a_gpu_that_cannot_be_asked_is_skipped_by_name() {
        let expect = "cuda:0=GPU-0; skipping cuda:1 (does not answer: GPU is lost)";
        check("fs", BUILT_IN, "auto", Ok(expect));
        check("fx", BUILT_IN, "auto", Ok(expect));
        let none = "no visible GPU can be used: cuda:0 (H100, in use by process 7), cuda:1 (does";
        check("ux", BUILT_IN, "auto", Err(none));
    }

    #[test]
    fn auto_never_takes_the_cpu_where_a_gpu_is_there_and_says_how_to_go_on() {
        for (letters, apis) in [("s", BUILT_IN), ("xx", BUILT_IN), ("x", MISSING), ("s", MISSING)] {
            check(letters, apis, "auto", Err("--device cpu"));
            check(letters, apis, "cpu", Ok("cpu"));
        }
        let names_none = Problem::NamesNone { value: "4".to_owned(), n_gpus: 2 };
        for problem in [Problem::Silent("driver/library mismatch".to_owned()), names_none] {
            let gpus = Gpus { problem: Some(problem), ..gpus("") };
            for apis in [BUILT_IN, MISSING] {
                check_on(&gpus, apis, "auto", Err("--device cpu"));
                check_on(&gpus, apis, "cpu", Ok("cpu"));
            }
        }
        let unused = Problem::NoDriver("NVIDIA driver is not loaded".to_owned());
        let gpus = Gpus { problem: Some(unused), ..gpus("") };
        let expect = "cpu; using the CPU: the NVIDIA driver does not answer (NVIDIA driver is not \
                      loaded)";
        check_on(&gpus, BUILT_IN, "auto", Ok(expect));
    }

    #[test]
    fn a_visible_gpu_without_cuda_stops_auto_and_names_the_build_line() {
        check("f", MISSING, "auto", Err("cargo build --release --features cuda"));
        check("u", MISSING, "auto", Err("--device cpu"));
        check("f", MISSING, "cpu", Ok("cpu"));
        check("f", MISSING, "cuda:0", Err("cargo build --release --features cuda"));
    }

    #[test]
    fn devices_asked_for_by_name_must_exist() {
        check("ff", BUILT_IN, "cuda:1", Ok("cuda:1=GPU-1"));
        check("ff", BUILT_IN, "cuda:2", Err("cuda:0 to cuda:1 are visible"));
        check("", BUILT_IN, "cuda:0", Err("no NVIDIA driver"));
        check("f", BUILT_IN, "cuda:0,cpu", Ok("cuda:0=GPU-0; cpu"));
        let expect = "cuda:0=GPU-0; cuda:0 (H100) is in use by process 7; used anyway, as asked";
        check("u", BUILT_IN, "cuda:0", Ok(expect));
        let expect = "cuda:1=GPU-1; cuda:1 does not answer: GPU is lost; used anyway, as asked";
        check("fs", BUILT_IN, "cuda:1", Ok(expect));
        check("fx", BUILT_IN, "cuda:1", Err("`cuda:1` cannot be used"));
    }

    #[test]
    fn a_count_that_may_not_be_cudas_is_said() {
        let gpus = Gpus { is_order_certain: false, ..gpus("ff") };
        let expect = "cuda:1=GPU-1; GPUs are numbered as in `nvidia-smi`, which may differ from \
                      CUDA's own order";
        check_on(&gpus, BUILT_IN, "cuda:1", Ok(expect));
        check_on(&gpus, BUILT_IN, "cpu", Ok("cpu"));
    }
    #[test]
    fn cuda_without_its_headers_is_refused_before_anything_starts() {
        let hardware = Hardware {
            apis: vec![Api::Cuda],
            gpus: gpus("f"),
            toolkit_problem: Some("no headers: install them".to_owned()),
            ..Hardware::default()
        };
        for request in ["auto", "cuda:0"] {
            let error = choose(&request.parse().unwrap(), &hardware).unwrap_err();
            assert_eq!(error.to_string(), "CUDA cannot be used: no headers: install them");
        }
        assert!(choose(&"cpu".parse().unwrap(), &hardware).is_ok());
    }

    #[test]
    fn adapters_are_used_where_cuda_is_not() {
        let check = |letters: &str, adapters: &[bool], apis: &[Api], request: &str| {
            let adapters = adapters.iter().map(|is_gpu| Adapter { is_gpu: *is_gpu }).collect();
            let hardware = Hardware {
                apis: apis.to_vec(),
                gpus: gpus(letters),
                adapters,
                ..Hardware::default()
            };
            let devices = choose(&request.parse().unwrap(), &hardware).map(|chosen| {
                let names: Vec<_> = chosen.devices.iter().map(|g| g.device.to_string()).collect();
                names.join(",")
            });
            devices.map_err(|error| error.to_string())
        };
        let ok = |devices: &str| Ok(devices.to_owned());
        let (both, wgpu) = ([Api::Cuda, Api::Wgpu], [Api::Wgpu]);
        assert_eq!(check("", &[true, true, false], &wgpu, "auto"), ok("wgpu:0,wgpu:1"));
        assert_eq!(check("f", &[true], &both, "auto"), ok("cuda:0"));
        assert_eq!(check("f", &[true], &wgpu, "auto"), ok("wgpu:0"));
        // A GPU of NVIDIA's that does not answer is not replaced by a slower one without a word.
        let on = |apis: &[Api]| {
            let problem = Some(Problem::Silent("version mismatch".to_owned()));
            let adapters = vec![Adapter { is_gpu: true }];
            let gpus = Gpus { problem, ..Gpus::default() };
            let apis = apis.to_vec();
            choose(&Request::Auto, &Hardware { apis, gpus, adapters, ..Hardware::default() })
        };
        assert!(matches!(on(&both), Err(Error::NoneVisible { .. })));
        assert_eq!(on(&wgpu).unwrap().devices[0].device, Device::Wgpu(0));
        // A driver that draws on the CPU is for tests: it is used where it is named.
        assert_eq!(check("", &[false], &wgpu, "auto"), ok("cpu"));
        assert_eq!(check("", &[false], &wgpu, "wgpu:0"), ok("wgpu:0"));
        let none = check("", &[], &wgpu, "wgpu:0").unwrap_err();
        assert!(none.contains("there is no `wgpu:0`") && none.contains("libvulkan1"), "{none}");
        let missing = check("", &[], MISSING, "wgpu:0").unwrap_err();
        assert!(missing.contains(Api::Wgpu.build_line()), "{missing}");
    }
}
