//! The context that every verb gets: the global flags and this machine's keys, read on first use.
//! [`super::main`] makes one for the verb that the command line names.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::fault::{Exit, OrExit, fault};
use super::{printer, words};
use crate::data::dataset;
use crate::experiment::{self, Experiment, Layers, Machine, Problem};
use crate::fs::ResultsDir;

/// Flags of every verb.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Globals {
    /// Results folder, instead of the machine file's
    #[arg(long, global = true, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Show failures and results only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Show log messages; twice for debug messages
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The global flags and the environment of one verb.
#[derive(Debug)]
pub struct Context {
    pub globals: Globals,
    env: Vec<(String, String)>,
    machine: OnceLock<Machine>,
}

impl Context {
    /// The context of this process: its environment is read here and nowhere else.
    pub fn new(globals: Globals) -> Self {
        // Variables that are not UTF-8 cannot be keys of `sweep`.
        let env = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self { globals, env: env.collect(), machine: OnceLock::new() }
    }

    /// For tests: a machine with these keys.
    #[cfg(test)]
    pub(crate) fn of(machine: Machine) -> Self {
        let globals = Globals { quiet: true, ..Globals::default() };
        Self { globals, env: Vec::new(), machine: OnceLock::from(machine) }
    }

    /// This machine's keys, for verbs without an experiment.
    pub fn machine(&self) -> anyhow::Result<&Machine> {
        if let Some(machine) = self.machine.get() {
            return Ok(machine);
        }
        let file = experiment::machine_file(&self.env);
        let loaded = known(experiment::load_machine(file.as_deref(), &self.env, &[]))?;
        Ok(self.machine.get_or_init(|| self.with_flags(loaded)))
    }

    /// The results folder.
    pub fn results(&self) -> anyhow::Result<ResultsDir> {
        Ok(ResultsDir::new(&self.machine()?.results))
    }

    /// Loads the experiment file with all layers over it (`set` last), and this machine's keys as
    /// the experiment sets them; prints its problems, one per line.
    pub fn experiment(&self, file: &Path, set: &[String]) -> anyhow::Result<(Experiment, Machine)> {
        let machine_file = experiment::machine_file(&self.env);
        let machine_file = machine_file.as_deref();
        let layers = Layers { experiment: file, machine_file, env: &self.env, set };
        let (experiment, machine) = known(experiment::load_experiment(&layers))?;
        Ok((experiment, self.with_flags(machine)))
    }

    /// Loads a dataset's config from keys alone; prints its problems, one per line.
    pub fn data(&self, set: &[String]) -> anyhow::Result<dataset::Config> {
        known(experiment::load_data(set, &self.env))
    }

    fn with_flags(&self, mut machine: Machine) -> Machine {
        if let Some(results) = &self.globals.results {
            machine.results.clone_from(results);
        }
        machine
    }
}

/// Unwraps what was loaded; prints its problems, one per line.
pub fn known<T>(loaded: Result<T, Vec<Problem>>) -> anyhow::Result<T> {
    loaded.map_err(|problems| {
        for problem in &problems {
            printer::note(problem);
        }
        fault(Exit::Usage, words::count(problems.len(), "problem"))
    })
}

/// The tokio runtime of a verb that waits for several things at once.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.or_exit(Exit::Environment)
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
