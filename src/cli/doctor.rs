//! `sweep doctor`: checks what works on this machine, and says how to fix what does not.

use std::path::{Path, PathBuf};

use super::fault::Exit;
use super::{Context, context, printer, words};
use crate::corrupt::frost;
use crate::data::dataset;
use crate::device::nvml::{Answer, Gpu, Problem};
use crate::device::{self, Api, Device, Hardware};
use crate::error::with_sources;
use crate::experiment::Machine;
use crate::fs::{ResultsDir, space, write_atomic};
use crate::host;
use crate::model::{WeightsConfig, backbone};
use crate::store::Store;
use crate::weights;

/// Free space below which the disk is bad; even the smallest sweep writes tens of MiB.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    level: Level,
    topic: &'static str,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Good,
    /// Worth knowing; `sweep` works nevertheless.
    Note,
    /// Must be fixed before a sweep can run.
    Bad,
}

/// Check what works on this machine, and say how to fix what does not
#[derive(Debug, Clone, clap::Args)]
pub struct Args {}

pub fn run(_: &Args, context: &Context) -> anyhow::Result<Exit> {
    let machine = context.machine()?;
    let results = context.results()?;
    let mut findings = devices(&Hardware::here());
    findings.push(threads());
    findings.extend(datasets(machine));
    findings.push(frost_textures(machine));
    findings.extend(weight_files(machine));
    findings.push(writable(results.root()));
    findings.push(free_space(results.root()));
    findings.push(context::runtime()?.block_on(database(&results)));
    for finding in &findings {
        printer::data(&format!("{}\n", line(finding)));
    }
    let is_bad = findings.iter().any(|finding| finding.level == Level::Bad);
    Ok(if is_bad { Exit::Environment } else { Exit::Done })
}

fn line(finding: &Finding) -> String {
    let mark = match finding.level {
        Level::Good => "ok  ",
        Level::Note => "note",
        Level::Bad => "BAD ",
    };
    format!("{mark}  {:<9} {}", finding.topic, finding.text)
}

fn devices(hardware: &Hardware) -> Vec<Finding> {
    let found = |level, text: String| Finding { level, topic: "device", text };
    let Hardware { apis, gpus, adapters, toolkit_problem } = hardware;
    let names: Vec<_> = apis.iter().map(ToString::to_string).collect();
    let mut findings = vec![match (names.is_empty(), gpus.visible.is_empty()) {
        (false, _) => found(Level::Good, format!("this binary has {}", names.join(" and "))),
        (true, true) => {
            let text = "CPU only: this binary has neither CUDA nor wgpu, no NVIDIA GPU is visible";
            found(Level::Good, text.to_owned())
        }
        (true, false) => found(
            Level::Bad,
            format!(
                "this binary has no CUDA: build with `{}`, or use `--device cpu`",
                Api::Cuda.build_line()
            ),
        ),
    }];
    if let Some(driver) = &gpus.driver {
        findings.push(found(Level::Good, format!("NVIDIA driver {driver}")));
    }
    findings.extend(gpus.problem.as_ref().map(|problem| match problem {
        Problem::NoDriver(_) => found(Level::Note, problem.to_string()),
        Problem::Silent(_) | Problem::NamesNone { .. } => {
            found(Level::Bad, format!("{problem}: fix that, or use `--device cpu`"))
        }
    }));
    findings.extend(toolkit_problem.as_ref().map(|problem| {
        // Without a GPU it would be used for nothing.
        let level = if gpus.visible.is_empty() { Level::Note } else { Level::Bad };
        found(level, problem.clone())
    }));
    let visible = gpus.visible.iter().enumerate();
    findings.extend(visible.map(|(index, gpu)| gpu_finding(Device::Cuda(index as u32), gpu)));
    if apis.contains(&Api::Wgpu) && adapters.is_empty() {
        let text = "no graphics adapter is found: install the Vulkan loader (libvulkan1) and your \
                    GPU's Vulkan driver";
        findings.push(found(Level::Note, text.to_owned()));
    }
    findings.extend(adapters.iter().enumerate().map(|(index, adapter)| {
        let device = Device::Wgpu(index as u32);
        let name = device::name(device);
        if adapter.is_gpu {
            found(Level::Good, format!("{device} is {name}"))
        } else {
            let text = format!("{device} is {name}, which computes on the CPU: `auto` skips it");
            found(Level::Note, text)
        }
    }));
    findings
}

