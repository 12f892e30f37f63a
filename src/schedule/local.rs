//! Runs workers as processes of this machine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

use super::executor::{Executor, Exited, Launch, WorkerExit};
use crate::device::nvml;
use crate::id::RunId;

/// An executor that starts `<program> worker <run dir> --attempt N`, each in its own process group,
/// with a pipe on stdin whose end means "save your state and exit". The pipe ends with this
/// process, however it ends.
#[derive(Debug)]
pub struct LocalProcesses {
    program: PathBuf,
    exits: mpsc::UnboundedSender<Exited>,
    workers: BTreeMap<RunId, Worker>,
}

#[derive(Debug)]
struct Worker {
    group: Pid,
    /// Dropped to ask the worker to stop.
    stdin: Option<ChildStdin>,
}

impl LocalProcesses {
    pub fn new(program: PathBuf, exits: mpsc::UnboundedSender<Exited>) -> Self {
        Self { program, exits, workers: BTreeMap::new() }
    }
}

/// Path of this program, so that all workers of a sweep run the same build.
///
/// On Linux the kernel's own link, which stays right when the file is replaced by a new build.
pub fn this_program() -> io::Result<PathBuf> {
    let link = Path::new("/proc/self/exe");
    if fs_err::exists(link)? { Ok(link.to_owned()) } else { std::env::current_exe() }
}

impl Executor for LocalProcesses {
    fn spawn(&mut self, launch: &Launch) -> io::Result<()> {
        let mut child = command(&self.program, launch)?.spawn().map_err(|source| {
            let program = self.program.display();
            io::Error::new(source.kind(), format!("cannot start `{program} worker`: {source}"))
        })?;
        let group = child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .expect("a child that was not waited for has a process id");
        // Taken out, because waiting for a child closes a stdin that is still inside.
        let stdin = child.stdin.take();
        self.workers.insert(launch.run.clone(), Worker { group, stdin });
        tokio::spawn(report_exit(child, launch.run.clone(), launch.attempt, self.exits.clone()));
        Ok(())
    }

    fn ask_to_stop(&mut self, run: &RunId) {
        if let Some(worker) = self.workers.get_mut(run) {
            worker.stdin = None;
        }
    }

    fn kill(&mut self, run: &RunId) {
        if let Some(worker) = self.workers.get(run)
            && let Err(error) = kill_process_group(worker.group, Signal::KILL)
        {
            // Most likely it is gone already; its exit is on the way either way.
            tracing::debug!(%run, %error, "cannot kill the worker's process group");
        }
    }

    fn forget(&mut self, exited: &Exited) {
        self.workers.remove(&exited.run);
    }
}

async fn report_exit(
    mut child: Child,
    run: RunId,
    attempt: u32,
    exits: mpsc::UnboundedSender<Exited>,
) {
    let exit = match child.wait().await {
        Ok(status) => worker_exit(status),
        Err(error) => {
            tracing::error!(%run, %error, "cannot wait for the worker");
            WorkerExit::Code(-1)
        }
    };
    // The receiver is gone only when the coordinator has ended with an error.
    let _ = exits.send(Exited { run, attempt, exit });
}

fn worker_exit(status: ExitStatus) -> WorkerExit {
    match (status.code(), status.signal()) {
        (Some(code), _) => WorkerExit::Code(code),
        (None, Some(signal)) => WorkerExit::Signal(signal),
        (None, None) => WorkerExit::Code(-1),
    }
}

fn command(program: &Path, launch: &Launch) -> io::Result<Command> {
    let log = open_log(&launch.dir.log(launch.attempt))?;
    let mut command = Command::new(program);
    command
        .arg0("sweep")
        .arg("worker")
        .arg(std::path::absolute(launch.dir.root())?)
        .arg("--attempt")
        .arg(launch.attempt.to_string())
        .envs(environment(launch))
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(false);
    Ok(command)
}

fn environment(launch: &Launch) -> Vec<(&'static str, OsString)> {
    let visible = launch.slot.visible.clone().unwrap_or_default();
    vec![
        (nvml::VISIBLE, visible.into()),
        // The worker counts GPUs as we do, whatever it may count.
        (nvml::ORDER, nvml::ORDER_PCI.into()),
        ("RAYON_NUM_THREADS", launch.slot.threads.to_string().into()),
        ("RUST_BACKTRACE", std::env::var_os("RUST_BACKTRACE").unwrap_or_else(|| "1".into())),
    ]
}

fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|source| io::Error::new(source.kind(), format!("{source}: `{}`", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::fs::RunDir;
    use crate::schedule::Slot;
    use crate::schedule::fake;

    /// The exit of a worker that is a shell script instead of `sweep`.
    async fn exit_of(
        script: &str,
        then: impl FnOnce(&mut LocalProcesses, &RunId),
    ) -> (Exited, String) {
        let temp = tempfile::tempdir().unwrap();
        let program = temp.path().join("worker.sh");
        crate::fs::write_atomic(&program, format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(&program, mode).unwrap();
        let dir = RunDir::new(temp.path().join("run"));
        fs_err::create_dir_all(dir.root()).unwrap();
        let (send, mut receive) = mpsc::unbounded_channel();
        let mut executor = LocalProcesses::new(program, send);
        let run = fake::id(1);
        let launch = Launch { run: run.clone(), attempt: 3, dir: dir.clone(), slot: fake::cpu() };
        executor.spawn(&launch).unwrap();
        then(&mut executor, &run);
        let exited = receive.recv().await.unwrap();
        (exited, fs_err::read_to_string(dir.log(3)).unwrap())
    }

    #[tokio::test]
    async fn a_worker_gets_its_directory_attempt_and_threads_and_its_words_are_kept() {
        let (exited, log) =
            exit_of("echo $1 $3 $4 $RAYON_NUM_THREADS; echo oops >&2; exit 7", |_, _| ()).await;
        assert_eq!(exited.exit, WorkerExit::Code(7));
        assert_eq!((exited.run, exited.attempt), (fake::id(1), 3));
        assert_eq!(log, "worker --attempt 3 1\noops\n");
    }

    #[test]
    fn a_worker_sees_its_gpu_alone_and_none_on_the_cpu() {
        let check = |slot, expect: &str| {
            let dir = RunDir::new("run");
            let environment = environment(&Launch { run: fake::id(1), attempt: 1, dir, slot });
            let value =
                |name| environment.iter().find(|(other, _)| *other == name).unwrap().1.clone();
            assert_eq!(value("CUDA_VISIBLE_DEVICES"), expect);
            assert_eq!(value("CUDA_DEVICE_ORDER"), "PCI_BUS_ID");
        };
        check(fake::cpu(), "");
        let visible = Some("GPU-7".to_owned());
        check(Slot { device: Device::Cuda(3), visible, ..fake::cpu() }, "GPU-7");
    }

    #[tokio::test]
    async fn asking_to_stop_ends_stdin() {
        let (exited, log) = exit_of("cat; echo saved; exit 130", Executor::ask_to_stop).await;
        assert_eq!(exited.exit, WorkerExit::Code(130));
        assert_eq!(log, "saved\n");
    }

    #[tokio::test]
    async fn killing_ends_the_whole_group_though_stdin_is_open() {
        let (exited, _) = exit_of("sleep 100 & wait", Executor::kill).await;
        assert_eq!(exited.exit, WorkerExit::Signal(9));
    }

    /// Runs a sweep of more runs than a process may open files.
    #[tokio::test]
    async fn workers_that_are_gone_keep_no_file_open() {
        let temp = tempfile::tempdir().unwrap();
        let (send, mut exits) = mpsc::unbounded_channel();
        let mut executor = LocalProcesses::new("/bin/true".into(), send);
        let dir = RunDir::new(temp.path());
        let n_open = || fs_err::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let before = n_open();
        for n in 0..200 {
            let launch =
                Launch { run: fake::id(n), attempt: 1, dir: dir.clone(), slot: fake::cpu() };
            executor.spawn(&launch).unwrap();
            executor.forget(&exits.recv().await.unwrap());
        }
        // Other tests of this process open files meanwhile, but not hundreds.
        assert!(n_open() < before + 100, "{before} before, {} now", n_open());
    }

    #[tokio::test]
    async fn a_program_that_cannot_start_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let (send, _receive) = mpsc::unbounded_channel();
        let mut executor = LocalProcesses::new("/nowhere/sweep".into(), send);
        let dir = RunDir::new(temp.path());
        let launch = Launch { run: fake::id(1), attempt: 1, dir, slot: fake::cpu() };
        let error = executor.spawn(&launch).unwrap_err().to_string();
        assert!(error.contains("/nowhere/sweep"), "{error}");
    }
}
