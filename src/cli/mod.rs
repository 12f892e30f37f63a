//! One file a verb; the only module that prints.

pub mod adapter;
pub mod corrupt;
pub mod data;
pub mod device;
pub mod diff;
pub mod doctor;
pub mod eval;
pub mod eval_adapter;
pub mod fault;
pub mod features;
pub mod fetch;
pub mod grid;
pub mod index;
pub mod keys;
pub mod logs;
pub mod plan;
pub mod printer;
pub mod progress;
pub mod readme;
pub mod recipes;
pub mod run;
pub mod score;
pub mod show;
pub mod signals;
pub mod status;
pub mod table;
pub mod weights;
pub mod words;
pub mod worker;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::{CommandFactory as _, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::experiment::{self, Experiment, Layers, Machine, Problem};
use fault::{Exit, OrExit, fault};

/// Train, score and tabulate grids of DINOv2/DINOv3 segmentation experiments.
#[derive(Debug, Parser)]
#[command(name = "sweep", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// What is said where stdout takes nothing.
const LOST: &str = "the output is lost, as it cannot be written to stdout";

/// Flags of every verb.
#[derive(Debug, Clone, clap::Args)]
pub struct Globals {
    /// Results folder, instead of the machine file's
    #[arg(long, global = true, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Show failures and results only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Show what happens inside; twice for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Train and score what an experiment still lacks, then show its table; also resumes
    Run(run::Args),
    /// Show what `run` would do
    Plan(plan::Args),
    /// Show how far experiments are
    Status(status::Args),
    /// Show the journal of a run and what its workers printed
    Logs(logs::Args),
    Show(show::Args),
    Diff(diff::Args),
    Eval(eval::Args),
    Score(score::Args),
    Table(table::Args),
    Readme(readme::Args),
    Index(index::Args),
    Adapter(adapter::Args),
    /// Look into weight files
    Weights(weights::Args),
    Features(features::Args),
    Fetch(fetch::Args),
    Data(data::Args),
    Corrupt(corrupt::Args),
    /// Check what works on this machine, and say what to do about what does not
    Doctor,
    /// List the training recipes key by key
    Recipes,
    #[command(hide = true)]
    Keys(keys::Args),
    /// One run in one process; started by `run`
    #[command(hide = true)]
    Worker(worker::Args),
}

/// All verbs and flags, for the page that describes them.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the verb that `args` (with the program's name first) ask for.
pub fn main(args: impl IntoIterator<Item = OsString>) -> anyhow::Result<ExitCode> {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            // A terminal that was closed: the exit code says it too.
            let _ = error.print();
            return Ok(Exit::Usage.into());
        }
        // Help and version are no errors.
        Err(error) => {
            error.print().context(LOST)?;
            return Ok(Exit::Done.into());
        }
    };
    start_tracing(&cli.globals);
    let globals = &cli.globals;
    if globals.quiet {
        printer::be_quiet();
    }
    let machine = || load_machine(globals);
    let exit = match &cli.verb {
        Verb::Run(args) => run::run(args, globals)?,
        Verb::Plan(args) => plan::run(args, globals)?,
        Verb::Status(args) => status::run(args, &machine()?)?,
        Verb::Logs(args) => logs::run(args, &machine()?)?,
        Verb::Show(args) => return runtime()?.block_on(show::run(args, &machine()?)),
        Verb::Diff(args) => return runtime()?.block_on(diff::run(args, &machine()?)),
        Verb::Eval(args) => eval::run(args, globals)?,
        Verb::Score(args) => score::run(args, globals.quiet)?,
        Verb::Table(args) => return runtime()?.block_on(table::run(args, &machine()?)),
        Verb::Readme(args) => return runtime()?.block_on(readme::run(args, &machine()?)),
        Verb::Index(args) => return runtime()?.block_on(index::run(args, &machine()?)),
        Verb::Adapter(args) => adapter::run(args)?,
        Verb::Weights(args) => weights::run(args),
        Verb::Features(args) => features::run(args, globals.quiet)?,
        Verb::Fetch(args) => fetch::run(args, globals, &machine()?)?,
        Verb::Data(args) => data::run(args, globals)?,
        Verb::Corrupt(args) => corrupt::run(args, &machine()?)?,
        Verb::Doctor => doctor::run(&machine()?)?,
        Verb::Recipes => recipes::run(),
        Verb::Keys(args) => keys::run(args)?,
        Verb::Worker(args) => worker::run(args),
    };
    Ok(exit.into())
}