fn gpu_finding(device: Device, gpu: &Gpu) -> Finding {
    let found = |level, text: String| Finding { level, topic: "device", text };
    match gpu {
        Gpu::Answers(Answer { name, memory_bytes, in_use, .. }) => {
            let memory = memory_bytes.map_or(String::new(), |n| format!(", {}", words::size(n)));
            match in_use {
                None => found(Level::Good, format!("{device} is {name}{memory}, free")),
                Some(use_) => found(
                    Level::Note,
                    format!("{device} is {name}{memory}, {use_}: `auto` skips it"),
                ),
            }
        }
        Gpu::Silent { problem, .. } => {
            found(Level::Note, format!("{device} does not answer ({problem}): `auto` skips it"))
        }
    }
}

fn threads() -> Finding {
    let (level, text) = match host::count_cores() {
        Ok(n) => (Level::Good, words::count(n.get() as usize, "thread")),
        Err(error) => (Level::Note, format!("the number of cores is unknown ({error}): 1 is used")),
    };
    Finding { level, topic: "cpu", text }
}

fn datasets(machine: &Machine) -> Vec<Finding> {
    let found = |level, text| Finding { level, topic: "data", text };
    let look = |config| match dataset::whereabouts(&config, &machine.data_dirs) {
        Ok(text) => found(Level::Good, text),
        Err(error) => found(Level::Note, error.to_string()),
    };
    dataset::usual().map(look).collect()
}

fn frost_textures(machine: &Machine) -> Finding {
    let (level, text) = match frost::find(&machine.data_dirs) {
        Ok(Some(dir)) => (Level::Good, format!("ImageNet-C's textures in `{}`", dir.display())),
        Ok(None) => {
            let text = "no textures in `frost/` of a data folder (`sweep fetch frost` gets them): \
                        frost is drawn procedurally as `frost*`, and left out of means";
            (Level::Note, text.to_owned())
        }
        Err(error) => (Level::Note, with_sources(&error)),
    };
    Finding { level, topic: "frost", text }
}

fn weight_files(machine: &Machine) -> Vec<Finding> {
    let found = |level, text| Finding { level, topic: "weights", text };
    let caches = weights::locate::caches(|name| std::env::var(name).ok());
    let folders = (machine.weight_dirs.as_slice(), caches.as_slice());
    let mut missing = Vec::new();
    let mut findings = Vec::new();
    for variant in backbone::variants().filter(|variant| !variant.files.is_empty()) {
        match weights::locate(variant, &WeightsConfig::Pretrained {}, folders) {
            Ok(Some(path)) => {
                let text = format!("{} in `{}`", variant.name, path.display());
                findings.push(found(Level::Good, text));
            }
            Ok(None) | Err(_) => missing.push(variant.name),
        }
    }
    if !missing.is_empty() {
        let target = machine.weight_dirs.first().map_or(Path::new("weight_dirs"), PathBuf::as_path);
        let text = format!(
            "not found: {}; `sweep fetch NAME` gets one, or put it into `{}`",
            missing.join(", "),
            target.display()
        );
        findings.push(found(Level::Note, text));
    }
    findings
}

fn writable(folder: &Path) -> Finding {
    let found = |level, text| Finding { level, topic: "results", text };
    let probe = folder.join(".sweep_doctor");
    let existed = folder.exists();
    let tried = write_atomic(&probe, b"").and_then(|()| fs_err::remove_file(&probe));
    if !existed {
        // Looking should leave nothing behind; a folder that cannot be removed does no harm.
        let _ = fs_err::remove_dir(folder);
    }
    match tried {
        Ok(()) => found(Level::Good, format!("`{}` can be written", folder.display())),
        Err(error) => {
            let folder = folder.display();
            let text =
                format!("`{folder}` cannot be written ({error}): choose another with `--results`");
            found(Level::Bad, text)
        }
    }
}

