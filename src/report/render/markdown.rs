//! A table as GitHub's markdown.

use super::Written;
use crate::report::model::table::{Columns, Table};

pub(super) const WRITTEN: Written = Written::As("md");

/// The table as markdown, each column padded to one width, and its caption.
pub(super) fn render(table: &Table, columns: Columns) -> String {
    let shown = table.shown(columns);
    let heads: Vec<String> = shown.iter().map(|&i| escape(&table.columns[i].head)).collect();
    let rows: Vec<Vec<String>> = table
        .rows
        .iter()
        .map(|row| shown.iter().map(|&i| escape(&row[i].text)).collect())
        .collect();
    let width = |i: usize| {
        let cells = rows.iter().map(|row| row[i].chars().count());
        cells.chain([heads[i].chars().count(), 3]).max().unwrap_or(3)
    };
    let widths: Vec<usize> = (0..shown.len()).map(width).collect();
    let right: Vec<bool> = shown.iter().map(|&i| table.columns[i].kind.is_right()).collect();
    let mut text = line(&heads, &widths, &right);
    text.push('|');
    for (width, right) in widths.iter().zip(&right) {
        let dashes = "-".repeat(width - 1);
        let (start, end) = if *right { ("", ":") } else { (":", "") };
        text.extend([" ", start, &dashes, end, " |"]);
    }
    text.push('\n');
    for row in &rows {
        text += &line(row, &widths, &right);
    }
    let caption: Vec<_> = table.caption.iter().map(|sentence| escape(sentence)).collect();
    format!("{text}\n**{}**: {}\n", escape(&table.experiment), caption.join(" "))
}

fn line(cells: &[String], widths: &[usize], right: &[bool]) -> String {
    let cells = cells.iter().zip(widths).zip(right).map(|((cell, &width), &right)| {
        if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
    });
    let cells: Vec<_> = cells.collect();
    format!("| {} |\n", cells.join(" | "))
}

/// Escapes what would end a cell, start markup or end a comment.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '_' | '`' | '<' | '\\' | '[' => escaped.extend(['\\', c]),
            '\n' | '\r' => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
