//! NVIDIA GPUs through NVML: which are visible to this process, and which others are using.

use nvml_wrapper::Nvml;

/// More than a driver keeps for itself on an idle GPU (some hundred MB with persistence mode).
const IDLE_BYTES_MAX: u64 = 1 << 30;

/// The GPUs that CUDA would show to this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gpus {
    /// Version of the driver; `None` where there is none.
    pub driver: Option<String>,
    /// In the order CUDA numbers them.
    pub visible: Vec<Gpu>,
    /// Why GPUs that may be there cannot be asked, if NVML was found but does not work.
    pub problem: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    pub name: String,
    /// `GPU-…` or `MIG-…`.
    pub uuid: String,
    pub memory_bytes: u64,
    /// Who uses it, in words; `None` when it is free.
    pub in_use: Option<String>,
}

/// Asks NVML; no library or no driver means no GPUs.
///
/// `visible` is the value of `CUDA_VISIBLE_DEVICES`.
pub fn discover(visible: Option<&str>) -> Gpus {
    let nvml = match Nvml::init() {
        Ok(nvml) => nvml,
        Err(nvml_wrapper::error::NvmlError::LibloadingError(_)) => return Gpus::default(),
        Err(error) => return Gpus { problem: Some(error.to_string()), ..Gpus::default() },
    };
    let driver = nvml.sys_driver_version().unwrap_or_else(|_| "unknown".to_owned());
    match all(&nvml) {
        Ok(all) => Gpus { driver: Some(driver), visible: select(visible, &all), problem: None },
        Err(error) => {
            Gpus { driver: Some(driver), visible: Vec::new(), problem: Some(error.to_string()) }
        }
    }
}

fn all(nvml: &Nvml) -> Result<Vec<Gpu>, nvml_wrapper::error::NvmlError> {
    (0..nvml.device_count()?)
        .map(|index| {
            let device = nvml.device_by_index(index)?;
            // In a container the processes of others may be hidden; their memory is not.
            let pids = device.running_compute_processes().map_or_else(
                |_| Vec::new(),
                |processes| processes.iter().map(|process| process.pid).collect(),
            );
            let memory = device.memory_info()?;
            Ok(Gpu {
                name: device.name()?,
                uuid: device.uuid()?,
                memory_bytes: memory.total,
                in_use: in_use(&pids, memory.used),
            })
        })
        .collect()
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

/// What `CUDA_VISIBLE_DEVICES` leaves of `all`, by CUDA's rules: numbers or beginnings of UUIDs;
/// the first that names nothing ends the list.
fn select(visible: Option<&str>, all: &[Gpu]) -> Vec<Gpu> {
    let Some(visible) = visible else {
        return all.to_vec();
    };
    visible.split(',').map(str::trim).map_while(|token| pick(token, all)).collect()
}

fn pick(token: &str, all: &[Gpu]) -> Option<Gpu> {
    if token.starts_with("MIG-") {
        let name = "part of a GPU (MIG)".to_owned();
        return Some(Gpu { name, uuid: token.to_owned(), memory_bytes: 0, in_use: None });
    }
    if token.starts_with("GPU-") {
        return all.iter().find(|gpu| gpu.uuid.starts_with(token)).cloned();
    }
    all.get(token.parse::<usize>().ok()?).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(uuid: &str) -> Gpu {
        Gpu { name: "X".to_owned(), uuid: uuid.to_owned(), memory_bytes: 1, in_use: None }
    }

    fn check(visible: Option<&str>, expect: &[&str]) {
        let all = [gpu("GPU-aa"), gpu("GPU-ab"), gpu("GPU-b0")];
        let uuids: Vec<_> = select(visible, &all).into_iter().map(|gpu| gpu.uuid).collect();
        assert_eq!(uuids, expect, "{visible:?}");
    }

    #[test]
    fn visible_devices_are_numbers_or_uuids_until_the_first_unknown() {
        check(None, &["GPU-aa", "GPU-ab", "GPU-b0"]);
        check(Some(""), &[]);
        check(Some("-1"), &[]);
        check(Some("2, 0"), &["GPU-b0", "GPU-aa"]);
        check(Some("0,7,1"), &["GPU-aa"]);
        check(Some("GPU-b,MIG-1234"), &["GPU-b0", "MIG-1234"]);
    }

    #[test]
    fn a_gpu_with_processes_or_much_used_memory_is_in_use() {
        assert_eq!(in_use(&[], 500 << 20), None);
        assert_eq!(in_use(&[], 3 << 30).as_deref(), Some("3.0 GiB of its memory in use"));
        assert_eq!(in_use(&[7], 0).as_deref(), Some("in use by process 7"));
        assert_eq!(in_use(&[7, 8], 0).as_deref(), Some("in use by processes 7, 8"));
    }
}
