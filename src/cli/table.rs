//! `sweep table`: prints the results table of an experiment.

use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use super::fault::{Exit, fault};
use super::{Context, experiments, index, printer};
use crate::fs::ResultsDir;
use crate::report::{Columns, Format, Table};
use crate::store::{ExperimentRows, Store};

/// Print the results table of an experiment.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name or file (TOML) of the experiment; if left out, the one planned last.
    pub experiment: Option<String>,
    /// Format of the table
    #[arg(long, default_value_t = Format::Terminal,
          value_parser = PossibleValuesParser::new(Format::ALL.iter().map(|format| format.name()))
              .try_map(|name| name.parse::<Format>()))]
    pub format: Format,
    /// Columns: `all` adds the reference project's own metric; csv and json always have all.
    #[arg(long, default_value_t = Columns::Usual,
          value_parser = PossibleValuesParser::new(Columns::ALL.map(|(name, _)| name))
              .try_map(|name| name.parse::<Columns>()))]
    pub columns: Columns,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let results = context.results()?;
    let name = args.experiment.as_deref().map(experiments::name_of).transpose()?;
    let rows = index::ask(&results, async |store| rows(store, &results, name).await)?;
    printer::data(&args.format.render(&Table::new(&rows), args.columns));
    Ok(Exit::Done)
}

/// The experiment called `name`, or the latest planned.
async fn rows(
    store: &Store,
    results: &ResultsDir,
    name: Option<String>,
) -> anyhow::Result<ExperimentRows> {
    let name = match name {
        Some(name) => name,
        None => latest(store, results).await?,
    };
    experiments::rows(store, results, &name).await
}

async fn latest(store: &Store, results: &ResultsDir) -> anyhow::Result<String> {
    let latest = store.experiments().await?.into_iter().next().map(|known| known.name);
    latest.ok_or_else(|| {
        let folder = results.root().display();
        let words = format_args!(
            "no experiment has been run in `{folder}`: start with \
             `sweep run experiments/quickstart.toml`"
        );
        fault(Exit::Usage, words)
    })
}