/// How the program ends: where output was lost, what was done or found has not been told.
pub fn end(code: ExitCode) -> ExitCode {
    let Some(error) = printer::lost() else { return code };
    printer::note(&format_args!("error: {LOST}: {error}"));
    let is_told = [Exit::Done, Exit::SomeFailed].map(ExitCode::from);
    if is_told.contains(&code) { Exit::Environment.into() } else { code }
}

/// Prints an error that ends the program; returns how it ends.
pub fn report(error: &anyhow::Error) -> Exit {
    if fault::is_broken_pipe(error) {
        return Exit::Done;
    }
    printer::note(&format_args!("error: {error:#}"));
    Exit::of(error)
}

/// The experiment file with all layers over it; its problems are printed one a line.
pub fn load_experiment(
    experiment: &Path,
    set: &[String],
    globals: &Globals,
) -> anyhow::Result<(Experiment, Machine)> {
    let env = environment();
    let machine_file = experiment::machine_file(&env);
    let machine_file = machine_file.as_deref();
    let loaded = experiment::load_experiment(&Layers { experiment, machine_file, env: &env, set });
    let (experiment, mut machine) = known(loaded)?;
    if let Some(results) = &globals.results {
        machine.results.clone_from(results);
    }
    Ok((experiment, machine))
}

/// This machine's keys, for verbs without an experiment.
pub fn load_machine(globals: &Globals) -> anyhow::Result<Machine> {
    let env = environment();
    let loaded = experiment::load_machine(experiment::machine_file(&env).as_deref(), &env, &[]);
    let mut machine = known(loaded)?;
    if let Some(results) = &globals.results {
        machine.results.clone_from(results);
    }
    Ok(machine)
}

/// The one runtime of a verb that waits for several things at once.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.or_exit(Exit::Environment)
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn known<T>(loaded: Result<T, Vec<Problem>>) -> anyhow::Result<T> {
    loaded.map_err(|problems| {
        for problem in &problems {
            printer::note(problem);
        }
        fault(Exit::Usage, words::count(problems.len(), "problem"))
    })
}

fn environment() -> Vec<(String, String)> {
    // Names and values that are not UTF-8 are no keys of ours.
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn start_tracing(globals: &Globals) {
    let level = match (globals.quiet, globals.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "warn,dino_sweep=info",
        (false, _) => "warn,dino_sweep=debug",
    };
    let filter = EnvFilter::try_from_env("SWEEP_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(printer::has_colours())
        .without_time()
        .with_target(false)
        // It would panic where stderr is a terminal that was closed.
        .log_internal_errors(false)
        .init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_is_no_error_and_nonsense_is_a_usage_error() {
        let exit = |args: &[&str]| main(args.iter().map(OsString::from)).unwrap();
        assert_eq!(exit(&["sweep", "--version"]), Exit::Done.into());
        assert_eq!(exit(&["sweep", "fly"]), Exit::Usage.into());
        assert_eq!(exit(&["sweep", "run"]), Exit::Usage.into());
        assert_eq!(exit(&["sweep", "run", "x.toml", "--jobs", "0"]), Exit::Usage.into());
        assert_eq!(exit(&["sweep", "run", "x.toml", "--device", "gpu"]), Exit::Usage.into());
    }
}