fn free_space(folder: &Path) -> Finding {
    let found = |level, text| Finding { level, topic: "disk", text };
    match space::free(folder) {
        Ok(free) => {
            let level = if free.bytes < FREE_BYTES_MIN { Level::Bad } else { Level::Good };
            let (size, folder) = (words::size(free.bytes), free.folder.display());
            found(level, format!("{size} free in `{folder}`"))
        }
        Err(error) => found(Level::Note, format!("free space is unknown ({error})")),
    }
}

async fn database(results: &ResultsDir) -> Finding {
    let found = |level, text| Finding { level, topic: "index", text };
    if !results.database().exists() {
        return found(Level::Good, "none yet; the first `sweep run` creates it".to_owned());
    }
    match Store::open_read_only(results).await {
        Ok(store) => {
            store.close().await;
            found(Level::Good, format!("`{}` can be read", results.database().display()))
        }
        Err(error) => found(Level::Bad, with_sources(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::nvml::Gpus;

    const CUDA: &[Api] = &[Api::Cuda];

    fn found(apis: &[Api], gpus: Gpus) -> Vec<String> {
        let hardware = Hardware { apis: apis.to_vec(), gpus, ..Hardware::default() };
        devices(&hardware).iter().map(line).collect()
    }

    fn gpus(in_use: Option<&str>) -> Gpus {
        let gpu = Gpu::Answers(Answer {
            name: "H100".to_owned(),
            uuid: "GPU-1".to_owned(),
            memory_bytes: Some(80 << 30),
            in_use: in_use.map(str::to_owned),
        });
        Gpus { driver: Some("580.1".to_owned()), visible: vec![gpu], ..Gpus::default() }
    }

    #[test]
    fn a_gpu_that_this_binary_cannot_use_is_bad() {
        let expect = [
            "BAD   device    this binary has no CUDA: build with `cargo build --release \
             --features cuda`, or use `--device cpu`",
            "ok    device    NVIDIA driver 580.1",
            "ok    device    cuda:0 is H100, 80.0 GiB, free",
        ];
        assert_eq!(found(&[], gpus(None)), expect);
    }

    #[test]
    fn a_gpu_that_others_use_is_noted() {
        let expect =
            "note  device    cuda:0 is H100, 80.0 GiB, in use by process 7: `auto` skips it";
        assert_eq!(found(CUDA, gpus(Some("in use by process 7")))[2], expect);
    }

    #[test]
    fn a_gpu_that_cannot_be_asked_is_noted_and_a_driver_that_does_not_answer_is_bad() {
        let silent = Gpu::Silent { uuid: None, problem: "it is lost".to_owned() };
        let gpus = Gpus { visible: vec![silent], ..Gpus::default() };
        let expect = "note  device    cuda:0 does not answer (it is lost): `auto` skips it";
        assert_eq!(found(CUDA, gpus)[1], expect);
        let problem = Some(Problem::Silent("version mismatch".to_owned()));
        let expect = "BAD   device    a GPU seems to be there, but the NVIDIA driver does not \
                      answer (version mismatch): fix that, or use `--device cpu`";
        assert_eq!(found(CUDA, Gpus { problem, ..Gpus::default() })[1], expect);
    }

    #[test]
    fn a_machine_without_gpus_is_fine() {
        let expect = "ok    device    CPU only: this binary has neither CUDA nor wgpu, no NVIDIA \
                      GPU is visible";
        assert_eq!(found(&[], Gpus::default()), [expect]);
        let lines = found(&[Api::Cuda, Api::Wgpu], Gpus::default());
        assert_eq!(lines[0], "ok    device    this binary has CUDA and wgpu");
        assert!(lines[1].starts_with("note  device    no graphics adapter"), "{lines:?}");
    }

    #[test]
    fn looking_leaves_no_results_folder_behind() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("results");
        assert_eq!(writable(&folder).level, Level::Good);
        assert!(!folder.exists());
        write_atomic(&folder, b"a file").unwrap();
        assert_eq!(writable(&folder).level, Level::Bad);
    }
}
