//! A table as CSV (RFC 4180): raw numbers in full precision, scores from 0 to 1.

use super::Written;
use crate::id::RunId;
use crate::report::model::measure::{Measure, Partial};
use crate::report::model::names::NOTHING;
use crate::report::model::table::{Column, Columns, Data, Kind, Table};

pub(super) const WRITTEN: Written = Written::As("csv");

/// The table as CSV: one line per row, of all columns; a missing number is an empty field.
///
/// A score has the columns `<key>`, `<key>_std` and `<key>_n`; one over a suite also
/// `<key>_partial` and `<key>_parts`, so that a part of a suite is never read as the whole.
pub(super) fn render(table: &Table, _: Columns) -> String {
    let mut text = record(table.columns.iter().flat_map(heads));
    for row in &table.rows {
        let cells = table.columns.iter().zip(row);
        text +=
            &record(cells.flat_map(|(column, cell)| fields(column.kind, &cell.text, &cell.data)));
    }
    text
}

fn heads(column: &Column) -> Vec<String> {
    let key = &column.key;
    let with = |suffixes: &[&str]| suffixes.iter().map(|s| format!("{key}{s}")).collect();
    match column.kind {
        Kind::Text | Kind::Count | Kind::Runs => with(&[""]),
        Kind::Size => vec![key.clone(), "tokens".to_owned()],
        Kind::Score => with(&["", "_std", "_n"]),
        Kind::SuiteScore => with(&["", "_std", "_n", "_partial", "_parts"]),
        Kind::Replicates => with(&["", "_total"]),
    }
}

fn fields(kind: Kind, text: &str, data: &Data) -> Vec<String> {
    match data {
        Data::Text if text == NOTHING => vec![String::new()],
        Data::Text => vec![text.to_owned()],
        Data::Count(value) => vec![value.map_or(String::new(), |value| value.to_string())],
        Data::Size { px, tokens } => {
            [px, tokens].map(|hw| hw.map_or(String::new(), |[h, w]| format!("{h}x{w}"))).to_vec()
        }
        Data::Score(measure) => score(kind, measure),
        Data::Replicates { done, total } => vec![done.to_string(), total.to_string()],
        Data::Runs(runs) => {
            let ids: Vec<_> = runs.iter().map(RunId::as_str).collect();
            vec![ids.join(" ")]
        }
    }
}

fn score(kind: Kind, measure: &Measure) -> Vec<String> {
    let number = |x: Option<f64>| x.map_or(String::new(), |x| x.to_string());
    let n = measure.values.len().to_string();
    let mut fields = vec![number(measure.mean()), number(measure.std()), n];
    if kind == Kind::SuiteScore {
        let partial = measure.partial;
        fields.push(number(partial.map(|partial| partial.mean)));
        let parts = |Partial { done, total, .. }| format!("{done}/{total}");
        fields.push(partial.map_or(String::new(), parts));
    }
    fields
}

fn record(fields: impl Iterator<Item = String>) -> String {
    let fields: Vec<_> = fields.map(quote).collect();
    fields.join(",") + "\r\n"
}

fn quote(field: String) -> String {
    if field.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field
    }
}
