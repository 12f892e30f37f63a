//! The command line: one file per verb; the only module that prints.
//!
//! `main.rs` calls [`main`] with the arguments and [`end`] with what comes back. Each verb is a
//! function `run(&Args, &Context) -> anyhow::Result<Exit>`; decisions and computations are in the
//! modules that it calls.

pub mod printer;
pub mod fault;
pub mod words;
pub mod grid;
pub mod context;
pub mod device;
pub mod signals;
pub mod progress;
pub mod index;
pub mod runs;
pub mod experiments;
pub mod upsampler;
pub mod encoder;
pub mod inputs;
pub mod bar;

pub mod run;
pub mod train;
pub mod plan;
pub mod status;
pub mod logs;
pub mod show;
pub mod diff;
pub mod eval;
mod eval_adapter;
pub mod score;
pub mod table;
pub mod readme;
pub mod adapter;
pub mod weights;
pub mod features;
pub mod predict;
pub mod figure;
pub mod pca;
pub mod upsample;
pub mod fetch;
pub mod data;
pub mod corrupt;
pub mod doctor;
pub mod recipes;
pub mod keys;
pub mod worker;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use context::{Context, Globals};
pub use fault::{Exit, report};

/// Train, score and tabulate grids of DINOv2/DINOv3 segmentation experiments.
#[derive(Debug, Parser)]
#[command(name = "sweep", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// The error where stdout cannot be written.
const LOST: &str = "cannot write the output to stdout";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Train and score what is missing of an experiment, resuming where it stopped; show its table
    Run(run::Args),
    Train(train::Args),
    /// Show what `run` would do
    Plan(plan::Args),
    /// Show the progress of experiments
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
    /// Inspect weight files
    Weights(weights::Args),
    Predict(predict::Args),
    Figure(figure::Args),
    Pca(pca::Args),
    Features(features::Args),
    Upsample(upsample::Args),
    Fetch(fetch::Args),
    Data(data::Args),
    Corrupt(corrupt::Args),
    Doctor(doctor::Args),
    Recipes(recipes::Args),
    #[command(hide = true)]
    Keys(keys::Args),
    /// Work on one run in this process; started by `run`
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
            // This fails on a closed terminal; the exit code says the same.
            let _ = error.print();
            return Ok(Exit::Usage.into());
        }
        // Help and version are not errors.
        Err(error) => {
            error.print().context(LOST)?;
            return Ok(Exit::Done.into());
        }
    };
    start_tracing(&cli.globals);
    if cli.globals.quiet {
        printer::be_quiet();
    }
    Ok(cli.verb.run(&Context::new(cli.globals))?.into())
}

impl Verb {
    fn run(&self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Run(args) => run::run(args, context),
            Self::Train(args) => train::run(args, context),
            Self::Plan(args) => plan::run(args, context),
            Self::Status(args) => status::run(args, context),
            Self::Logs(args) => logs::run(args, context),
            Self::Show(args) => show::run(args, context),
            Self::Diff(args) => diff::run(args, context),
            Self::Eval(args) => eval::run(args, context),
            Self::Score(args) => score::run(args, context),
            Self::Table(args) => table::run(args, context),
            Self::Readme(args) => readme::run(args, context),
            Self::Index(args) => index::run(args, context),
            Self::Adapter(args) => adapter::run(args, context),
            Self::Weights(args) => weights::run(args, context),
            Self::Predict(args) => predict::run(args, context),
            Self::Figure(args) => figure::run(args, context),
            Self::Pca(args) => pca::run(args, context),
            Self::Features(args) => features::run(args, context),
            Self::Upsample(args) => upsample::run(args, context),
            Self::Fetch(args) => fetch::run(args, context),
            Self::Data(args) => data::run(args, context),
            Self::Corrupt(args) => corrupt::run(args, context),
            Self::Doctor(args) => doctor::run(args, context),
            Self::Recipes(args) => recipes::run(args, context),
            Self::Keys(args) => keys::run(args, context),
            Self::Worker(args) => worker::run(args, context),
        }
    }
}

/// The final exit code: where output was lost, success turns into a failure, as its result was not
/// shown.
pub fn end(code: ExitCode) -> ExitCode {
    let Some(error) = printer::lost() else { return code };
    printer::note(&format_args!("error: {LOST}: {error}"));
    let is_told = [Exit::Done, Exit::SomeFailed].map(ExitCode::from);
    if is_told.contains(&code) { Exit::Environment.into() } else { code }
}

fn start_tracing(globals: &Globals) {
    let level = match (globals.quiet, globals.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "warn,dino_sweep=info",
        (false, _) => "warn,dino_sweep=debug",
    };
    let asked = std::env::var("SWEEP_LOG").ok().and_then(|levels| levels.parse().ok());
    let levels: Targets = asked.unwrap_or_else(|| level.parse().expect("written as levels are"));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(printer::has_colours())
        .without_time()
        .with_target(false)
        // It would panic where stderr is a closed terminal.
        .log_internal_errors(false);
    tracing_subscriber::registry().with(lines).with(levels).init();
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
