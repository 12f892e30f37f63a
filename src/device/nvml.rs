//! Asks NVML which GPUs are visible to this process, and which of them others are using.
//!
//! Verbs call [`discover`] once, with the environment variables that CUDA reads too;
//! [`super::choose`] decides with the [`Gpus`] that it returns. A GPU that does not answer stays in
//! the list, with the reason: it is never treated as absent.
//!
//! # How GPUs are counted
//! `cuda:N`, and a number in `CUDA_VISIBLE_DEVICES`, count by PCI bus, as NVML and `nvidia-smi` do.
//! CUDA itself counts so only where `CUDA_DEVICE_ORDER` is `PCI_BUS_ID`; by default the fastest GPU
//! is its first. Workers do not depend on it: each gets the UUID of its GPU, and that order with
//! it. A verb that computes in its own process does, so [`Gpus::is_order_certain`] says whether
//! both ways of counting agree.

use std::fmt;
use std::path::Path;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

/// Memory in use above which a GPU counts as busy: more than a driver keeps for itself on an idle
/// GPU (some hundred MB with persistence mode).
const IDLE_BYTES_MAX: u64 = 1 << 30;
/// The environment variable that hides GPUs from CUDA.
pub const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";
/// The environment variable that says how CUDA counts GPUs, and the value that counts as we do.
pub const ORDER: &str = "CUDA_DEVICE_ORDER";
pub const ORDER_PCI: &str = "PCI_BUS_ID";

/// The environment variables that CUDA reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// Value of `CUDA_VISIBLE_DEVICES`.
    pub visible: Option<String>,
    /// Value of `CUDA_DEVICE_ORDER`.
    pub order: Option<String>,
}

/// The GPUs that CUDA would show to this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gpus {
    /// Version of the driver; `None` where no driver is loaded.
    pub driver: Option<String>,
    /// The visible GPUs; the index is the N of `cuda:N`.
    pub visible: Vec<Gpu>,
    /// The reason why no GPU is visible; `None` where the machine has no GPU.
    pub problem: Option<Problem>,
    /// Whether CUDA in this process is certain to count the GPUs as `visible` does.
    pub is_order_certain: bool,
}

/// One visible GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gpu {
    Answers(Answer),
    /// A GPU that NVML cannot query.
    Silent {
        /// The GPU's UUID, where NVML could at least give that.
        uuid: Option<String>,
        problem: String,
    },
}

/// NVML's answers about one GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub name: String,
    /// The UUID, `GPU-…` or `MIG-…`.
    pub uuid: String,
    /// Total memory; `None` where it has no memory of its own, or is a part of a GPU.
    pub memory_bytes: Option<u64>,
    /// The reason why the GPU counts as busy, in words; `None` when it is free.
    pub in_use: Option<String>,
}

/// The reason why no GPU is visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// NVML is installed but says that no driver is loaded, and nothing else shows a GPU.
    NoDriver(String),
    /// A GPU seems to be there, but NVML as a whole does not answer.
    Silent(String),
    /// `CUDA_VISIBLE_DEVICES` names none of the GPUs that are there.
    NamesNone { value: String, n_gpus: usize },
}

/// The queries to NVML about the GPUs of the machine, by index; tests have a fake.
trait Query {
    fn count(&self) -> Result<u32, NvmlError>;
    fn uuid(&self, index: u32) -> Result<String, NvmlError>;
    fn name(&self, index: u32) -> Result<String, NvmlError>;
    /// Total memory and memory in use, bytes.
    fn memory(&self, index: u32) -> Result<(u64, u64), NvmlError>;
    /// Ids of the processes that compute on it.
    fn pids(&self, index: u32) -> Result<Vec<u32>, NvmlError>;
}

impl Environment {
    /// The variables of this process.
    pub fn here() -> Self {
        let value = |name| std::env::var(name).ok();
        Self { visible: value(VISIBLE), order: value(ORDER) }
    }
}

/// Asks NVML for the visible GPUs; a machine without its library and without a sign of a GPU has
/// none.
pub fn discover(environment: &Environment) -> Gpus {
    let nvml = match Nvml::init() {
        Ok(nvml) => nvml,
        Err(error) => return without_nvml(&error, is_driver_loaded()),
    };
    let driver = nvml.sys_driver_version().unwrap_or_else(|_| "unknown".to_owned());
    Gpus { driver: Some(driver), ..survey(&nvml, environment) }
}

