//! Facts of this machine: its name, its CPU and how much of it may be used.
//!
//! Journals, the name of a results folder's coordinator and the division of threads use it. Nothing
//! here changes a number of a result.

use std::io;
use std::num::NonZeroU32;

/// The name of this machine, as `hostname` prints it.
pub fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Model of the CPU as Linux names it; empty on other systems.
pub fn cpu_model() -> String {
    let text = fs_err::read_to_string("/proc/cpuinfo").unwrap_or_default();
    model_in(&text).unwrap_or_default().to_owned()
}

/// Cores that this process may use; 1 where that is unknown.
pub fn cores() -> NonZeroU32 {
    count_cores().unwrap_or(NonZeroU32::MIN)
}

/// Cores that this process may use, by its affinity and its control group.
pub fn count_cores() -> io::Result<NonZeroU32> {
    let n = std::thread::available_parallelism()?;
    Ok(NonZeroU32::try_from(n).unwrap_or(NonZeroU32::MAX))
}

/// The largest resident memory that this process has had, in bytes; `None` where the system does not
/// say.
pub fn peak_memory_bytes() -> Option<u64> {
    peak_in(&fs_err::read_to_string("/proc/self/status").ok()?)
}

/// The peak in the text of `/proc/self/status`.
fn peak_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The first `model name` in the text of `/proc/cpuinfo`.
fn model_in(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_model_name_is_that_of_the_cpu() {
        let text = "processor\t: 0\nmodel name\t: Fast CPU: 2 GHz\nmodel name\t: Other\n";
        assert_eq!(model_in(text), Some("Fast CPU: 2 GHz"));
        assert_eq!(model_in("Hardware\t: BCM2835\n"), None);
    }

    #[test]
    fn the_peak_is_read_in_kib() {
        assert_eq!(peak_in("VmPeak:\t 9 kB\nVmHWM:\t  12 kB\nVmRSS:\t 8 kB\n"), Some(12 << 10));
        assert_eq!(peak_in("Name:\tsweep\n"), None);
    }

    #[test]
    fn a_machine_has_a_name_and_a_core() {
        assert!(!name().is_empty());
        assert_eq!(count_cores().unwrap(), cores());
    }
}
