//! `sweep recipes`: the training recipes key by key.

use super::fault::Exit;
use super::grid::grid;
use super::printer;
use crate::experiment;

pub fn run() -> Exit {
    let head = ["key", "modern", "reference"].map(str::to_owned);
    let rows = experiment::recipe_rows();
    let rows = rows.into_iter().map(|(key, modern, reference)| vec![key, modern, reference]);
    printer::data(&format!("{}\n", grid(&head, rows)));
    Exit::Done
}
