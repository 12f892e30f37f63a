//! A table as HTML in the layout of the reference project's README (`RobvanGastel/dinov2-finetune`,
//! commit 0878cdf), which GitHub shows as it is.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::Written;
use crate::report::model::table::{Cell, Column, Columns, Data, Kind, Table};

pub(super) const WRITTEN: Written = Written::Not;

/// The columns that other columns imply.
const IMPLIED: [&str; 2] = ["params_trained", "drop_"];
const SUITE: &str = "miou_level";

/// The table, indented by two spaces, and its caption in a paragraph. With [`Columns::Usual`] it has
/// the layout's columns and those that tell its rows apart.
pub(super) fn render(table: &Table, columns: Columns) -> String {
    let shown: Vec<usize> = table
        .shown(columns)
        .into_iter()
        .filter(|&i| columns == Columns::All || is_in_layout(table, i))
        .collect();
    let mut text = String::from("<table style=\"margin: auto\">\n  <thead>\n    <tr>\n");
    for &i in &shown {
        line(&mut text, format_args!("<th>{}</th>", head(table, &table.columns[i])));
    }
    text += "    </tr>\n  </thead>\n  <tbody>\n";
    for row in &table.rows {
        text += "    <tr>\n";
        for &i in &shown {
            let align = match table.columns[i].kind {
                _ if table.columns[i].key == "registers" => " align=\"center\"",
                kind if kind.is_right() => " align=\"right\"",
                _ => "",
            };
            line(&mut text, format_args!("<td{align}>{}</td>", cell(&table.columns[i], &row[i])));
        }
        text += "    </tr>\n";
    }
    let caption: Vec<_> = table.caption.iter().map(|sentence| escape(sentence)).collect();
    let name = escape(&table.experiment);
    text + &format!("  </tbody>\n</table>\n\n<p><b>{name}</b>: {}</p>\n", caption.join(" "))
}

fn line(text: &mut String, element: std::fmt::Arguments<'_>) {
    writeln!(text, "      {element}").expect("a string takes every text");
}

/// Whether a column is shown: input sizes where they differ, numbers of replicates where there are
/// several.
fn is_in_layout(table: &Table, i: usize) -> bool {
    let cells = || table.rows.iter().map(|row| &row[i]);
    match table.columns[i].kind {
        Kind::Size => {
            let is_known = |cell: &&Cell| !matches!(cell.data, Data::Size { px: None, .. });
            let known: BTreeSet<_> = cells().filter(is_known).map(|cell| &cell.text).collect();
            known.len() > 1
        }
        Kind::Replicates => {
            cells().any(|cell| !matches!(cell.data, Data::Replicates { total: 1, .. }))
        }
        _ => !IMPLIED.iter().any(|part| table.columns[i].key.contains(part)),
    }
}

/// A column's head, in the layout's words where it has the column.
fn head(table: &Table, column: &Column) -> String {
    let set = table.set.as_deref().unwrap_or_default();
    let (set, validation) = match set.strip_suffix("/val") {
        Some(set) => (set, "Validation "),
        None => (set, ""),
    };
    let of = |suffix: &str| match set {
        "" => String::new(),
        set => format!("{}{suffix}<br />", escape(set)),
    };
    match column.key.as_str() {
        "params" => "# of<br />params".to_owned(),
        "registers" => "with<br />registers".to_owned(),
        "miou_clean" => format!("{}{validation}mIoU", of("")),
        "runs" => "Directory".to_owned(),
        key if key.starts_with(SUITE) => {
            let level = column.head.trim_start_matches("mIoU ");
            format!("{}{}<br />{validation}mIoU", of("-C"), escape(level))
        }
        _ => escape(&column.head),
    }
}

fn cell(column: &Column, cell: &Cell) -> String {
    match (&cell.data, column.kind) {
        (Data::Count(Some(n)), _) if column.key == "registers" => {
            if *n > 0 { "✅" } else { "❌" }.to_owned()
        }
        (Data::Score(measure), Kind::Score | Kind::SuiteScore) if measure.is_known() => {
            // Before what is in brackets: `37.50% (2/3)`.
            let (number, rest) =
                cell.text.split_at(cell.text.find(" (").unwrap_or(cell.text.len()));
            format!("{number}%{rest}")
        }
        _ => escape(&cell.text),
    }
}

/// Escapes what would be markup.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' | '\r' => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
