//! A table for the terminal, readable without colour.

use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, TableStyle, Width,
};

use super::Written;
use crate::report::model::table::{Columns, Data, Table};

pub(super) const WRITTEN: Written = Written::Not;

/// Three rules and no other lines: a terminal has no room for more.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// Blanks between columns where the table fits, and where it does not.
const GAP: u16 = 2;
const GAP_NARROW: u16 = 1;

/// A longer word (a path, a list of keys) is broken where room is short.
const WORD_MAX: usize = 12;

/// The table for the terminal, at most as wide as it.
pub(super) fn render(table: &Table, columns: Columns) -> String {
    terminal(table, columns, None)
}

/// The table, its caption and why runs failed.
///
/// It is as wide as `width`, or as the terminal, at most; where stdout is not one, as wide as it
/// needs. Where it does not fit, what is the same in all rows is told in a line of its own, and
/// then cells are wrapped.
pub(in crate::report) fn terminal(table: &Table, columns: Columns, width: Option<u16>) -> String {
    let mut shown = table.shown(columns);
    let mut out = comfy_table::Table::new();
    if let Some(width) = width {
        out.set_width(width);
    }
    let width = out.width().map_or(usize::MAX, usize::from);
    let fits = |shown: &[usize]| needed(table, shown) <= width;
    let gap = if fits(&shown) { GAP } else { GAP_NARROW };
    let same: Vec<usize> = if fits(&shown) { Vec::new() } else { same_in_all(table, &shown) };
    shown.retain(|i| !same.contains(i));
    let heads: Vec<String> = shown.iter().map(|&i| head(table, i, gap)).collect();
    let aligned = |i: usize, text: &str| {
        let right = table.columns[i].kind.is_right();
        let alignment = if right { CellAlignment::Right } else { CellAlignment::Left };
        // A spread is not torn from its sign.
        Cell::new(text.replace("± ", "±\u{a0}")).set_alignment(alignment)
    };
    out.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic);
    out.set_header(shown.iter().zip(&heads).map(|(&i, head)| aligned(i, head)));
    for row in &table.rows {
        out.add_row(shown.iter().map(|&i| aligned(i, &row[i].text)));
    }
    for column in out.column_iter_mut() {
        // The style's separators, which are blank, are one wide.
        column.set_padding((0, gap - 1));
    }
    let longest: Vec<u16> =
        shown.iter().zip(&heads).map(|(&i, head)| longest_word(table, i, head)).collect();
    if longest.iter().map(|&n| usize::from(n + gap)).sum::<usize>() <= width {
        // A bound counts the padding.
        let bounds =
            longest.into_iter().map(|n| ColumnConstraint::LowerBoundary(Width::Fixed(n + gap - 1)));
        out.set_constraints(bounds);
    }
    let mut lines = vec![table.experiment.clone(), out.trim_fmt()];
    if !same.is_empty() {
        let same = same.iter().map(|&i| {
            let head = &table.columns[i].head;
            format!("{head}: {}", table.rows[0][i].text)
        });
        lines.push(format!("In all rows: {}.", same.collect::<Vec<_>>().join("; ")));
    }
    lines.extend(table.caption.iter().cloned());
    lines.extend(table.failures.iter().cloned());
    lines.join("\n") + "\n"
}

/// A column's name, with places to break it where room is short.
fn head(table: &Table, i: usize, gap: u16) -> String {
    let head = &table.columns[i].head;
    match head.as_str() {
        _ if gap != GAP_NARROW => head.clone(),
        "pre-training" => "pre- training".to_owned(),
        "registers" => "reg- isters".to_owned(),
        "directory" => "direc- tory".to_owned(),
        _ => head.clone(),
    }
}

/// Least width of a column, that of its longest word: words are broken only where not all fit.
fn longest_word(table: &Table, i: usize, head: &str) -> u16 {
    let cells = table.rows.iter().map(|row| row[i].text.as_str()).chain([head]);
    let words = cells.flat_map(str::split_whitespace).map(|word| word.chars().count());
    words.max().unwrap_or(1).min(WORD_MAX) as u16
}

/// Width of the table without wrapping.
fn needed(table: &Table, shown: &[usize]) -> usize {
    let width = |&i: &usize| {
        let cells = table.rows.iter().map(|row| row[i].text.chars().count());
        let head = table.columns[i].head.chars().count();
        cells.chain([head]).max().unwrap_or(0) + usize::from(GAP)
    };
    shown.iter().map(width).sum()
}

/// Columns that describe runs and have the same text in all rows.
fn same_in_all(table: &Table, shown: &[usize]) -> Vec<usize> {
    let Some((first, rest)) = table.rows.split_first() else { return Vec::new() };
    let is_same = |&&i: &&usize| {
        let describes = matches!(first[i].data, Data::Text | Data::Count(_) | Data::Size { .. });
        describes && !rest.is_empty() && rest.iter().all(|row| row[i].text == first[i].text)
    };
    shown.iter().filter(is_same).copied().collect()
}
