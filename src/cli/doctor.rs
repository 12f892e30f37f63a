//! `sweep doctor`: what works on this machine, and what to do about what does not.

use std::path::{Path, PathBuf};

use super::fault::Exit;
use super::{printer, words};
use crate::corrupt::frost;
use crate::data::dataset;
use crate::experiment::Machine;
use crate::fs::{ResultsDir, space, write_atomic};
use crate::model::{WeightsConfig, backbone};
use crate::schedule::devices::{BUILD_LINE, CudaSupport};
use crate::schedule::gpu::{self, Gpus};
use crate::store::Store;
use crate::weights;

/// A sweep of the smallest kind writes some tens of MiB.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    level: Level,
    topic: &'static str,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Good,
    /// Works without it.
    Note,
    /// Nothing works before this is mended.
    Bad,
}

pub fn run(machine: &Machine) -> anyhow::Result<Exit> {
    let results = ResultsDir::new(&machine.results);
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let mut findings = devices(&gpu::discover(visible.as_deref()), CudaSupport::here());
    findings.push(threads());
    findings.extend(datasets(machine));
    findings.push(frost_textures(machine));
    findings.extend(weight_files(machine));
    findings.push(writable(results.root()));
    findings.push(free_space(results.root()));
    findings.push(super::runtime()?.block_on(database(&results)));
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

fn devices(gpus: &Gpus, cuda: CudaSupport) -> Vec<Finding> {
    let found = |level, text: String| Finding { level, topic: "device", text };
    let mut findings = vec![match (cuda, gpus.visible.is_empty()) {
        (CudaSupport::BuiltIn, _) => found(Level::Good, "this binary has CUDA".to_owned()),
        (CudaSupport::Missing, true) => {
            found(Level::Good, "the CPU; this binary has no CUDA, and no GPU is visible".to_owned())
        }
        (CudaSupport::Missing, false) => found(
            Level::Bad,
            format!("this binary has no CUDA: build with `{BUILD_LINE}`, or use `--device cpu`"),
        ),
    }];
    if let Some(driver) = &gpus.driver {
        findings.push(found(Level::Good, format!("NVIDIA driver {driver}")));
    }
    if let Some(problem) = &gpus.problem {
        findings.push(found(Level::Note, format!("the NVIDIA driver does not answer: {problem}")));
    }
    for (index, gpu) in gpus.visible.iter().enumerate() {
        let words = format!("cuda:{index} is {}, {}", gpu.name, words::size(gpu.memory_bytes));
        findings.push(match &gpu.in_use {
            None => found(Level::Good, format!("{words}, free")),
            Some(use_) => found(Level::Note, format!("{words}, {use_}: `auto` skips it")),
        });
    }
    findings
}

fn threads() -> Finding {
    let (level, text) = match std::thread::available_parallelism() {
        Ok(n) => (Level::Good, words::count(n.get(), "thread")),
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
            let text = "no textures in `frost/` of a data folder: frost is drawn, and left out of \
                        means as `frost*`";
            (Level::Note, text.to_owned())
        }
        Err(error) => (Level::Note, error.to_string()),
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
        let text =
            format!("not found: {}; put them into `{}`", missing.join(", "), target.display());
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
                format!("`{folder}` cannot be written ({error}): choose another by `--results`");
            found(Level::Bad, text)
        }
    }
}

fn free_space(folder: &Path) -> Finding {
    let found = |level, text| Finding { level, topic: "disk", text };
    match space::free_bytes(folder) {
        Ok(free) => {
            let level = if free < FREE_BYTES_MIN { Level::Bad } else { Level::Good };
            found(level, format!("{} free for `{}`", words::size(free), folder.display()))
        }
        Err(error) => found(Level::Note, format!("free space is unknown ({error})")),
    }
}

async fn database(results: &ResultsDir) -> Finding {
    let found = |level, text| Finding { level, topic: "index", text };
    if !results.database().exists() {
        return found(Level::Good, "none yet; the first `run` makes it".to_owned());
    }
    match Store::open_read_only(results).await {
        Ok(store) => {
            store.close().await;
            found(Level::Good, format!("`{}` can be read", results.database().display()))
        }
        Err(error) => found(Level::Bad, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::gpu::Gpu;

    fn gpus(in_use: Option<&str>) -> Gpus {
        let gpu = Gpu {
            name: "H100".to_owned(),
            uuid: "GPU-1".to_owned(),
            memory_bytes: 80 << 30,
            in_use: in_use.map(str::to_owned),
        };
        Gpus { driver: Some("580.1".to_owned()), visible: vec![gpu], problem: None }
    }

    fn check(gpus: &Gpus, cuda: CudaSupport, expect: &[&str]) {
        let lines: Vec<_> = devices(gpus, cuda).iter().map(line).collect();
        assert_eq!(lines, expect);
    }

    #[test]
    fn a_gpu_that_this_binary_cannot_use_is_bad() {
        check(
            &gpus(None),
            CudaSupport::Missing,
            &[
                "BAD   device    this binary has no CUDA: build with `cargo build --release \
                 --features cuda`, or use `--device cpu`",
                "ok    device    NVIDIA driver 580.1",
                "ok    device    cuda:0 is H100, 80.0 GiB, free",
            ],
        );
    }

    #[test]
    fn a_gpu_that_others_use_is_noted() {
        let expect =
            "note  device    cuda:0 is H100, 80.0 GiB, in use by process 7: `auto` skips it";
        let findings = devices(&gpus(Some("in use by process 7")), CudaSupport::BuiltIn);
        assert_eq!(line(&findings[2]), expect);
    }

    #[test]
    fn a_machine_without_gpus_is_fine() {
        let expect = ["ok    device    the CPU; this binary has no CUDA, and no GPU is visible"];
        check(&Gpus::default(), CudaSupport::Missing, &expect);
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
