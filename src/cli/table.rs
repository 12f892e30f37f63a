//! `sweep table`: the results of an experiment.

use std::process::ExitCode;

use crate::cli::{index, printer};
use crate::experiment::Machine;
use crate::fs::ResultsDir;
use crate::report::{self, Columns, Table};
use crate::store::Store;

/// Print the results table of an experiment.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the experiment; the latest planned if left out.
    pub experiment: Option<String>,
    /// How the table is written
    #[arg(long, value_enum, default_value_t = Format::Terminal)]
    pub format: Format,
    /// `all` adds the reference project's own metric; csv and json always have all.
    #[arg(long, value_enum, default_value_t = ColumnChoice::Usual)]
    pub columns: ColumnChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Terminal,
    Markdown,
    Csv,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ColumnChoice {
    Usual,
    All,
}

/// Exit code where the command line is wrong.
const USAGE: u8 = 2;

pub async fn run(args: &Args, machine: &Machine) -> anyhow::Result<ExitCode> {
    let results = ResultsDir::new(&machine.results);
    let store = index::open(&results).await?;
    let known = store.experiments().await?;
    let latest = known.first().map(|experiment| experiment.name.clone());
    let Some(name) = args.experiment.clone().or(latest) else {
        printer::note(&format!(
            "no experiment has been run in `{}`: start with `sweep run experiments/quickstart.toml`",
            results.root().display()
        ));
        return Ok(ExitCode::from(USAGE));
    };
    let Some(table) = of(&store, &name).await? else {
        let known: Vec<_> = known.iter().map(|experiment| experiment.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        printer::note(&format!(
            "no experiment `{name}` in `{}`; there is: {known}",
            results.root().display()
        ));
        return Ok(ExitCode::from(USAGE));
    };
    let columns = match args.columns {
        ColumnChoice::Usual => Columns::Usual,
        ColumnChoice::All => Columns::All,
    };
    printer::data(&match args.format {
        Format::Terminal => report::terminal(&table, columns, None),
        Format::Markdown => report::markdown(&table, columns),
        Format::Csv => report::csv(&table),
        Format::Json => report::json(&table),
    });
    Ok(ExitCode::SUCCESS)
}

/// The table of an experiment; `None` where the index has no such experiment.
pub async fn of(store: &Store, name: &str) -> anyhow::Result<Option<Table>> {
    Ok(store.experiment(name).await?.map(|rows| Table::new(&rows)))
}