/// Tells whether the kernel has NVIDIA's driver loaded and it shows GPUs.
fn is_driver_loaded() -> bool {
    let has_entries = |folder: &str| {
        Path::new(folder).read_dir().is_ok_and(|mut entries| entries.next().is_some())
    };
    has_entries("/proc/driver/nvidia/gpus") || Path::new("/dev/nvidia0").exists()
}

fn without_nvml(error: &NvmlError, is_driver_loaded: bool) -> Gpus {
    let problem = match error {
        NvmlError::LibloadingError(_) if is_driver_loaded => Problem::Silent(
            "its library libnvidia-ml.so.1 is not found; a container needs the driver capability \
             `utility` for it"
                .to_owned(),
        ),
        NvmlError::LibloadingError(_) => return Gpus::default(),
        NvmlError::DriverNotLoaded if !is_driver_loaded => Problem::NoDriver(error.to_string()),
        _ => Problem::Silent(error.to_string()),
    };
    Gpus { problem: Some(problem), ..Gpus::default() }
}

/// The visible GPUs of a machine with NVML.
fn survey(nvml: &impl Query, environment: &Environment) -> Gpus {
    let n = match nvml.count() {
        Ok(n) => n,
        Err(error) => {
            let problem = Some(Problem::Silent(error.to_string()));
            return Gpus { problem, ..Gpus::default() };
        }
    };
    let all: Vec<_> = (0..n).map(|index| ask(nvml, index)).collect();
    let visible = select(environment.visible.as_deref(), &all);
    let is_order_certain = is_order_certain(environment, &all);
    let problem = environment
        .visible
        .as_deref()
        .filter(|value| visible.is_empty() && !all.is_empty() && names_a_gpu(value))
        .map(|value| Problem::NamesNone { value: value.to_owned(), n_gpus: all.len() });
    Gpus { driver: None, visible, problem, is_order_certain }
}

fn ask(nvml: &impl Query, index: u32) -> Gpu {
    let silent = |uuid, error: &NvmlError| Gpu::Silent { uuid, problem: error.to_string() };
    let uuid = match nvml.uuid(index) {
        Ok(uuid) => uuid,
        Err(error) => return silent(None, &error),
    };
    let answer = || {
        // In a container the processes of others may be hidden; their memory is not.
        let pids = nvml.pids(index).unwrap_or_default();
        let memory = match nvml.memory(index) {
            Ok(memory) => Some(memory),
            // GPUs that share the machine's memory work without an answer to this.
            Err(NvmlError::NotSupported) => None,
            Err(error) => return Err(error),
        };
        Ok(Answer {
            name: nvml.name(index)?,
            uuid: uuid.clone(),
            memory_bytes: memory.map(|(total, _)| total),
            in_use: in_use(&pids, memory.map_or(0, |(_, used)| used)),
        })
    };
    answer().map_or_else(|error| silent(Some(uuid.clone()), &error), Gpu::Answers)
}

fn in_use(pids: &[u32], used_bytes: u64) -> Option<String> {
    let pids: Vec<_> = pids.iter().map(ToString::to_string).collect();
    match pids.as_slice() {
        [] if used_bytes <= IDLE_BYTES_MAX => None,
        [] => {
            Some(format!("{:.1} GiB of its memory in use", used_bytes as f64 / (1u64 << 30) as f64))
        }
        [pid] => Some(format!("in use by process {pid}")),
        pids => Some(format!("in use by processes {}", pids.join(", "))),
    }
}

/// The GPUs that `CUDA_VISIBLE_DEVICES` leaves of `all`, by CUDA's rules: numbers (counted as this
/// module says) or beginnings of UUIDs; the first entry that names nothing ends the list.
fn select(visible: Option<&str>, all: &[Gpu]) -> Vec<Gpu> {
    let Some(visible) = visible else {
        return all.to_vec();
    };
    visible.split(',').map(str::trim).map_while(|token| pick(token, all)).collect()
}

fn pick(token: &str, all: &[Gpu]) -> Option<Gpu> {
    if token.starts_with("MIG-") {
        return Some(Gpu::Answers(Answer {
            name: "part of a GPU (MIG)".to_owned(),
            uuid: token.to_owned(),
            memory_bytes: None,
            in_use: None,
        }));
    }
    if token.starts_with("GPU-") {
        let is_named = |gpu: &&Gpu| gpu.uuid().is_some_and(|uuid| uuid.starts_with(token));
        return all.iter().find(is_named).cloned();
    }
    all.get(token.parse::<usize>().ok()?).cloned()
}

/// Tells whether a value of `CUDA_VISIBLE_DEVICES` is meant to name a GPU; others, as `-1`, hide
/// all.
fn names_a_gpu(value: &str) -> bool {
    let first = value.split(',').next().unwrap_or_default().trim();
    first.starts_with("GPU-") || first.parse::<u64>().is_ok()
}

