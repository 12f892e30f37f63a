//! Signals, locks and errors around a running sweep, with real processes: no worker ends unsaved,
//! nothing is waited for in vain, and the exit code says what happened.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stderr, reason = "what a sweep said explains why its test failed")]

mod program;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use dino_sweep::fs::{FileLock, ResultsDir, write_atomic};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use sqlx::{Connection, Executor, SqliteConnection};

/// More than any step below takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// Runs of a second or two, without retries.
const SHORT: &str = r#"
name = "e"
[grid]
seed = [0, 1]
[model]
dino_type = "dinov2"
size = "tiny"
[weights]
kind = "random"
[decoder]
kind = "linear"
[data]
kind = "shapes"
n_train = 4
n_val = 2
side_px = 48
[train]
epochs = 20
batch_size = 2
input = { tokens = 3 }
validate_every = 1000
[eval]
corruption = { suite = "none" }
[schedule]
retries = 0
devices = "cpu"
jobs = 2
"#;

/// A folder to run in.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(spec: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_atomic(&folder.path().join("e.toml"), spec.as_bytes()).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `sweep run e.toml`, in a process group of its own.
    fn start(&self) -> Sweep {
        use std::os::unix::process::CommandExt;
        let mut command = self.command(&["run", "e.toml"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        Sweep(Some(command.spawn().unwrap()))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::sweep(self.folder.path());
        command.args(arguments);
        command
    }

    /// `sweep run e.toml`, once so many runs have trained an epoch.
    fn training(&self, n: usize) -> Sweep {
        let sweep = self.start();
        let has_stepped = |text: &&String| text.contains("epoch_ended");
        self.wait(|| self.journals().iter().filter(has_stepped).count() >= n);
        sweep
    }

    fn wait(&self, until: impl Fn() -> bool) {
        let started = Instant::now();
        while !until() {
            assert!(started.elapsed() < PATIENCE, "in `{}`", self.folder.path().display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn journals(&self) -> Vec<String> {
        let entries = |path: &Path| -> Vec<PathBuf> {
            let entries = fs_err::read_dir(path).into_iter().flatten();
            entries.map(|entry| entry.unwrap().path()).collect()
        };
        let files = entries(&self.path("results/runs")).into_iter().flat_map(|run| entries(&run));
        let is_journal = |path: &PathBuf| path.extension().is_some_and(|end| end == "jsonl");
        files.filter(is_journal).filter_map(|path| fs_err::read_to_string(path).ok()).collect()
    }

    /// Nobody coordinates the folder any more.
    fn assert_free(&self) {
        let results = ResultsDir::new(self.path("results"));
        assert!(FileLock::try_acquire(&results.lock()).unwrap().is_some());
    }
}

/// A coordinator; killed where a test fails, so that nothing stays behind.
struct Sweep(Option<Child>);

impl Sweep {
    fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.id().cast_signed()).unwrap()
    }

    fn workers(&self) -> Vec<Pid> {
        let children = format!("/proc/{0}/task/{0}/children", self.id());
        let children = fs_err::read_to_string(children).unwrap();
        children
            .split_whitespace()
            .map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap())
            .collect()
    }

    /// Waits for the end; what was said, and the exit code.
    fn end(mut self) -> (String, Option<i32>) {
        let Output { status, stdout, stderr } = self.0.take().unwrap().wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        assert!(!text.contains("panicked"), "{text}");
        (text, status.code())
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            eprintln!("{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
        }
    }
}

fn endless() -> String {
    SHORT.replace("epochs = 20", "epochs = 100_000")
}

/// What `timeout`, a closing terminal and a cluster manager do: the same wish, several times, some
/// of it to the workers too.
#[test]
fn however_often_it_is_told_to_end_no_worker_ends_unsaved() {
    let bench = Bench::new(&endless());
    let sweep = bench.training(2);
    let workers = sweep.workers();
    assert_eq!(workers.len(), 2);
    for signal in [Signal::HUP, Signal::TERM, Signal::INT, Signal::TERM, Signal::HUP] {
        kill_process_group(sweep.pid(), signal).unwrap();
        for worker in &workers {
            // One that has saved already is gone.
            let _ = kill_process(*worker, signal);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let (text, code) = sweep.end();
    assert_eq!(code, Some(130), "{text}");
    assert!(text.contains("stopping: waiting for 2 workers to save"), "{text}");
    assert!(!text.contains("killing"), "{text}");
    let journals = bench.journals();
    assert_eq!(journals.len(), 2);
    for journal in journals {
        assert!(journal.contains("checkpoint_saved"), "{journal}");
        let last = journal.trim_end().lines().next_back().unwrap();
        assert!(last.contains(r#""outcome":{"kind":"interrupted"}"#), "{journal}");
    }
    bench.assert_free();
}

#[test]
fn a_second_interrupt_after_a_second_kills() {
    let bench = Bench::new(&endless());
    let sweep = bench.training(2);
    // Workers that cannot save.
    for worker in sweep.workers() {
        kill_process(worker, Signal::STOP).unwrap();
    }
    kill_process(sweep.pid(), Signal::TERM).unwrap();
    std::thread::sleep(Duration::from_millis(1300));
    kill_process(sweep.pid(), Signal::INT).unwrap();
    let (text, code) = sweep.end();
    assert_eq!(code, Some(130), "{text}");
    assert!(text.contains("killing 2 workers"), "{text}");
    bench.assert_free();
}

#[test]
fn an_index_that_another_program_locks_delays_nothing_but_the_progress() {
    let bench = Bench::new(SHORT);
    let sweep = bench.training(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let path = bench.path("results/sweep.db");
        let mut other =
            SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        other.execute("PRAGMA busy_timeout = 30000").await.unwrap();
        other.execute("BEGIN IMMEDIATE").await.unwrap();
        // Both runs come to their ends while nobody else can write.
        bench.wait(|| bench.journals().iter().filter(|text| text.contains("_ended")).count() == 2);
        tokio::time::sleep(Duration::from_secs(3)).await;
        other.execute("ROLLBACK").await.unwrap();
    });
    let (text, code) = sweep.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("locked; ") || text.contains("locked: "), "{text}");
    assert!(text.contains("2 runs done") && text.contains("mIoU"), "{text}");
}

#[test]
fn an_error_of_our_own_lets_the_others_save_and_says_why() {
    // When the first run ends, the third finds a file where its folder should be.
    let epochs = "train.epochs = [20, 100_000, 21]";
    let spec = SHORT.replace("seed = [0, 1]", epochs).replace("epochs = 20\n", "");
    let bench = Bench::new(&spec);
    let plan = bench.command(&["plan", "e.toml"]).output().unwrap();
    let plan = String::from_utf8(plan.stdout).unwrap();
    let is_id = |word: &&str| word.len() == 16 && word.chars().all(|c| c.is_ascii_hexdigit());
    let third = plan.split_whitespace().filter(is_id).nth(2).unwrap().to_owned();
    let sweep = bench.training(2);
    write_atomic(&bench.path("results/runs").join(third), b"no folder").unwrap();
    let (text, code) = sweep.end();
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("error: cannot write into the directory of run"), "{text}");
    assert!(text.contains("stopping: waiting for 1 worker to save"), "{text}");
    bench.assert_free();
}

#[test]
fn a_run_whose_folder_was_deleted_is_not_done() {
    let bench = Bench::new(&SHORT.replace("seed = [0, 1]", "seed = [0]"));
    let sweep = bench.training(1);
    let run = fs_err::read_dir(bench.path("results/runs")).unwrap().next().unwrap().unwrap();
    // In one step: the worker goes on to write while the files are removed one by one.
    fs_err::rename(run.path(), bench.path("deleted")).unwrap();
    fs_err::remove_dir_all(bench.path("deleted")).unwrap();
    let (text, code) = sweep.end();
    assert_eq!(code, Some(1), "{text}");
    // Whether the worker noticed it or not.
    assert!(text.contains("0 runs done, 1 failed"), "{text}");
}
