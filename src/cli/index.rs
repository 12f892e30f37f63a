//! `sweep index`: rebuilds the index of the results folder. Other verbs query it with `ask`.

use anyhow::Context as _;

use super::fault::{Exit, fault};
use super::{Context, context, printer, words};
use crate::fs::{FileLock, ResultsDir};
use crate::store::Store;

/// Maintain the index of the results folder.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Rebuild the index from the journals; the old one stays until the new one is complete.
    Rebuild,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let Command::Rebuild = args.command;
    context::runtime()?.block_on(rebuild(&context.results()?))
}

async fn rebuild(results: &ResultsDir) -> anyhow::Result<Exit> {
    let folder = results.root().display();
    if !results.root().is_dir() {
        let words = format_args!("there is no results folder `{folder}` to index");
        return Err(fault(Exit::Environment, words));
    }
    let Some(_lock) = FileLock::try_acquire(&results.lock())? else {
        let words = format_args!(
            "a sweep is running in `{folder}` and updates the index: wait for it, or interrupt it"
        );
        return Err(fault(Exit::Busy, words));
    };
    let store = Store::rebuild(results).await?;
    let n_runs = store.run_status().await?.len();
    let n_experiments = store.experiments().await?.len();
    store.close().await;
    printer::aside(&format_args!(
        "indexed {} and {} in `{}`",
        words::count(n_runs, "run"),
        words::count(n_experiments, "experiment"),
        results.database().display()
    ));
    Ok(Exit::Done)
}

/// Opens the index of `results`, brings it up to date where it may be written, and asks it.
pub(super) fn ask<T>(
    results: &ResultsDir,
    question: impl AsyncFnOnce(&Store) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    context::runtime()?.block_on(async {
        let store = Store::open_current(results).await.context("cannot read the index")?;
        let answer = question(&store).await;
        store.close().await;
        answer
    })
}