/// Tells whether CUDA's own count and ours give each visible GPU the same position.
fn is_order_certain(environment: &Environment, all: &[Gpu]) -> bool {
    let is_uuid = |token: &str| ["GPU-", "MIG-"].iter().any(|head| token.trim().starts_with(head));
    if environment.visible.as_ref().is_some_and(|value| value.split(',').all(is_uuid)) {
        return true;
    }
    let name = |gpu: &Gpu| match gpu {
        Gpu::Answers(answer) => Some(answer.name.clone()),
        // CUDA may leave it out, and all after it move up.
        Gpu::Silent { .. } => None,
    };
    let Some(names) = all.iter().map(name).collect::<Option<Vec<_>>>() else { return false };
    environment.order.as_deref() == Some(ORDER_PCI) || names.windows(2).all(|two| two[0] == two[1])
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDriver(problem) => write!(f, "the NVIDIA driver does not answer ({problem})"),
            Self::Silent(problem) => write!(
                f,
                "a GPU seems to be there, but the NVIDIA driver does not answer ({problem})"
            ),
            Self::NamesNone { value, n_gpus } => write!(
                f,
                "{VISIBLE} is `{value}`, which names none of this machine's GPUs ({n_gpus} found)"
            ),
        }
    }
}

impl Gpu {
    pub fn uuid(&self) -> Option<&str> {
        match self {
            Self::Answers(answer) => Some(&answer.uuid),
            Self::Silent { uuid, .. } => uuid.as_deref(),
        }
    }

    /// Tells whether other processes compute on it.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Answers(Answer { in_use: Some(_), .. }))
    }
}

impl Query for Nvml {
    fn count(&self) -> Result<u32, NvmlError> {
        self.device_count()
    }

    fn uuid(&self, index: u32) -> Result<String, NvmlError> {
        self.device_by_index(index)?.uuid()
    }

    fn name(&self, index: u32) -> Result<String, NvmlError> {
        self.device_by_index(index)?.name()
    }

    fn memory(&self, index: u32) -> Result<(u64, u64), NvmlError> {
        let memory = self.device_by_index(index)?.memory_info()?;
        Ok((memory.total, memory.used))
    }

