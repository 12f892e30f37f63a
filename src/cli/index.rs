//! `sweep index`: making the index of the results folder again; and opening it for other verbs.

use std::process::ExitCode;

use anyhow::bail;

use crate::cli::printer;
use crate::experiment::Machine;
use crate::fs::{FileLock, ResultsDir};
use crate::store::Store;

/// The index of the results folder.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make the index again from the journals; the old one stays until the new one is whole.
    Rebuild,
}

/// Exit code where another coordinator holds the results folder.
const HELD: u8 = 4;

pub async fn run(args: &Args, machine: &Machine) -> anyhow::Result<ExitCode> {
    let Command::Rebuild = args.command;
    let results = ResultsDir::new(&machine.results);
    if !results.root().is_dir() {
        bail!("there is no results folder `{}` to index", results.root().display());
    }
    let Some(_lock) = FileLock::try_acquire(&results.lock())? else {
        printer::note(&format!(
            "a sweep is running in `{}` and indexes as it goes: wait for it, or interrupt it",
            results.root().display()
        ));
        return Ok(ExitCode::from(HELD));
    };
    let store = Store::rebuild(&results).await?;
    let n_runs = store.run_status().await?.len();
    let n_experiments = store.experiments().await?.len();
    store.close().await;
    printer::aside(&format!(
        "indexed {n_runs} runs and {n_experiments} experiments in `{}`",
        results.database().display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Opens the index for a verb that reads.
///
/// Brings it up to date where no coordinator is at work (one that is does so itself, and must not
/// miss a line) and the folder can be written to. A folder without results is not touched.
pub async fn open(results: &ResultsDir) -> anyhow::Result<Store> {
    let has_journals = results.runs().is_dir() || results.experiments().is_dir();
    if !has_journals {
        return Ok(Store::open_read_only(results).await?);
    }
    match FileLock::try_acquire(&results.lock()) {
        Ok(Some(_lock)) => {
            let store = Store::open(results).await?;
            store.ingest_all().await?;
            Ok(store)
        }
        Ok(None) => Ok(Store::open_read_only(results).await?),
        Err(error) => {
            tracing::debug!(%error, "the results folder cannot be locked: reading only");
            Ok(Store::open_read_only(results).await?)
        }
    }
}
