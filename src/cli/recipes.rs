//! `sweep recipes`: lists the training recipes key by key.

use super::fault::Exit;
use super::grid::grid;
use super::{Context, printer};
use crate::experiment::keys;

/// List the training recipes key by key
#[derive(Debug, Clone, clap::Args)]
pub struct Args {}

pub fn run(_: &Args, _: &Context) -> anyhow::Result<Exit> {
    let recipes = keys::recipes();
    let head: Vec<_> = ["key"].into_iter().chain(recipes.names).map(str::to_owned).collect();
    let rows = recipes.rows.into_iter().map(|row| {
        let values = row.values.into_iter().map(|value| value.unwrap_or_else(|| "-".to_owned()));
        std::iter::once(row.key.to_owned()).chain(values).collect()
    });
    printer::data(&format!("{}\n", grid(&head, rows)));
    Ok(Exit::Done)
}