    fn pids(&self, index: u32) -> Result<Vec<u32>, NvmlError> {
        let processes = self.device_by_index(index)?.running_compute_processes()?;
        Ok(processes.iter().map(|process| process.pid).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fake machine's GPUs, described by letters: `a` and `b` answer and are of two kinds, `u` is
    /// in use, `l` lost after its UUID, `x` has no answer at all, `s` shares the machine's memory.
    struct Fake(&'static str);

    impl Fake {
        fn state(&self, index: u32) -> char {
            self.0.chars().nth(index as usize).unwrap()
        }
    }

    impl Query for Fake {
        fn count(&self) -> Result<u32, NvmlError> {
            if self.0 == "?" { Err(NvmlError::Unknown) } else { Ok(self.0.len() as u32) }
        }

        fn uuid(&self, index: u32) -> Result<String, NvmlError> {
            match self.state(index) {
                'x' => Err(NvmlError::NoPermission),
                _ => Ok(format!("GPU-{index}0")),
            }
        }

        fn name(&self, index: u32) -> Result<String, NvmlError> {
            Ok(if self.state(index) == 'b' { "T4" } else { "H100" }.to_owned())
        }

        fn memory(&self, index: u32) -> Result<(u64, u64), NvmlError> {
            match self.state(index) {
                'l' => Err(NvmlError::GpuLost),
                's' => Err(NvmlError::NotSupported),
                _ => Ok((80 << 30, 1 << 20)),
            }
        }

        fn pids(&self, index: u32) -> Result<Vec<u32>, NvmlError> {
            match self.state(index) {
                'u' => Ok(vec![7]),
                'l' => Err(NvmlError::GpuLost),
                _ => Ok(vec![]),
            }
        }
    }

    fn environment(visible: Option<&str>, order: Option<&str>) -> Environment {
        Environment { visible: visible.map(str::to_owned), order: order.map(str::to_owned) }
    }

    fn words(gpu: &Gpu) -> String {
        match gpu {
            Gpu::Answers(Answer { name, uuid, in_use: None, .. }) => format!("{name} {uuid}"),
            Gpu::Answers(Answer { uuid, in_use: Some(use_), .. }) => format!("{uuid} {use_}"),
            Gpu::Silent { uuid, problem } => {
                format!("{} {problem}", uuid.as_deref().unwrap_or("?"))
            }
        }
    }

    #[test]
    fn a_gpu_that_cannot_be_asked_hides_no_other() {
        let gpus = survey(&Fake("alxus"), &Environment::default());
        assert_eq!(gpus.problem, None);
        assert_eq!(
            gpus.visible.iter().map(words).collect::<Vec<_>>(),
            [
                "H100 GPU-00",
                "GPU-10 device fell off the bus or has otherwise become inacessible",
                "? the current user does not have permission to perform this operation",
                "GPU-30 in use by process 7",
                "H100 GPU-40",
            ]
        );
        let Gpu::Answers(shared) = &gpus.visible[4] else { panic!("{gpus:?}") };
        assert_eq!(shared.memory_bytes, None);
    }

    #[test]
    fn visible_devices_are_numbers_or_uuids_until_the_first_unknown() {
        let check = |visible: Option<&str>, expect: &[&str]| {
            let gpus = survey(&Fake("aal"), &environment(visible, None));
            let uuids: Vec<_> = gpus.visible.iter().map(|gpu| gpu.uuid().unwrap()).collect();
            assert_eq!(uuids, expect, "{visible:?}");
        };
        check(None, &["GPU-00", "GPU-10", "GPU-20"]);
        check(Some(""), &[]);
        check(Some("-1"), &[]);
        check(Some("2, 0"), &["GPU-20", "GPU-00"]);
        check(Some("0,7,1"), &["GPU-00"]);
        check(Some("GPU-1,MIG-1234"), &["GPU-10", "MIG-1234"]);
        check(Some("GPU-2"), &["GPU-20"]);
    }

    #[test]
    fn a_variable_that_names_no_gpu_is_a_problem_and_one_that_hides_all_is_none() {
        let check = |gpus: &'static str, value: &str, expect: Option<usize>| {
            let gpus = survey(&Fake(gpus), &environment(Some(value), None));
            let value = value.to_owned();
            assert_eq!(gpus.problem, expect.map(|n_gpus| Problem::NamesNone { value, n_gpus }));
        };
        check("aa", "2", Some(2));
        check("aa", "GPU-7,0", Some(2));
        check("aa", "1,7", None);
        check("", "0", None);
        for hidden in ["", "-1", "none", "NoDevFiles"] {
            check("aa", hidden, None);
        }
    }

    #[test]
    fn a_sign_of_a_gpu_without_nvml_is_a_problem() {
        let check = |error: NvmlError, is_loaded, expect: fn(Option<Problem>) -> bool| {
            let gpus = without_nvml(&error, is_loaded);
            assert!(expect(gpus.problem.clone()) && gpus.visible.is_empty(), "{error} {gpus:?}");
        };
        let silent = |problem| matches!(problem, Some(Problem::Silent(_)));
        check(NvmlError::DriverNotLoaded, false, |p| matches!(p, Some(Problem::NoDriver(_))));
        check(NvmlError::DriverNotLoaded, true, silent);
        check(NvmlError::LibRmVersionMismatch, false, silent);
        let missing = || {
            let error = Nvml::builder().lib_path("/nowhere/libnvidia-ml.so".as_ref()).init();
            error.map(drop).unwrap_err()
        };
        check(missing(), false, |problem| problem.is_none());
        check(missing(), true, silent);
        assert!(silent(survey(&Fake("?"), &Environment::default()).problem));
    }

    #[test]
    fn the_order_is_certain_where_both_ways_of_counting_agree() {
        let check = |gpus, visible: Option<&str>, order: Option<&str>, expect| {
            let gpus = survey(&Fake(gpus), &environment(visible, order));
            assert_eq!(gpus.is_order_certain, expect, "{gpus:?}");
        };
        check("aa", None, None, true);
        check("ab", None, None, false);
        check("ab", None, Some("FASTEST_FIRST"), false);
        check("ab", None, Some("PCI_BUS_ID"), true);
        check("ab", Some("1"), None, false);
        check("ab", Some("GPU-1,GPU-0"), None, true);
        check("ax", None, Some("PCI_BUS_ID"), false);
        check("b", None, None, true);
    }

    #[test]
    fn a_gpu_with_processes_or_much_used_memory_is_in_use() {
        assert_eq!(in_use(&[], 500 << 20), None);
        assert_eq!(in_use(&[], 3 << 30).as_deref(), Some("3.0 GiB of its memory in use"));
        assert_eq!(in_use(&[7], 0).as_deref(), Some("in use by process 7"));
        assert_eq!(in_use(&[7, 8], 0).as_deref(), Some("in use by processes 7, 8"));
    }
}
