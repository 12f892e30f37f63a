//! `sweep recipes`: the training recipes key by key.

use std::io::Write;

use super::fault::Exit;
use super::grid::grid;
use crate::spec;

pub fn run() -> anyhow::Result<Exit> {
    let head = ["key", "modern", "reference"].map(str::to_owned);
    let rows = spec::recipe_rows();
    let rows = rows.into_iter().map(|(key, modern, reference)| vec![key, modern, reference]);
    writeln!(std::io::stdout().lock(), "{}", grid(&head, rows))?;
    Ok(Exit::Done)
}
